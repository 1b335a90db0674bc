//! The request: from a body to what is to be signed, and by which path.
//!
//! In: the body, the public key of the URL, the network. Out: a [`SignRequest`]. The signing root is always computed
//! here; one that the client sends is only compared. Deliberately absent: whether the key exists, whether the chain is
//! the cluster's, and whether the message may be signed.

use super::cursor::Cursor;
use super::domain::{self, DomainType, ForkInfo};
use super::error::ParseError;
use super::json::Json;
use super::merkle::Chunk;
use super::particulars::{Moment, Particulars};
use super::schema::{Schema, hash_tree_root};
use super::signing_type::SigningType;
use super::{
    aggregate, aggregation_slot, attestation, block, builder_request_auth, deposit, execution_payload_bid,
    execution_payload_envelope, inclusion_list, payload_attestation, proposer_preferences, randao_reveal,
    sync_committee, validator_registration, voluntary_exit,
};
use crate::network::{Network, Version};
use crate::permit::{Unslashable, UnslashableType};
use crate::primitives::{Address, Epoch, PublicKey, Root, Slot};
use crate::slashing::AgreedDuty;

/// A request that was understood: what is to be signed and under which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignRequest {
    /// The validator.
    pub public_key: PublicKey,
    /// The body's `type`.
    pub signing_type: SigningType,
    /// Computed from the payload, equal to the client's if it sent one.
    pub signing_root: Root,
    /// The chain that the request claims, where its type has one; compared with the cluster's before anything is signed.
    pub genesis_validators_root: Option<Root>,
    /// Which path the request takes.
    pub path: SignPath,
    /// What its admission looks at besides.
    pub particulars: Particulars,
}

/// The two ways to a permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignPath {
    /// Through the log: blocks, attestations, exits.
    Agreed(AgreedDuty),
    /// Locally, under the serving lease.
    Local(UnslashableType),
}

impl SignRequest {
    /// Understands a request body and computes its signing root.
    ///
    /// # Errors
    /// [`ParseError`] naming the field that is missing or wrong; its text is meant for the client (status 400).
    pub fn parse(public_key: PublicKey, body: &[u8], network: &Network) -> Result<Self, ParseError> {
        let json = Json::read(body)?;
        let body = Cursor::top(&json)?;
        let signing_type = SigningType::parse(body.field("type")?.text()?)?;
        let message = Context { network }.read(signing_type, &body)?;
        let signing_root = domain::signing_root(&message.object_root, &message.domain);
        compare_with_claim(&body, signing_root)?;
        let Message { genesis_validators_root, path, particulars, .. } = message;
        Ok(Self { public_key, signing_type, signing_root, genesis_validators_root, path, particulars })
    }

    /// The request as an [`Unslashable`], if its type is one.
    #[must_use]
    pub fn unslashable(&self) -> Option<Unslashable> {
        match self.path {
            SignPath::Local(kind) => {
                Some(Unslashable { public_key: self.public_key, signing_root: self.signing_root, kind })
            }
            SignPath::Agreed(_) => None,
        }
    }
}

/// Compares the client's root, under either name that clients give it, with the computed one.
fn compare_with_claim(body: &Cursor<'_, '_>, computed: Root) -> Result<(), ParseError> {
    for name in ["signingRoot", "signing_root"] {
        if let Some(claim) = body.optional(name)? {
            let claimed = Root(claim.bytes()?);
            if claimed != computed {
                return Err(ParseError::SigningRootMismatch { claimed, computed });
            }
        }
    }
    Ok(())
}

/// What the readers of all message kinds need besides the body.
pub(super) struct Context<'n> {
    /// Fork schedule and preset.
    pub(super) network: &'n Network,
}

