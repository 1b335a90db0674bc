//! What HTTP/1.1 was never meant to be: malformed, oversized, ambiguous, slow.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use consigner_gate::{DoorConfig, DoorLimits, HttpsClient};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use support::pki::{LONG, Pki};
use support::{Open, PATIENCE, config, logs, open_with, resident_mib, status, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(300);

/// A door that counts the requests that reach the program, with their bodies.
struct Counting {
    door: Open,
    served: Arc<AtomicUsize>,
}

impl Counting {
    async fn open(config: DoorConfig) -> Self {
        let served = Arc::new(AtomicUsize::new(0));
        let count = served.clone();
        let door = open_with(config, move |request| {
            let count = count.clone();
            async move {
                let path = request.uri().path().to_owned();
                match request.into_body().collect().await {
                    Ok(body) => {
                        count.fetch_add(1, Ordering::SeqCst);
                        let mut answer = Response::new(Full::new(body.to_bytes()));
                        answer.headers_mut().insert("path", path.parse().unwrap());
                        answer
                    }
                    Err(_broken) => status(StatusCode::BAD_REQUEST),
                }
            }
        })
        .await;
        Self { door, served }
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// Everything that is answered to these bytes until the door closes the connection.
    async fn says(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.door.addr).await.unwrap();
        // A door that has refused a head does not read the rest.
        let _cut_short = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _reset = read.unwrap_or_else(|_| panic!("still open after {:?}", String::from_utf8_lossy(bytes)));
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn serves_others(&self) {
        let answer = self.says(b"GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

fn limited(name: &str, change: impl FnOnce(&mut DoorLimits)) -> DoorConfig {
    let mut config = config(name, None);
    change(&mut config.limits);
    config
}

#[tokio::test]
async fn malformed_requests_get_a_4xx_and_a_closed_connection_and_reach_nobody() {
    let door = Counting::open(config("malformed", None)).await;
    let post = |headers: &str| format!("POST /x HTTP/1.1\r\nHost: a\r\n{headers}\r\nhello");
    let chunked = |body: &str| format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    for (what, request) in [
        ("two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n")),
        ("two lengths in one", post("Content-Length: 5, 6\r\n")),
        ("a signed length", post("Content-Length: +5\r\n")),
        ("a negative length", post("Content-Length: -5\r\n")),
        ("a hexadecimal length", post("Content-Length: 0x5\r\n")),
        ("no length", post("Content-Length: \r\n")),
        ("an overflowing length", post("Content-Length: 18446744073709551621\r\n")),
        ("an unknown coding", post("Transfer-Encoding: gzip\r\n")),
        ("chunked, but not last", post("Transfer-Encoding: chunked, identity\r\n")),
        ("a coding like chunked", post("Transfer-Encoding: xchunked\r\n")),
        ("chunked in HTTP/1.0", post("Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0")),
        ("a space before the colon", post("Content-Length : 5\r\n")),
        ("a folded line", post("X: a\r\n b\r\nContent-Length: 5\r\n")),
        ("a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_owned()),
        ("a bare CR", post("X: a\rContent-Length: 5\r\n")),
        ("a NUL in a value", post("X: a\0b\r\n")),
        ("a NUL in a name", post("X\0: a\r\n")),
        ("a line without a colon", post("X\r\n")),
        ("an empty name", post(": a\r\n")),
        ("no version", "GET /\r\nHost: a\r\n\r\n".to_owned()),
        ("another version", "GET / HTTP/3.7\r\nHost: a\r\n\r\n".to_owned()),
        ("another protocol", "GET / ICY/1.1\r\n\r\n".to_owned()),
        ("no method", " / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("a method of brackets", "<GET> / HTTP/1.1\r\n\r\n".to_owned()),
        ("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("two targets", "GET / / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("a chunk size that is none", chunked("xyz\r\nhello\r\n0\r\n\r\n")),
        ("a chunk size that overflows", chunked("FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n")),
        ("a negative chunk size", chunked("-1\r\nhello\r\n0\r\n\r\n")),
        ("a chunk longer than its size", chunked("3\r\nhello\r\n0\r\n\r\n")),
        ("a chunk that ends in LF", chunked("5\r\nhello\n0\r\n\r\n")),
        ("an endless chunk extension", chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000)))),
        ("an endless trailer", chunked(&format!("0\r\nX: {}\r\n\r\n", "x".repeat(200_000)))),
        ("a TLS greeting", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned()),
    ] {
        let answer = door.says(request.as_bytes()).await;
        let is_4xx = answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4");
        assert!(is_4xx || answer.is_empty(), "{what}: {answer}");
        assert_eq!(door.served(), 0, "{what} reached the program");
    }
    door.serves_others().await;
    assert_eq!(door.served(), 1);
}

#[tokio::test]
async fn whatever_two_parsers_could_split_differently_is_one_request() {
    let door = Counting::open(config("smuggling", None)).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = "POST /x HTTP/1.1\r\nHost: a\r\n";
    for (what, request) in [
        // RFC 9112, 6.3: the coding overrides the length, and the connection is closed after the answer.
        (
            "length, then coding",
            format!("{both}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        ),
        (
            "coding, then length",
            format!("{both}Transfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n0\r\n\r\n{smuggled}"),
        ),
        (
            "a coding in odd case",
            format!("{both}Content-Length: 4\r\ntRANSFER-eNCODING: CHUNKED\r\n\r\n0\r\n\r\n{smuggled}"),
        ),
        // RFC 9112, 2.2: "a recipient MAY recognize a single LF as a line terminator": everywhere or nowhere.
        (
            "bare LF",
            format!("POST /x HTTP/1.1\nHost: a\nContent-Length: {}\nConnection: close\n\n{smuggled}", smuggled.len()),
        ),
        (
            "a length behind a bare LF",
            format!("{both}X: y\nContent-Length: {}\r\nConnection: close\r\n\r\n{smuggled}", smuggled.len()),
        ),
        (
            "two equal lengths",
            format!(
                "{both}Content-Length: {0}\r\nContent-Length: {0}\r\nConnection: close\r\n\r\n{smuggled}",
                smuggled.len()
            ),
        ),
    ] {
        let before = door.served();
        let answer = door.says(request.as_bytes()).await;
        assert_eq!(door.served(), before + 1, "{what}: {answer}");
        assert_eq!(answer.matches("path: /").count(), 1, "{what}: {answer}");
        assert!(answer.contains("path: /x\r\n"), "{what}: {answer}");
    }
}

#[tokio::test]
async fn oversized_heads_are_refused_before_they_are_whole() {
    let door = Counting::open(config("oversized", None)).await;
    let before = resident_mib();
    let head = |more: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n\r\n");
    for (what, request) in [
        ("a long value", head(&format!("X: {}", "x".repeat(1 << 20)))),
        ("a long name", head(&format!("{}: x", "x".repeat(1 << 20)))),
        ("many headers", head(&"X: y\r\n".repeat(5000))),
        ("a long target", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1 << 20))),
        ("a long method", format!("{} / HTTP/1.1\r\n\r\n", "G".repeat(1 << 20))),
        ("an endless line", "x".repeat(32 << 20)),
    ] {
        let answer = door.says(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{what}: {}", &answer[..answer.len().min(200)]);
        assert_eq!(door.served(), 0, "{what}");
    }
    door.serves_others().await;
    assert!(resident_mib() < before + 128, "{} MiB after {before}", resident_mib());
}

#[tokio::test]
async fn a_body_that_stops_is_cut_and_one_that_is_longer_than_it_says_ends_there() {
    let door = Counting::open(limited("slow-body", |limits| limits.stall_timeout = SHORT)).await;
    let begin = "POST /x HTTP/1.1\r\nHost: a\r\n";
    for body in
        ["Content-Length: 1000\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "Content-Length: 1\r\n\r\n"]
    {
        let before = door.door.counters.cut();
        let answer = door.says(format!("{begin}{body}").as_bytes()).await;
        assert_eq!((answer.as_str(), door.served()), ("", 0), "{body}");
        until("the cut", || door.door.counters.cut() == before + 1).await;
    }
    let answer = door.says(format!("{begin}Content-Length: 2\r\n\r\nhi<garbage>\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("HTTP/1.1 400"), "{answer}");
    assert_eq!(door.served(), 1);
}

#[tokio::test]
async fn answers_that_nobody_reads_hold_little_memory_and_the_connection_is_cut() {
    let two_seconds = Duration::from_secs(2);
    let limits = |limits: &mut DoorLimits| (limits.stall_timeout, limits.idle_timeout) = (two_seconds, two_seconds);
    let door = Counting::open(limited("never-reads", limits)).await;
    let before = resident_mib();
    let body = "x".repeat(64 << 10);
    let request = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(door.door.addr).await.unwrap();
    // Pipelined: 4 GiB, if somebody took it all.
    let mut sent = 0;
    while sent < 65_536 {
        match timeout(SHORT, stream.write_all(request.as_bytes())).await {
            Ok(Ok(())) => sent += 1,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    assert!(sent < 65_536, "nothing held the caller up");
    assert!(resident_mib() < before + 128, "{} MiB after {before}, {sent} sent", resident_mib());
    until("the connection to be gone", || door.door.counters.open() == 0).await;
    door.serves_others().await;
}

#[tokio::test]
async fn a_handshake_byte_by_byte_ends_at_its_deadline_and_others_shake_hands_meanwhile() {
    const DRIPPING: usize = 20;
    let pki = Pki::new();
    let mut config = config("drip-handshake", pki.server());
    config.limits.handshake_timeout = Duration::from_secs(5);
    let door = Counting::open(config).await;
    let hello = client_hello(&pki);
    let begun = Instant::now();
    let mut dripping = tokio::task::JoinSet::new();
    for _ in 0..DRIPPING {
        let (addr, hello) = (door.door.addr, hello.clone());
        dripping.spawn(async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            for byte in hello.chunks(1) {
                if stream.write_all(byte).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let mut rest = Vec::new();
            let _reset =
                timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the door should have closed it");
        });
    }
    until("all of them to be in", || door.door.counters.open() >= DRIPPING as u64).await;
    for _ in 0..5 {
        let answer = HttpsClient::new(pki.client_tls("honest"), 0);
        let answer = answer.request(Method::GET, &door.door.url("/"), &[], Bytes::new(), LONG).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
    }
    dripping.join_all().await;
    // At 50 ms per byte the greeting alone would take longer.
    assert!(Duration::from_millis(50) * u32::try_from(hello.len()).unwrap() > Duration::from_secs(10));
    assert!(begun.elapsed() >= Duration::from_secs(5), "they had their time");
    until("their refusals", || door.door.counters.handshakes_failed() == DRIPPING as u64).await;
    assert!(logs::warnings("drip-handshake")[0].contains("handshake not finished within 5s"));
}

/// The first flight of a real client.
fn client_hello(pki: &Pki) -> Vec<u8> {
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut connection = rustls::ClientConnection::new(pki.client_tls("drip"), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}
