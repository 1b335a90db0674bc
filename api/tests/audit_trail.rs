//! What the audit's sink is told, when, and that nothing is changed that it could not be told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use axum::Router;
use consigner_api::audit::{AuditLine, AuditSink, Auditor};
use consigner_api::{AlreadyRunning, ReloadStatus, Reloader, router};
use consigner_keys::development::interop_secret;
use futures::future::{BoxFuture, pending};
use http::Method;
use http::header::{HOST, RETRY_AFTER};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use support::keystores::{KEYSTORES, delete_keys, enabled, history, import_of, post_keys, statuses, with_body};
use support::messages::{EPOCH, attestation, block, mainnet, randao};
use support::{Ask, LONG, Node, get, post, sign_path};

/// A sink whose disk can be taken away.
#[derive(Default)]
struct Sink {
    lines: Mutex<Vec<AuditLine>>,
    is_full: AtomicBool,
    is_hanging: AtomicBool,
    /// Full for everything but beginnings.
    loses_outcomes: AtomicBool,
}

impl AuditSink for Sink {
    fn note(&self, line: AuditLine) {
        self.lines.lock().unwrap().push(line);
    }

    fn keep(&self, line: AuditLine) -> BoxFuture<'_, Result<(), String>> {
        if self.is_hanging.load(Ordering::SeqCst) {
            return Box::pin(pending());
        }
        let is_lost = self.loses_outcomes.load(Ordering::SeqCst) && line.outcome != "begun";
        if is_lost || self.is_full.load(Ordering::SeqCst) {
            return Box::pin(async { Err("no space left".to_owned()) });
        }
        self.note(line);
        Box::pin(async { Ok(()) })
    }
}

impl Sink {
    fn take(&self) -> Vec<AuditLine> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    /// Operation and outcome of each line since the last question.
    fn told(&self) -> Vec<(String, &'static str)> {
        self.take().into_iter().map(|line| (line.operation, line.outcome)).collect()
    }
}

struct Reload;

impl Reloader for Reload {
    fn start(&self) -> Result<(), AlreadyRunning> {
        Ok(())
    }

    fn status(&self) -> ReloadStatus {
        ReloadStatus::default()
    }
}

/// A node with one key whose router tells a sink; one duty in `one_in`.
async fn node(one_in: u64) -> (Node, Router, Arc<Sink>) {
    let (network, root) = mainnet();
    let node = Node::with_keys(network, root, &[interop_secret(0)]).await;
    let sink = Arc::new(Sink::default());
    let audit = Auditor::with_duties(sink.clone(), one_in);
    let app = node.app_with(|app| {
        enabled(app);
        app.audit = audit;
        app.reload = Some(Arc::new(Reload));
    });
    (node, router(app), sink)
}

fn sign(body: &Value) -> Ask {
    post(&sign_path(&interop_secret(0).public_key()), body.to_string())
}

