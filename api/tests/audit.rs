//! Every action on keys is one line of the audit, and no line of any kind holds a secret. In a binary of its own: the
//! log is captured per process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_api::router;
use consigner_keys::development::interop_secret;
use http::Method;
use serde_json::{Value, json};
use std::io;
use std::sync::Mutex;
use support::keystores::{KEYSTORES, TOKEN, delete_keys, enabled_with_token, history, keystore, statuses, with_body};
use support::messages::{EPOCH, attestation, mainnet};
use support::{Node, ask, get, post, sign_path};
use tracing_subscriber::filter::LevelFilter;

const PASSWORD: &str = "a password that nobody else has";
const WRONG_PASSWORD: &str = "a password that is not the one";
const WRONG_TOKEN: &str = "f00df00df00df00df00df00df00df00df00df00d";
/// The first interop secret, as text.
const SECRET: &str = "25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866";

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log() -> String {
    String::from_utf8(LOG.lock().unwrap().clone()).unwrap()
}

/// The one line of the audit with all of these words.
fn line(words: &[&str]) -> String {
    let log = log();
    let mut lines =
        log.lines().filter(|line| line.contains(" audit: ") && words.iter().all(|word| line.contains(word)));
    let found = lines.next().unwrap_or_else(|| panic!("no line with {words:?} in:\n{log}"));
    assert_eq!(lines.next(), None, "one line for {words:?}");
    found.to_owned()
}

/// Does all there is to do, and tells the answers.
async fn a_run(node: &Node) -> Vec<String> {
    let router = router(node.app_with(enabled_with_token));
    let (_, root) = mainnet();
    let (first, second) = (interop_secret(0), interop_secret(1));
    let past = history(root, &[second.public_key()], 1, EPOCH - 9, EPOCH - 8).to_string();
    let mut answers = Vec::new();
    let keystores = json!({
        "keystores": [keystore(&second, PASSWORD), keystore(&interop_secret(2), PASSWORD)],
        "passwords": [PASSWORD, WRONG_PASSWORD],
        "slashing_protection": past,
    });
    let imported = with_body(Method::POST, KEYSTORES, &keystores).bearer(TOKEN).through(&router).await;
    assert_eq!(statuses(&imported.json()), ["imported", "error"], "{}", imported.body);
    answers.push(imported.body);
    let plain = json!({"keys": [{"secret": SECRET}, {"secret": format!("{SECRET}00")}]});
    let imported = with_body(Method::POST, "/admin/v1/keys/import", &plain).through(&router).await;
    assert_eq!(statuses(&imported.json()), ["imported", "error"], "{}", imported.body);
    answers.push(imported.body);
    // Not understood, in ways that a parser likes to quote.
    for (path, body) in [
        (KEYSTORES, json!({"keystores": [], "passwords": PASSWORD})),
        (KEYSTORES, json!([PASSWORD])),
        ("/admin/v1/keys/import", json!({"keys": SECRET})),
        ("/admin/v1/keys/import", json!({"keys": [{"secret": {"value": SECRET}}]})),
        ("/admin/v1/keys/import", json!({"keys": [{SECRET: 1}]})),
    ] {
        let refused = with_body(Method::POST, path, &body).bearer(TOKEN).through(&router).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        answers.push(refused.body);
    }
    let vote = attestation(EPOCH, EPOCH + 1, 9).to_string();
    let signed = post(&sign_path(&first.public_key()), vote).through(&router).await;
    assert_eq!(signed.status, 200, "{}", signed.body);
    let refused = get(KEYSTORES).by("admin").bearer(WRONG_TOKEN).through(&router).await;
    assert_eq!(refused.status, 401, "{}", refused.body);
    answers.push(refused.body);
    let refused = ask(Method::POST, "/admin/v1/keys/delete").through(&router).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    let both = [first.public_key(), second.public_key()];
    let deleted = delete_keys(KEYSTORES, &both).bearer(TOKEN).through(&router).await;
    assert_eq!(statuses(&deleted.json()), ["deleted", "deleted"], "{}", deleted.body);
    answers.push(deleted.body);
    let exported = get("/admin/v1/history/export").by("admin").through(&router).await;
    answers.push(exported.body);
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_is_a_line_and_no_line_holds_a_secret() {
    tracing_subscriber::fmt().with_ansi(false).with_max_level(LevelFilter::TRACE).with_writer(|| Writer).init();
    let (network, root) = mainnet();
    let node = Node::with_keys(network, root, &[]).await;
    let answers = a_run(&node).await;

    let (first, second) = (interop_secret(0).public_key().to_string(), interop_secret(1).public_key().to_string());
    for key in [&first, &second] {
        let imported = line(&["operation=\"key_import\"", "outcome=\"done\"", key]);
        let deleted = line(&["operation=\"key_delete\"", "outcome=\"done\"", key]);
        for line in [imported, deleted] {
            let who = "identity=\"admin\" proof=\"certificate\" address=127.0.0.1:5555";
            assert!(line.contains(who), "{line}");
        }
    }
    line(&["operation=\"key_import\"", "outcome=\"failed\"", "wrong password"]);
    line(&["operation=\"history_export\"", "outcome=\"done\"", "2 validators"]);
    line(&["operation=\"keymanager_access\"", "outcome=\"refused\"", "GET /eth/v1/keystores", "token"]);
    let refused = line(&["operation=\"admin_access\"", "outcome=\"refused\"", "POST /admin/v1/keys/delete"]);
    assert!(refused.contains("identity=\"client\""), "{refused}");
    line(&["operation=\"cluster_init\"", "outcome=\"done\""]);

    let log = log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "everything is captured");
    for secret in [PASSWORD, WRONG_PASSWORD, TOKEN, WRONG_TOKEN, SECRET] {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(answers.iter().all(|answer| !answer.contains(secret)), "{secret} is in an answer");
    }
    let parsed: Value = serde_json::from_str(&answers[0]).unwrap();
    assert!(parsed["data"][1]["message"].as_str().unwrap().contains("wrong password"), "{parsed}");
}
