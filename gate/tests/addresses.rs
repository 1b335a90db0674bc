//! Who may knock from where, directly and behind a balancer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![expect(clippy::print_stderr, reason = "what a test skips must be seen")]

mod support;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use consigner_gate::{AddressRules, Balancers, DoorConfig, IpAllowlist, Refusal, RefusalKind};
use http::Method;
use rustls::version::TLS13;
use support::pki::{LONG, Pki};
use support::{Open, config, echo, logs, open_built, until, visit, visit_over};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const SHORT: Duration = Duration::from_millis(200);

fn list(entries: &[&str]) -> IpAllowlist {
    IpAllowlist::parse(entries).unwrap()
}

fn rules(entries: &[&str]) -> Arc<AddressRules> {
    AddressRules::new(list(entries))
}

/// What was told about refusals: kind, address, reason.
type Told = Arc<Mutex<Vec<(RefusalKind, SocketAddr, String)>>>;

async fn open(config: DoorConfig, rules: Arc<AddressRules>, balancers: &[&str]) -> (Open, Told) {
    let told = Told::default();
    let listener = {
        let told = told.clone();
        Arc::new(move |refusal: &Refusal<'_>| {
            told.lock().unwrap().push((refusal.kind, refusal.addr, refusal.reason.to_owned()));
        })
    };
    let balancers = (!balancers.is_empty()).then(|| Balancers::parse(balancers).unwrap());
    let build = |door: consigner_gate::Door| {
        let door = door.with_addresses(rules).on_refusal(listener);
        match balancers {
            Some(balancers) => door.with_balancers(balancers),
            None => door,
        }
    };
    (open_built(config, build, echo).await, told)
}

/// Connects from another address of this machine.
async fn connect_from(source: [u8; 4], addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(source), 0).into()).unwrap();
    socket.connect(addr).await.unwrap()
}

const BALANCER: [u8; 4] = [127, 0, 0, 9];

/// A header that names a client, port 443 at both ends.
fn header(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(client);
    header.extend([10, 0, 0, 1, 1, 187, 1, 187]);
    header
}

/// Says something and reads until the door closes the connection, which it must do by itself.
async fn closed_after(mut stream: TcpStream, says: &[u8]) -> Vec<u8> {
    // A door that has closed already may answer with a reset.
    let _closed = stream.write_all(says).await;
    let mut heard = Vec::new();
    let _reset = tokio::time::timeout(support::PATIENCE, stream.read_to_end(&mut heard)).await.expect("left open");
    heard
}

#[tokio::test]
async fn a_stranger_is_closed_before_the_handshake_counted_logged_and_told() {
    let pki = Pki::new();
    let (door, told) = open(config("strangers", pki.server()), rules(&["127.0.0.2", "10.0.0.0/8"]), &[]).await;
    let stranger = TcpStream::connect(door.addr).await.unwrap();
    let from = stranger.local_addr().unwrap();
    assert!(closed_after(stranger, b"\x16\x03\x01").await.is_empty(), "not even a TLS alert");
    assert_eq!(told.lock().unwrap().clone(), [(RefusalKind::Address, from, "address not allowed".to_owned())]);
    assert_eq!((door.counters.address_refused(), door.counters.handshakes_failed()), (1, 0));
    assert!(logs::warnings("strangers")[0].contains("address not allowed"));
    let client = pki.raw_client(Some(&pki.issue("alice")), &[&TLS13]);
    let (answer, ..) = visit_over(connect_from([127, 0, 0, 2], door.addr).await, client).await.unwrap();
    assert!(answer.contains("address: 127.0.0.2:"), "{answer}");
    until("both to be gone", || door.counters.open() == 0).await;
}

#[tokio::test]
async fn an_ipv4_client_of_an_ipv6_socket_is_told_as_ipv4() {
    let pki = Pki::new();
    let config = DoorConfig { addr: (Ipv6Addr::UNSPECIFIED, 0).into(), ..config("dual-stack", pki.server()) };
    if let Err(error) = std::net::TcpListener::bind(config.addr) {
        eprintln!("SKIPPED: no IPv6 here: {error}");
        return;
    }
    let (door, told) = open(config, rules(&["::1"]), &[]).await;
    let stranger = match TcpStream::connect((Ipv4Addr::LOCALHOST, door.addr.port())).await {
        Ok(stranger) => stranger,
        Err(error) => return eprintln!("SKIPPED: an IPv6 socket takes no IPv4 here: {error}"),
    };
    let from = stranger.local_addr().unwrap();
    closed_after(stranger, b"").await;
    assert_eq!(told.lock().unwrap().clone(), [(RefusalKind::Address, from, "address not allowed".to_owned())]);
}

#[tokio::test]
async fn a_flood_of_strangers_writes_few_lines() {
    const FLOOD: usize = 200;
    let pki = Pki::new();
    let (door, told) = open(config("stranger-flood", pki.server()), rules(&[]), &[]).await;
    for _ in 0..FLOOD {
        closed_after(TcpStream::connect(door.addr).await.unwrap(), b"").await;
    }
    assert_eq!((door.counters.address_refused(), told.lock().unwrap().len()), (FLOOD as u64, FLOOD));
    let single = || logs::warnings("stranger-flood").iter().filter(|line| !line.contains("count=")).count();
    assert!(single() < FLOOD, "{} lines", single());
}

