//! Who gets in and who does not, over real handshakes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use consigner_gate::tls::{ALPN_API, ClientAuth, server_config};
use consigner_gate::{ClientError, HttpsClient, ReloadableTls, ServerTls, TlsError};
use http::Method;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use support::pki::{Identity, LONG, Pki};
use support::{Open, config, logs, open, until, visit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

async fn get(client: &HttpsClient, door: &Open) -> Result<consigner_gate::Response, ClientError> {
    client.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await
}

#[tokio::test]
async fn tls_1_2_and_1_3_clients_get_in_and_are_named() {
    let pki = Pki::new();
    let door = open(config("versions", pki.server())).await;
    let alice = pki.issue("alice");
    for (only, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let (answer, version, _) = visit(door.addr, pki.raw_client(Some(&alice), &[only])).await.unwrap();
        assert_eq!(version, Some(expected));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("peer: alice\r\n"), "{answer}");
        assert!(answer.contains("content-length: 0\r\n"), "lengths stay exact: {answer}");
    }
    assert_eq!(logs::warnings("versions"), Vec::<String>::new());
}

#[tokio::test]
async fn a_session_is_never_resumed() {
    let pki = Pki::new();
    let door = open(config("resumption", pki.server())).await;
    let alice = pki.issue("alice");
    for only in [&TLS12, &TLS13] {
        let with_session_cache = pki.raw_client(Some(&alice), &[only]);
        for visits in 0..3 {
            let (_, _, kind) = visit(door.addr, with_session_cache.clone()).await.unwrap();
            assert_eq!(kind, Some(HandshakeKind::Full), "{only:?}, visit {visits}");
        }
        let resumed = visit_a_server_that_resumes(&pki, with_session_cache).await;
        assert_eq!(resumed, Some(HandshakeKind::Resumed), "the check above could not fail");
    }
}

