//! What a slot of mainnet asks of a signer.

use super::cpu::Usage;
use super::load::{Burst, Tally, burst};
use super::{BenchError, BenchOptions};
use crate::client::signing::{Chain, Duty, Vote};
use crate::client::{ClusterClient, Deployment};
use consigner_keys::development::Yardstick;
use consigner_rules::{Epoch, PublicKey, Root, Signature, Slot};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Every validator attests once per epoch.
const SLOTS_PER_ROUND: usize = 32;

/// Share of the validators in the sync committee of this model.
const SYNC_SHARE: usize = 64;

/// Aggregators per slot that are played: the protocol aims at 16 per committee.
const AGGREGATORS: usize = 16;

/// Plain signatures measured after each slot; the median of all is the yardstick.
const YARDSTICKS_PER_SLOT: u64 = 16;

/// The duties, as the report names them.
pub const DUTIES: [&str; 6] =
    ["block", "randao", "attestation", "sync_message", "selection_proof", "aggregate_and_proof"];

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Measured {
    /// By duty.
    pub tallies: BTreeMap<&'static str, Tally>,
    /// CPU nanoseconds of each process over all slots.
    pub cpu: BTreeMap<u32, u64>,
    /// CPU nanoseconds of all processes during the attestations alone.
    pub attestation_cpu: u64,
    /// Microseconds of each plain BLS signature.
    pub plain_us: Vec<f64>,
    /// Of the slots, without the yardstick.
    pub elapsed: Duration,
    /// Process by node.
    pub pids: BTreeMap<u64, u32>,
}

/// A bench on its cluster.
pub struct Bench<'b> {
    options: &'b BenchOptions,
    chain: &'b Chain,
    client: &'b ClusterClient,
    keys: &'b [PublicKey],
    first_epoch: Epoch,
    pids: BTreeMap<u64, u32>,
}

impl<'b> Bench<'b> {
    /// Nothing is sent yet.
    pub fn new(
        options: &'b BenchOptions,
        deployment: &Deployment,
        chain: &'b Chain,
        client: &'b ClusterClient,
        keys: &'b [PublicKey],
        first_epoch: Epoch,
    ) -> Self {
        let pids = deployment.nodes.iter().map(|node| (node.id, node.pid)).collect();
        Self { options, chain, client, keys, first_epoch, pids }
    }

    /// Plays all slots.
    pub async fn play(&self) -> Result<Measured, BenchError> {
        let mut measured = Measured { pids: self.pids.clone(), ..Measured::default() };
        let yardstick = Yardstick::new();
        self.warm_up().await;
        for number in 0..self.options.slots {
            let before = self.usage()?;
            let begun = Instant::now();
            self.play_slot(number, &mut measured).await?;
            measured.elapsed += begun.elapsed();
            for (pid, used) in self.usage()?.since(&before) {
                *measured.cpu.entry(pid).or_insert(0) += used;
            }
            measure_plain(&yardstick, number, &mut measured.plain_us);
        }
        Ok(measured)
    }

    /// Opens all connections, and lets every node compare the public key of every validator that will attest, which
    /// it does once in its life before a key's first signature.
    async fn warm_up(&self) {
        let turns = usize::try_from(self.options.slots).unwrap_or(usize::MAX).min(SLOTS_PER_ROUND) as u64;
        let randao = self.chain.randao(self.slot(0));
        for endpoint in self.client.endpoints() {
            let node = self.client.only(endpoint);
            for number in 0..turns {
                let duties = self.share(number, SLOTS_PER_ROUND).into_iter();
                let duties = duties.map(|key| Duty { public_key: *key, body: randao.clone() }).collect();
                burst(&node, self.chain, duties, self.options.connections).await;
            }
        }
    }

