//! A key is brought in through one node, used through another, and taken away through a third while clients ask for its
//! signature through all of them; then it comes back with the history that was handed out.
//!
//! ```text
//! clients ask at or below a history -> import with that history (node 2) -> sign at once (node 3)
//!  -> 50 clients on all nodes -> disturb one node -> DELETE (node 1) -> wait -> calm the node -> all answer 404
//!  -> DELETE again (node 3): the same history -> import with it (node 3) -> nothing at or below it is signed
//! ```
//! What follows from it is judged by [`crate::invariants`]; what cannot even take place is a [`FaultError`].

mod disturbance;
mod interchange;

pub use disturbance::{Disturbance, SNAPSHOT_EVERY};

use super::{FaultError, Field, HEAL_MAX, POLL};
use crate::keymanager::{Deleted, KeyManager, LockedKey};
use crate::oracle::courier::Agent;
use crate::oracle::observation;
use crate::oracle::{Content, Marks, Phase, Reply};
use crate::storm::rush::{CALM, EAGER, at_or_below, everything};
use crate::storm::{Chain, Rush};
use consigner_keys::development::interop_secret;
use consigner_rules::PublicKey;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clients that ask for the signature while the key goes.
const CLIENTS: usize = 50;

/// Clients that ask for what must be refused while the key comes.
const RIVALS: usize = 24;

/// Signatures of the key before it is deleted: all nodes are in full swing then.
const SIGNED_MIN: usize = 300;

/// Answers of each node before something is held to be so: enough to meet every kind of message.
const ANSWERS_MIN: usize = 20;

/// Index of the interop key that comes and goes; no storm asks for it.
const KEY: u64 = 1_000;

/// Index of the interop key that goes on signing, to make the log grow.
const OTHER_KEY: u64 = 1_001;

/// The history that the key comes with ends this many epochs after the newest fork.
const EPOCHS_OF_HISTORY: u64 = 1_000;

/// Chooses roots that no other message of the key has: before it was deleted, after it came back.
const HEADS: [u64; 2] = [1 << 40, 1 << 41];

/// A key with everything that the run needs to know about it.
struct Stage<'f, 'c> {
    field: &'f mut Field<'c>,
    manager: KeyManager,
    chain: Chain,
    locked: LockedKey,
    /// Seed of the messages.
    seed: u64,
}

pub(super) async fn run(field: &mut Field<'_>, disturbance: Disturbance) -> Result<(), FaultError> {
    let manager = KeyManager::new(field.courier.clone());
    let chain = Chain::mainnet().ok_or_else(|| broken("mainnet", "unknown to the rules"))?;
    let locked = LockedKey::new(&interop_secret(KEY), "a password").map_err(|error| broken("a keystore", error))?;
    let seed = u64::from(std::process::id());
    let mut stage = Stage { field, manager, chain, locked, seed };
    let marks = stage.come_with_a_history().await?;
    let rush = stage.everybody_asks(&marks).await?;
    let deleted = disturbance::run(&mut stage, disturbance, rush).await?;
    stage.delete_again(&deleted).await?;
    stage.come_back(&deleted).await
}

impl Stage<'_, '_> {
    const fn key(&self) -> PublicKey {
        self.locked.validator
    }

    fn nodes(&self) -> Vec<u64> {
        self.field.courier.nodes().iter().map(|address| address.node).collect()
    }

    /// Import through node 2 while clients ask for what the history forbids; then node 3 signs at once.
    async fn come_with_a_history(&self) -> Result<Marks, FaultError> {
        let epoch = self.chain.modern_epoch() + EPOCHS_OF_HISTORY;
        let slot = epoch * self.chain.slots_per_epoch();
        let marks = Marks { block: Some((slot, None)), source: Some(epoch), target: Some((epoch + 1, None)) };
        let text = interchange::text(self.chain.genesis_validators_root(), &self.key(), slot, epoch);
        self.import_under_fire(2, &text, &marks, HEADS[0]).await?;
        let content = Content::Attestation { source: epoch, target: epoch + 2 };
        self.must_sign(3, content).await?;
        Ok(marks)
    }

