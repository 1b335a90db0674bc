//! From a request body to a signing root.

use crate::network::Network;
use crate::permit::{Unslashable, UnslashableType};
use crate::primitives::{PublicKey, Root};
use crate::slashing::AgreedDuty;

/// The values of the body's `type` field (remote-signing API, Web3Signer, and the aliases that clients send).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SigningType {
    /// `BLOCK`
    Block,
    /// `BLOCK_V2`
    BlockV2,
    /// `ATTESTATION`
    Attestation,
    /// `VOLUNTARY_EXIT`
    VoluntaryExit,
    /// `AGGREGATION_SLOT`
    AggregationSlot,
    /// `AGGREGATE_AND_PROOF`
    AggregateAndProof,
    /// `AGGREGATE_AND_PROOF_V2`
    AggregateAndProofV2,
    /// `RANDAO_REVEAL`
    RandaoReveal,
    /// `DEPOSIT`
    Deposit,
    /// `SYNC_COMMITTEE_MESSAGE`
    SyncCommitteeMessage,
    /// `SYNC_COMMITTEE_SELECTION_PROOF`
    SyncCommitteeSelectionProof,
    /// `SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF`
    SyncCommitteeContributionAndProof,
    /// `VALIDATOR_REGISTRATION`
    ValidatorRegistration,
    /// `EXECUTION_PAYLOAD_BID`
    ExecutionPayloadBid,
    /// `EXECUTION_PAYLOAD_ENVELOPE`
    ExecutionPayloadEnvelope,
    /// `PAYLOAD_ATTESTATION_MESSAGE`
    PayloadAttestationMessage,
    /// `PROPOSER_PREFERENCES`
    ProposerPreferences,
    /// `BUILDER_REQUEST_AUTH`
    BuilderRequestAuth,
    /// `INCLUSION_LIST`
    InclusionList,
}

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
}

/// The two ways to a permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignPath {
    /// Through the log: blocks, attestations, exits.
    Agreed(AgreedDuty),
    /// Locally, under the serving lease.
    Local(UnslashableType),
}

/// Why a body is not a request (status 400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub String);

impl SignRequest {
    /// Understands a request body and computes its signing root.
    ///
    /// # Errors
    /// [`ParseError`] naming the field that is missing or wrong.
    pub fn parse(_public_key: PublicKey, _body: &[u8], _network: &Network) -> Result<Self, ParseError> {
        Err(ParseError("under construction".to_owned()))
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
