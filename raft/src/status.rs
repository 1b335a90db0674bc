//! What a node tells about itself and its cluster.
//!
//! In: the applied state and openraft's metrics. Out: [`NodeStatus`]es. Deliberately absent: anything secret.

use crate::cluster::Cluster;
use crate::description::{Description, DiskUse};
use crate::peer::wire;
use crate::typ::Metrics;
use crate::types::{Member, NodeStatus, Role};
use consigner_rules::RULES_VERSION;
use openraft::ServerState;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one member may take to tell its status.
const STATUS_DEADLINE: Duration = Duration::from_secs(1);

impl Cluster {
    /// This node's own status.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let ready = self.ready();
        let disk = self.inner.disk.status();
        let disk = Some(DiskUse { free_bytes: disk.free_bytes, total_bytes: disk.total_bytes });
        let description = Description { disk, ..(self.inner.describe)() };
        let (digest, keys, rules, applied) = self.inner.shared.read_standing(|state, standing| {
            let applied = standing.applied.map(|applied| applied.index);
            (state.digest(), state.keys().count(), state.rules_version(), applied)
        });
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        NodeStatus {
            id: self.node_id(),
            member: self.inner.member.clone(),
            role: role(&now),
            term: now.current_term,
            leader: now.current_leader,
            last_log_index: now.last_log_index,
            commit_index: self.inner.wal.committed().map(|committed| committed.index),
            applied_index: applied,
            snapshot_index: now.snapshot.map(|snapshot| snapshot.index),
            digest: digest.to_string(),
            keys: keys as u64,
            ready: ready.is_ok(),
            not_ready: ready.err().map(|error| error.reason),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            voters: now.membership_config.voter_ids().collect(),
            rules,
            rules_max: RULES_VERSION,
            boot_counter: self.inner.links.me().boot.counter,
            learners: now.membership_config.membership().learner_ids().collect(),
            outbox_rows: self.outbox_rows(),
            agrees_to_nothing: self
                .entry_waits_for()
                .or_else(|| self.inner.disk.is_starved().then(|| "its disk is full".to_owned())),
            description,
        }
    }

    /// The status of every member, asked over the peer channel; `Err` holds why a member did not answer.
    pub async fn cluster_status(&self) -> BTreeMap<u64, Result<NodeStatus, String>> {
        let members: Vec<(u64, Member)> = self.inner.shared.read_standing(|_, standing| {
            standing.membership.nodes().map(|(id, member)| (*id, member.clone())).collect()
        });
        let asked = members.into_iter().map(|(id, member)| async move {
            if id == self.node_id() {
                return (id, Ok(self.status()));
            }
            let called = self.inner.links.call((id, &member), wire::STATUS, &(), STATUS_DEADLINE).await;
            (id, called.map_err(|error| crate::chain(&error)))
        });
        let mut answers: BTreeMap<_, _> = futures::future::join_all(asked).await.into_iter().collect();
        answers.entry(self.node_id()).or_insert_with(|| Ok(self.status()));
        answers
    }
}

const fn role(now: &Metrics) -> Role {
    match now.state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    }
}
