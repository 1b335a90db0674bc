//! `consigner history` on a live cluster: exports, imports, watermarks, and the way over from Web3Signer's database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "postgres")]
#[path = "../../../storage/tests/support/postgres.rs"]
mod postgres;
#[cfg(feature = "postgres")]
mod web3signer;

use common::{Dev, attestation, consigner, deployment, free_base_port, mainnet, patiently};
use consigner_node::client::signing::{Signed, public_keys};
use consigner_rules::interchange::Interchange;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;

/// A cluster of one node with the development validators.
fn dev(dir: &Path) -> Dev {
    let port = free_base_port(1).to_string();
    let mut dev = Dev::start(dir, &["--nodes", "1", "--base-port", &port, "--validators", "3"]);
    dev.until_ready();
    dev
}

/// Runs `consigner history ..` on it, where nobody can be asked; exit code, stdout, stderr.
fn history(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = consigner();
    command.arg("history").args(arguments).arg("--dir").arg(dir).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn json_of(dir: &Path, arguments: &[&str], code: i32) -> Value {
    let (exit, stdout, stderr) = history(dir, &[arguments, &["--json"]].concat());
    assert_eq!(exit, code, "{arguments:?}: {stdout} {stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// What EIP-3076 asks of a file, field by field, and nothing beside it.
fn assert_schema(text: &[u8]) {
    let file: Value = serde_json::from_slice(text).unwrap();
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let decimal = |value: &Value| assert!(value.as_str().unwrap().parse::<u64>().is_ok(), "{value}");
    let bytes = |value: &Value, length: usize| {
        let digits = value.as_str().unwrap().strip_prefix("0x").unwrap();
        assert!(digits.len() == 2 * length && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
    };
    assert_eq!(fields(&file), ["data", "metadata"]);
    assert_eq!(fields(&file["metadata"]), ["genesis_validators_root", "interchange_format_version"]);
    assert_eq!(file["metadata"]["interchange_format_version"], "5");
    bytes(&file["metadata"]["genesis_validators_root"], 32);
    for validator in file["data"].as_array().unwrap() {
        assert_eq!(fields(validator), ["pubkey", "signed_attestations", "signed_blocks"]);
        bytes(&validator["pubkey"], 48);
        for (list, numbers) in
            [("signed_blocks", vec!["slot"]), ("signed_attestations", vec!["source_epoch", "target_epoch"])]
        {
            for record in validator[list].as_array().unwrap() {
                numbers.iter().for_each(|number| decimal(&record[number]));
                let roots: Vec<String> =
                    fields(record).into_iter().filter(|field| !numbers.contains(&field.as_str())).collect();
                assert!(roots.is_empty() || roots == ["signing_root"], "{record}");
                roots.iter().for_each(|root| bytes(&record[root], 32));
            }
        }
    }
    Interchange::parse(text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_leave_come_back_and_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let _dev = dev(dir);
    let (chain, signer) = (mainnet(), deployment(dir).signer(1).unwrap().following(true));
    let keys = public_keys(&signer).await.unwrap();
    for (key, step) in [(0, 0), (0, 1), (0, 2), (1, 0)] {
        let duty = attestation(&chain, keys[key], step, 1);
        assert!(matches!(patiently(&signer, &duty).await, Signed::Signature(_)));
    }

    let (minimal, complete) = (dir.join("minimal.json"), dir.join("complete.json"));
    let (minimal, complete) = (minimal.to_str().unwrap(), complete.to_str().unwrap());
    let one = keys[0].to_string();
    assert_eq!(json_of(dir, &["export", "--to", minimal], 0)["validators"], 2);
    let told = json_of(dir, &["export", "--complete", "--to", complete], 0);
    assert_eq!((&told["complete"], &told["complete_from_log_index"]), (&json!(true), &json!("1")), "{told}");
    assert_eq!((&told["validators"], &told["records"]), (&json!(2), &json!(4)));
    for file in [minimal, complete] {
        assert_schema(&std::fs::read(file).unwrap());
    }
    let read = |file: &str| Interchange::parse(std::fs::read(file).unwrap()).unwrap();
    assert_eq!(read(complete).reduce(), read(minimal).reduce(), "the same newest records");
    assert_eq!(read(complete).validators()[&keys[0]].attestations.len(), 3);
    let (exit, stdout, _) = history(dir, &["export", "--complete", "--keys", &one]);
    assert_eq!((exit, Interchange::parse(&stdout).unwrap().validators().len()), (0, 1));

    let again = json_of(dir, &["import", "--from", complete], 0);
    assert!(again["data"].as_array().unwrap().iter().all(|line| line["status"] == "unchanged"), "{again}");
    let foreign = std::fs::read_to_string(minimal).unwrap().replace("0x4b363db9", "0x00000000");
    let foreign_file = dir.join("foreign.json");
    std::fs::write(&foreign_file, foreign).unwrap();
    let (exit, _, why) = history(dir, &["import", "--from", foreign_file.to_str().unwrap()]);
    assert!(exit == 1 && why.contains("another chain") || why.contains("belongs to the chain"), "{exit} {why}");
    watermarks(dir, &one);
    let duty = attestation(&chain, keys[0], 3, 1);
    assert!(matches!(patiently(&signer, &duty).await, Signed::Refused(_)), "raised above it");
}

/// Raises the watermarks of the key above the next steps of the chain, and sets and clears the limit.
fn watermarks(dir: &Path, key: &str) {
    let shown = json_of(dir, &["watermark", "show", "--keys", key], 0);
    assert_eq!((shown["data"].as_array().unwrap().len(), &shown["high_watermark"]), (1, &Value::Null));
    let target: u64 = shown["data"][0]["target_epoch"].as_str().unwrap().parse().unwrap();
    let (source, target) = (target.to_string(), (target + 1).to_string());
    let raise = ["watermark", "raise", "--keys", key, "--source", &source, "--target", &target];
    let (exit, _, why) = history(dir, &raise);
    assert!(exit == 2 && why.contains("--yes"), "nobody can be asked: {exit} {why}");
    assert_eq!(history(dir, &["watermark", "raise", "--slot", "1", "--yes"]).0, 2, "of whom?");
    let tried = json_of(dir, &[&raise[..], &["--dry-run"]].concat(), 0);
    assert_eq!((&tried["dry_run"], &tried["data"][0]["status"]), (&json!(true), &json!("raised")));
    let unchanged = json_of(dir, &["watermark", "show", "--keys", key], 0);
    assert_eq!(unchanged, shown, "neither a question without an answer nor a dry run changes anything");
    let raised = json_of(dir, &[&raise[..], &["--yes"]].concat(), 0);
    assert_eq!(raised["data"][0]["after"]["target_epoch"], target.as_str());
    let lower = ["watermark", "raise", "--keys", key, "--source", "1", "--target", "2", "--yes"];
    assert_eq!(json_of(dir, &lower, 0)["data"][0]["status"], "unchanged", "it is never lowered");

    let high = |epoch: &'static str| ["watermark", "set-high", "--epoch", epoch, "--slot", "99000000", "--yes"];
    let (exit, _, why) = history(dir, &high("7"));
    assert!(exit == 1 && why.contains("high watermark"), "{exit} {why}");
    assert_eq!(json_of(dir, &high("9000000"), 0)["after"]["epoch"], "9000000");
    assert_eq!(json_of(dir, &["watermark", "show"], 0)["high_watermark"]["slot"], "99000000");
    assert_eq!(history(dir, &["watermark", "clear-high"]).0, 2);
    assert_eq!(json_of(dir, &["watermark", "clear-high", "--yes"], 0)["after"], Value::Null);
}
