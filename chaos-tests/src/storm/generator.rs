//! Which requests a storm sends.
//!
//! In: a seed, keys, nodes. Out: rounds of requests that belong together and are sent at once:
//!
//! | round | requests, each to every node | at most one of them |
//! |---|---|---|
//! | rival votes | two or three votes for one new target | may be signed |
//! | surround | a new vote, and one that surrounds it | may be signed |
//! | rival blocks | two or three blocks for one new slot | may be signed |
//! | repeat | messages sent before, unchanged | - |
//! | stale | a rival of a message sent before | - |
//! | challenge, after a fault | rivals of the newest block and vote of every validator | - |
//!
//! The sequence depends on the seed alone, never on answers. Deliberately absent: what is signed.

use super::body::Chain;
use crate::oracle::courier::Agent;
use crate::oracle::message::MessageError;
use crate::oracle::{Content, Message};
use crate::rng::Rng;
use consigner_keys::development::interop_secret;
use consigner_rules::{Epoch, PublicKey, Slot};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many messages per validator may be repeated or rivalled later.
const RECENT_MAX: usize = 16;

/// A run begins this many epochs after a fork at the latest, so that the fork's own first epoch is met as well.
const EPOCHS_AFTER_FORK: u64 = 64;

/// One request to one node.
#[derive(Debug, Clone)]
pub struct Shot {
    /// The node.
    pub node: u64,
    /// The request.
    pub message: Arc<Message>,
    /// Who asks.
    pub agent: Agent,
}

/// The requests of one seed.
#[derive(Debug)]
pub struct Generator {
    rng: Rng,
    chain: Chain,
    nodes: Vec<u64>,
    attacked: Vec<Cursor>,
    pulse: Cursor,
}

/// Where a validator is.
#[derive(Debug)]
struct Cursor {
    key: PublicKey,
    target: Epoch,
    slot: Slot,
    head: u64,
    recent: VecDeque<Arc<Message>>,
}

