//! All keys move from the local sealer to AWS KMS to Vault and back under load, and a sealer that fails stops nobody.
//!
//! The services are real servers that speak the real protocols: moto and OpenBao (`.ci/components` installs them; without
//! them this test says `SKIPPED`). Asserted: not one failed signature of a loaded key, whatever happens to the sealers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "common/bench.rs"]
mod bench;

use bench::Bench;
use consigner_chaos::cluster::Setup;
use consigner_chaos::cluster::ports::Turn;
use consigner_chaos::faults::until_restarted;
use consigner_chaos::keymanager::{KeyManager, LockedKey};
use consigner_chaos::services::{Kms, ServiceError, Vault};
use consigner_chaos::storm::Steady;
use consigner_keys::development::interop_secret;
use consigner_rules::PublicKey;
use http::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

/// The file with the token of the nodes, beside the cluster's files.
const TOKEN_FILE: &str = "vault-token";

/// Keys that move.
const KEYS: u64 = 5;

/// Signatures between two steps: the load is in full swing.
const SIGNED_MIN: usize = 40;

/// A loaded machine; and a circuit that was opened by failures is tried again after a minute at the latest.
const DEADLINE: Duration = Duration::from_secs(240);

/// Between two looks.
const POLL: Duration = Duration::from_millis(100);

/// Epochs between two loads on one key, so that the later one begins above the earlier one.
const EPOCHS_PER_LOAD: u64 = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn keys_move_between_sealers_under_load_and_a_failing_sealer_stops_nobody() {
    let turn = Turn::wait().await.unwrap();
    let Some((kms, vault)) = services().await else { return };
    let mut world = World::start(turn, kms, vault).await;
    world.moved_under_load("aws-kms").await;
    world.bench.restart(&[1, 2, 3]).await;
    world.moved_under_load("vault-transit").await;
    world.bench.restart(&[1, 2, 3]).await;
    world.a_hanging_kms_stops_nobody().await;
    world.a_node_that_cannot_open_its_keys_waits_for_vault().await;
    world.moved_under_load("local").await;
    world.bench.restart(&[1, 2, 3]).await;
    let load = world.load(&[1, 2, 3]);
    signs_without_failure(load).await;
    world.bench.cluster.stop().await.unwrap();
}

/// A running cluster with three sealers.
struct World {
    bench: Bench,
    kms: Kms,
    vault: Vault,
    keys: Vec<PublicKey>,
    loads: u64,
}

/// `None`, and why, when the services are not installed.
async fn services() -> Option<(Kms, Vault)> {
    let (kms, vault) = tokio::join!(Kms::start(), Vault::start());
    match (kms, vault) {
        (Ok(kms), Ok(vault)) => Some((kms, vault)),
        (Err(absent @ ServiceError::Absent { .. }), _) | (_, Err(absent @ ServiceError::Absent { .. })) => {
            eprintln!("SKIPPED: keys_move_between_sealers_under_load_and_a_failing_sealer_stops_nobody: {absent}");
            None
        }
        (Err(error), _) | (_, Err(error)) => panic!("{}", consigner_gate::with_causes(&error)),
    }
}

impl World {
    /// Starts the cluster, with all sealers set up and the local one in use, and brings the keys in.
    async fn start(turn: Turn, kms: Kms, vault: Vault) -> Self {
        let (aws, transit) = (kms.section(), vault.section("../vault-token"));
        let overlay = format!(
            "keymanager: {{enabled: true}}\nkeys: {{sealer: {{use: local, aws-kms: {aws}, vault-transit: {transit}}}}}\n"
        );
        let setup = Setup {
            validators: 1,
            nodes: None,
            overlay: Some(overlay),
            private_files: vec![(TOKEN_FILE.to_owned(), vault.token().to_owned())],
            environment: Kms::environment(),
        };
        let bench = Bench::start(turn, &setup, None).await;
        let locked: Vec<LockedKey> =
            (0..KEYS).map(|number| LockedKey::new(&interop_secret(2_000 + number), "a password").unwrap()).collect();
        let statuses = KeyManager::new(bench.courier.clone()).import(2, &locked, None).await.unwrap();
        assert!(statuses.iter().all(|status| status == "imported"), "{statuses:?}");
        let keys = locked.iter().map(|key| key.validator).collect();
        Self { bench, kms, vault, keys, loads: 0 }
    }

    fn load(&mut self, nodes: &[u64]) -> Steady {
        self.loads += 1;
        let epoch = self.bench.chain.modern_epoch() + self.loads * EPOCHS_PER_LOAD;
        Steady::start(&self.bench.courier, &self.bench.chain, &self.keys, nodes, epoch)
    }

