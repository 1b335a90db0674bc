//! The policy on three nodes: whoever lost a right gets nothing from any of them, whatever was on its way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_raft::{Admit, AuthorizeError, Cluster, Release, Routing};
use consigner_rules::message::SignPath;
use consigner_rules::permit::UnslashableType;
use consigner_rules::policy::{Caller, CertificateNames};
use consigner_rules::{Change, Command, Outcome, Policy, Root, SignRequest, SigningType, State, TokenRecord};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::rights::Told;
use support::{DEADLINE, KEY, Lab, attestation, block, request, until};

fn policy(clients: &str) -> Policy {
    let text = format!(
        "version: 1
roles: {{validator: {{keys: all, operations: [duties]}}, operator: {{operations: [\"admin.*\"]}}}}
clients: [{clients}]"
    );
    Policy::parse(&text).unwrap()
}

const ONE: &str = "{name: one, certificate: {common-name: one}, roles: [validator]}";
const TWO: &str = "{name: two, certificate: {common-name: two}, roles: [validator]}";

fn randao() -> SignRequest {
    request(SignPath::Local(UnslashableType::RandaoReveal), SigningType::RandaoReveal, 1)
}

/// As the node's admission does it: the policy of the state that is shown, or everything if there is none.
fn admits(state: &State, name: &str, request: &SignRequest) -> Result<(), String> {
    let Some(policy) = state.policy() else { return Ok(()) };
    let certificate = CertificateNames { common_name: Some(name), dns_names: &[], uris: &[], fingerprint: None };
    let caller = Caller { certificate: Some(certificate), ..Caller::default() };
    policy.admit(&caller, request, None).map(drop).map_err(|denial| denial.to_string())
}

/// Asks until there is an answer that is not "try again".
async fn ask(cluster: &Cluster, name: &str, request: &SignRequest) -> Result<Root, AuthorizeError> {
    answered(cluster, request, &|state| admits(state, name, request)).await
}

/// As [`ask`], with this admission.
async fn answered(cluster: &Cluster, request: &SignRequest, admit: Admit<'_>) -> Result<Root, AuthorizeError> {
    let began = Instant::now();
    loop {
        match cluster.authorize(request, "client", Routing::Forward, admit).await {
            Err(AuthorizeError::Unavailable { .. }) if began.elapsed() < DEADLINE => {}
            answer => return answer.map(|permit| *permit.signing_root()),
        }
    }
}

fn is_denied(answer: &Result<Root, AuthorizeError>) -> bool {
    matches!(answer, Err(AuthorizeError::Denied { .. }))
}

/// Applies a policy as an operator does: shown, decided on, and decided anew if another change came between.
async fn set(cluster: &Cluster, policy: &Policy) -> u64 {
    loop {
        let replaces = cluster.read(|state| state.cluster().policy_version);
        let command = Command::SetPolicy { policy: Box::new(policy.clone()), replaces };
        let outcome = cluster.propose(vec![command], DEADLINE).await.unwrap().remove(0);
        if let Outcome::PolicyRenewed(version) = outcome {
            return version;
        }
        assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
        cluster.barrier(DEADLINE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_admitted_gets_no_permit_and_leaves_no_record() {
    let lab = Lab::steady(3, 1_000).await;
    assert!(set(lab.cluster(lab.follower().await), &policy(ONE)).await >= 2);
    lab.cluster(1).settle_strictly(DEADLINE).await.unwrap();
    for id in 1..=3 {
        for request in [block(10, 1), attestation(0, 10, 1), randao()] {
            let denied = ask(lab.cluster(id), "two", &request).await;
            let Err(AuthorizeError::Denied { reason }) = denied else { panic!("node {id}: {denied:?}") };
            assert!(reason.contains("\"two\""), "{reason}");
        }
    }
    lab.cluster(1).barrier(DEADLINE).await.unwrap();
    // The digest may move all the same: rules are raised, positions noted.
    let known = lab.cluster(1).read(|state| state.validator(&KEY).unwrap().history);
    assert_eq!((known.block, known.attestation), (None, None), "nothing was recorded");
    let rows = lab.cluster(1).recorded_after(0, 1_000).unwrap();
    let judged = |change: &Change| change.signed().is_some() || change.refused().is_some();
    assert!(!rows.iter().flat_map(|row| &row.changes).any(judged), "nothing was recorded: {rows:?}");
    for id in 1..=3 {
        assert_eq!(ask(lab.cluster(id), "one", &attestation(0, 10 + id, 1)).await, Ok(Root([1; 32])), "node {id}");
        assert_eq!(ask(lab.cluster(id), "one", &randao()).await, Ok(Root([1; 32])), "node {id}");
    }
}

/// Clients ask through all nodes while one of them loses its right: what the log orders after the loss is not recorded,
/// and whoever was on its way is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_on_its_way_when_its_client_is_revoked_is_not_signed() {
    let lab = Lab::up(3, 1_000).await;
    set(lab.cluster(1), &policy(ONE)).await;
    lab.cluster(1).settle(DEADLINE).await.unwrap();
    let targets = Arc::new(AtomicU64::new(1));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..12_u64 {
        let (cluster, targets) = (lab.cluster(client % 3 + 1).clone(), Arc::clone(&targets));
        clients.spawn(async move {
            let mut newest = 0;
            loop {
                let target = targets.fetch_add(1, Ordering::Relaxed);
                match ask(&cluster, "one", &attestation(0, target, 1)).await {
                    Ok(_) => newest = newest.max(target),
                    // Another client's newer target was ordered first.
                    Err(AuthorizeError::Refused { .. }) => {}
                    Err(AuthorizeError::Denied { .. }) => return newest,
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    until("some signatures", || targets.load(Ordering::Relaxed) > 100).await;
    let version = set(lab.cluster(lab.follower().await), &policy(TWO)).await;
    lab.cluster(1).settle_strictly(DEADLINE).await.unwrap();
    let signed = clients.join_all().await.into_iter().max().unwrap();
    assert!(signed > 0, "they signed before");
    for id in 1..=3 {
        lab.cluster(id).barrier(DEADLINE).await.unwrap();
        let told = lab.rights(id).all();
        let at_loss = told.iter().find(|told| told.version == version).expect("every node is told");
        let now = lab.cluster(id).read(Told::of);
        assert_eq!(now.target, at_loss.target, "node {id}: nothing was recorded after the loss");
        assert!(at_loss.target.is_some_and(|target| signed <= target), "node {id}: {signed} {at_loss:?}");
        assert!(is_denied(&ask(lab.cluster(id), "one", &attestation(0, 1_000_000, 1)).await), "node {id}");
        assert!(is_denied(&ask(lab.cluster(id), "one", &randao()).await), "node {id}");
    }
    assert_eq!(ask(lab.cluster(2), "two", &attestation(0, 1_000_000, 1)).await, Ok(Root([1; 32])));
}

/// What needs no agreement was signed before the loss, and its bytes have not left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_signed_before_the_loss_does_not_leave_after_it() {
    let lab = Lab::steady(3, 1_000).await;
    set(lab.cluster(1), &policy(ONE)).await;
    lab.cluster(1).settle(DEADLINE).await.unwrap();
    let request = randao();
    let admit: Admit<'_> = &|state| admits(state, "one", &request);
    for id in 1..=3 {
        assert!(ask(lab.cluster(id), "one", &request).await.is_ok());
        assert_eq!(lab.cluster(id).may_release(&KEY, DEADLINE, admit).await.unwrap(), Release::Yes);
    }
    set(lab.cluster(2), &policy(TWO)).await;
    let settled = lab.cluster(2).settle_strictly(DEADLINE).await.unwrap();
    assert_eq!(settled.settled, [1, 2, 3]);
    for id in 1..=3 {
        let released = lab.cluster(id).may_release(&KEY, DEADLINE, admit).await.unwrap();
        assert!(matches!(released, Release::Denied(_)), "node {id}: {released:?}");
    }
    let delete = Command::DeleteKey { public_key: KEY, deletions_seen: u64::MAX };
    lab.cluster(1).propose(vec![delete], DEADLINE).await.unwrap();
    lab.cluster(1).settle_strictly(DEADLINE).await.unwrap();
    assert_eq!(lab.cluster(3).may_release(&KEY, DEADLINE, admit).await.unwrap(), Release::KeyGone);
}

/// The admission is asked again after the wait for a lease, and a record only ever carries the version that it was
/// admitted under: an admission that would let the old version pass for ever gets nothing under the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admission_counts_for_the_version_it_was_given_under() {
    let lab = Lab::up(3, 1_000).await;
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let only_first = move |state: &State| {
        counted.fetch_add(1, Ordering::Relaxed);
        if state.cluster().policy_version == 1 { Ok(()) } else { Err("not under this version".to_owned()) }
    };
    let cluster = lab.cluster(lab.follower().await);
    assert!(answered(cluster, &attestation(0, 1, 1), &only_first).await.is_ok());
    assert!(asked.swap(0, Ordering::Relaxed) >= 2, "at the door, and with the version of the record");
    lab.cluster(1).propose(vec![Command::RenewPolicy], DEADLINE).await.unwrap();
    // This node may not know of it yet: the record is stale then, and the admission is asked again.
    let answer = answered(cluster, &attestation(0, 2, 1), &only_first).await;
    assert!(matches!(answer, Err(AuthorizeError::Denied { .. })), "{answer:?}");
    cluster.barrier(DEADLINE).await.unwrap();
    assert_eq!(cluster.read(Told::of).target, Some(1));
}

/// A node that is cut off may know an older policy than the cluster's: it says neither yes nor no.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_neither_admits_nor_denies() {
    let mut lab = Lab::up(3, 1_000).await;
    set(lab.cluster(1), &policy(ONE)).await;
    let alone = lab.follower().await;
    lab.cluster(alone).barrier(DEADLINE).await.unwrap();
    for id in (1..=3).filter(|id| *id != alone) {
        lab.stop(id).await;
    }
    until("the lease to run out", || lab.cluster(alone).ready().is_err()).await;
    for name in ["one", "two"] {
        for request in [randao(), block(5, 1)] {
            let admit: Admit<'_> = &|state| admits(state, name, &request);
            let asked = lab.cluster(alone).authorize(&request, name, Routing::Forward, admit).await;
            assert!(matches!(asked, Err(AuthorizeError::Unavailable { .. })), "{name}: {asked:?}");
        }
        let admit: Admit<'_> = &|state| admits(state, name, &randao());
        assert!(lab.cluster(alone).may_release(&KEY, Duration::from_millis(50), admit).await.is_err());
    }
}

fn token(number: u8) -> TokenRecord {
    TokenRecord {
        id: [number; 8],
        name: "ci".to_owned(),
        hash: [number; 32],
        roles: ["operator".to_owned()].into(),
        created_ms: 1,
        expires_ms: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_is_told_of_policy_and_tokens_and_again_after_a_restart() {
    let mut lab = Lab::steady(3, 1_000).await;
    for id in 1..=3 {
        let first = lab.rights(id).all().remove(0);
        assert_eq!(
            first,
            Told { version: 1, policy: None, tokens: Vec::new(), target: None },
            "node {id}: at the start"
        );
    }
    let version = set(lab.cluster(1), &policy(ONE)).await;
    let add = |number| Command::AddToken { token: token(number), policy_version: version };
    let outcomes = lab.cluster(2).propose(vec![add(1), add(2)], DEADLINE).await.unwrap();
    assert_eq!(outcomes, [Outcome::TokenHeld, Outcome::TokenHeld]);
    let follower = lab.follower().await;
    let revoked = lab.cluster(follower).propose(vec![Command::RevokeToken { id: [1; 8] }], DEADLINE).await.unwrap();
    // An answer may be lost and the command agreed twice.
    let [Outcome::TokenRevoked { version: renewed, .. }] = revoked[..] else { panic!("{revoked:?}") };
    assert!(renewed > version);
    lab.cluster(follower).settle_strictly(DEADLINE).await.unwrap();
    let tokens = vec![Arc::new(token(2))];
    let expected = Told { version: renewed, policy: Some(Arc::new(policy(ONE))), tokens, target: None };
    for id in 1..=3 {
        assert_eq!(lab.rights(id).last(), expected, "node {id}");
        assert_eq!(lab.cluster(id).read(Told::of), expected, "node {id}");
    }
    for id in 1..=3 {
        lab.stop(id).await;
    }
    std::fs::remove_file(lab.data_dir(2).join("state/clean")).ok();
    for id in 1..=3 {
        lab.start(id).await;
    }
    lab.all_settled(1, &[1, 2, 3]).await;
    for id in 1..=3 {
        assert_eq!(lab.rights(id).last(), expected, "node {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_down_learns_the_policy_by_snapshot_before_it_serves() {
    let mut lab = Lab::steady(3, 200).await;
    set(lab.cluster(1), &policy(ONE)).await;
    lab.cluster(1).settle(DEADLINE).await.unwrap();
    let behind = lab.follower().await;
    lab.stop(behind).await;
    let leader = lab.leader().await;
    set(lab.cluster(leader), &policy(TWO)).await;
    // Far enough that the log behind the snapshot (1,000 entries are kept) is purged.
    for target in 1..=1_800 {
        assert!(ask(lab.cluster(leader), "two", &attestation(0, target, 1)).await.is_ok());
    }
    lab.start(behind).await;
    // The first answer that is not "try again" is by the policy of now.
    assert!(is_denied(&ask(lab.cluster(behind), "one", &randao()).await));
    assert!(ask(lab.cluster(behind), "two", &randao()).await.is_ok());
    let told = lab.rights(behind).all();
    assert_eq!(told.last().unwrap().policy.as_deref(), Some(&policy(TWO)));
    assert!(told.len() >= 2, "at the start and by the snapshot: {}", told.len());
    assert!(lab.nodes.values().all(|node| node.fatal.lock().unwrap().is_empty()));
}