/// The same files with rustls' defaults, which do resume.
async fn visit_a_server_that_resumes(pki: &Pki, client: Arc<ClientConfig>) -> Option<HandshakeKind> {
    let mut server = (*server_config(&pki.server_files(), ALPN_API).unwrap()).clone();
    server.session_storage = rustls::server::ServerSessionMemoryCache::new(10);
    server.send_tls13_tickets = 2;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(server));
        loop {
            let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            stream.read_exact(&mut [0; 40]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    visit(addr, client.clone()).await.unwrap();
    let (_, _, kind) = visit(addr, client).await.unwrap();
    serving.abort();
    kind
}

/// Expects that a caller is refused with exactly one WARN line, and that the line says why.
async fn refused(door: &Open, honest: &HttpsClient, client: Arc<ClientConfig>, words: &[&str]) {
    let before = logs::warnings(&door.name).len();
    visit(door.addr, client).await.expect_err("should be refused");
    until("a WARN line", || logs::warnings(&door.name).len() > before).await;
    // Whatever else the refusal would have written has been written once a later caller was served.
    get(honest, door).await.unwrap();
    let lines = logs::warnings(&door.name).split_off(before);
    assert_eq!(lines.len(), 1, "exactly one line: {lines:#?}");
    for word in words.iter().chain(&["peer=127.0.0.1:"]) {
        assert!(lines[0].contains(word), "{word:?} is missing in {}", lines[0]);
    }
}

#[tokio::test]
async fn a_refused_caller_is_logged_once_with_the_reason() {
    let (pki, foreign, namesake) = (Pki::new(), Pki::named("foreign ca"), Pki::new());
    let door = open(config("refusals", pki.server())).await;
    let honest = pki.https("honest");
    let mallory = foreign.issue("mallory");
    let eve = namesake.issue("eve");
    let expired = pki.expired("late");
    for only in [&TLS12, &TLS13] {
        refused(&door, &honest, pki.raw_client(None, &[only]), &["no client certificate", "certificate=\"none\""])
            .await;
        let words = ["CN=mallory", "sha256:", "UnknownIssuer"];
        refused(&door, &honest, pki.raw_client(Some(&mallory), &[only]), &words).await;
        let words = ["CN=eve", "sha256:", "BadSignature"];
        refused(&door, &honest, pki.raw_client(Some(&eve), &[only]), &words).await;
        let words = ["CN=late", "sha256:", "expired"];
        refused(&door, &honest, pki.raw_client(Some(&expired), &[only]), &words).await;
    }
    assert_eq!(door.counters.handshakes_failed(), 8);
}

#[tokio::test]
async fn plain_http_to_a_tls_port_is_refused_and_logged_once() {
    let pki = Pki::new();
    let door = open(config("plaintext", pki.server())).await;
    let mut stream = TcpStream::connect(door.addr).await.unwrap();
    stream.write_all(b"GET /upcheck HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "no HTTP answer on a TLS port");
    until("a WARN line", || !logs::warnings("plaintext").is_empty()).await;
    get(&pki.https("honest"), &door).await.unwrap();
    let lines = logs::warnings("plaintext");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("plain HTTP on a TLS port?"), "{}", lines[0]);
}

#[tokio::test]
async fn a_tcp_health_check_is_no_refusal() {
    let pki = Pki::new();
    let door = open(config("probe", pki.server())).await;
    drop(TcpStream::connect(door.addr).await.unwrap());
    get(&pki.https("honest"), &door).await.unwrap();
    until("the probe to end", || door.counters.open() == 1).await;
    assert_eq!((logs::warnings("probe").len(), door.counters.handshakes_failed()), (0, 0));
}

#[tokio::test]
async fn a_reload_counts_for_the_next_connection_and_a_bad_file_changes_nothing() {
    let (old, new) = (Pki::new(), Pki::new());
    let files = old.server_files();
    let tls = ReloadableTls::load(files.clone(), ALPN_API).unwrap();
    let door = open(config("reload", Some(tls.clone()))).await;
    get(&old.https("before"), &door).await.unwrap();

    std::fs::write(&files.key, "nonsense").unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::NoKey { .. })));
    get(&old.https("still"), &door).await.unwrap();

    let ServerTls { cert, key, client_ca } = new.server_files();
    for (from, to) in [(cert, files.cert), (key, files.key), (client_ca, files.client_ca)] {
        std::fs::copy(from, to).unwrap();
    }
    tls.reload().unwrap();
    get(&new.https("after"), &door).await.unwrap();
    get(&old_trust(&old, &new), &door).await.expect_err("the old CA is out");
}

#[tokio::test]
async fn a_refused_client_learns_why_whatever_it_was_sending() {
    let (pki, foreign) = (Pki::new(), Pki::named("foreign ca"));
    let door = open(config("why", pki.server())).await;
    let stranger = old_trust(&foreign, &pki);
    for _ in 0..20 {
        // Sent behind a TLS 1.3 handshake that the client believes to be over: never read by the door as a request.
        let body = Bytes::from(vec![0; 8 << 10]);
        let error = stranger.request(Method::POST, &door.url("/"), &[], body, LONG).await.expect_err("a stranger");
        assert!(matches!(error, ClientError::Tls { .. }), "{error:?}");
    }
}

/// A client of the old CA that trusts the new server.
fn old_trust(old: &Pki, new: &Pki) -> HttpsClient {
    let Identity { cert, key } = old.issue("old");
    let files = consigner_gate::ClientTls { cert, key, ca: new.ca_file.clone() };
    HttpsClient::new(consigner_gate::tls::client_config(&files, ALPN_API).unwrap(), 1)
}

