#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::super::finding::Status::{self, Fail, Pass, Skip, Warn};
use super::*;
use crate::certs::CertificateDir;
use consigner_gate::ReloadableTls;
use consigner_gate::ServerTls;
use consigner_gate::door::{Door, DoorConfig, DoorLimits};
use consigner_gate::tls::{ALPN_API, ClientAuth, DoorTls, TlsVersion};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A door of `gate` that serves nothing; its address. It ends with the token.
async fn door(dir: &std::path::Path, change: impl FnOnce(&mut DoorTls), stop: &CancellationToken) -> String {
    let certificates = CertificateDir::new(dir.to_owned());
    certificates.ensure(std::iter::once("node1")).unwrap();
    let (cert, key, client_ca) = (certificates.cert("node1"), certificates.key("node1"), certificates.cert("ca"));
    let mut tls: DoorTls = ServerTls { cert, key, client_ca }.into();
    change(&mut tls);
    let door = Door::bind(DoorConfig {
        name: "looked-at".to_owned(),
        addr: "127.0.0.1:0".parse().unwrap(),
        tls: Some(ReloadableTls::load_door(tls, ALPN_API).unwrap()),
        admit: None,
        limits: DoorLimits::default(),
    })
    .await
    .unwrap();
    let address = door.local_addr().to_string();
    let service = tower::service_fn(async |_request| {
        Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(bytes::Bytes::new())))
    });
    tokio::spawn(door.serve(service, stop.clone()));
    address
}

#[tokio::test]
async fn a_strict_door_is_seen_to_be_strict_and_a_lax_one_lax() {
    let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    type Change = fn(&mut DoorTls);
    let cases: [(Change, Status, Status); 3] = [
        (|_| (), Pass, Pass),
        (|tls| tls.client_auth = ClientAuth::Optional, Fail, Pass),
        (|tls| tls.versions.min = TlsVersion::Tls13, Skip, Pass),
    ];
    for (number, (change, certificate, versions)) in cases.into_iter().enumerate() {
        let address = door(dir.path(), change, &stop).await;
        let seen = look(&address, "localhost").await.unwrap();
        assert_eq!(judge::mutual_tls("d", &seen).status, certificate, "{number}: {seen:?}");
        assert_eq!(judge::versions("d", &seen).status, versions, "{number}: {seen:?}");
        assert_eq!(judge::plain_http("d", &seen).status, Pass, "{number}: {seen:?}");
        assert!(matches!(seen.tls13, Answer::Hello { version: 0x0304, .. }), "{seen:?}");
        if let Answer::Hello { certificate, .. } = &seen.tls12 {
            assert_eq!(certificate.as_ref().unwrap().common_name.as_deref(), Some("node1"));
        }
    }
    stop.cancel();
}

/// Answers every connection with the same bytes, whatever it says.
async fn parrot(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = [0; 1024];
                let _anything = stream.read(&mut heard).await;
                let _sent = stream.write_all(bytes).await;
                // An orderly end, so that the answer is not lost with what was not read.
                let _closed = stream.shutdown().await;
                while matches!(stream.read(&mut heard).await, Ok(1..)) {}
            });
        }
    });
    address
}

#[tokio::test]
async fn plain_http_is_noticed() {
    for (answer, status) in [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" as &'static [u8], Fail),
        (b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", Pass),
        (b"", Pass),
    ] {
        let address = parrot(answer).await;
        let seen = look(&address, "127.0.0.1").await.unwrap();
        assert_eq!(judge::plain_http("d", &seen).status, status);
        assert_eq!(judge::mutual_tls("d", &seen).status, Fail, "it speaks no TLS");
        assert_eq!(judge::versions("d", &seen).status, Fail);
    }
}

/// A server of old that takes whatever is offered: TLS 1.0, RSA key exchange, no certificate asked for.
const OLD: &[u8] = &{
    let mut flight = [0; 5 + 42 + 4];
    let head = [0x16, 3, 1, 0, 46, 2, 0, 0, 38, 3, 1];
    let mut i = 0;
    while i < head.len() {
        flight[i] = head[i];
        i += 1;
    }
    // Random (zero), no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression; then ServerHelloDone.
    flight[11 + 32 + 2] = 0x2f;
    flight[11 + 32 + 4] = 14;
    flight
};

#[tokio::test]
async fn old_versions_and_weak_suites_are_noticed() {
    let seen = look(&parrot(OLD).await, "old.example").await.unwrap();
    assert!(matches!(seen.tls10, Answer::Hello { version: 0x0301, suite: 0x002f, .. }), "{seen:?}");
    let verdict = judge::versions("d", &seen);
    assert_eq!(verdict.status, Fail);
    assert!(verdict.reason.contains("TLS 1.0, TLS 1.1, a weak cipher suite"), "{}", verdict.reason);
    assert_eq!(judge::mutual_tls("d", &seen).status, Fail);
}

#[tokio::test]
async fn where_nobody_listens_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    assert!(look(&address, "localhost").await.is_err());
}

#[test]
fn what_is_said_of_what_was_seen() {
    let hello = |version| Answer::Hello { version, suite: 0, certificate_asked: true, certificate: None };
    let good = Seen {
        tls13: hello(0x0304),
        tls12: hello(0x0303),
        tls11: Answer::Refused,
        tls10: Answer::Refused,
        weak: Answer::Refused,
        certificate_required: Some(true),
        plain_http: None,
    };
    for (seen, versions) in [
        (good.clone(), Pass),
        (Seen { tls12: Answer::Refused, ..good.clone() }, Pass),
        (Seen { tls13: Answer::Refused, ..good.clone() }, Warn),
        (Seen { tls13: Answer::Refused, tls12: Answer::Refused, ..good.clone() }, Fail),
        (Seen { weak: hello(0x0303), ..good.clone() }, Fail),
    ] {
        assert_eq!(judge::versions("d", &seen).status, versions, "{seen:?}");
    }
}
