//! Finishing what a leader began that is gone: a membership that is half changed needs two majorities for everything,
//! and an id whose node went must be used up.

use super::MembershipError;
use crate::cluster::Cluster;
use openraft::ChangeMembers;
use std::time::Duration;

/// How often the leader looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Cluster {
    /// Completes the last change of voters, if it is half made.
    pub(super) async fn finish_joint(&self) -> Result<(), MembershipError> {
        let view = self.members_view();
        if !view.joint {
            return Ok(());
        }
        tracing::info!(voters = ?view.voters, "finishing a change of the membership that was left half made");
        self.agree_members(ChangeMembers::ReplaceAllVoters(view.voters)).await
    }
}

impl Cluster {
    /// Uses up the ids of nodes that took part and are no members any more: whoever removed them may have died before
    /// it could, or have been refused.
    async fn retire_the_gone(&self) {
        let view = self.members_view();
        if view.joint {
            return;
        }
        let gone: Vec<u64> = self.read(|state| {
            let is_gone = |node: &u64| {
                !view.nodes.contains_key(node) && state.node_record(*node).is_none_or(|record| !record.retired)
            };
            state.positions().keys().copied().filter(is_gone).collect()
        });
        for node in gone {
            if let Some(warning) = self.retire(node).await {
                tracing::warn!(warning, "an id is not used up yet");
            }
        }
    }
}

/// Does so whenever nobody else changes anything here.
pub(crate) async fn finish_joint_changes(cluster: Cluster) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        let Ok(_turn) = cluster.inner.changing.try_lock() else { continue };
        if cluster.check_leads().is_err() {
            continue;
        }
        match cluster.finish_joint().await {
            Ok(()) => cluster.retire_the_gone().await,
            Err(error) => tracing::warn!(%error, "a change of the membership is left half made"),
        }
    }
}