#[test]
fn bad_files_are_named_with_the_reason() {
    let (pki, other) = (Pki::new(), Pki::new());
    let good = pki.server_files();
    let file = |name: &str, text: &[u8]| {
        let path = pki.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let empty = file("empty.pem", b"");
    let broken = file("broken.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n");
    let garbage = file("garbage.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let sealed =
        file("sealed.pem", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let sealed_as_before = file(
        "sealed-as-before.pem",
        b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
          -----END RSA PRIVATE KEY-----\n",
    );
    let der = file("cert.der", &[0x30, 0x82, 1, 0, 0xff]);
    let long = file("long.pem", &vec![b'\n'; (1 << 20) + 1]);
    let late = pki.expired("late");
    let early = pki.issue_with("early", |params| {
        params.not_before = rcgen::date_time_ymd(2400, 1, 1);
        params.not_after = rcgen::date_time_ymd(2401, 1, 1);
    });
    let missing = pki.dir.path().join("missing.pem");
    let foreign_key = other.issue("foreign").key;
    let with = |change: &dyn Fn(&mut ServerTls)| {
        let mut files = good.clone();
        change(&mut files);
        server_config(&files, ALPN_API).expect_err("should be refused").to_string()
    };
    for (error, words) in [
        (with(&|f| f.cert = missing.clone()), "cannot read "),
        (with(&|f| f.cert = empty.clone()), "no certificate in "),
        (with(&|f| f.cert = broken.clone()), "broken.pem is not valid PEM"),
        (with(&|f| f.cert = broken.clone()), "the section of CERTIFICATE does not end"),
        (with(&|f| f.cert = der.clone()), "cert.der is DER, not PEM: convert it"),
        (with(&|f| f.key = der.clone()), "cert.der is DER, not PEM: convert it"),
        (with(&|f| f.key = sealed_as_before.clone()), "is encrypted: decrypt it first"),
        (with(&|f| f.cert = garbage.clone()), "garbage.pem cannot be used"),
        (with(&|f| f.cert = long.clone()), "long.pem is longer than 1048576 bytes"),
        (with(&|f| f.key = empty.clone()), "no private key in "),
        (with(&|f| f.key = good.cert.clone()), "no private key in "),
        (with(&|f| f.key = sealed.clone()), "is encrypted"),
        (with(&|f| f.key = foreign_key.clone()), "does not match the certificate"),
        (with(&|f| (f.cert, f.key) = (late.cert.clone(), late.key.clone())), "certificate CN=late in "),
        (with(&|f| (f.cert, f.key) = (late.cert.clone(), late.key.clone())), "expired on Jan  1"),
        (with(&|f| (f.cert, f.key) = (early.cert.clone(), early.key.clone())), "is not valid before"),
        (with(&|f| f.client_ca = empty.clone()), "no certificate in "),
        (with(&|f| f.client_ca = good.cert.clone()), "is not a CA certificate"),
    ] {
        assert!(error.contains(words), "{words:?} is missing in {error:?}");
    }
}

#[tokio::test]
async fn where_a_certificate_is_optional_none_is_anonymous_and_a_wrong_one_is_refused() {
    let (pki, foreign) = (Pki::new(), Pki::named("foreign ca"));
    let tls = ReloadableTls::load_for(pki.server_files(), ClientAuth::Optional, ALPN_API).unwrap();
    let door = open(config("optional", Some(tls.clone()))).await;
    for reloaded in [false, true] {
        if reloaded {
            tls.reload().unwrap();
        }
        for only in [&TLS12, &TLS13] {
            for (identity, name) in [(None, "anonymous"), (Some(pki.issue("alice")), "alice")] {
                let (answer, ..) = visit(door.addr, pki.raw_client(identity.as_ref(), &[only])).await.unwrap();
                assert!(answer.contains(&format!("peer: {name}\r\n")), "{answer}");
            }
            let mallory = foreign.issue("mallory");
            visit(door.addr, pki.raw_client(Some(&mallory), &[only])).await.expect_err("a foreign certificate");
        }
    }
    until("four refusals", || door.counters.handshakes_failed() == 4).await;
}
