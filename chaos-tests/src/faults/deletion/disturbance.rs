//! What else happens while a key is deleted.

use super::{ANSWERS_MIN, CLIENTS, OTHER_KEY, Stage, broken};
use crate::faults::{FaultError, HEAL_MAX, POLL};
use crate::invariants::s6::FREEZE;
use crate::keymanager::{Deleted, LockedKey};
use crate::oracle::StatusSample;
use crate::oracle::observation::statuses;
use crate::storm::Rush;
use crate::storm::rush::{CALM, everything};
use bytes::Bytes;
use consigner_keys::development::interop_secret;
use http::Method;
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};

/// What else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Nothing.
    None,
    /// A follower is frozen in the middle of many signatures, and thawed after the acknowledgement.
    Frozen,
    /// A follower is frozen for less than its lease lasts: it must be waited for, whoever leads.
    Hiccup,
    /// A follower is killed, and started again by the supervisor.
    Killed,
    /// A follower is frozen until the log behind it is gone, so that it learns of the deletion from a snapshot.
    Snapshot,
}

/// Less than a lease lasts (750 ms), and more than a deletion takes that waits for nobody.
const HICCUP: Duration = Duration::from_millis(350);

/// Requests that a node has to sign at once when it is frozen: far more than it has threads.
const BURST: usize = 200;

/// Entries between snapshots in a run with [`Disturbance::Snapshot`]; see [`crate::scenario::Scenario::overlay`].
pub const SNAPSHOT_EVERY: u64 = 100;

/// What a node keeps of the log behind a snapshot; a follower that is farther behind gets the snapshot.
const KEPT_BEHIND_SNAPSHOT: u64 = 1_000;

/// Clients that make the log grow; entries are committed two at a time, so more would only make them larger.
const WRITERS: usize = 12;

/// The keys of the cluster.
const KEYS: &str = "/admin/v1/keys";

/// A node's metric of the keys that it holds open in memory.
const LOADED: &str = "signing_signers_loaded_count ";

/// One look of an operator.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Deletes the key through node 1 under the disturbance; every node has answered 404 when this returns.
pub(super) async fn run(stage: &mut Stage<'_, '_>, what: Disturbance, mut rush: Rush) -> Result<Deleted, FaultError> {
    let (deleted, rush) = match what {
        Disturbance::None => (stage.delete(1).await?, rush),
        Disturbance::Frozen | Disturbance::Snapshot => frozen(stage, what, rush).await?,
        Disturbance::Hiccup => (hiccup(stage, &mut rush).await?, rush),
        Disturbance::Killed => killed(stage, rush).await?,
    };
    stage.until_answered(stage.field.now(), ANSWERS_MIN, |status| status == 404).await?;
    rush.stop().await;
    stage.until_forgotten().await?;
    Ok(deleted)
}

async fn frozen(stage: &mut Stage<'_, '_>, what: Disturbance, mut rush: Rush) -> Result<(Deleted, Rush), FaultError> {
    let victim = stage.victim().await?;
    rush.burst(victim.0, BURST);
    // Half of the burst was answered: the other half is in all stages of being answered.
    stage.until_node_answered(victim.0, stage.field.now(), BURST / 2, |_| true).await?;
    rush.burst(victim.0, BURST);
    tokio::task::yield_now().await;
    stage.field.cluster.signal(victim.1, Signal::STOP)?;
    let fault = stage.field.begin(FREEZE, &[victim]);
    let deleted = stage.delete(1).await?;
    let others: Vec<u64> = stage.nodes().into_iter().filter(|node| *node != victim.0).collect();
    for node in others {
        stage.until_node_answered(node, stage.field.now(), ANSWERS_MIN, |status| status == 404).await?;
    }
    let mut early = Vec::new();
    if what == Disturbance::Snapshot {
        // The machine is needed for the log. What the frozen node was asked before stays on its way.
        rush.halt();
        early.push(stage.outgrow(victim.0).await?);
        let late = rush.again(CLIENTS);
        early.push(std::mem::replace(&mut rush, late));
    }
    stage.field.cluster.signal(victim.1, Signal::CONT)?;
    stage.field.until_restarted(&[]).await?;
    stage.field.healed(fault);
    for clients in early {
        clients.stop().await;
    }
    Ok((deleted, rush))
}

async fn hiccup(stage: &mut Stage<'_, '_>, rush: &mut Rush) -> Result<Deleted, FaultError> {
    let victim = stage.victim().await?;
    rush.burst(victim.0, BURST);
    stage.until_node_answered(victim.0, stage.field.now(), BURST / 2, |_| true).await?;
    rush.burst(victim.0, BURST);
    tokio::task::yield_now().await;
    stage.field.cluster.signal(victim.1, Signal::STOP)?;
    let fault = stage.field.begin(FREEZE, &[victim]);
    let thaw = async {
        // Not synchronisation: the length of the pause is the fault.
        tokio::time::sleep(HICCUP).await;
        stage.field.cluster.signal(victim.1, Signal::CONT)
    };
    let (deleted, thawed) = tokio::join!(stage.delete(1), thaw);
    thawed?;
    stage.field.until_restarted(&[]).await?;
    stage.field.healed(fault);
    deleted
}

