//! How often callers may ask, what failed credentials cost, and who finds a place on a node that has too much to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use consigner_api::{
    BackOff, ClientPolicy, DoorRates, KeyManagerDoor, KeyManagerProof, Limits, RateLimit, TokenHash, keymanager_router,
    router,
};
use consigner_gate::HostAllowlist;
use consigner_keys::development::interop_secret;
use consigner_rules::policy::Policy;
use consigner_rules::{Command, Outcome};
use http::header::RETRY_AFTER;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::keystores::{KEYSTORES, TOKEN, UNHURRIED};
use support::messages::{EPOCH, attestation, block, mainnet, randao};
use support::{Answer, Ask, LONG, Node, get, post, sign_path};

const PUBLIC_KEYS: &str = "/api/v1/eth2/publicKeys";
const WRONG: &str = "00000000000000000000000000000000";

/// A rate that nobody earns back within a test.
const fn slow(burst: u32) -> RateLimit {
    RateLimit { burst, per_second: 1 }
}

async fn node() -> Node {
    let (network, root) = mainnet();
    Node::with_keys(network, root, &[interop_secret(0)]).await
}

fn limited(node: &Node, limits: Limits) -> Router {
    router(node.app_with(|app| app.limits = limits))
}

fn recorder() -> (metrics_exporter_prometheus::PrometheusRecorder, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
}

