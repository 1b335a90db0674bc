//! `consigner policy` as an operator uses it: the real binary against three real nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Dev, attestation, deployment, free_base_port, mainnet, output};
use consigner_keys::development::interop_secret;
use consigner_node::client::Deployment;
use consigner_node::client::signing::{Signed, public_keys, sign};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

struct Site {
    work: tempfile::TempDir,
    deployment: Deployment,
    _dev: Dev,
}

impl Site {
    fn start(nodes: u16) -> Self {
        let work = tempfile::tempdir().unwrap();
        let (port, count) = (free_base_port(nodes).to_string(), nodes.to_string());
        let dir = work.path().join("dev");
        let mut dev = Dev::start(&dir, &["--nodes", &count, "--base-port", &port, "--validators", "2"]);
        dev.until_ready();
        let deployment = deployment(&dir);
        Self { work, deployment, _dev: dev }
    }

    fn policy(&self, command: &[&str], more: &[&str]) -> (i32, String, String) {
        let dir = self.work.path().join("dev").display().to_string();
        let mut arguments = vec!["policy"];
        arguments.extend(command);
        arguments.extend(["--dir", &dir]);
        arguments.extend(more);
        output(&arguments)
    }

    fn write(&self, text: &str) -> String {
        let path = self.work.path().join("policy.yaml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Applies a document; asserts that it holds and what was said.
    fn applied(&self, text: &str) -> String {
        let (code, stdout, stderr) = self.policy(&["apply"], &[&self.write(text)]);
        assert_eq!(code, 0, "{stdout}{stderr}");
        stdout
    }

    fn check(&self, proofs: &[&str], key: Option<&str>, operation: &str) -> (i32, Value) {
        let mut more: Vec<&str> = proofs.iter().flat_map(|proof| ["--as", proof]).collect();
        more.extend(key.into_iter().flat_map(|key| ["--key", key]));
        more.extend(["--operation", operation, "--json"]);
        let (code, stdout, stderr) = self.policy(&["check"], &more);
        (code, json(&format!("{stdout}{stderr}")))
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The operator, and one client with one of the two development keys.
fn document(client_key: &str) -> String {
    format!(
        "version: 1
# A comment, which does not survive.
tags: {{mine: [\"{client_key}\"]}}
roles:
  validator: {{keys: {{tags: [mine]}}, operations: [duties]}}
  operator: {{operations: [\"admin.*\", \"keymanager.*\"]}}
clients:
  - {{name: vc, certificate: {{common-name: dev-client}}, roles: [validator]}}
  - {{name: ops, certificate: {{common-name: dev-admin}}, roles: [operator]}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_shown_applied_and_explained() {
    let site = Site::start(3);
    let [mine, other] = [0, 1].map(|number| interop_secret(number).public_key());
    let (code, stdout, _) = site.policy(&["show"], &[]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("# policy version 1: no document was applied"), "{stdout}");

    let text = document(&mine.to_string());
    let (code, stdout, stderr) = site.policy(&["apply"], &[&site.write(&text), "--dry-run"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("+ client vc: certificate CN dev-client; roles validator"), "{stdout}");
    assert!(stdout.ends_with("nothing was applied; the policy is at version 1\n"), "{stdout}");
    let (_, stdout, _) = site.policy(&["show"], &["--json"]);
    assert_eq!((json(&stdout)["version"].clone(), json(&stdout)["policy"].clone()), (1.into(), Value::Null));

    let stdout = site.applied(&text);
    assert!(stdout.contains("+ role operator: "), "{stdout}");
    assert!(stdout.ends_with("the policy is at version 2\n"), "{stdout}");
    let (_, shown, _) = site.policy(&["show"], &[]);
    assert!(shown.starts_with("# policy version 2\nversion: 1\n") && !shown.contains("does not survive"), "{shown}");
    // What is shown can be applied again, and changes nothing.
    let stdout = site.applied(&shown);
    assert!(stdout.contains("no change"), "{stdout}");

    // Every node acts by it at once.
    let chain = mainnet();
    for (step, node) in site.deployment.nodes.iter().enumerate() {
        let client = site.deployment.signer(1).unwrap().following(true).only(&node.api_url);
        let allowed = sign(&client, &attestation(&chain, mine, step as u64, 1)).await.unwrap();
        assert!(matches!(allowed, Signed::Signature(_)), "node {}: {allowed:?}", node.id);
        assert_eq!(public_keys(&client).await.unwrap(), [mine], "node {}", node.id);
        let denied = sign(&client, &attestation(&chain, other, step as u64, 1)).await;
        assert!(!matches!(denied, Ok(Signed::Signature(_))), "node {}: {denied:?}", node.id);
        let said = format!("{denied:?}");
        assert!(said.contains("403") && said.contains("does not grant ATTESTATION"), "{said}");
    }
    explained(&site, &mine.to_string(), &other.to_string());
    refused(&site, &text);
}

fn explained(site: &Site, mine: &str, other: &str) {
    let (code, answer) = site.check(&["cn:dev-client"], Some(mine), "ATTESTATION");
    assert_eq!(
        (code, &answer["allowed"], &answer["client"], &answer["role"]),
        (0, &true.into(), &"vc".into(), &"validator".into())
    );
    let cases = [
        (vec!["cn:dev-client"], Some(other), "ATTESTATION", "does not grant ATTESTATION with key"),
        (vec!["cn:dev-client"], Some(mine), "VOLUNTARY_EXIT", "does not grant VOLUNTARY_EXIT to vc"),
        (vec!["cn:DEV-CLIENT"], Some(mine), "ATTESTATION", "knows no client"),
        (vec!["cn:dev-client"], None, "admin.policy-write", "does not grant admin.policy-write"),
    ];
    for (proofs, key, operation, words) in cases {
        let (code, answer) = site.check(&proofs, key, operation);
        assert_eq!((code, &answer["allowed"]), (1, &false.into()), "{operation}");
        assert!(answer["reason"].as_str().unwrap().contains(words), "{answer}");
    }
    let (code, stdout, _) = site.policy(&["check"], &["--as", "cn:dev-admin", "--operation", "admin.tokens"]);
    assert_eq!((code, stdout.as_str()), (0, "allowed: client ops has it by role operator\n"));
    let (code, _, stderr) = site.policy(&["check"], &["--as", "somebody", "--operation", "admin.tokens"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("somebody"), "{stderr}");
}

/// What is wrong is said with its place, and nothing of it is applied.
fn refused(site: &Site, good: &str) {
    let bad = site.write(&good.replace("roles: [validator]", "roles: [validatr]"));
    let (code, _, stderr) = site.policy(&["apply"], &[&bad]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("policy.yaml:8:"), "{stderr}");
    assert!(stderr.contains("did you mean \"validator\"?"), "{stderr}");
    let (code, _, stderr) = site.policy(&["apply"], &["/nonexistent/policy.yaml"]);
    assert_eq!(code, 2, "{stderr}");

    let out = good.replace("common-name: dev-admin", "common-name: somebody-else");
    let (code, stdout, stderr) = site.policy(&["apply"], &[&site.write(&out)]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stderr.contains("409") && stderr.contains("lock you out"), "{stderr}");
    let (code, _, stderr) = site.policy(&["apply"], &[&site.write(good), "--replaces", "1"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("409") && stderr.contains("changed meanwhile"), "{stderr}");
    let (_, stdout, _) = site.policy(&["show"], &["--json"]);
    assert_eq!(json(&stdout)["version"], 2, "nothing of it was applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_once_listed_without_secret_and_revoked() {
    let site = Site::start(1);
    let create = |more: &[&str]| site.policy(&["token", "create"], more);
    let (code, _, stderr) = create(&["--name", "early", "--role", "operator"]);
    assert_eq!(code, 1, "roles are those of a policy, and there is none: {stderr}");
    site.applied(&document(&interop_secret(0).public_key().to_string()));

    let (code, stdout, stderr) = create(&["--name", "ci", "--role", "operator,validator", "--expires", "30d"]);
    assert_eq!(code, 0, "{stderr}");
    let token = stdout.trim();
    let (id, secret) = token.strip_prefix("cst_").unwrap().split_once('_').unwrap();
    assert_eq!((id.len(), secret.len(), stdout.lines().count()), (16, 64, 1));
    assert!(stderr.contains(id) && !stderr.contains(secret), "{stderr}");

    let file = site.work.path().join("token");
    let (code, stdout, stderr) =
        create(&["--name", "filed", "--role", "operator", "--out", &file.display().to_string(), "--json"]);
    assert_eq!((code, &json(&stdout)["token"]), (0, &Value::Null), "{stderr}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("cst_"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let (code, _, stderr) = create(&["--name", "again", "--role", "operator", "--out", &file.display().to_string()]);
    assert_eq!(code, 2, "{stderr}");
    let (code, _, stderr) = create(&["--name", "x", "--role", "nobody"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("no role \"nobody\""), "{stderr}");

    let (code, listed, _) = site.policy(&["token", "list"], &["--json"]);
    assert_eq!(code, 0);
    assert!(!listed.contains(secret), "{listed}");
    let names: Vec<_> = json(&listed)["data"].as_array().unwrap().iter().map(|token| token["name"].clone()).collect();
    assert!(names.len() == 2 && names.contains(&"ci".into()) && names.contains(&"filed".into()), "{listed}");
    let (_, table, _) = site.policy(&["token", "list"], &[]);
    assert!(table.contains("operator,validator  in 29 d") && table.contains("2 tokens"), "{table}");

    let (code, answer) = site.check(&[&format!("token:{id}")], None, "admin.reload");
    assert_eq!((code, &answer["client"]), (0, &"token:ci".into()));
    let (code, stdout, stderr) = site.policy(&["token", "revoke"], &[id, "ffffffffffffffff", "--json"]);
    assert_eq!(code, 3, "one of the two is not known: {stderr}");
    let data = json(&stdout)["data"].clone();
    assert_eq!((&data[0]["status"], &data[1]["status"]), (&"revoked".into(), &"not_found".into()));
    let (code, stdout, stderr) = site.policy(&["token", "revoke"], &["xyz"]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    let (_, shown, _) = site.policy(&["show"], &[]);
    assert!(shown.starts_with("# policy version 3, this document since 2\n"), "{shown}");
    no_token_on_disk(&site.work.path().join("dev"), secret);
}

/// The cluster keeps a hash: the secret lies in no file that it wrote.
fn no_token_on_disk(dir: &Path, secret: &str) {
    let mut folders = vec![dir.to_owned()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                seen += 1;
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{}", path.display());
            }
        }
    }
    assert!(seen > 10, "{seen} files");
}