    async fn play_slot(&self, number: u64, measured: &mut Measured) -> Result<(), BenchError> {
        let slot = self.slot(number);
        let proposer = [&self.keys[usize::try_from(number).unwrap_or(0) % self.keys.len()]];
        let randao = self.burst(proposer, |_| self.chain.randao(slot)).await;
        measured.add("randao", &randao);
        if self.chain.signs_headers(slot) {
            measured.add("block", &self.burst(proposer, |_| self.chain.block(slot, 1)).await);
        }

        let attesters = self.share(number, SLOTS_PER_ROUND);
        let votes: Vec<Vote> = (0..attesters.len()).map(|position| self.vote(slot, position)).collect();
        let shared = self.chain.attestation(&self.vote(slot, 0));
        let before = self.usage()?;
        let attestations = self
            .burst(attesters.iter().copied(), |position| {
                if self.options.distinct_roots { self.chain.attestation(&votes[position]) } else { shared.clone() }
            })
            .await;
        measured.attestation_cpu += self.usage()?.since(&before).values().sum::<u64>();
        measured.add("attestation", &attestations);

        let committee = self.share(number, SYNC_SHARE);
        let message = self.chain.sync_message(slot, 1);
        measured.add("sync_message", &self.burst(committee, |_| message.clone()).await);
        self.aggregate(slot, &attesters, &votes, measured).await;
        Ok(())
    }

    async fn aggregate(&self, slot: Slot, attesters: &[&PublicKey], votes: &[Vote], measured: &mut Measured) {
        let aggregators = &attesters[..attesters.len().min(AGGREGATORS)];
        let proof = self.chain.selection_proof(slot);
        let proofs = self.burst(aggregators.iter().copied(), |_| proof.clone()).await;
        measured.add("selection_proof", &proofs);
        let nothing = Signature([0; 96]);
        let aggregates = self
            .burst(aggregators.iter().copied(), |position| {
                let proof = proofs.signatures[position].unwrap_or(nothing);
                self.chain.aggregate_and_proof(&votes[position], position as u64, &proof)
            })
            .await;
        measured.add("aggregate_and_proof", &aggregates);
    }

    async fn burst<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k PublicKey>,
        body: impl Fn(usize) -> bytes::Bytes,
    ) -> Burst {
        let duty = |(position, key): (usize, &PublicKey)| Duty { public_key: *key, body: body(position) };
        let duties = keys.into_iter().enumerate().map(duty).collect();
        burst(self.client, self.chain, duties, self.options.connections).await
    }

    /// The validators whose turn it is in this slot.
    fn share(&self, number: u64, parts: usize) -> Vec<&PublicKey> {
        let turn = usize::try_from(number).unwrap_or(0) % parts;
        self.keys.iter().skip(turn).step_by(parts).collect()
    }

    fn vote(&self, slot: Slot, head: usize) -> Vote {
        let target = self.chain.network().epoch_at_slot(slot);
        Vote { slot, source: target - 1, target, head: head as u64 + 1 }
    }

    /// Slots are numbered so that every validator attests at most once per epoch, on networks with short epochs too.
    fn slot(&self, number: u64) -> Slot {
        let per_epoch = self.chain.network().slots_per_epoch().min(SLOTS_PER_ROUND as u64);
        self.chain.first_slot(self.first_epoch + number / per_epoch) + number % per_epoch
    }

    fn usage(&self) -> Result<Usage, BenchError> {
        let pids: Vec<u32> = self.pids.values().copied().collect();
        Usage::read(&pids).map_err(BenchError::Cpu)
    }
}

impl Measured {
    fn add(&mut self, duty: &'static str, burst: &Burst) {
        self.tallies.entry(duty).or_default().add(&burst.tally);
    }
}

/// The cluster rests meanwhile, so wall time is CPU time; the median leaves out what was interrupted.
fn measure_plain(yardstick: &Yardstick, slot: u64, into: &mut Vec<f64>) {
    for number in 0..YARDSTICKS_PER_SLOT {
        let mut root = Root([0; 32]);
        root.0[..8].copy_from_slice(&slot.to_le_bytes());
        root.0[8..16].copy_from_slice(&number.to_le_bytes());
        let begun = Instant::now();
        std::hint::black_box(yardstick.sign_plain(std::hint::black_box(&root)));
        into.push(begun.elapsed().as_secs_f64() * 1e6);
    }
}