impl Generator {
    /// The requests of a seed, for interop validators `0..validators` (at least two; the last one gives the pulse).
    ///
    /// # Errors
    /// Bodies do not mean what was meant: a slip of this program, found before anything is sent.
    pub fn new(seed: u64, chain: Chain, nodes: Vec<u64>, validators: u64) -> Result<Self, MessageError> {
        let mut rng = Rng::new(seed);
        let forks = chain.modern_fork_epochs();
        let fork = forks.get(rng.index(forks.len())).copied().unwrap_or_default();
        let epoch = fork + 1 + rng.below(EPOCHS_AFTER_FORK);
        let slots = chain.slots_per_epoch();
        let cursor = |index| Cursor {
            key: interop_secret(index).public_key(),
            target: epoch,
            slot: epoch * slots,
            head: 0,
            recent: VecDeque::new(),
        };
        let last = validators.max(2) - 1;
        let generator = Self { rng, nodes, attacked: (0..last).map(cursor).collect(), pulse: cursor(last), chain };
        generator.chain.message(generator.pulse.key, Content::Block { slot: epoch * slots }, 0)?;
        generator.chain.message(generator.pulse.key, Content::Attestation { source: epoch, target: epoch + 1 }, 0)?;
        Ok(generator)
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The next round: requests to be sent at once, in this order.
    pub fn round(&mut self) -> Vec<Shot> {
        let validator = self.rng.index(self.attacked.len());
        let messages = match self.rng.below(100) {
            0..35 => self.rival_votes(validator),
            35..55 => self.surround(validator),
            55..80 => self.rival_blocks(validator),
            80..90 => self.repeat(validator),
            _ => self.stale(validator),
        };
        self.spread(&messages)
    }

    /// A rival of the newest block and of the newest vote of every attacked validator: what a cluster that has just lost
    /// its leader must not have forgotten.
    pub fn challenge(&mut self) -> Vec<Shot> {
        let mut rivals = Vec::new();
        for cursor in &mut self.attacked {
            for is_block in [true, false] {
                let is_kind = |message: &&Arc<Message>| matches!(message.content, Content::Block { .. }) == is_block;
                let newest = cursor.recent.iter().filter(is_kind).max_by_key(|message| message.content).cloned();
                rivals.extend(newest.map(|newest| cursor.make(&self.chain, newest.content)));
            }
        }
        self.spread(&rivals)
    }

    /// One fresh vote that nothing stands against, to one node.
    pub fn pulse(&mut self) -> Shot {
        let source = self.pulse.target;
        self.pulse.target += 1;
        let message = self.pulse.make(&self.chain, Content::Attestation { source, target: source + 1 });
        let node = self.nodes.get(self.rng.index(self.nodes.len())).copied().unwrap_or(1);
        Shot { node, message, agent: Agent::Unknown }
    }

    fn rival_votes(&mut self, validator: usize) -> Vec<Arc<Message>> {
        let with_older_source = self.rng.below(2) == 1;
        let Some(cursor) = self.attacked.get_mut(validator) else { return Vec::new() };
        let source = cursor.target;
        cursor.target += 1;
        let mut contents = vec![Content::Attestation { source, target: source + 1 }; 2];
        if with_older_source {
            contents.push(Content::Attestation { source: source - 1, target: source + 1 });
        }
        contents.into_iter().map(|content| cursor.make(&self.chain, content)).collect()
    }

    fn surround(&mut self, validator: usize) -> Vec<Arc<Message>> {
        let Some(cursor) = self.attacked.get_mut(validator) else { return Vec::new() };
        let from = cursor.target;
        cursor.target += 3;
        let inner = Content::Attestation { source: from + 1, target: from + 2 };
        let outer = Content::Attestation { source: from, target: from + 3 };
        vec![cursor.make(&self.chain, inner), cursor.make(&self.chain, outer)]
    }

    fn rival_blocks(&mut self, validator: usize) -> Vec<Arc<Message>> {
        let (step, rivals) = (1 + self.rng.below(3), 2 + self.rng.below(2));
        let Some(cursor) = self.attacked.get_mut(validator) else { return Vec::new() };
        cursor.slot += step;
        let content = Content::Block { slot: cursor.slot };
        (0..rivals).map(|_| cursor.make(&self.chain, content)).collect()
    }

    fn repeat(&mut self, validator: usize) -> Vec<Arc<Message>> {
        let old = [self.recent(validator), self.recent(validator)];
        old.into_iter().flatten().collect()
    }

    fn stale(&mut self, validator: usize) -> Vec<Arc<Message>> {
        let Some(old) = self.recent(validator) else { return Vec::new() };
        let Some(cursor) = self.attacked.get_mut(validator) else { return Vec::new() };
        vec![cursor.make(&self.chain, old.content)]
    }

    fn recent(&mut self, validator: usize) -> Option<Arc<Message>> {
        let recent = &self.attacked.get(validator)?.recent;
        recent.get(self.rng.index(recent.len())).cloned()
    }

    fn spread(&mut self, messages: &[Arc<Message>]) -> Vec<Shot> {
        let mut shots = Vec::new();
        for message in messages {
            for node in &self.nodes {
                let agent = if self.rng.below(2) == 0 { Agent::Following } else { Agent::Unknown };
                shots.push(Shot { node: *node, message: message.clone(), agent });
            }
        }
        self.rng.shuffle(&mut shots);
        shots
    }
}

impl Cursor {
    /// A message with a root of its own.
    #[expect(clippy::expect_used, reason = "Generator::new tried both kinds; the others differ in numbers only")]
    fn make(&mut self, chain: &Chain, content: Content) -> Arc<Message> {
        self.head += 1;
        let message = Arc::new(chain.message(self.key, content, self.head).expect("the kinds were tried"));
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(message.clone());
        message
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeSet;

    fn generator(seed: u64) -> Generator {
        Generator::new(seed, Chain::mainnet().unwrap(), vec![1, 2, 3], 4).unwrap()
    }

    fn shots(seed: u64) -> Vec<Shot> {
        let mut generator = generator(seed);
        (0..200).flat_map(|_| generator.round()).collect()
    }

    #[test]
    fn a_seed_reproduces_its_requests() {
        let line = |shot: &Shot| format!("{} {} {:?}", shot.node, shot.message, shot.agent);
        let (one, same, other) = (shots(1), shots(1), shots(2));
        assert_eq!(one.iter().map(line).collect::<Vec<_>>(), same.iter().map(line).collect::<Vec<_>>());
        assert_ne!(one.iter().map(line).collect::<Vec<_>>(), other.iter().map(line).collect::<Vec<_>>());
    }

    #[test]
    fn a_storm_holds_every_kind_of_offence_and_asks_every_node() {
        let shots = shots(3);
        let messages: Vec<&Message> = shots.iter().map(|shot| &*shot.message).collect();
        let pairs = |offends: fn(&Message, &Message) -> bool| {
            messages.iter().any(|one| {
                messages
                    .iter()
                    .any(|other| one.validator == other.validator && one.root != other.root && offends(one, other))
            })
        };
        let rivals = |one: &Message, other: &Message| one.content.is_rival_of(other.content);
        assert!(pairs(|one, other| matches!(one.content, Content::Block { .. }) && one.content == other.content));
        assert!(pairs(rivals));
        assert!(pairs(|one, other| matches!((one.content, other.content),
            (Content::Attestation { source: s1, target: t1 }, Content::Attestation { source: s2, target: t2 })
                if s1 < s2 && t2 < t1)));
        let nodes: BTreeSet<u64> = shots.iter().map(|shot| shot.node).collect();
        assert_eq!(nodes, BTreeSet::from([1, 2, 3]));
        // Never with messages of the validator whose votes measure the gaps.
        let pulse = generator(3).pulse().message.validator;
        assert!(messages.iter().all(|message| message.validator != pulse));
    }

    #[test]
    fn a_challenge_rivals_the_newest_messages_of_all_attacked_validators() {
        let mut generator = generator(5);
        let asked: Vec<Shot> = (0..100).flat_map(|_| generator.round()).collect();
        let challenge = generator.challenge();
        assert_eq!(challenge.len(), 3 * 2 * 3, "validators, kinds, nodes");
        for shot in challenge {
            let one = shot.message;
            let same_seat =
                |other: &&Shot| other.message.validator == one.validator && other.message.content == one.content;
            assert!(asked.iter().any(|other| same_seat(&other)));
            assert!(
                asked.iter().all(|other| other.message.root != one.root || other.message.validator != one.validator)
            );
        }
    }

    #[test]
    fn pulses_rise() {
        let mut generator = generator(4);
        let contents: Vec<Content> = (0..10).map(|_| generator.pulse().message.content).collect();
        assert!(contents.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
