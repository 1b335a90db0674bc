//! Whether a learner has caught up: asked of itself, against what a quorum has confirmed just before.

use super::MembershipError;
use super::quorum::majority;
use crate::cluster::Cluster;
use crate::types::Member;
use std::time::Duration;
use tokio::time::Instant;

/// One look may be luck on a busy cluster; two in a row are level.
const LOOKS: u32 = 2;

/// Between two looks: longer than an append takes to be answered, and than a burst of a slot.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// How long a learner may take to have applied what was committed when a look began.
const LOOK: Duration = Duration::from_secs(1);

/// Between two questions of one look.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Where a learner stood when it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standpoint {
    pub applied: u64,
    pub committed: u64,
    pub why: String,
}

impl Standpoint {
    /// As an error; `then` says what became of the node.
    pub fn not_level(self, node: u64, catch_up: Duration, then: String) -> MembershipError {
        let Self { applied, committed, why } = self;
        MembershipError::NotLevel { node, seconds: catch_up.as_secs(), applied, committed, why, then }
    }
}

impl Cluster {
    /// Waits until the learner is level, at most for `catch_up`; else answers where it stood.
    pub(super) async fn await_level(&self, node: u64, member: &Member, catch_up: Duration) -> Result<(), Standpoint> {
        let until = Instant::now() + catch_up;
        let mut standpoint = Standpoint::default();
        let mut looks = 0;
        loop {
            let begun = Instant::now();
            if self.is_level(node, member, &mut standpoint).await {
                looks += 1;
            } else {
                looks = 0;
            }
            if looks == LOOKS {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(standpoint);
            }
            tokio::time::sleep_until((begun + BETWEEN_LOOKS).min(until)).await;
        }
    }

    /// One look.
    async fn is_level(&self, node: u64, member: &Member, standpoint: &mut Standpoint) -> bool {
        match self.confirm_together().await {
            Ok(committed) => standpoint.committed = committed.unwrap_or(0),
            Err(failure) => {
                standpoint.why = format!(" ({failure})");
                return false;
            }
        }
        let until = Instant::now() + LOOK;
        loop {
            match self.look_at(node, member).await {
                Ok(status) => {
                    standpoint.applied = status.applied_index.unwrap_or(0);
                    standpoint.why.clear();
                }
                Err(why) => standpoint.why = format!(" ({why})"),
            }
            if standpoint.why.is_empty() && standpoint.applied >= standpoint.committed {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

const _: () = assert!(majority(3) == 2 && majority(4) == 3, "a majority is more than half");
