//! Caps, deadlines and the orderly end of a door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consigner_gate::tls::{ALPN_API, client_config};
use consigner_gate::{ClientTls, DoorConfig, DoorLimits, HttpsClient, Peer};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use support::pki::{Identity, LONG, Pki};
use support::{Open, config, echo, logs, open, open_with, status, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(200);

fn limited(name: &str, pki: Option<&Pki>, change: impl FnOnce(&mut DoorLimits)) -> DoorConfig {
    let mut config = config(name, pki.and_then(Pki::server));
    change(&mut config.limits);
    config
}

/// Reads until the door closes the connection, which it must do by itself.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = timeout(support::PATIENCE, stream.read_to_end(&mut all)).await.expect("the door should have closed it");
    // A reset is an end, too.
    let _reset = read;
    all
}

async fn get(client: &HttpsClient, door: &Open) -> Result<StatusCode, consigner_gate::ClientError> {
    client.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await.map(|response| response.status)
}

#[tokio::test]
async fn a_caller_that_never_shakes_hands_is_closed_at_the_deadline() {
    let pki = Pki::new();
    let door = open(limited("silent", Some(&pki), |limits| limits.handshake_timeout = SHORT)).await;
    let mut silent = TcpStream::connect(door.addr).await.unwrap();
    assert!(read_to_end(&mut silent).await.is_empty());
    let mut halfway = TcpStream::connect(door.addr).await.unwrap();
    halfway.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    read_to_end(&mut halfway).await;
    until("both lines", || logs::warnings("silent").len() == 2).await;
    let lines = logs::warnings("silent");
    assert!(lines[0].contains("no byte within 200ms"), "{}", lines[0]);
    assert!(lines[1].contains("handshake not finished within 200ms"), "{}", lines[1]);
    until("both slots to be free", || door.counters.open() == 0).await;
}