    /// Imports the key through a node while clients ask every node for what the history forbids, and goes on until every
    /// node has refused it for good.
    async fn import_under_fire(&self, node: u64, text: &str, marks: &Marks, head: u64) -> Result<(), FaultError> {
        let forbidden =
            at_or_below(&self.chain, self.key(), marks, head).map_err(|error| broken("a message", error))?;
        let rivals = Rush::start(&self.field.courier, &forbidden, RIVALS, EAGER);
        self.until_answered(self.field.now(), ANSWERS_MIN, |_| true).await?;
        let statuses = self.manager.import(node, std::slice::from_ref(&self.locked), Some(text)).await;
        let statuses = statuses.map_err(|error| broken("an import", error))?;
        if statuses != ["imported"] {
            return Err(broken("an import", format!("{statuses:?}")));
        }
        self.until_answered(self.field.now(), ANSWERS_MIN, |status| status == 412).await?;
        rivals.stop().await;
        Ok(())
    }

    /// The import was acknowledged, so every node holds the key: none says that it does not know it, or refuses. Only one
    /// that has no leader, or no time, may be asked again.
    async fn must_sign(&self, node: u64, content: Content) -> Result<(), FaultError> {
        let message = self.chain.message(self.key(), content, 1).map_err(|error| broken("a message", error))?;
        let (message, until) = (Arc::new(message), Instant::now() + HEAL_MAX);
        loop {
            match self.field.courier.ask(node, &message, Agent::Unknown, Phase::Storm).await {
                Some(Reply::Answer { status: 200, .. }) => return Ok(()),
                Some(Reply::Answer { status: 503, .. } | Reply::Lost(_)) | None if Instant::now() < until => {
                    tokio::time::sleep(POLL).await;
                }
                other => return Err(broken("a signature of an imported key", format!("node {node}: {other:?}"))),
            }
        }
    }

    /// Lets all clients begin and waits until the key has signed a lot.
    async fn everybody_asks(&self, marks: &Marks) -> Result<Rush, FaultError> {
        let begun = self.field.now();
        let above = marks.target.map_or(0, |(target, _)| target) + EPOCHS_OF_HISTORY;
        let everything = everything(&self.chain, self.key(), above, self.seed);
        let rush =
            Rush::start(&self.field.courier, &everything.map_err(|error| broken("a message", error))?, CLIENTS, CALM);
        self.until_answered(begun, SIGNED_MIN / self.nodes().len(), |status| status == 200).await?;
        Ok(rush)
    }

    async fn delete(&self, node: u64) -> Result<Deleted, FaultError> {
        let deleted = self.manager.delete_until_promised(node, &[self.key()]).await;
        deleted.map_err(|error| broken("a deletion", error))
    }

    /// What a repeated deletion says must be what the first one said.
    async fn delete_again(&self, first: &Deleted) -> Result<(), FaultError> {
        let again = self.delete(3).await?;
        let value = |deleted: &Deleted| serde_json::from_str::<serde_json::Value>(&deleted.interchange).ok();
        if again.statuses != ["not_active"] || value(&again) != value(first) {
            return Err(broken("the same history again", format!("first {first:?}, then {again:?}")));
        }
        Ok(())
    }

    /// The key comes back with the history that was handed out; it signs above it, and nothing else.
    async fn come_back(&self, deleted: &Deleted) -> Result<(), FaultError> {
        let all = observation::marks(deleted.interchange.as_bytes()).map_err(|error| broken("the history", error))?;
        let marks = all.get(&self.key()).copied().unwrap_or_default();
        self.import_under_fire(3, &deleted.interchange, &marks, HEADS[1]).await?;
        let (source, target) = (marks.source.unwrap_or(0), marks.target.map_or(1, |(target, _)| target));
        for (node, step) in self.nodes().into_iter().zip(1..) {
            self.must_sign(node, Content::Attestation { source, target: target + step }).await?;
        }
        Ok(())
    }

    /// Waits until every node has given so many answers of this kind to requests about the key.
    async fn until_answered(&self, since: Duration, count: usize, kind: fn(u16) -> bool) -> Result<(), FaultError> {
        for node in self.nodes() {
            self.until_node_answered(node, since, count, kind).await?;
        }
        Ok(())
    }

    async fn until_node_answered(
        &self,
        node: u64,
        since: Duration,
        count: usize,
        kind: fn(u16) -> bool,
    ) -> Result<(), FaultError> {
        let until = Instant::now() + HEAL_MAX;
        loop {
            let answers = self.field.courier.history().answers_of(node, &self.key(), since);
            if answers.iter().filter(|one| one.status().is_some_and(kind)).count() >= count {
                return Ok(());
            }
            if Instant::now() > until {
                let last = answers.first().map_or_else(|| "nothing".to_owned(), ToString::to_string);
                return Err(FaultError::Late { what: "answers about the key", seen: format!("node {node}: {last}") });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn broken(what: &'static str, seen: impl ToString) -> FaultError {
    FaultError::Broken { what, seen: seen.to_string() }
}
