//! Request bodies as validator clients send them.
//!
//! In: what a message says. Out: JSON, and the [`Message`] that the oracle makes of it. Bodies of one number have equal
//! roots, bodies of two numbers differ.

use crate::oracle::message::MessageError;
use crate::oracle::{Content, Message};
use bytes::Bytes;
use consigner_rules::network::Fork;
use consigner_rules::{Epoch, Network, PublicKey, Root};

/// A chain to sign for.
#[derive(Debug, Clone)]
pub struct Chain {
    network: Network,
    genesis_validators_root: Root,
}

impl Chain {
    /// Mainnet, which `consigner dev` signs for unless told otherwise.
    #[must_use]
    pub fn mainnet() -> Option<Self> {
        let network = Network::by_name("mainnet")?;
        let genesis_validators_root = network.genesis_validators_root()?;
        Some(Self { network, genesis_validators_root })
    }

    /// First epochs of the forks whose blocks are signed by header alone in either request shape: Deneb and later, as
    /// far as they have a date.
    #[must_use]
    pub fn modern_fork_epochs(&self) -> Vec<Epoch> {
        let modern = [Fork::Deneb, Fork::Electra, Fork::Fulu];
        modern
            .into_iter()
            .filter(|fork| self.network.is_scheduled(*fork))
            .map(|fork| self.network.fork_epoch(fork))
            .collect()
    }

    /// Slots of an epoch.
    #[must_use]
    pub const fn slots_per_epoch(&self) -> u64 {
        self.network.slots_per_epoch()
    }

    /// A request to sign; `head` chooses the root.
    ///
    /// # Errors
    /// The body does not mean what was meant: a slip of this program.
    pub fn message(&self, validator: PublicKey, content: Content, head: u64) -> Result<Message, MessageError> {
        let body = match content {
            Content::Block { slot } => self.block(slot, head),
            Content::Attestation { source, target } => self.attestation(source, target, head),
        };
        Message::new(validator, content, body, &self.network)
    }

    fn attestation(&self, source: Epoch, target: Epoch, head: u64) -> Bytes {
        let slot = target * self.slots_per_epoch();
        let payload = format!(
            r#""attestation":{{"slot":"{slot}","index":"0","beacon_block_root":"{}","source":{{"epoch":"{source}","root":"{}"}},"target":{{"epoch":"{target}","root":"{}"}}}}"#,
            root(b'b', head),
            root(b'j', source),
            root(b't', target)
        );
        self.body("ATTESTATION", target, &payload)
    }

    fn block(&self, slot: u64, head: u64) -> Bytes {
        let version = self.network.fork_at_slot(slot).name();
        let payload = format!(
            r#""beacon_block":{{"version":"{version}","block_header":{{"slot":"{slot}","proposer_index":"1","parent_root":"{}","state_root":"{}","body_root":"{}"}}}}"#,
            root(b'p', slot),
            root(b's', head),
            root(b'b', head)
        );
        self.body("BLOCK_V2", self.network.epoch_at_slot(slot), &payload)
    }

    fn body(&self, kind: &str, epoch: Epoch, payload: &str) -> Bytes {
        let fork = self.network.fork_at_epoch(epoch);
        let before = Fork::ALL.iter().rev().find(|other| **other < fork).copied().unwrap_or(fork);
        let version = |fork| self.network.fork_version(fork).unwrap_or_default();
        let (previous, current, since) = (version(before), version(fork), self.network.fork_epoch(fork));
        let genesis = self.genesis_validators_root;
        format!(
            r#"{{"type":"{kind}","fork_info":{{"fork":{{"previous_version":"{previous}","current_version":"{current}","epoch":"{since}"}},"genesis_validators_root":"{genesis}"}},{payload}}}"#
        )
        .into()
    }
}

fn root(kind: u8, number: u64) -> Root {
    let mut bytes = [kind; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    Root(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn bodies_mean_what_was_meant_on_every_modern_fork() {
        let chain = Chain::mainnet().unwrap();
        assert!(!chain.modern_fork_epochs().is_empty());
        for epoch in chain.modern_fork_epochs() {
            let key = PublicKey([1; 48]);
            let block = Content::Block { slot: epoch * chain.slots_per_epoch() };
            let vote = Content::Attestation { source: epoch, target: epoch + 1 };
            for content in [block, vote] {
                let one = chain.message(key, content, 1).unwrap();
                assert_eq!(one.content, content);
                assert_eq!(one.root, chain.message(key, content, 1).unwrap().root);
                assert_ne!(one.root, chain.message(key, content, 2).unwrap().root);
            }
        }
    }
}