#[tokio::test]
async fn a_policy_narrows_and_cuts_those_it_no_longer_allows() {
    let pki = Pki::new();
    let rules = rules(&["127.0.0.0/8"]);
    let (door, told) = open(config("policy", pki.server()), rules.clone(), &[]).await;
    let client = pki.https("client");
    let ask = || {
        let (client, url) = (client.clone(), door.url("/"));
        async move { client.request(Method::GET, &url, &[], Bytes::new(), LONG).await }
    };
    ask().await.unwrap();
    rules.set_policy(list(&["127.0.0.0/8", "192.0.2.0/24"]));
    ask().await.unwrap();
    assert_eq!((door.counters.accepted(), door.counters.expelled()), (1, 0), "still the first connection");
    rules.set_policy(list(&["192.0.2.0/24"]));
    until("the connection to be cut", || door.counters.expelled() == 1 && door.counters.open() == 0).await;
    ask().await.expect_err("not from here");
    let kinds: Vec<RefusalKind> = told.lock().unwrap().iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, [RefusalKind::Expelled, RefusalKind::Address]);
    rules.set_policy(IpAllowlist::default());
    ask().await.unwrap();
}

#[tokio::test]
async fn a_balancer_names_its_client() {
    let pki = Pki::new();
    let allowed = rules(&["192.0.2.0/24", "127.0.0.3"]);
    let (door, told) = open(config("behind", pki.server()), allowed, &["127.0.0.9"]).await;
    let client = || pki.raw_client(Some(&pki.issue("alice")), &[&TLS13]);

    let mut stream = connect_from(BALANCER, door.addr).await;
    stream.write_all(&header([192, 0, 2, 7])).await.unwrap();
    let (answer, ..) = visit_over(stream, client()).await.unwrap();
    assert!(answer.contains("address: 192.0.2.7:443\r\n"), "{answer}");

    let mut stream = connect_from(BALANCER, door.addr).await;
    for byte in header([192, 0, 2, 8]) {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let (answer, ..) = visit_over(stream, client()).await.unwrap();
    assert!(answer.contains("address: 192.0.2.8:443\r\n"), "{answer}");

    let (answer, ..) = visit_over(connect_from([127, 0, 0, 3], door.addr).await, client()).await.unwrap();
    assert!(answer.contains("address: 127.0.0.3:"), "who comes directly needs no header: {answer}");

    assert!(closed_after(connect_from(BALANCER, door.addr).await, &header([198, 51, 100, 1])).await.is_empty());
    let outside = ("198.51.100.1:443".parse().unwrap(), "address not allowed".to_owned());
    until("the refusal", || !told.lock().unwrap().is_empty()).await;
    assert_eq!(told.lock().unwrap().clone(), [(RefusalKind::Address, outside.0, outside.1)]);
    assert!(logs::warnings("behind")[0].contains("peer=198.51.100.1:443"), "{:?}", logs::warnings("behind"));
    visit(door.addr, client()).await.expect_err("127.0.0.1 is neither allowed nor a balancer");
}

#[tokio::test]
async fn headers_are_required_of_balancers_and_refused_from_others() {
    let pki = Pki::new();
    let mut config = config("headers", pki.server());
    config.limits.handshake_timeout = SHORT;
    let (door, told) = open(config, rules(&["*"]), &["127.0.0.9"]).await;
    let mut twice = header([192, 0, 2, 7]);
    twice.extend(header([192, 0, 2, 7]));
    let whole = header([192, 0, 2, 7]);
    let long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
    for (source, says, reason) in [
        (BALANCER, b"\x16\x03\x01\x02\0".to_vec(), "no PROXY header"),
        (BALANCER, b"GET / HTTP/1.1\r\n\r\n".to_vec(), "no PROXY header"),
        (BALANCER, b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(), "no PROXY header"),
        (BALANCER, whole[..20].to_vec(), "no whole PROXY header within"),
        (BALANCER, Vec::new(), "no whole PROXY header within"),
        (BALANCER, long, "longer than 2048 bytes"),
        (BALANCER, twice, "a PROXY header where none belongs"),
        (BALANCER, whole.clone(), "no byte within"),
        ([127, 0, 0, 1], whole, "a PROXY header where none belongs"),
    ] {
        let before = told.lock().unwrap().len();
        closed_after(connect_from(source, door.addr).await, &says).await;
        until("the refusal", || told.lock().unwrap().len() > before).await;
        let (kind, _, said) = told.lock().unwrap().last().unwrap().clone();
        assert!(kind == RefusalKind::Unproved && said.contains(reason), "{reason:?} is missing in {said:?}");
    }
    let failed = door.counters.handshakes_failed();
    drop(connect_from(BALANCER, door.addr).await);
    until("the health check to be gone", || door.counters.open() == 0).await;
    assert_eq!(door.counters.handshakes_failed(), failed, "a balancer that only looks is no refusal");
}

#[tokio::test]
async fn a_balancer_that_connects_for_itself_must_be_allowed_itself() {
    const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let pki = Pki::new();
    let rules = rules(&["*"]);
    let (door, told) = open(config("local", pki.server()), rules.clone(), &["127.0.0.9"]).await;
    let mut stream = connect_from(BALANCER, door.addr).await;
    stream.write_all(LOCAL).await.unwrap();
    let client = pki.raw_client(Some(&pki.issue("checker")), &[&TLS13]);
    let (answer, ..) = visit_over(stream, client).await.unwrap();
    assert!(answer.contains("address: 127.0.0.9:"), "{answer}");
    rules.set_policy(list(&["192.0.2.0/24"]));
    assert!(closed_after(connect_from(BALANCER, door.addr).await, LOCAL).await.is_empty());
    until("the refusal", || told.lock().unwrap().iter().any(|(kind, ..)| *kind == RefusalKind::Address)).await;
}
