//! Rolling upgrades: the rules of the state are raised once every member knows them, and used only then (DESIGN 10).
//!
//! In: what the members' binaries know; commands before they are proposed. Out: one command that raises the rules; early
//! refusals that name the nodes still to be upgraded. Deliberately absent: the stop of a node that meets rules it does
//! not know ([`crate::machine`], before it applies them), and lowering rules, which nothing can.

use crate::cluster::Cluster;
use crate::peer::wire::Failure;
use crate::propose::ProposeError;
use crate::types::{Leadership, NodeStatus};
use consigner_rules::codec::DecodeError;
use consigner_rules::{Command, Outcome, RULES_VERSION};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often a leader of a cluster under older rules asks whether all members know newer ones.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long the command that raises the rules may take; it is proposed again if it did not come through.
const RAISE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a proposal waits for rules that are about to be raised, as they are in the first seconds of a cluster and
/// after the last node of an upgrade: a few rounds of asking.
const RULES_WAIT: Duration = Duration::from_secs(5);

/// What a binary knows that does not say so: the first one.
const RULES_OF_THE_SILENT: u32 = 1;

/// A member sent entries that this binary cannot read.
#[derive(Debug, thiserror::Error)]
#[error("node {from} sends entries that this binary does not know; run a newer binary")]
pub struct UnreadableAppend {
    /// The sender.
    pub from: u64,
    /// What could not be read.
    pub source: DecodeError,
}

/// Raises the rules while this node leads, as far as all members go. Runs until it is cancelled.
pub async fn raise_rules(cluster: Cluster) {
    let mut tick = tokio::time::interval(ASK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (born, current) = cluster.read(|state| (state.identity().is_some(), state.rules_version()));
        if !born || current >= RULES_VERSION || cluster.leadership() != Leadership::This {
            continue;
        }
        let known = known_to_all(&cluster.rules_known().await);
        if let Some(version) = known.filter(|known| *known > current) {
            raise(&cluster, version.min(RULES_VERSION)).await;
        }
    }
}

async fn raise(cluster: &Cluster, version: u32) {
    match cluster.propose(vec![Command::RaiseRules { version }], RAISE_DEADLINE).await {
        Ok(outcomes) if outcomes == [Outcome::RulesRaised(version)] => {}
        Ok(outcomes) => tracing::warn!(version, ?outcomes, "the rules were not raised"),
        Err(error) => tracing::info!(version, error = crate::chain(&error), "the rules could not be raised yet"),
    }
}

/// What each member's binary knows; `None` where a member gave no answer.
type Known = BTreeMap<u64, Option<u32>>;

/// The newest rules that every member knows; `None` while one does not answer: it may be the one not upgraded yet.
fn known_to_all(members: &Known) -> Option<u32> {
    members.values().copied().collect::<Option<Vec<u32>>>()?.into_iter().min()
}

/// The members that stand in the way of a version.
fn lacking(members: &Known, needed: u32) -> Vec<u64> {
    members.iter().filter(|(_, known)| known.unwrap_or(0) < needed).map(|(id, _)| *id).collect()
}

fn needed_by(commands: &[Command]) -> u32 {
    commands.iter().map(Command::rules_needed).max().unwrap_or(0)
}

impl Cluster {
    /// The members, by node id, whose binary does not know a version of the rules, or that give no answer.
    pub async fn members_lacking_rules(&self, needed: u32) -> Vec<u64> {
        lacking(&self.rules_known().await, needed)
    }

    /// Asks every member, voters and learners.
    async fn rules_known(&self) -> Known {
        let known = |status: NodeStatus| status.rules_max.max(RULES_OF_THE_SILENT);
        self.cluster_status().await.into_iter().map(|(id, status)| (id, status.ok().map(known))).collect()
    }

    /// Returns once the cluster judges by rules that know these commands.
    pub(crate) async fn await_rules_for(&self, commands: &[Command], deadline: Instant) -> Result<(), ProposeError> {
        let needed = needed_by(commands);
        let current = || self.read(|state| state.rules_version());
        // Before the identity there are no rules to raise; the command is rejected for that reason.
        if current() >= needed || self.read(|state| state.identity().is_none()) {
            return Ok(());
        }
        let mut applied = self.inner.shared.watch_index();
        let raised = applied.wait_for(|_| current() >= needed);
        let until = deadline.min(Instant::now() + RULES_WAIT);
        if tokio::time::timeout_at(until, raised).await.is_ok_and(|raised| raised.is_ok()) {
            return Ok(());
        }
        let waiting_for = self.members_lacking_rules(needed).await;
        Err(ProposeError::NeedsRules { needed, current: current(), waiting_for })
    }

    /// Keeps out of the log what a member may be unable to read, and rules that this node would stop at itself.
    pub(crate) fn check_rules_of(&self, commands: &[Command]) -> Result<(), Failure> {
        let current = self.read(|state| state.rules_version());
        let needed = needed_by(commands);
        if needed > current {
            return Err(Failure::NeedsRules { needed, current });
        }
        for command in commands {
            if let Command::RaiseRules { version } = command
                && *version > RULES_VERSION
            {
                return Err(Failure::NeedsRules { needed: *version, current: RULES_VERSION });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(members: &[Option<u32>]) -> Known {
        (1..).zip(members.iter().copied()).collect()
    }

    #[test]
    fn rules_wait_for_the_last_member() {
        let all = cluster(&[Some(3), Some(3), Some(3)]);
        assert_eq!((known_to_all(&all), lacking(&all, 3)), (Some(3), vec![]));
        let one_old = cluster(&[Some(3), Some(2), Some(3)]);
        assert_eq!((known_to_all(&one_old), lacking(&one_old, 3)), (Some(2), vec![2]));
        // Who does not answer may be the one that was not upgraded.
        let one_down = cluster(&[Some(3), Some(3), None]);
        assert_eq!((known_to_all(&one_down), lacking(&one_down, 2)), (None, vec![3]));
        assert_eq!(known_to_all(&Known::new()), None);
    }
}
