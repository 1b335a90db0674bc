//! The HTTPS client: redirects, kept-alive connections, precise failures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use consigner_gate::ClientError;
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use support::pki::{LONG, Pki};
use support::{Open, config, echo, open, open_with, status};

const BODY: &[u8] = br#"{"type":"ATTESTATION"}"#;

/// A door that redirects everything to the same path below `to`.
async fn open_redirect(name: &str, pki: &Pki, code: StatusCode, to: String) -> Open {
    open_with(config(name, pki.server()), move |request: Request<Incoming>| {
        let location = format!("{to}{}", request.uri().path());
        async move {
            let mut response = status(code);
            response.headers_mut().insert(header::LOCATION, location.parse().unwrap());
            response
        }
    })
    .await
}

#[tokio::test]
async fn a_307_is_followed_with_method_and_body() {
    let pki = Pki::new();
    let leader = open(config("leader", pki.server())).await;
    for code in [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT] {
        let follower = open_redirect("follower", &pki, code, leader.url("")).await;
        let client = pki.https("vc").follow_redirects(true);
        let url = follower.url("/api/v1/eth2/sign/0xab");
        let response = client.request(Method::POST, &url, &[], Bytes::from_static(BODY), LONG).await.unwrap();
        assert_eq!((response.status, response.body.as_ref()), (StatusCode::OK, BODY));
        assert_eq!(response.headers["path"], "/api/v1/eth2/sign/0xab");
        let host = format!("localhost:{}", leader.addr.port());
        assert_eq!(response.headers["host-seen"].to_str().unwrap(), host, "the Host of the leader");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_unless_following_was_asked_for() {
    let pki = Pki::new();
    let door = open_redirect("answer", &pki, StatusCode::TEMPORARY_REDIRECT, "https://leader".to_owned()).await;
    let response = pki.https("vc").request(Method::GET, &door.url("/x"), &[], Bytes::new(), LONG).await.unwrap();
    assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(response.headers[header::LOCATION], "https://leader/x");
}

#[tokio::test]
async fn loops_and_downgrades_are_not_followed() {
    let pki = Pki::new();
    let client = pki.https("vc").follow_redirects(true);
    // An empty base: a relative Location on the same server, for ever.
    let circle = open_redirect("circle", &pki, StatusCode::TEMPORARY_REDIRECT, String::new()).await;
    let error = client.request(Method::GET, &circle.url("/x"), &[], Bytes::new(), LONG).await.expect_err("a loop");
    assert!(error.to_string().contains("more than 5 hops"), "{error}");
    let down = open_redirect("down", &pki, StatusCode::TEMPORARY_REDIRECT, "http://localhost:1".to_owned()).await;
    let error = client.request(Method::GET, &down.url("/x"), &[], Bytes::new(), LONG).await.expect_err("plain");
    assert!(error.to_string().contains("from https to http"), "{error}");
}

#[tokio::test]
async fn connections_are_kept_alive_and_used_again() {
    let pki = Pki::new();
    let door = open(config("keep-alive", pki.server())).await;
    let client = pki.https("vc");
    for round in 0..20 {
        let body = Bytes::from(vec![round; 1000 * usize::from(round)]);
        let response = client.request(Method::POST, &door.url("/"), &[], body.clone(), LONG).await.unwrap();
        assert!(response.body == body);
    }
    assert_eq!(door.counters.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_get_connections_of_their_own_and_keep_a_few() {
    let pki = Pki::new();
    let door = open(config("concurrent", pki.server())).await;
    let client = pki.https("vc");
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..32_u8 {
        let (client, url) = (client.clone(), door.url("/"));
        requests.spawn(async move {
            let body = Bytes::from(vec![number; 100]);
            let response = client.request(Method::POST, &url, &[], body.clone(), LONG).await.unwrap();
            assert!(response.body == body);
        });
    }
    requests.join_all().await;
    support::until("all but four to be closed", || door.counters.open() <= 4).await;
}

#[tokio::test]
async fn a_restarted_server_is_found_with_stale_connections_in_the_pool() {
    let pki = Pki::new();
    let mut before = config("before", pki.server());
    before.addr = support::lasting();
    let door = open(before).await;
    let client = pki.https("vc");
    let (addr, url) = (door.addr, door.url("/"));
    client.request(Method::GET, &url, &[], Bytes::new(), LONG).await.unwrap();
    door.close().await;
    let error = client.request(Method::GET, &url, &[], Bytes::new(), LONG).await.expect_err("nobody listens");
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    let mut again = config("after", pki.server());
    again.addr = addr;
    let _door = open(again).await;
    let response = client.request(Method::GET, &url, &[], Bytes::new(), LONG).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
}

#[tokio::test]
async fn a_host_header_can_be_chosen() {
    let pki = Pki::new();
    let door = open(config("host", pki.server())).await;
    let headers = [(header::HOST, HeaderValue::from_static("evil.example"))];
    let response = pki.https("vc").request(Method::GET, &door.url("/"), &headers, Bytes::new(), LONG).await.unwrap();
    assert_eq!(response.headers["host-seen"], "evil.example");
}

#[tokio::test]
async fn a_deadline_covers_the_whole_answer() {
    let pki = Pki::new();
    let door = open_with(config("late", pki.server()), |request: Request<Incoming>| async move {
        if request.uri().path() == "/never" {
            std::future::pending::<()>().await;
        }
        echo(request).await
    })
    .await;
    let client = pki.https("vc");
    let short = Duration::from_millis(50);
    let error = client.request(Method::GET, &door.url("/never"), &[], Bytes::new(), short).await.expect_err("late");
    assert!(matches!(error, ClientError::Deadline { .. }), "{error:?}");
    let response = client.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
}

#[tokio::test]
async fn a_server_of_another_ca_is_a_tls_error() {
    let (pki, foreign) = (Pki::new(), Pki::new());
    let door = open(config("foreign", pki.server())).await;
    let error = foreign.https("vc").request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await;
    assert!(matches!(error, Err(ClientError::Tls { .. })), "{error:?}");
}