impl Context<'_> {
    fn read(&self, signing_type: SigningType, body: &Cursor<'_, '_>) -> Result<Message, ParseError> {
        match signing_type {
            SigningType::Block => block::read(body, self),
            SigningType::BlockV2 => block::read_v2(body, self),
            SigningType::Attestation => attestation::read(body, self),
            SigningType::VoluntaryExit => voluntary_exit::read(body, self),
            SigningType::AggregationSlot => aggregation_slot::read(body, self),
            SigningType::AggregateAndProof => aggregate::read(body, self, UnslashableType::AggregateAndProof),
            SigningType::AggregateAndProofV2 => aggregate::read(body, self, UnslashableType::AggregateAndProofV2),
            SigningType::RandaoReveal => randao_reveal::read(body, self),
            SigningType::Deposit => deposit::read(body, self),
            SigningType::SyncCommitteeMessage => sync_committee::read_message(body, self),
            SigningType::SyncCommitteeSelectionProof => sync_committee::read_selection_proof(body, self),
            SigningType::SyncCommitteeContributionAndProof => sync_committee::read_contribution(body, self),
            SigningType::ValidatorRegistration => validator_registration::read(body, self),
            SigningType::ExecutionPayloadBid => execution_payload_bid::read(body, self),
            SigningType::ExecutionPayloadEnvelope => execution_payload_envelope::read(body, self),
            SigningType::PayloadAttestationMessage => payload_attestation::read(body, self),
            SigningType::ProposerPreferences => proposer_preferences::read(body, self),
            SigningType::BuilderRequestAuth => builder_request_auth::read(body, self),
            SigningType::InclusionList => inclusion_list::read(body, self),
        }
    }

    /// The hash tree root of an object.
    pub(super) fn hash(&self, schema: &Schema, at: &Cursor<'_, '_>) -> Result<Chunk, ParseError> {
        hash_tree_root(schema, at, self.network.preset())
    }

    /// The body's `fork_info`.
    pub(super) fn fork_info(&self, body: &Cursor<'_, '_>) -> Result<ForkInfo, ParseError> {
        ForkInfo::read(body)
    }
}

/// What a reader found.
pub(super) struct Message {
    object_root: Chunk,
    domain: Chunk,
    genesis_validators_root: Option<Root>,
    path: SignPath,
    particulars: Particulars,
}

/// A message whose path is still to be named.
pub(super) struct Pathless {
    object_root: Chunk,
    domain: Chunk,
    genesis_validators_root: Option<Root>,
    particulars: Particulars,
}

impl Message {
    /// A message of an epoch on the chain of `fork_info`.
    pub(super) fn on_chain(object_root: Chunk, kind: DomainType, epoch: Epoch, fork_info: &ForkInfo) -> Pathless {
        Self::with_version(object_root, kind, fork_info.version_at(epoch), fork_info)
    }

    /// A message on the chain of `fork_info`, under a given fork version.
    pub(super) fn with_version(
        object_root: Chunk,
        kind: DomainType,
        version: Version,
        fork_info: &ForkInfo,
    ) -> Pathless {
        let root = fork_info.genesis_validators_root;
        Pathless {
            object_root,
            domain: domain::domain(kind, version, &root),
            genesis_validators_root: Some(root),
            particulars: Particulars::default(),
        }
    }

    /// A message that belongs to no chain.
    pub(super) fn without_chain(object_root: Chunk, kind: DomainType, genesis_fork_version: Version) -> Pathless {
        let domain = domain::domain_without_chain(kind, genesis_fork_version);
        Pathless { object_root, domain, genesis_validators_root: None, particulars: Particulars::default() }
    }
}

impl Pathless {
    /// The message is for this slot.
    pub(super) const fn for_slot(mut self, slot: Slot) -> Self {
        self.particulars.moment = Some(Moment::Slot(slot));
        self
    }

    /// The message is for this epoch.
    pub(super) const fn for_epoch(mut self, epoch: Epoch, network: &Network) -> Self {
        let first_slot = epoch.saturating_mul(network.slots_per_epoch());
        self.particulars.moment = Some(Moment::Epoch { epoch, first_slot });
        self
    }

    /// By the message the proposer's fees go there.
    pub(super) const fn paying_to(mut self, fee_recipient: Address) -> Self {
        self.particulars.fee_recipient = Some(fee_recipient);
        self
    }

    /// Through the log.
    pub(super) fn agreed(self, duty: AgreedDuty) -> Message {
        self.finish(SignPath::Agreed(duty))
    }

    /// By one node alone.
    pub(super) fn local(self, kind: UnslashableType) -> Message {
        self.finish(SignPath::Local(kind))
    }

    fn finish(self, path: SignPath) -> Message {
        let Self { object_root, domain, genesis_validators_root, particulars } = self;
        Message { object_root, domain, genesis_validators_root, path, particulars }
    }
}
