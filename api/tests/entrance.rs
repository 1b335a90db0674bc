//! Who may call the key manager API, through which port, and how often.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_api::{
    KeyManagerDoor, KeyManagerPolicy, KeyManagerProof, RateLimit, TokenHash, keymanager_router, router,
};
use consigner_gate::HostAllowlist;
use consigner_rules::{Network, Root};
use http::Method;
use http::header::{ALLOW, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use support::keystores::{KEYSTORES, REMOTE_KEYS, TOKEN, UNHURRIED, enabled, enabled_with_token, import_of};
use support::{Answer, Node, ask, get};

const ROOT: Root = Root([0x11; 32]);
const WRONG: &str = "00000000000000000000000000000000";

async fn node() -> Node {
    Node::with_keys(Network::by_name("mainnet").unwrap(), ROOT, &[]).await
}

fn message(answer: &Answer) -> String {
    assert_eq!(answer.content_type(), "application/json; charset=utf-8");
    answer.json()["message"].as_str().expect("errors of this API have a message").to_owned()
}

/// Every call of the API.
fn calls() -> Vec<(Method, &'static str)> {
    let methods = [Method::GET, Method::POST, Method::DELETE];
    methods.iter().flat_map(|method| [KEYSTORES, REMOTE_KEYS].map(|path| (method.clone(), path))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_api_says_how_to_enable_it() {
    let node = node().await;
    for (method, path) in calls() {
        let answer = ask(method.clone(), path).by("admin").bearer(TOKEN).of(&node).await;
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(message(&answer).contains("keymanager.enabled"), "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_port_wants_an_administrators_certificate_and_the_token_on_top() {
    let node = node().await;
    let (open, guarded) = (router(node.app_with(enabled)), router(node.app_with(enabled_with_token)));
    for (method, path) in calls() {
        let call = || ask(method.clone(), path);
        for caller in [call().by("client"), call().by("node1"), call().without_certificate()] {
            let answer = caller.bearer(TOKEN).through(&open).await;
            assert_eq!(answer.status, 403, "{method} {path}");
            assert!(message(&answer).contains("certificate"), "{}", answer.body);
        }
        assert_eq!(call().by("client").bearer(TOKEN).through(&guarded).await.status, 403, "{method} {path}");
        for caller in [call(), call().bearer(WRONG), call().bearer("")] {
            let answer = caller.by("admin").through(&guarded).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.headers[WWW_AUTHENTICATE], "Bearer");
            assert!(message(&answer).contains("token"), "{}", answer.body);
        }
        // Admitted: what is wrong now is the body, if the call takes one.
        let expected = if method == Method::GET { 200 } else { 400 };
        assert_eq!(call().by("admin").through(&open).await.status, expected, "{method} {path}");
        assert_eq!(call().by("admin").bearer(TOKEN).through(&guarded).await.status, expected, "{method} {path}");
    }
    let put = ask(Method::PUT, KEYSTORES).by("admin").through(&open).await;
    assert_eq!((put.status, &put.headers[ALLOW]), (405, &"GET,HEAD,POST,DELETE".parse().unwrap()));
    assert!(message(&put).contains("Allow"));
}

fn door(proof: KeyManagerProof) -> KeyManagerDoor {
    KeyManagerDoor { hosts: HostAllowlist::parse(&["keys.example"]).unwrap(), proof, rate: UNHURRIED }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_of_its_own_takes_the_token_alone_or_what_the_api_port_takes() {
    let node = node().await;
    let token = || TokenHash::of(TOKEN).unwrap();
    let by_token = keymanager_router(node.app.clone(), door(KeyManagerProof::Token(token())));
    let list = || get(KEYSTORES).header(HOST, "keys.example:9900");
    for (caller, status) in [
        (list().without_certificate().bearer(TOKEN), 200),
        (list().by("anybody").bearer(TOKEN), 200),
        (list().without_certificate(), 401),
        (list().without_certificate().bearer(WRONG), 401),
        (list().by("admin"), 401),
    ] {
        let answer = caller.through(&by_token).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let by_both = KeyManagerProof::AdminCertificate { token: Some(token()) };
    let by_both = keymanager_router(node.app.clone(), door(by_both));
    for (caller, status) in [
        (list().by("admin").bearer(TOKEN), 200),
        (list().by("admin"), 401),
        (list().by("client").bearer(TOKEN), 403),
        (list().without_certificate().bearer(TOKEN), 403),
    ] {
        let answer = caller.through(&by_both).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    // Its own hosts, and nothing but the key manager API.
    let foreign = get(KEYSTORES).without_certificate().bearer(TOKEN).through(&by_token).await;
    assert_eq!((foreign.status, message(&foreign).as_str()), (403, "Host not authorized."));
    for path in ["/api/v1/eth2/publicKeys", "/upcheck", "/admin/v1/keys", "/reload", "/metrics"] {
        let answer = get(path).header(HOST, "keys.example").by("admin").bearer(TOKEN).through(&by_token).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_or_guesses_too_often_waits_and_others_do_not() {
    let node = node().await;
    // Slow enough that no pause of a test machine refills it.
    let rate = RateLimit { burst: 3, per_second: 1 };
    let own = KeyManagerDoor { rate, ..door(KeyManagerProof::Token(TokenHash::of(TOKEN).unwrap())) };
    let own = keymanager_router(node.app.clone(), own);
    let guess = || get(KEYSTORES).header(HOST, "keys.example").without_certificate().bearer(WRONG);
    let mut refused = None;
    // A slow machine may refill a call or two meanwhile; the thousandth guess at the latest comes too soon.
    for _ in 0..1000 {
        let answer = guess().through(&own).await;
        match answer.status {
            401 => {}
            429 => {
                refused = Some(answer);
                break;
            }
            other => panic!("{other}: {}", answer.body),
        }
    }
    let refused = refused.expect("guessing is slowed down");
    assert_eq!(refused.headers[RETRY_AFTER], "1");
    assert!(message(&refused).contains("come again in 1 s"), "{}", refused.body);
    let list = || get(KEYSTORES).header(HOST, "keys.example").bearer(TOKEN);
    let other = list().by("somebody").through(&own).await;
    assert_eq!(other.status, 200, "another caller has calls of its own: {}", other.body);
    let neighbour = list().without_certificate().through(&own).await;
    assert_eq!(neighbour.status, 200, "so has who has the token, at the same address: {}", neighbour.body);
    // Who has the token waits, too, and for its own calls only.
    let mut is_refused = false;
    for _ in 0..1000 {
        let status = list().without_certificate().through(&own).await.status;
        assert!([200, 429].contains(&status), "{status}");
        is_refused |= status == 429;
        if is_refused {
            break;
        }
    }
    assert!(is_refused);
}

// In one thread: the recorder of metrics is that thread's.
#[tokio::test]
async fn refused_attempts_and_actions_are_counted() {
    let node = node().await;
    let guarded = router(node.app_with(enabled_with_token));
    let recorder = PrometheusBuilder::new().build_recorder();
    let exported = recorder.handle();
    let guard = metrics::set_default_local_recorder(&recorder);
    consigner_api::describe_metrics();
    for _ in 0..3 {
        assert_eq!(get(KEYSTORES).by("admin").bearer(WRONG).through(&guarded).await.status, 401);
    }
    assert_eq!(get("/admin/v1/keys").by("client").through(&guarded).await.status, 403);
    let body = import_of(&[consigner_keys::development::interop_secret(0)], None);
    let import = ask(Method::POST, KEYSTORES).with(body.to_string()).by("admin").bearer(TOKEN);
    assert_eq!(import.through(&guarded).await.json(), json!({"data": [{"status": "imported"}]}));
    drop(guard);
    let text = exported.render();
    for line in [
        "consigner_audit_events_total{operation=\"keymanager_access\",outcome=\"refused\"} 3",
        "consigner_audit_events_total{operation=\"admin_access\",outcome=\"refused\"} 1",
        "consigner_audit_events_total{operation=\"key_import\",outcome=\"done\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_closed_unless_it_is_set() {
    let node = node().await;
    let default = router(node.app_with(|app| app.keymanager = Some(KeyManagerPolicy::default())));
    assert_eq!(get(KEYSTORES).by("admin").through(&default).await.status, 200);
    assert_eq!(get(KEYSTORES).by("client").through(&default).await.status, 403);
}