/// Asks until it is told 429; how often it was let through before.
async fn until_limited(ask: impl Fn() -> Ask, router: &Router) -> usize {
    for passed in 0..10_000 {
        let answer = ask().through(router).await;
        if answer.status == 429 {
            let seconds: u64 = answer.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!(seconds >= 1);
            assert!(answer.body.contains("come again"), "{}", answer.body);
            return passed;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    panic!("never limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_asks_too_often_is_told_when_to_come_again_and_others_are_not() {
    let node = node().await;
    let router = limited(&node, Limits { per_identity: Some(slow(5)), ..Limits::default() });
    let (recorder, exported) = recorder();
    let guard = metrics::set_default_local_recorder(&recorder);
    assert!(until_limited(|| get(PUBLIC_KEYS), &router).await >= 5);
    drop(guard);
    let counted = exported.render();
    assert!(counted.contains("consigner_requests_limited_total{used_up=\"identity\"}"), "{counted}");
    assert_eq!(get(PUBLIC_KEYS).by("admin").through(&router).await.status, 200, "another identity");
    let sign = || post(&sign_path(&interop_secret(0).public_key()), randao(EPOCH).to_string());
    // On a slow machine a call or two were earned back meanwhile; on its own this endpoint would have five at least.
    assert!(until_limited(sign, &router).await < 5, "all endpoints count together");
    for _ in 0..50 {
        assert_eq!(get("/upcheck").through(&router).await.status, 200, "a balancer is never limited");
        assert_eq!(get("/ready").through(&router).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_limits_all_who_come_through_it() {
    let node = node().await;
    let per_door = DoorRates { api: Some(slow(60)), ..DoorRates::default() };
    let router = limited(&node, Limits { per_door, ..Limits::default() });
    for _ in 0..20 {
        assert_eq!(get(PUBLIC_KEYS).by("admin").through(&router).await.status, 200);
    }
    assert!(until_limited(|| get(PUBLIC_KEYS), &router).await < 200);
    // What a slow machine has earned back meanwhile; by itself this caller would have 40 left.
    assert!(until_limited(|| get(PUBLIC_KEYS).by("admin"), &router).await < 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_of_the_policy_counts_for_the_client_that_it_names() {
    const POLICY: &str = "
version: 1
roles:
  all: {keys: all, operations: [duties, list-keys, \"admin.*\"]}
clients:
  - {name: hurried, certificate: {common-name: client}, roles: [all], rate: {per-second: 1, burst: 4}}
  - {name: other, certificate: {common-name: admin}, roles: [all]}
";
    let node = node().await;
    let policy = Box::new(Policy::parse(POLICY).unwrap());
    let replaces = node.app.cluster.read(|state| state.cluster().policy_version);
    let outcome = node.app.cluster.propose(vec![Command::SetPolicy { policy, replaces }], LONG).await.unwrap();
    assert!(matches!(outcome[0], Outcome::PolicyRenewed(_)), "{outcome:?}");
    let router = router(node.app_with(|app| {
        app.clients = ClientPolicy::AnyAccepted;
        app.limits = Limits { per_identity: Some(slow(50)), ..Limits::default() };
    }));
    let hurried = until_limited(|| get(PUBLIC_KEYS), &router).await;
    let other = until_limited(|| get(PUBLIC_KEYS).by("admin"), &router).await;
    assert!(hurried >= 4 && other >= 50 && hurried < other, "{hurried} {other}");
}

/// The key manager's own door, where a token does without a certificate.
fn token_door(node: &Node, back_off: Option<BackOff>) -> Router {
    let app = node.app_with(|app| app.limits.failed_credentials = back_off);
    let door = KeyManagerDoor {
        hosts: HostAllowlist::parse(&["localhost"]).unwrap(),
        proof: KeyManagerProof::Token(TokenHash::of(TOKEN).unwrap()),
        rate: UNHURRIED,
    };
    keymanager_router(app, door)
}

async fn by_token(router: &Router, token: &str) -> Answer {
    get(KEYSTORES).without_certificate().bearer(token).through(router).await
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_credentials_delay_an_address_and_never_a_certificate() {
    let node = node().await;
    let hour = Duration::from_secs(3600);
    let router = token_door(&node, Some(BackOff { free: 3, first: hour, longest: hour }));
    for _ in 0..20 {
        let nothing = get(KEYSTORES).without_certificate().through(&router).await;
        assert_eq!(nothing.status, 401, "to show nothing is no failed credential");
        let certified = get(KEYSTORES).by("admin").bearer(WRONG).through(&router).await;
        assert_eq!(certified.status, 401, "nor does a caller with a certificate count");
    }
    for attempt in 0..4 {
        assert_eq!(by_token(&router, WRONG).await.status, 401, "{attempt}");
    }
    for token in [WRONG, TOKEN] {
        let refused = by_token(&router, token).await;
        assert_eq!(refused.status, 429, "{}", refused.body);
        let seconds: u64 = refused.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((3000..=3600).contains(&seconds), "{seconds}");
        assert!(!refused.body.contains(token), "{}", refused.body);
    }
    let certified = get(KEYSTORES).by("admin").bearer(TOKEN).through(&router).await;
    assert_eq!(certified.status, 200, "from the same address: {}", certified.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_heard_again_after_its_wait() {
    let node = node().await;
    let short = Duration::from_millis(50);
    let router = token_door(&node, Some(BackOff { free: 0, first: short, longest: short }));
    assert_eq!(by_token(&router, WRONG).await.status, 401);
    let deadline = Instant::now() + LONG;
    while by_token(&router, TOKEN).await.status != 200 {
        assert!(Instant::now() < deadline, "never heard again");
        tokio::time::sleep(short).await;
    }
    let without = token_door(&node, None);
    for _ in 0..100 {
        assert_eq!(by_token(&without, WRONG).await.status, 401);
    }
    assert_eq!(by_token(&without, TOKEN).await.status, 200, "off, as in development");
}

/// Something that many ask for, over and over.
struct Crowd {
    stop: Arc<AtomicBool>,
    shed: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Crowd {
    fn new(router: &Router, path: &str, size: usize, message: impl Fn(u64) -> Value + Send + Clone + 'static) -> Self {
        let (stop, shed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let member = |_| {
            let (router, path, message) = (router.clone(), path.to_owned(), message.clone());
            let (stop, shed) = (stop.clone(), shed.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let answer = post(&path, message(number).to_string()).through(&router).await;
                    match answer.status {
                        200 => {}
                        503 => {
                            assert_eq!(answer.headers[RETRY_AFTER], "1");
                            shed.fetch_add(1, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                        }
                        other => panic!("{other}: {}", answer.body),
                    }
                }
            })
        };
        let tasks = (0..size).map(member).collect();
        Self { stop, shed, tasks }
    }

    /// Waits until some more of it were turned away: there is no place for it now.
    async fn until_shed(&self) {
        let (before, deadline) = (self.shed.load(Ordering::SeqCst), Instant::now() + LONG);
        while self.shed.load(Ordering::SeqCst) < before + 20 {
            assert!(Instant::now() < deadline, "the node was never saturated");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// A body that comes so slowly that it never ends.
fn dripping() -> Body {
    let drops = futures::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
    });
    Body::from_stream(drops)
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_hold_a_place_for_a_while_and_are_told_so() {
    let node = node().await;
    let router = limited(&node, Limits { sign_requests_max: 1, ..Limits::default() });
    let path = sign_path(&interop_secret(0).public_key());
    let read_slowly = || {
        let (router, path) = (router.clone(), path.clone());
        tokio::spawn(async move { post(&path, dripping()).through(&router).await })
    };
    let mut slow = [read_slowly(), read_slowly()];
    let deadline = Instant::now() + LONG;
    loop {
        // One that came while the third had the other's place was sent away at once: it comes again.
        for one in slow.iter_mut().filter(|one| one.is_finished()) {
            *one = read_slowly();
        }
        // Once both are being read, a third finds no place.
        let answer = post(&path, randao(EPOCH).to_string()).through(&router).await;
        if answer.status == 503 {
            assert_eq!(answer.headers[RETRY_AFTER], "1");
            break;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(Instant::now() < deadline, "slow bodies took no places");
    }
    for answer in slow {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 408, "{}", answer.body);
        assert!(answer.error().contains("did not arrive within"), "{}", answer.body);
    }
    let answer = post(&path, randao(EPOCH).to_string()).through(&router).await;
    assert_eq!(answer.status, 200, "their places are free again: {}", answer.body);
}

fn selection(slot: u64) -> Value {
    json!({"type": "AGGREGATION_SLOT", "aggregation_slot": {"slot": slot.to_string()},
        "fork_info": randao(EPOCH)["fork_info"]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_matters_most_finds_a_place_on_a_saturated_node() {
    let (network, root) = mainnet();
    let secrets = [interop_secret(0), interop_secret(1)];
    let (ours, theirs) = (sign_path(&secrets[0].public_key()), sign_path(&secrets[1].public_key()));
    let node = Node::with_keys(network, root, &secrets).await;
    let router = limited(&node, Limits { sign_requests_max: 8, ..Limits::default() });
    // Fewer than the places for readers, twice as many as those for all: what is shed is shed for its tier.
    let (size, mut slot) = (12, EPOCH * 32);
    let signed = async |message: Value| {
        let answer = post(&ours, message.to_string()).through(&router).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let others = Crowd::new(&router, &theirs, size, |number| selection(EPOCH * 32 + number));
    for number in 0..10 {
        others.until_shed().await;
        signed(attestation(EPOCH + number, EPOCH + number + 1, 1)).await;
        signed(block(slot, 1)).await;
        signed(randao(EPOCH)).await;
        slot += 1;
    }
    others.end().await;
    // The same vote again and again: signed each time, through the log.
    let votes = Crowd::new(&router, &theirs, size, |_| attestation(EPOCH, EPOCH + 1, 1));
    for _ in 0..10 {
        votes.until_shed().await;
        signed(block(slot, 1)).await;
        signed(randao(EPOCH)).await;
        slot += 1;
    }
    votes.end().await;
}
