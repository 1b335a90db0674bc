//! `consigner archive` from end to end: docs/ARCHIVE.md as it is printed, against a real Postgres; and a node's own
//! segments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "postgres")]
mod database;
#[cfg(feature = "postgres")]
#[path = "../../../storage/tests/support/postgres.rs"]
mod postgres;
mod segments;

use common::{attestation, deployment, mainnet, output};
use consigner_node::client::signing::{Signed, public_keys, sign};
use consigner_rules::PublicKey;
use consigner_rules::interchange::Interchange;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// A machine that builds beside the test is slow.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Signs attestations for the first validator, one per step; a cluster that cannot right now is asked again.
pub fn sign_steps(dir: &Path, steps: std::ops::RangeInclusive<u64>) -> PublicKey {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let signer = deployment(dir).signer(1).unwrap();
        let (chain, keys) = (mainnet(), public_keys(&signer).await.unwrap());
        for step in steps {
            let until = Instant::now() + DEADLINE;
            loop {
                match sign(&signer, &attestation(&chain, keys[0], step, 1)).await {
                    Ok(Signed::Signature(_)) => break,
                    Ok(Signed::Refused(why)) => panic!("step {step}: {why}"),
                    other => assert!(Instant::now() < until, "step {step}: {other:?}"),
                }
            }
        }
        keys[0]
    })
}

/// Runs a command of the archive; exit code, stdout, stderr.
pub fn archive(arguments: &[&str]) -> (i32, String, String) {
    output(&[&["archive"], arguments].concat())
}

/// The same with `--json`, with the exit code that is expected.
pub fn archive_json(arguments: &[&str], expected: i32) -> Value {
    let (exit, stdout, stderr) = archive(&[arguments, &["--json"]].concat());
    assert_eq!(exit, expected, "{arguments:?}: {stdout}\n{stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// An interchange file.
pub fn interchange(path: &Path) -> Interchange {
    Interchange::parse(std::fs::read(path).unwrap()).unwrap()
}

/// Its attestations of one validator, by target, without doubles.
pub fn targets(file: &Interchange, key: &PublicKey) -> std::collections::BTreeSet<u64> {
    file.validators()[key].attestations.iter().map(|vote| vote.target_epoch).collect()
}
