//! The audit of a live cluster: what was asked is in every node's chain, the chain holds, and whoever touches it is named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Dev, START, STOP, deployment, eventually, free_base_port, mainnet, output};
use consigner_node::client::ClusterClient;
use consigner_node::client::keys;
use consigner_node::client::signing::{Chain, Duty, Signed, public_keys, sign};
use consigner_rules::PublicKey;
use http::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a call may take on a loaded machine.
const OPERATE: Duration = Duration::from_secs(60);

/// Certificates of `dev`: the administrator may do everything, the validator client signs. Every round is a change.
fn policy(round: u64) -> String {
    format!(
        "version: 1
tags: {{round-{round}: []}}
roles:
  operator: {{operations: [\"admin.*\", \"keymanager.*\"]}}
  validator: {{keys: all, operations: [duties]}}
clients:
  - {{name: ops, certificate: {{common-name: dev-admin}}, roles: [operator]}}
  - {{name: vc, certificate: {{common-name: dev-client}}, roles: [validator]}}
"
    )
}

fn block(chain: &Chain, key: PublicKey, slot: u64, head: u64) -> Duty {
    Duty { public_key: key, body: chain.block(chain.first_slot(chain.newest_fork_epoch() + 10) + slot, head) }
}

/// Signs, is refused, deletes and applies a policy through one node.
async fn ask_everything(chain: &Chain, signer: &ClusterClient, admin: &ClusterClient, key: PublicKey, number: u64) {
    let Signed::Signature(_) = sign(signer, &block(chain, key, 0, 1)).await.unwrap() else { panic!("not signed") };
    let Signed::Refused(_) = sign(signer, &block(chain, key, 0, 2)).await.unwrap() else { panic!("not refused") };
    let deleted = keys::delete(admin, &[key]).await.unwrap();
    assert_eq!(deleted.data.len(), 1);
    let shown: Value = admin.get_json("/admin/v1/policy", OPERATE).await.unwrap().json().unwrap();
    let body = json!({"policy": policy(number), "dry_run": false, "replaces": shown["version"]}).to_string();
    let applied = admin.post_json("/admin/v1/policy/apply", body, OPERATE).await.unwrap();
    assert_eq!(applied.response.status, StatusCode::OK, "{}", applied.message());
}

/// The lines that `audit show` finds, as JSON.
fn shown(arguments: &[&str]) -> Vec<Value> {
    let (code, stdout, stderr) = output(&[&["audit", "show", "--json"], arguments].concat());
    assert_eq!(code, 0, "{stderr}");
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn data_dir(dir: &Path, node: u64) -> PathBuf {
    deployment(dir).node(node).unwrap().data_dir.clone()
}

/// `audit verify --json`: the exit code, and the answer.
fn verified(arguments: &[&str]) -> (i32, Value) {
    let (code, stdout, stderr) = output(&[&["audit", "verify", "--json"], arguments].concat());
    (code, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}")))
}

fn lines_of_each_node(dir: &Path, deleted: &[PublicKey]) {
    for (node, key) in (1..=3).zip(deleted) {
        let (data, key) = (data_dir(dir, node), key.to_string());
        let lines = shown(&["--data-dir", data.to_str().unwrap(), "--key", &key, "--since", "1h"]);
        let seen: Vec<(&str, &str)> =
            lines.iter().map(|line| (line["operation"].as_str().unwrap(), line["outcome"].as_str().unwrap())).collect();
        for wanted in [("BLOCK_V2", "done"), ("BLOCK_V2", "refused"), ("key_delete", "begun"), ("key_delete", "done")] {
            assert!(seen.contains(&wanted), "node {node} lacks {wanted:?}: {seen:?}");
        }
        let refused = lines.iter().find(|line| line["outcome"] == "refused").unwrap();
        assert_eq!((&refused["identity"], &refused["proof"]), (&json!("dev-client"), &json!("certificate")));
        assert_ne!(refused["reason"], "", "why it was refused is in the line");
        let policies = shown(&["--data-dir", data.to_str().unwrap(), "--operation", "policy_*", "--outcome", "done"]);
        assert!(!policies.is_empty(), "node {node} was asked for the policy");
    }
    // All nodes at once, for people.
    let (code, stdout, _) = output(&["audit", "show", "--dir", dir.to_str().unwrap(), "--outcome", "refused"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("BLOCK_V2 REFUSED by dev-client (certificate) from 127.0.0.1:"), "{stdout}");
    assert!((1..=3).all(|node| stdout.contains(&format!(" node {node} seq "))), "{stdout}");
}

/// Until the cluster remembers a line of every node. (While it remembers only some of them, the others are foreign to it.)
fn until_anchored(dir: &Path) {
    let answer = eventually("an anchor of every node", START, || {
        let (code, answer) = verified(&["--dir", dir.to_str().unwrap()]);
        (code == 0 || !answer.to_string().contains("foreign: "))
            .then_some((code, answer))
            .filter(|(code, answer)| *code != 0 || anchored(answer))
    });
    assert_eq!(answer.0, 0, "{}", answer.1);
}

fn anchored(answer: &Value) -> bool {
    let logs = answer["logs"].as_array().unwrap();
    logs.len() == 3 && logs.iter().all(|log| log["report"]["anchor"].is_u64())
}

/// The newest file of lines of a data directory.
fn newest(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data.join("audit")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "jsonl")).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_records_what_it_was_asked_and_tampering_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_base_port(3).to_string();
    let mut dev = Dev::start(dir.path(), &["--base-port", &port, "--validators", "4"]);
    dev.until_ready();
    let (chain, cluster) = (mainnet(), deployment(dir.path()));
    let (signer, admin) = (cluster.signer(1).unwrap(), cluster.admin().unwrap());
    let keys = public_keys(&signer).await.unwrap();
    for (number, (node, key)) in (0..).zip(cluster.nodes.iter().zip(&keys)) {
        let (signer, admin) = (signer.only(&node.api_url), admin.only(&node.api_url));
        ask_everything(&chain, &signer, &admin, *key, number).await;
    }
    lines_of_each_node(dir.path(), &keys);
    until_anchored(dir.path());
    let metrics = plain_get(&cluster.nodes[0].metrics_url).await;
    assert!(metrics.contains("consigner_audit_anchored_sequence ") && metrics.contains("consigner_audit_lines_total "));
    assert!(metrics.contains("consigner_audit_chain_breaks_total 0"), "{metrics}");

    dev.signal(Signal::TERM);
    assert_eq!(dev.ended(STOP).code(), Some(0), "{:#?}", dev.printed);
    drop(dev);
    let (code, answer) = verified(&["--dir", dir.path().to_str().unwrap(), "--offline"]);
    assert_eq!(code, 0, "{answer}");
    for log in answer["logs"].as_array().unwrap() {
        assert_eq!(log["report"]["unsigned"], 0, "a stop ends with a checkpoint");
    }
    tampered_at_rest(dir.path());
    wiped_and_started(dir.path(), &port);
}

/// One line of node 2 altered: its place is named, the others hold.
fn tampered_at_rest(dir: &Path) {
    let (first, second) = (data_dir(dir, 1), data_dir(dir, 2));
    let file = newest(&second);
    let whole = std::fs::read_to_string(&file).unwrap();
    let at = whole.lines().position(|line| line.contains("\"outcome\":\"refused\"")).unwrap();
    let seq = serde_json::from_str::<Value>(whole.lines().nth(at).unwrap()).unwrap()["seq"].clone();
    std::fs::write(&file, whole.replace("\"outcome\":\"refused\"", "\"outcome\":\"allowed\"")).unwrap();
    let (code, stdout, _) = output(&["audit", "verify", "--data-dir", second.to_str().unwrap()]);
    assert_eq!(code, 1, "{stdout}");
    let place = format!("{} line {} (seq {seq}): altered", file.display(), at + 1);
    assert!(stdout.contains(&place), "{stdout} lacks {place}");
    let (code, answer) = verified(&["--data-dir", second.to_str().unwrap()]);
    assert_eq!((code, &answer["ok"], &answer["logs"][0]["failure"]["seq"]), (1, &json!(false), &seq));
    assert_eq!(verified(&["--data-dir", first.to_str().unwrap()]).0, 0);
    std::fs::write(&file, whole).unwrap();
    assert_eq!(verified(&["--data-dir", second.to_str().unwrap()]).0, 0);
}

/// Whoever empties a node's record and starts it again leaves a chain that is whole by itself; the cluster remembers.
fn wiped_and_started(dir: &Path, port: &str) {
    let data = data_dir(dir, 3);
    std::fs::remove_dir_all(data.join("audit")).unwrap();
    let mut dev = Dev::start(dir, &["--base-port", port]);
    dev.until_ready();
    let says = eventually("the node notices", START, || {
        let lines = shown(&["--data-dir", data.to_str().unwrap(), "--all"]);
        lines.into_iter().find(|line| line["why"] == "break")
    });
    // Whether another line has its number by now depends on how soon the node heard of its anchor.
    let reason = says["reason"].as_str().unwrap();
    let named =
        ["the cluster remembers this line, and it is not here", "the cluster remembers another line of this number"];
    assert!(named.iter().any(|name| reason.contains(name)), "{says}");
    let (code, answer) = verified(&["--dir", dir.to_str().unwrap()]);
    let oks: Vec<&Value> = answer["logs"].as_array().unwrap().iter().map(|log| &log["ok"]).collect();
    assert_eq!((code, oks), (1, vec![&json!(true), &json!(true), &json!(false)]), "{answer}");
    dev.signal(Signal::TERM);
    assert_eq!(dev.ended(STOP).code(), Some(0), "{:#?}", dev.printed);
}

/// Metrics are served in the clear.
async fn plain_get(url: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let authority = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics")).unwrap();
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    for arguments in [
        &["audit", "verify"][..],
        &["audit", "show"],
        &["audit", "verify", "--data-dir", "/nowhere"],
        &["audit", "verify", "--data-dir", empty],
        &["audit", "show", "--data-dir", empty],
        &["audit", "show", "--dir", empty],
        &["audit", "show", "--data-dir", empty, "--since", "yesterday"],
        &["audit", "show", "--data-dir", empty, "--key", "0x12"],
        &["audit", "verify", "--data-dir", empty, "--public-key", "12"],
    ] {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!(code, 2, "{arguments:?}: {stdout}{stderr}");
    }
    let (code, stdout, _) = output(&["audit", "--help"]);
    assert!(code == 0 && stdout.contains("Examples:"), "{stdout}");
}
