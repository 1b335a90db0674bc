//! Finishing what a leader began that is gone: a membership that is half changed needs two majorities for everything.

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

/// Does so whenever nobody else changes anything here.
pub(crate) async fn finish_joint_changes(cluster: Cluster) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        let Ok(_turn) = cluster.inner.changing.try_lock() else { continue };
        if cluster.check_leads().is_ok()
            && let Err(error) = cluster.finish_joint().await
        {
            tracing::warn!(%error, "a change of the membership is left half made");
        }
    }
}
