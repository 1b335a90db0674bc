//! Keys deleted while everybody signs with them, through every node (invariant S6).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::development::interop_secret;
use consigner_rules::PublicKey;
use futures::future::join_all;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::keystores::{KEYSTORES, delete_keys, import_of, post_keys, statuses};
use support::messages::{EPOCH, attestation, mainnet, randao};
use support::{LONG, Node, Site, post, sign_path};

/// Clients of each node.
const CLIENTS: u64 = 6;

/// Requests that each client still makes after the deletion was acknowledged.
const AFTERWARDS: usize = 5;

/// What the clients share.
struct Storm {
    key: PublicKey,
    next: AtomicU64,
    /// Signatures handed out.
    signed: AtomicU64,
    /// Greatest target epoch of an attestation that was handed out.
    newest: AtomicU64,
    acknowledged: AtomicBool,
}

async fn client(node: Arc<Node>, storm: Arc<Storm>) {
    let mut afterwards = 0;
    while afterwards < AFTERWARDS {
        let was_acknowledged = storm.acknowledged.load(Ordering::SeqCst);
        let target = EPOCH + storm.next.fetch_add(1, Ordering::SeqCst);
        let is_vote = !target.is_multiple_of(3);
        let body = if is_vote { attestation(target - 1, target, 9) } else { randao(target) };
        let answer = post(&sign_path(&storm.key), body.to_string()).of(&node).await;
        assert!([200, 404, 412, 503].contains(&answer.status), "{}: {}", answer.status, answer.body);
        if was_acknowledged {
            afterwards += 1;
            assert_ne!(answer.status, 200, "a signature after the deletion was acknowledged");
        } else if answer.status == 200 {
            storm.signed.fetch_add(1, Ordering::SeqCst);
            if is_vote {
                storm.newest.fetch_max(target, Ordering::SeqCst);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_signed_after_the_acknowledgement_and_all_before_is_in_the_export() {
    let (network, root) = mainnet();
    let site = Site::new(network, root);
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(Arc::new(site.node(id).await));
    }
    nodes[0].initialise(&[&*nodes[0], &*nodes[1], &*nodes[2]]).await;
    let secret = interop_secret(0);
    nodes[0].import(std::slice::from_ref(&secret)).await;
    for node in &nodes {
        node.until_ready().await;
    }
    for (round, deleter) in nodes.iter().enumerate() {
        let storm = Arc::new(Storm {
            key: secret.public_key(),
            next: AtomicU64::new(1 + 1_000_000 * round as u64),
            signed: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            acknowledged: AtomicBool::new(false),
        });
        let clients = nodes.iter().flat_map(|node| (0..CLIENTS).map(|_| client(node.clone(), storm.clone())));
        let clients = tokio::spawn(join_all(clients.collect::<Vec<_>>().into_iter().map(tokio::spawn)));
        let deadline = tokio::time::Instant::now() + LONG;
        while storm.signed.load(Ordering::SeqCst) < 100 {
            assert!(tokio::time::Instant::now() < deadline, "the storm never began");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let answer = delete_keys(KEYSTORES, &[storm.key]).through(&deleter.manager()).await;
        storm.acknowledged.store(true, Ordering::SeqCst);
        assert_eq!((answer.status, statuses(&answer.json())), (200, vec!["deleted"]), "{}", answer.body);
        for ended in clients.await.unwrap() {
            ended.unwrap();
        }
        let body = answer.json();
        let exported: Value = serde_json::from_str(body["slashing_protection"].as_str().unwrap()).unwrap();
        let covered = exported["data"][0]["signed_attestations"][0]["target_epoch"].as_str().unwrap();
        let newest = storm.newest.load(Ordering::SeqCst);
        assert!(covered.parse::<u64>().unwrap() >= newest, "{newest} was signed, {covered} is covered");
        assert!(newest > EPOCH, "some were signed");
        // An operator brings it back.
        let again = import_of(std::slice::from_ref(&secret), None);
        let answer = post_keys(KEYSTORES, &again).through(&nodes[(round + 1) % 3].manager()).await;
        assert_eq!(statuses(&answer.json()), ["imported"], "{}", answer.body);
    }
}

// In one thread: the recorder of metrics is that thread's.
#[tokio::test]
async fn a_deletion_ends_and_is_audited_although_its_client_hung_up() {
    let (network, root) = mainnet();
    let secret = interop_secret(0);
    let key = secret.public_key();
    let node = Node::with_keys(network, root, &[secret]).await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let (exported, _guard) = (recorder.handle(), metrics::set_default_local_recorder(&recorder));
    let manager = node.manager();
    let mut call = Box::pin(delete_keys(KEYSTORES, &[key]).through(&manager));
    let told = |outcome: &str| {
        let line = format!("consigner_audit_events_total{{operation=\"key_delete\",outcome=\"{outcome}\"}} 1");
        exported.render().lines().any(|told| told == line)
    };
    let deadline = tokio::time::Instant::now() + LONG;
    while !told("begun") {
        assert!(tokio::time::Instant::now() < deadline, "it never began");
        assert!(futures::poll!(&mut call).is_pending(), "it ended before it was dropped");
        tokio::task::yield_now().await;
    }
    drop(call);
    while !told("done") {
        assert!(tokio::time::Instant::now() < deadline, "nothing was audited: {}", exported.render());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(!node.app.keyring.contains(&key));
    let again = delete_keys(KEYSTORES, &[key]).through(&manager).await;
    assert_eq!((again.status, statuses(&again.json())), (200, vec!["not_found"]), "{}", again.body);
}