#[tokio::test]
async fn connections_over_the_cap_are_closed_at_once() {
    let pki = Pki::new();
    let door = open(limited("cap", Some(&pki), |limits| limits.connections_max = 2)).await;
    let (first, second) = (pki.https("first"), pki.https("second"));
    get(&first, &door).await.unwrap();
    get(&second, &door).await.unwrap();
    let third = pki.https("third");
    get(&third, &door).await.expect_err("two are open and kept alive");
    assert_eq!(door.counters.refused_full(), 1);
    assert!(logs::warnings("cap")[0].contains("too many open connections"), "{:?}", logs::warnings("cap"));
    assert_eq!(get(&first, &door).await.unwrap(), StatusCode::OK, "those who are in stay in");
    drop(first);
    until("a free slot", || door.counters.open() == 1).await;
    assert_eq!(get(&third, &door).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_silly_configuration_opens_all_the_same() {
    let pki = Pki::new();
    for (name, number) in [("unlimited", usize::MAX), ("least", 1)] {
        let door = open(limited(name, Some(&pki), |limits| {
            (limits.connections_max, limits.handshakes_max, limits.waiting_max) = (number, number, number);
        }))
        .await;
        assert_eq!(get(&pki.https(name), &door).await.unwrap(), StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_writes_few_lines_and_counts_the_rest() {
    const FLOOD: u64 = 60;
    let pki = Pki::new();
    let door = open(config("flood", pki.server())).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..FLOOD {
        let addr = door.addr;
        callers.spawn(async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            read_to_end(&mut stream).await;
        });
    }
    callers.join_all().await;
    let accounted = || {
        let lines = logs::warnings("flood");
        let counts =
            lines.iter().filter_map(|line| line.split("count=").nth(1)?.split(' ').next()?.parse::<u64>().ok());
        let single = lines.iter().filter(|line| !line.contains("count=")).count();
        (single, counts.sum::<u64>())
    };
    until("every refusal to be accounted for", || accounted().0 as u64 + accounted().1 == FLOOD).await;
    assert!(accounted().0 < FLOOD as usize, "nothing was suppressed");
    assert_eq!(door.counters.handshakes_failed(), FLOOD);
}

#[tokio::test]
async fn a_dripped_request_head_is_cut() {
    for (name, before) in [("drip-first", ""), ("drip-later", "GET / HTTP/1.1\r\nHost: a\r\n\r\n")] {
        let door = open(limited(name, None, |limits| limits.head_timeout = SHORT)).await;
        let mut stream = TcpStream::connect(door.addr).await.unwrap();
        stream.write_all(before.as_bytes()).await.unwrap();
        if !before.is_empty() {
            let mut start = [0; 15];
            stream.read_exact(&mut start).await.unwrap();
            assert_eq!(&start, b"HTTP/1.1 200 OK");
        }
        let (reader, mut writer) = stream.split();
        let mut reader = tokio::io::BufReader::new(reader);
        let drip = async {
            loop {
                if writer.write_all(b"x").await.is_err() {
                    return;
                }
                tokio::time::sleep(SHORT / 20).await;
            }
        };
        let ended = async {
            let mut rest = Vec::new();
            let _reset = reader.read_to_end(&mut rest).await;
        };
        timeout(support::PATIENCE, async {
            tokio::select! { () = drip => {}, () = ended => {} }
        })
        .await
        .unwrap();
        until("the cut to be counted", || door.counters.cut() == 1 && door.counters.open() == 0).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_the_client_connects_again() {
    let pki = Pki::new();
    // Not so short that a busy machine takes the caller for idle before it has asked.
    let door = open(limited("idle", Some(&pki), |limits| limits.idle_timeout = Duration::from_secs(1))).await;
    let client = pki.https("client");
    for round in 1..=2 {
        assert_eq!(get(&client, &door).await.unwrap(), StatusCode::OK);
        assert_eq!(door.counters.accepted(), round);
        until("the idle connection to be closed", || door.counters.open() == 0).await;
    }
    assert_eq!(door.counters.cut(), 0, "idle is no fault");
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_certificate() {
    let pki = Pki::new();
    // A short head timeout makes the door look at its connections often.
    let door = open(limited("outlive", Some(&pki), |limits| limits.head_timeout = SHORT)).await;
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let brief = |seconds: u64| {
        let end = now() + seconds;
        let Identity { cert, key } = pki.issue_with("brief", |params| {
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
        });
        let files = ClientTls { cert, key, ca: pki.ca_file.clone() };
        (HttpsClient::new(client_config(&files, ALPN_API).unwrap(), 1), end)
    };
    // A busy machine may need longer to connect than the certificate lives.
    for seconds in [3, 10, 30] {
        let (client, end) = brief(seconds);
        match get(&client, &door).await {
            Ok(status) => assert_eq!(status, StatusCode::OK),
            Err(error) if now() < end => panic!("{error}"),
            Err(_expired) => continue,
        }
        assert_eq!(door.counters.accepted(), 1, "the connection stands, or stood");
        until("the connection to be closed", || door.counters.open() == 0).await;
        assert!(now() >= end, "closed before its time");
        get(&client, &door).await.expect_err("expired");
        return;
    }
    panic!("no connection within 30 s");
}

#[tokio::test]
async fn the_peer_hook_refuses_after_the_handshake() {
    let pki = Pki::new();
    let mut members_only = config("members", pki.server());
    members_only.admit = Some(Arc::new(|peer: &Peer| match peer.name().as_str() {
        "node1" => Ok(()),
        other => Err(format!("{other} is not a member")),
    }));
    let door = open(members_only).await;
    assert_eq!(get(&pki.https("node1"), &door).await.unwrap(), StatusCode::OK);
    get(&pki.https("mallory"), &door).await.expect_err("not a member");
    until("a WARN line", || !logs::warnings("members").is_empty()).await;
    let lines = logs::warnings("members");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("mallory is not a member") && lines[0].contains("sha256:"), "{}", lines[0]);
}

/// A service that waits in `/slow` until it is told to go on.
#[derive(Clone, Default)]
struct Slow {
    entered: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Slow {
    async fn open(&self, config: DoorConfig) -> Open {
        let slow = self.clone();
        open_with(config, move |request: Request<Incoming>| {
            let slow = slow.clone();
            async move {
                if request.uri().path() == "/slow" {
                    slow.entered.notify_one();
                    slow.go_on.notified().await;
                }
                echo(request).await
            }
        })
        .await
    }
}

#[tokio::test]
async fn shutdown_lets_a_request_in_flight_finish() {
    let pki = Pki::new();
    let slow = Slow::default();
    let door = slow.open(config("drain", pki.server())).await;
    let idle = pki.https("idle");
    get(&idle, &door).await.unwrap();
    let (busy, url) = (pki.https("busy"), door.url("/slow"));
    let request =
        tokio::spawn(async move { busy.request(Method::POST, &url, &[], Bytes::from_static(b"duty"), LONG).await });
    slow.entered.notified().await;
    door.shutdown.cancel();
    let addr = door.addr;
    until("the listener to be closed", || std::net::TcpStream::connect(addr).is_err()).await;
    until("the idle connection to be closed", || door.counters.open() == 1).await;
    assert!(!request.is_finished());
    slow.go_on.notify_one();
    let response = request.await.unwrap().unwrap();
    assert_eq!((response.status, response.body.as_ref()), (StatusCode::OK, b"duty".as_slice()));
    assert_eq!(door.served.await.unwrap(), 0, "nothing had to be cut");
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_finish() {
    let pki = Pki::new();
    let slow = Slow::default();
    let door = slow.open(limited("cut", Some(&pki), |limits| limits.drain_timeout = SHORT)).await;
    let (busy, url) = (pki.https("busy"), door.url("/slow"));
    let request = tokio::spawn(async move { busy.request(Method::GET, &url, &[], Bytes::new(), LONG).await });
    slow.entered.notified().await;
    assert_eq!(timeout(support::PATIENCE, door.close()).await.unwrap(), 1);
    request.await.unwrap().expect_err("cut");
}

#[tokio::test]
async fn a_plain_door_serves_metrics_and_names_nobody() {
    let door = open(config("plain", None)).await;
    let client = Pki::new().https("client");
    let url = format!("http://{}/metrics", door.addr);
    let response = client.request(Method::GET, &url, &[], Bytes::new(), LONG).await.unwrap();
    assert_eq!((response.status, response.headers["peer"].to_str().unwrap()), (StatusCode::OK, "anonymous"));
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let door = open(config("first-here", None)).await;
    let mut second = config("second", None);
    second.addr = door.addr;
    let error = consigner_gate::Door::bind(second).await.err().expect("the address is taken");
    assert_eq!(error.to_string(), format!("the second door cannot listen on {}", door.addr));
}

#[tokio::test]
async fn answers_without_a_body_keep_their_status() {
    let pki = Pki::new();
    let door = open_with(config("status", pki.server()), |_| async { status(StatusCode::NOT_FOUND) }).await;
    assert_eq!(get(&pki.https("client"), &door).await.unwrap(), StatusCode::NOT_FOUND);
}