fn registration() -> Value {
    json!({"type": "VALIDATOR_REGISTRATION", "validator_registration": {
        "fee_recipient": "0x1111111111111111111111111111111111111111", "gas_limit": "30000000",
        "timestamp": "1600000000", "pubkey": interop_secret(0).public_key(),
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_are_more_than_a_duty_are_lines_and_duties_are_not() {
    let (_node, router, sink) = node(0).await;
    for (body, expected) in [
        (block(EPOCH * 32, 1), Some("BLOCK_V2")),
        (registration(), Some("VALIDATOR_REGISTRATION")),
        (attestation(EPOCH, EPOCH + 1, 1), None),
        (randao(EPOCH), None),
    ] {
        let signed = sign(&body).through(&router).await;
        assert_eq!(signed.status, 200, "{}", signed.body);
        let lines = sink.take();
        let Some(operation) = expected else {
            assert_eq!(lines, [], "{body}");
            continue;
        };
        let [line] = lines.try_into().unwrap_or_else(|lines| panic!("{lines:?}"));
        assert_eq!((line.operation.as_str(), line.outcome), (operation, "done"));
        assert_eq!((line.identity.as_str(), line.proof), ("client", "certificate"));
        assert_eq!(line.key, Some(interop_secret(0).public_key()));
        assert_eq!(line.door.as_deref(), Some("api"));
        assert_eq!(line.address, Some("127.0.0.1:5555".parse().unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duties_are_sampled_when_asked_for() {
    let (_node, router, sink) = node(3).await;
    for epoch in 0..9 {
        assert_eq!(sign(&randao(EPOCH + epoch)).through(&router).await.status, 200);
    }
    let told = sink.told();
    assert_eq!(told, vec![("RANDAO_REVEAL".to_owned(), "done"); 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slashing_refusal_is_a_line_each_time_with_the_conflicting_record() {
    let (_node, router, sink) = node(0).await;
    assert_eq!(sign(&block(EPOCH * 32, 1)).through(&router).await.status, 200);
    assert_eq!(sign(&attestation(EPOCH, EPOCH + 1, 1)).through(&router).await.status, 200);
    sink.take();
    for _ in 0..150 {
        assert_eq!(sign(&attestation(EPOCH, EPOCH + 1, 2)).through(&router).await.status, 412);
    }
    assert_eq!(sign(&block(EPOCH * 32, 2)).through(&router).await.status, 412);
    let lines = sink.take();
    assert_eq!(lines.len(), 151, "far below what clients may cause");
    assert!(lines.iter().all(|line| line.log_index.is_some()), "{:?}", lines[0]);
    assert!(lines.iter().all(|line| line.outcome == "refused" && line.key.is_some()), "{:?}", lines[0]);
    assert!(lines[0].reason.contains(&(EPOCH + 1).to_string()), "{}", lines[0].reason);
    assert!(lines[150].reason.contains(&(EPOCH * 32).to_string()), "{}", lines[150].reason);
    assert_eq!(lines[150].operation, "BLOCK_V2");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_callers_are_lines() {
    let (_node, router, sink) = node(0).await;
    let cases = [
        (get("/upcheck").header(HOST, "evil.example"), 403, "host"),
        (get("/admin/v1/keys"), 403, "admin_access"),
        (sign(&randao(EPOCH)).by("stranger"), 403, "access"),
        (get(KEYSTORES), 403, "keymanager_access"),
    ];
    for (ask, status, operation) in cases {
        assert_eq!(ask.through(&router).await.status, status, "{operation}");
        let [line] = sink.take().try_into().unwrap_or_else(|lines| panic!("{operation}: {lines:?}"));
        assert_eq!((line.operation.as_str(), line.outcome), (operation, "refused"));
        assert_eq!(line.door.as_deref(), Some("api"), "{operation}");
        assert!(!line.reason.is_empty());
    }
}

/// One of each change that the administrators' and the key manager API know, with what becomes of it.
fn changes(node: &Node) -> Vec<(Ask, &'static str, &'static str)> {
    let (_, root) = mainnet();
    let (held, new) = (interop_secret(0).public_key(), interop_secret(1));
    let past = history(root, &[held], 1, EPOCH - 9, EPOCH - 8);
    let data_key = node.app.cluster.read(|state| state.data_keys().next().unwrap().id);
    let data_key = hex::encode(data_key);
    let post = |path: &str, body: Value| with_body(Method::POST, path, &body);
    vec![
        (post_keys(KEYSTORES, &import_of(&[new], None)), "key_import", "done"),
        (delete_keys(KEYSTORES, &[interop_secret(1).public_key()]), "key_delete", "done"),
        (post("/admin/v1/history/import", past), "history_import", "done"),
        (post("/admin/v1/keys/data-keys", json!({})), "data_key_add", "done"),
        (post("/admin/v1/keys/rewrap", json!({ "data_key": data_key })), "rewrap", "unchanged"),
        (post("/admin/v1/keys/data-keys/remove", json!({ "ids": ["00".repeat(16)] })), "data_key_remove", "unchanged"),
        (post("/reload", json!({})), "reload", "done"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_begun_and_concluded() {
    let (node, router, sink) = node(0).await;
    for (ask, operation, outcome) in changes(&node) {
        let answer = ask.through(&router).await;
        assert!(matches!(answer.status, 200 | 202), "{operation}: {} {}", answer.status, answer.body);
        let expected = ["begun", outcome].map(|outcome| (operation.to_owned(), outcome));
        assert_eq!(sink.told(), expected, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_not_changed_and_signing_goes_on() {
    let (node, router, sink) = node(0).await;
    sink.is_full.store(true, Ordering::SeqCst);
    let digest = |node: &Node| {
        node.app.cluster.read(|state| {
            let histories: Vec<_> = state.histories().collect();
            let keys: Vec<_> = state.keys().cloned().collect();
            (state.data_keys().cloned().collect::<Vec<_>>(), format!("{histories:?}"), keys)
        })
    };
    let before = digest(&node);
    let held = interop_secret(0).public_key();
    let body = json!({ "pubkeys": [held] });
    let deletion = (with_body(Method::POST, "/admin/v1/keys/delete", &body), "key_delete", "");
    for (ask, operation, _) in changes(&node).into_iter().chain([deletion]) {
        let answer = ask.through(&router).await;
        assert_eq!(answer.status, 503, "{operation}: {}", answer.body);
        assert!(answer.headers.contains_key(RETRY_AFTER), "{operation}");
        let told = answer.body.as_str();
        assert!(told.contains("nothing was changed") && told.contains("no space left"), "{operation}: {told}");
    }
    assert!(digest(&node) == before, "something was changed");
    assert_eq!(sink.told(), [], "nothing was done");
    sink.is_hanging.store(true, Ordering::SeqCst);
    for (number, body) in [block(EPOCH * 32, 1), attestation(EPOCH, EPOCH + 1, 1)].iter().enumerate() {
        let signed = tokio::time::timeout(LONG, sign(body).through(&router)).await.expect("nobody waits for the disk");
        assert_eq!(signed.status, 200, "{number}: {}", signed.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_not_made_unrecorded() {
    let (network, root) = mainnet();
    let node = Node::lonely(network, root).await;
    let sink = Arc::new(Sink::default());
    let audit = Auditor::new(sink.clone());
    let router = router(node.app_with(|app| app.audit = audit));
    let init = || with_body(Method::POST, "/admin/v1/cluster/init", &json!({"members": [node.member_json()]}));
    sink.is_full.store(true, Ordering::SeqCst);
    assert_eq!(init().through(&router).await.status, 503);
    assert!(node.app.cluster.read(|state| state.identity().is_none()));
    sink.is_full.store(false, Ordering::SeqCst);
    assert_eq!(init().through(&router).await.status, 200);
    assert_eq!(init().through(&router).await.status, 409);
    let expected = ["begun", "done", "begun", "failed"].map(|outcome| ("cluster_init".to_owned(), outcome));
    assert_eq!(sink.told(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_loses_its_disk_in_between_may_be_repeated() {
    let (node, router, sink) = node(0).await;
    let secrets = [interop_secret(1), interop_secret(2)];
    let import = || post_keys(KEYSTORES, &import_of(&secrets, None)).through(&router);
    sink.is_full.store(true, Ordering::SeqCst);
    assert_eq!(import().await.status, 503);
    sink.is_full.store(false, Ordering::SeqCst);
    assert_eq!(statuses(&import().await.json()), ["imported", "imported"]);
    let lines = sink.take();
    assert_eq!(lines.iter().map(|line| line.outcome).collect::<Vec<_>>(), ["begun", "begun", "done", "done"]);
    for (number, secret) in secrets.iter().enumerate() {
        for line in [&lines[number], &lines[number + 2]] {
            assert_eq!(line.key, Some(secret.public_key()));
        }
    }
    assert!(node.app.keyring.contains(&secrets[0].public_key()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_outcome_cannot_be_recorded_says_so_and_its_repetition_tells_what_became_of_it() {
    let (node, router, sink) = node(0).await;
    let secret = [interop_secret(1)];
    let import = || post_keys(KEYSTORES, &import_of(&secret, None)).through(&router);
    let delete = || delete_keys(KEYSTORES, &[secret[0].public_key()]).through(&router);
    let lost = |is: bool| sink.loses_outcomes.store(is, Ordering::SeqCst);
    lost(true);
    let answer = import().await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("repeat the call to learn what became of it"), "{}", answer.body);
    assert_eq!(sink.told(), [("key_import".to_owned(), "begun")]);
    lost(false);
    assert_eq!(statuses(&import().await.json()), ["duplicate"]);
    lost(true);
    assert_eq!(delete().await.status, 503);
    lost(false);
    assert_eq!(statuses(&delete().await.json()), ["not_found"]);
    assert!(!node.app.keyring.contains(&secret[0].public_key()));
    let expected = [("key_import", "begun"), ("key_import", "unchanged")].into_iter().chain([
        ("key_delete", "begun"),
        ("key_delete", "begun"),
        ("key_delete", "unchanged"),
    ]);
    assert_eq!(sink.told(), expected.map(|(what, outcome)| (what.to_owned(), outcome)).collect::<Vec<_>>());
}
