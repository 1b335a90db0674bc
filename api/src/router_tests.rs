//! The admission steps around routes of our own, without a cluster.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::audit::Auditor;
use axum::body::Body;
use consigner_gate::HostAllowlist;
use http::header::{ALLOW, CONNECTION, HOST, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Version};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

fn routes() -> Router {
    let never = Router::new()
        .route("/never", get(async || std::future::pending::<()>().await))
        .route_layer(from_fn_with_state(Duration::from_secs(3), admission::deadline));
    let routes = Router::new()
        .route("/echo/{word}", get(async |axum::extract::Path(word): axum::extract::Path<String>| word))
        .route("/panic", get(async || -> &'static str { panic!("the handler's own message") }))
        .route("/large", get(async || ApiError::Body(admission::BodyError::TooLarge { bytes_max: 1 })))
        .merge(never)
        .fallback(async || ApiError::NoSuchPath)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    let hosts = HostAllowlist::parse(&["localhost"]).unwrap();
    admitted(Admission::new(Door::Api, hosts, None, Auditor::to_log_only()), routes)
}

async fn ask(method: Method, path: &str, host: Option<&str>) -> (u16, HeaderMap, String) {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path.parse().unwrap());
    let mut request = Request::builder().method(method).uri(http::Uri::from_parts(parts).unwrap());
    if let Some(host) = host {
        request = request.header(HOST, host);
    }
    let (parts, body) = routes().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn get_local(path: &str) -> (u16, HeaderMap, String) {
    ask(Method::GET, path, Some("localhost:9000")).await
}

fn sentence(body: &str) -> String {
    serde_json::from_str::<Value>(body).unwrap()["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn slashes_are_collapsed_before_a_route_is_chosen() {
    for path in ["/echo/word", "//echo/word", "/echo//word", "/echo/word/", "//echo///word//?a=b"] {
        let (status, _, body) = get_local(path).await;
        assert_eq!((status, body.as_str()), (200, "word"), "{path}");
    }
}

#[tokio::test]
async fn a_foreign_or_missing_host_stops_even_unknown_paths() {
    for path in ["/echo/word", "/no/such/path"] {
        let (status, _, body) = ask(Method::GET, path, Some("evil.example")).await;
        assert_eq!(status, 403, "{path}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["message"], "Host not authorized.");
        assert_eq!(ask(Method::GET, path, None).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_answered_in_json() {
    for path in ["/", "/no/such/path", "/echo", "/echo/a/b"] {
        let (status, _, body) = get_local(path).await;
        assert_eq!((status, sentence(&body).as_str()), (404, "no such path"), "{path}");
    }
    for method in [Method::POST, Method::OPTIONS, Method::DELETE] {
        let (status, headers, body) = ask(method.clone(), "/echo/word", Some("localhost")).await;
        assert_eq!(status, 405, "{method}");
        assert_eq!(headers[ALLOW], "GET,HEAD", "{method}");
        assert!(sentence(&body).contains("Allow"), "{method}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let (status, _, body) = ask(Method::HEAD, "/echo/word", Some("localhost")).await;
    assert_eq!((status, body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_panic_is_500_in_json_and_tells_nothing() {
    let (status, _, body) = get_local("/panic").await;
    assert_eq!(status, 500);
    assert!(!sentence(&body).contains("message"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_is_given_up() {
    let (status, headers, body) = get_local("/never").await;
    assert_eq!((status, sentence(&body).as_str()), (503, "no answer within 3 s; try again"));
    assert_eq!(headers[RETRY_AFTER], "1");
}

#[tokio::test]
async fn a_refused_body_ends_its_connection_where_connections_carry_one_request_at_a_time() {
    for (version, closes) in [(Version::HTTP_11, true), (Version::HTTP_2, false)] {
        let request = Request::builder().uri("/large").version(version).header(HOST, "localhost");
        let response = routes().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 413);
        assert_eq!(response.headers().contains_key(CONNECTION), closes, "{version:?}");
    }
}
