//! Request bodies as validator clients send them.
//!
//! In: what a message says. Out: JSON, and the [`Message`] that the oracle makes of it. Bodies of one number have equal
//! roots, bodies of two numbers differ.

use crate::oracle::message::MessageError;
use crate::oracle::{Content, Message};
use bytes::Bytes;
use consigner_rules::network::Fork;
use consigner_rules::{Epoch, Network, PublicKey, Root, Signature, SigningType};

/// Every type that mainnet's forks with a date ask a validator to sign and that is not slashable.
pub const UNSLASHABLE: [SigningType; 10] = [
    SigningType::VoluntaryExit,
    SigningType::AggregationSlot,
    SigningType::AggregateAndProof,
    SigningType::AggregateAndProofV2,
    SigningType::RandaoReveal,
    SigningType::SyncCommitteeMessage,
    SigningType::SyncCommitteeSelectionProof,
    SigningType::SyncCommitteeContributionAndProof,
    SigningType::Deposit,
    SigningType::ValidatorRegistration,
];

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

    /// The root that requests and interchange files must name.
    #[must_use]
    pub const fn genesis_validators_root(&self) -> Root {
        self.genesis_validators_root
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
            Content::Unslashable { kind } => self.unslashable(kind, validator, head),
        };
        Message::new(validator, content, body, &self.network)
    }

    fn attestation(&self, source: Epoch, target: Epoch, head: u64) -> Bytes {
        let slot = target * self.slots_per_epoch();
        let payload = format!(r#""attestation":{}"#, attestation_data(slot, source, target, head));
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

    /// An epoch in which every fork with a date is active.
    #[must_use]
    pub fn modern_epoch(&self) -> Epoch {
        self.modern_fork_epochs().into_iter().max().unwrap_or_default() + 1
    }

    /// A message of a type that is not slashable; the body of a slashable type is empty, which no reader takes.
    fn unslashable(&self, kind: SigningType, validator: PublicKey, number: u64) -> Bytes {
        let epoch = self.modern_epoch();
        let slot = epoch * self.slots_per_epoch() + number;
        let (head, signature) = (root(b'b', number), Signature([0xc0; Signature::LENGTH]));
        let aggregate = self.aggregate(slot, number);
        let payload = match kind {
            SigningType::VoluntaryExit => {
                format!(r#""voluntary_exit":{{"epoch":"{epoch}","validator_index":"{number}"}}"#)
            }
            SigningType::AggregationSlot => format!(r#""aggregation_slot":{{"slot":"{slot}"}}"#),
            SigningType::AggregateAndProof => format!(r#""aggregate_and_proof":{aggregate}"#),
            SigningType::AggregateAndProofV2 => {
                let version = self.network.fork_at_slot(slot).name();
                format!(r#""aggregate_and_proof":{{"version":"{version}","data":{aggregate}}}"#)
            }
            SigningType::RandaoReveal => format!(r#""randao_reveal":{{"epoch":"{}"}}"#, epoch + number),
            SigningType::SyncCommitteeMessage => {
                format!(r#""sync_committee_message":{{"beacon_block_root":"{head}","slot":"{slot}"}}"#)
            }
            SigningType::SyncCommitteeSelectionProof => {
                format!(r#""sync_aggregator_selection_data":{{"slot":"{slot}","subcommittee_index":"2"}}"#)
            }
            SigningType::SyncCommitteeContributionAndProof => format!(
                r#""contribution_and_proof":{{"aggregator_index":"{number}","contribution":{{"slot":"{slot}","beacon_block_root":"{head}","subcommittee_index":"1","aggregation_bits":"0x7b3a59e3f858d4642fac9c8a2fa05ea5","signature":"{signature}"}},"selection_proof":"{signature}"}}"#
            ),
            SigningType::Deposit => format!(
                r#""deposit":{{"pubkey":"{validator}","withdrawal_credentials":"{head}","amount":"32000000000","genesis_fork_version":"0x00000000"}}"#
            ),
            SigningType::ValidatorRegistration => format!(
                r#""validator_registration":{{"fee_recipient":"0x12de2496781293fe205125dcea91f49a274d217d","gas_limit":"30000000","timestamp":"{}","pubkey":"{validator}"}}"#,
                1_700_000_000 + number
            ),
            SigningType::Block
            | SigningType::BlockV2
            | SigningType::Attestation
            | SigningType::ExecutionPayloadBid
            | SigningType::ExecutionPayloadEnvelope
            | SigningType::PayloadAttestationMessage
            | SigningType::ProposerPreferences
            | SigningType::BuilderRequestAuth
            | SigningType::InclusionList => return Bytes::new(),
        };
        self.body(kind.name(), epoch, &payload)
    }

    fn aggregate(&self, slot: u64, number: u64) -> String {
        let (source, target) = (self.network.epoch_at_slot(slot), self.network.epoch_at_slot(slot) + 1);
        let data = attestation_data(slot, source, target, number);
        let signature = Signature([0xc0; Signature::LENGTH]);
        format!(
            r#"{{"aggregator_index":"{number}","aggregate":{{"aggregation_bits":"0x03","data":{data},"signature":"{signature}","committee_bits":"0x0100000000000000"}},"selection_proof":"{signature}"}}"#
        )
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

fn attestation_data(slot: u64, source: Epoch, target: Epoch, head: u64) -> String {
    format!(
        r#"{{"slot":"{slot}","index":"0","beacon_block_root":"{}","source":{{"epoch":"{source}","root":"{}"}},"target":{{"epoch":"{target}","root":"{}"}}}}"#,
        root(b'b', head),
        root(b'j', source),
        root(b't', target)
    )
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
    fn every_type_that_is_not_slashable_has_a_body() {
        let (chain, key) = (Chain::mainnet().unwrap(), PublicKey([1; 48]));
        for kind in UNSLASHABLE {
            let message = chain.message(key, Content::Unslashable { kind }, 1).unwrap();
            assert_eq!(message.content, Content::Unslashable { kind });
            let other = chain.message(key, Content::Unslashable { kind }, 2).unwrap();
            assert_ne!(message.root, other.root, "{kind}");
        }
        let slashable = Content::Unslashable { kind: SigningType::BlockV2 };
        assert!(chain.message(key, slashable, 1).is_err());
    }

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
