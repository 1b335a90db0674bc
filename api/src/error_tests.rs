#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::*;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use std::time::Duration;

async fn answer(error: ApiError) -> (u16, http::HeaderMap, Value) {
    let response = error.into_response();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn every_error_has_its_status_and_says_something_in_json() {
    let key = PublicKey([1; 48]);
    let (expected, got) = (Root([1; 32]), Root([2; 32]));
    let violation = Violation::DoubleVote { source_epoch: 1, target_epoch: 2, stored_source: 0 };
    let cases = [
        (ApiError::BadRequest("type: missing".to_owned()), 400, "type: missing"),
        (ApiError::Host(HostProblem::Missing), 400, "Host header"),
        (ApiError::Host(HostProblem::Several), 400, "more than one"),
        (ApiError::Host(HostProblem::NotAllowed("evil".to_owned())), 403, "allowlist"),
        (ApiError::Forbidden("no".to_owned()), 403, "no"),
        (ApiError::NoSuchPath, 404, "no such path"),
        (ApiError::UnknownKey(key), 404, "0x0101"),
        (ApiError::MethodNotAllowed, 405, "Allow"),
        (ApiError::NotAcceptable, 406, "application/json"),
        (ApiError::Body(BodyError::TooLarge { bytes_max: 7 }), 413, "7 bytes"),
        (ApiError::Body(BodyError::Slow(Duration::from_secs(8))), 408, "8 s"),
        (ApiError::Body(BodyError::NoRoom), 503, "in flight"),
        (ApiError::Refused { violation, log_index: 7 }, 412, "slashing protection: another attestation"),
        (ApiError::OtherChain { expected, got }, 412, "genesis_validators_root is 0x0202"),
        (ApiError::Conflict("twice".to_owned()), 409, "twice"),
        (ApiError::Unavailable("no leader".to_owned()), 503, "no leader; try again"),
        (ApiError::Internal, 500, "log of this node"),
    ];
    for (error, status, says) in cases {
        let name = format!("{error:?}");
        let (answered, headers, body) = answer(error).await;
        assert_eq!(answered, status, "{name}");
        assert_eq!(headers[CONTENT_TYPE], "application/json; charset=utf-8", "{name}");
        assert!(body["error"].as_str().expect("a sentence").contains(says), "{name}: {body}");
        assert_eq!(headers.contains_key(RETRY_AFTER), status == 503, "{name}");
        assert!(!headers.contains_key(LOCATION), "{name}");
    }
}

#[tokio::test]
async fn a_foreign_host_gets_the_body_of_web3signer() {
    let (_, _, body) = answer(ApiError::Host(HostProblem::NotAllowed("evil".to_owned()))).await;
    assert_eq!(body["message"], "Host not authorized.");
}

#[tokio::test]
async fn a_redirect_is_307_and_repeats_path_and_query_as_they_were_sent() {
    let asked = Asked("//api/v1/eth2/sign/0xab/?a=1//2".parse().unwrap());
    let error = ApiError::from(AuthorizeError::Redirect { api_url: "https://node2:9010".to_owned() });
    let (status, headers, body) = answer(error.for_request(Some(&asked))).await;
    assert_eq!(status, 307, "301, 302 and 303 turn the POST into a GET, 308 is remembered");
    assert_eq!(headers[LOCATION], "https://node2:9010//api/v1/eth2/sign/0xab/?a=1//2");
    assert!(body["error"].as_str().unwrap().contains("https://node2:9010"), "{body}");
}

#[tokio::test]
async fn an_unusable_leader_url_is_our_fault() {
    let error = ApiError::SeeLeader { api_url: "https://node2\n".to_owned(), asked: None };
    assert_eq!(answer(error).await.0, 500);
}

#[test]
fn a_key_that_the_cluster_has_is_never_unknown() {
    let error = ApiError::from(SignError::UnknownKey);
    assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE, "{error:?}");
}
