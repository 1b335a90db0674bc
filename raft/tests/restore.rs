//! Backup of a living cluster, and a new cluster out of what is left of a lost one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_gate::ClientTls;
use consigner_gate::tls::{ALPN_PEER, client_config};
use consigner_raft::restore::{NewNode, Source, combine, write};
use consigner_raft::{AuthorizeError, Cluster, ClusterOptions, Leadership, Member, Timing, read_backup};
use consigner_rules::command::{ClusterIdentity, DataKey, Floor, Rejection};
use consigner_rules::primitives::ClusterId;
use consigner_rules::state::Rebirth;
use consigner_rules::{Command, Outcome};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use support::{DEADLINE, GENESIS, KEY, Lab, attestation, block, disk_at, sealed, sign, try_sign, until};

const NEW: ClusterId = ClusterId([8; 16]);

fn rebirth() -> Rebirth {
    let identity = ClusterIdentity { cluster_id: NEW, network: "test".to_owned(), genesis_validators_root: GENESIS };
    let data_key = DataKey { id: [3; 16], sealer: "test".to_owned(), wrapped: vec![4, 5, 6] };
    Rebirth { identity, data_keys: vec![data_key], keys: vec![sealed(KEY, 3)] }
}

/// The first node of the new cluster, on a directory that a restore wrote.
async fn open(lab: &Lab, node: &NewNode) -> Cluster {
    let file = |name: &str| lab.dir.path().join(name);
    let tls = ClientTls { cert: file("node1-cert.pem"), key: file("node1-key.pem"), ca: file("ca.pem") };
    let options = ClusterOptions {
        node_id: node.node_id,
        cluster_id: node.cluster_id,
        member: node.member.clone(),
        data_dir: node.data_dir.clone(),
        peer_tls: client_config(&tls, ALPN_PEER).unwrap(),
        timing: Timing::default(),
        snapshot_every: 1_000,
        disk: disk_at(Arc::new(AtomicU64::new(10))),
        outbox: Default::default(),
        on_keys: Arc::new(|_| {}),
        on_settle: Arc::new(|| Box::pin(async {})),
        on_policy: Arc::new(|_| {}),
        describe: Arc::new(consigner_raft::Description::default),
        join_token: Arc::new(|| None),
        on_fatal: Arc::new(|_| {}),
    };
    Cluster::open(options).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cluster_comes_back_and_signs_only_above_its_floor() {
    let mut lab = Lab::up(3, 20).await;
    let leader = lab.leader().await;
    for target in 1..=30 {
        sign(lab.cluster(leader), &attestation(target - 1, target, 1)).await.unwrap();
    }
    // From any node, and with everything that was acknowledged before it was asked for.
    let mut backups = Vec::new();
    for id in 1..=3 {
        let slot = 100 + id;
        sign(lab.cluster(leader), &block(slot, 1)).await.unwrap();
        let (summary, content) = lab.cluster(id).backup(7, DEADLINE).await.unwrap();
        assert_eq!((summary.maxima.slot, summary.maxima.target), (Some(slot), Some(30)), "node {id}");
        assert_eq!((summary.node, summary.keys, summary.members.len()), (id, 1, 3));
        backups.push(content);
    }
    for target in 31..=35 {
        sign(lab.cluster(leader), &attestation(target - 1, target, 1)).await.unwrap();
    }
    let follower = lab.follower().await;
    let one = lab.cluster(follower).clone();
    one.barrier(DEADLINE).await.unwrap();
    for id in 1..=3 {
        lab.stop(id).await;
    }
    // As it was in the end: positions may have been noted until then.
    let digest = one.status().digest;
    drop(one);

    // The oldest backup and one disk of three: snapshot and log lead to the very state that the node had.
    let survivor = Source::from_survivor(&lab.data_dir(follower)).unwrap();
    assert_eq!(survivor.state.digest().to_string(), digest);
    let (backup, _) = Source::from_backup("backup", &backups[0]).unwrap();
    let combined = combine(vec![backup, survivor], Vec::new()).unwrap();
    assert_eq!((combined.maxima.slot, combined.maxima.target), (Some(103), Some(35)));
    assert!(combined.reports[0].base && combined.reports[0].kind == "survivor");
    assert_eq!(combined.reports[1].raised, 0, "the survivor knows more");

    let member = Member { name: "node1".to_owned(), peer_addr: "127.0.0.1:1".to_owned(), ..Member::default() };
    let data_dir = lab.dir.path().join("restored");
    let node = NewNode { node_id: 1, cluster_id: NEW, member, data_dir };
    write(&node, &combined.state.reborn(rebirth())).unwrap();
    let cluster = open(&lab, &node).await;
    until("leadership of the new cluster", || cluster.leadership() == Leadership::This).await;
    // A lineage of its own: entries before its first do not exist, so nothing of it is missing, and no mark is older.
    assert_eq!((cluster.lineage(), cluster.archive_mark(), cluster.recorded_since().unwrap()), (NEW, None, 0));
    signs_only_above_a_floor(&cluster).await;
    // And so it is after a restart.
    cluster.shutdown(Duration::from_secs(5)).await;
    drop(cluster);
    let cluster = open(&lab, &node).await;
    until("leadership again", || cluster.leadership() == Leadership::This).await;
    assert!(matches!(sign(&cluster, &attestation(50, 51, 2)).await, Err(AuthorizeError::Refused { .. })));
    sign(&cluster, &attestation(51, 52, 1)).await.unwrap();
    cluster.shutdown(Duration::from_secs(5)).await;
}

async fn signs_only_above_a_floor(cluster: &Cluster) {
    let refused = try_sign(cluster, &attestation(60, 61, 1)).await.unwrap_err();
    let AuthorizeError::Unavailable { reason } = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("consigner cluster resume"), "{reason}");
    let resume = async |slot, epoch| {
        let floor = Floor { slot, source: epoch, target: epoch };
        cluster.propose(vec![Command::Resume(floor)], DEADLINE).await.unwrap().remove(0)
    };
    for (slot, epoch) in [(102, 50), (1_599, 34)] {
        assert_eq!(resume(slot, epoch).await, Outcome::Rejected(Rejection::FloorBelowHistory(KEY)));
    }
    assert!(matches!(try_sign(cluster, &attestation(60, 61, 1)).await, Err(AuthorizeError::Unavailable { .. })));
    assert_eq!(resume(1_599, 50).await, Outcome::Resumed { raised: 1 });
    // What the old cluster signed last, and what it may have signed since, whatever the root.
    for old in [attestation(34, 35, 1), attestation(49, 50, 1), attestation(10, 51, 1), block(103, 1), block(1_599, 1)]
    {
        assert!(matches!(sign(cluster, &old).await, Err(AuthorizeError::Refused { .. })));
    }
    sign(cluster, &attestation(50, 51, 1)).await.unwrap();
    sign(cluster, &block(1_600, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_while_the_cluster_signs() {
    let lab = Lab::up(3, 50).await;
    let leader = lab.leader().await;
    let (node, signer) = (lab.follower().await, lab.cluster(leader).clone());
    let signing = tokio::spawn(async move {
        let mut target = 0;
        while target < 60 {
            target += 1;
            sign(&signer, &attestation(target - 1, target, 1)).await.unwrap();
        }
        target
    });
    let mut last = None;
    while !signing.is_finished() {
        let (summary, content) = lab.cluster(node).backup(7, DEADLINE).await.unwrap();
        let (read, state) = read_backup(&content).unwrap();
        assert_eq!((read.digest, read.maxima), (state.recomputed_digest(), summary.maxima));
        assert!(summary.maxima.target >= last, "a later backup knows no less");
        last = summary.maxima.target;
    }
    let signed = signing.await.unwrap();
    let (summary, _) = lab.cluster(node).backup(7, DEADLINE).await.unwrap();
    assert_eq!(summary.maxima.target, Some(signed));
}