    /// Moves all keys, with signatures before, during and after.
    async fn moved_under_load(&mut self, kind: &str) {
        let load = self.load(&[1, 2, 3]);
        until_signed(&load).await;
        let moved = self.bench.command(&["keys", "rewrap"], &["--to", kind, "--json"]).await;
        let report: Value = serde_json::from_str(&moved.stdout).unwrap();
        assert_eq!(report["remaining"], 0, "{report}");
        for node in 1..=3 {
            let seen = self.data_keys(node).await;
            let data_keys = seen["data"].as_array().unwrap();
            assert!(data_keys.iter().all(|one| one["sealer"] == kind && one["open"] == true), "node {node}: {seen}");
            assert_eq!(data_keys.iter().filter_map(|one| one["keys"].as_u64()).sum::<u64>(), KEYS + 1, "{seen}");
        }
        signs_without_failure(load).await;
    }

    async fn data_keys(&self, node: u64) -> Value {
        self.bench.must(node, Method::GET, "/admin/v1/keys/data-keys", String::new()).await
    }

    /// L2, with a service that accepts connections and says nothing: no key lies under it, and one that is made fails.
    async fn a_hanging_kms_stops_nobody(&mut self) {
        let load = self.load(&[1, 2, 3]);
        self.kms.hang();
        let body = r#"{"sealer":"aws-kms"}"#.to_owned();
        let (status, answer) = self.bench.operate(1, Method::POST, "/admin/v1/keys/data-keys", body).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(status == 503 && answer.contains("GenerateDataKey"), "{status}: {answer}");
        until_signed(&load).await;
        self.kms.go_on();
        signs_without_failure(load).await;
    }

    /// L2, with access revoked: loaded keys sign on. A node that starts now cannot open them and is not ready, says
    /// which data key it is, and becomes ready by itself when access is restored.
    async fn a_node_that_cannot_open_its_keys_waits_for_vault(&mut self) {
        let seen = self.data_keys(1).await;
        let id = seen["data"][0]["id"].as_str().unwrap().to_owned();
        let load = self.load(&[1, 2]);
        until_signed(&load).await;
        self.vault.revoke().await.unwrap();
        let victims = self.bench.kill(&[3]);
        let said = self.until_not_opened(&id).await;
        assert!(said.contains("decrypt") && said.contains("policy"), "no call and no hint in {said}");
        self.until_not_ready_for(&id).await;
        until_signed(&load).await;
        signs_without_failure(load).await;
        let load = self.load(&[1, 2]);
        self.vault.restore().await.unwrap();
        until_restarted(&self.bench.cluster, &self.bench.courier, &victims).await.unwrap();
        signs_without_failure(load).await;
        let load = self.load(&[3]);
        signs_without_failure(load).await;
    }

    /// Waits until node 3 says that it is not ready because of this data key; never that it is ready.
    async fn until_not_ready_for(&self, id: &str) {
        let until = Instant::now() + DEADLINE;
        loop {
            let (status, text) = self.bench.operate(3, Method::GET, "/ready", String::new()).await;
            let text = String::from_utf8_lossy(&text).into_owned();
            assert_eq!(status, 503, "{text}");
            if text.contains(id) {
                return;
            }
            assert!(Instant::now() < until, "node 3 does not name {id}: {text}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until node 3 runs again and says that this data key does not open, and why.
    async fn until_not_opened(&self, id: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let url = &self.bench.courier.nodes()[2].url;
            let answer = self.bench.courier.look(url, "/admin/v1/keys/data-keys").await;
            if let Ok(answer) = answer.as_ref().map(|answer| &answer.body) {
                let seen: Value = serde_json::from_slice(answer).unwrap_or_default();
                let mut data_keys = seen["data"].as_array().cloned().unwrap_or_default().into_iter();
                let this = data_keys.find(|one| one["id"] == id && one["open"] == false);
                if let Some(error) = this.as_ref().and_then(|one| one["error"].as_str()) {
                    return error.to_owned();
                }
            }
            assert!(Instant::now() < until, "node 3 does not say that {id} does not open: {answer:?}");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Waits for so many more signatures.
async fn until_signed(load: &Steady) {
    let enough = load.signed() + SIGNED_MIN;
    let until = Instant::now() + DEADLINE;
    while load.signed() < enough {
        assert!(Instant::now() < until, "{} signatures only", load.signed());
        tokio::time::sleep(POLL).await;
    }
}

/// Ends the load after some more signatures; not one request may have failed.
async fn signs_without_failure(load: Steady) {
    until_signed(&load).await;
    let (signed, failed) = load.stop().await;
    assert_eq!(failed, Vec::<String>::new(), "beside {signed} signatures");
}