async fn killed(stage: &mut Stage<'_, '_>, rush: Rush) -> Result<(Deleted, Rush), FaultError> {
    let victim = stage.victim().await?;
    let fault = stage.field.begin("kill-follower", &[victim]);
    stage.field.cluster.signal(victim.1, Signal::KILL)?;
    let deleted = stage.delete(1).await?;
    stage.field.until_restarted(&[victim]).await?;
    stage.field.healed(fault);
    Ok((deleted, rush))
}

impl Stage<'_, '_> {
    /// A follower that is not the node which is asked to delete, and its process.
    async fn victim(&self) -> Result<(u64, u32), FaultError> {
        let (leader, _) = self.field.leader().await?;
        let node = if leader == 3 { 2 } else { 3 };
        Ok((node, self.field.cluster.pid(node)?))
    }

    /// Another key signs until the log that the frozen node would need is gone.
    async fn outgrow(&self, frozen: u64) -> Result<Rush, FaultError> {
        let other = LockedKey::new(&interop_secret(OTHER_KEY), "a password").map_err(|error| broken("a key", error))?;
        let key = other.validator;
        // Acknowledged without the frozen node, as the deletion was.
        let statuses = self.manager.import(1, &[other], None).await.map_err(|error| broken("an import", error))?;
        if statuses != ["imported"] {
            return Err(broken("an import", format!("{statuses:?}")));
        }
        let behind = self.newest_applied(frozen).unwrap_or(0);
        let messages = everything(&self.chain, key, self.chain.modern_epoch(), self.seed);
        let writers =
            Rush::start(&self.field.courier, &messages.map_err(|error| broken("a message", error))?, WRITERS, CALM);
        let until = Instant::now() + HEAL_MAX;
        loop {
            let states = self.states().await;
            let leader = states.iter().find(|state| state.is_leader);
            let snapshot = leader.and_then(|leader| leader.snapshot_index).unwrap_or(0);
            if snapshot > behind + KEPT_BEHIND_SNAPSHOT {
                break;
            }
            if Instant::now() > until {
                let what = "a log that the frozen node cannot use any more";
                return Err(FaultError::Late { what, seen: format!("it stands at {behind}; {states:?}") });
            }
            tokio::time::sleep(POLL).await;
        }
        // Those who asked the frozen node are answered only when it has thawed.
        writers.halt();
        Ok(writers)
    }

    /// Waits until no node holds more keys in memory than the cluster has: what was deleted is not only never used, it is
    /// gone. The metric is the one thing that tells, so here a node is believed.
    async fn until_forgotten(&self) -> Result<(), FaultError> {
        let held = self.field.courier.operate(1, Method::GET, KEYS, Bytes::new(), CALL_DEADLINE).await;
        let held = held.map_err(|error| broken("the list of keys", error))?;
        let held: Value = serde_json::from_slice(&held.body).unwrap_or_default();
        let wanted = held["data"].as_array().map_or(0, Vec::len).to_string();
        let until = Instant::now() + HEAL_MAX;
        for node in &self.field.cluster.manifest().nodes {
            loop {
                let text = self.field.courier.look(&node.metrics_url, "").await.map(|answer| answer.body);
                let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default()).into_owned();
                let loaded = text.lines().find_map(|line| line.strip_prefix(LOADED)).map(str::trim).map(str::to_owned);
                if loaded.as_ref() == Some(&wanted) {
                    break;
                }
                if Instant::now() > until {
                    let seen = format!("node {} holds {loaded:?}, the cluster has {wanted}", node.id);
                    return Err(FaultError::Late { what: "the end of a deleted key in memory", seen });
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// The states that node 1, which is never frozen, can tell.
    async fn states(&self) -> Vec<StatusSample> {
        let Some(address) = self.field.courier.nodes().iter().find(|address| address.node == 1) else {
            return Vec::new();
        };
        let told = self.field.courier.look(&address.url, "/admin/v1/cluster/status").await;
        told.ok().and_then(|answer| statuses(&answer.body, self.field.now()).ok()).unwrap_or_default()
    }

    /// The highest index that a node was ever seen to have applied.
    fn newest_applied(&self, node: u64) -> Option<u64> {
        let seen = self.field.watch.seen();
        seen.statuses.iter().filter(|state| state.node == node).filter_map(|state| state.applied_index).max()
    }
}
