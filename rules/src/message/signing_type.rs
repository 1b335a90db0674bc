//! The values of the body's `type` field.

use super::error::ParseError;
use super::json::clip;

macro_rules! signing_types {
    ($($name:ident = $wire:literal),+ $(,)?) => {
        /// The values of the body's `type` field (remote-signing API, Web3Signer, and what clients send beyond them).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SigningType {
            $(
                #[doc = concat!("`", $wire, "`")]
                $name,
            )+
        }

        impl SigningType {
            /// All types.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name on the wire: upper case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $wire,)+
                }
            }
        }
    };
}

signing_types!(
    Block = "BLOCK",
    BlockV2 = "BLOCK_V2",
    Attestation = "ATTESTATION",
    VoluntaryExit = "VOLUNTARY_EXIT",
    AggregationSlot = "AGGREGATION_SLOT",
    AggregateAndProof = "AGGREGATE_AND_PROOF",
    AggregateAndProofV2 = "AGGREGATE_AND_PROOF_V2",
    RandaoReveal = "RANDAO_REVEAL",
    Deposit = "DEPOSIT",
    SyncCommitteeMessage = "SYNC_COMMITTEE_MESSAGE",
    SyncCommitteeSelectionProof = "SYNC_COMMITTEE_SELECTION_PROOF",
    SyncCommitteeContributionAndProof = "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF",
    ValidatorRegistration = "VALIDATOR_REGISTRATION",
    ExecutionPayloadBid = "EXECUTION_PAYLOAD_BID",
    ExecutionPayloadEnvelope = "EXECUTION_PAYLOAD_ENVELOPE",
    PayloadAttestationMessage = "PAYLOAD_ATTESTATION_MESSAGE",
    ProposerPreferences = "PROPOSER_PREFERENCES",
    BuilderRequestAuth = "BUILDER_REQUEST_AUTH",
    InclusionList = "INCLUSION_LIST",
);

/// Names that clients send for a type before the remote-signing API named it (Lighthouse, Grandine).
const ALIASES: &[(&str, SigningType)] = &[
    ("PAYLOAD_ATTESTATION", SigningType::PayloadAttestationMessage),
    ("PAYLOAD_ATTESTATION_DATA", SigningType::PayloadAttestationMessage),
    ("REQUEST_AUTH", SigningType::BuilderRequestAuth),
];

/// Lodestar has a client for this type; a validator's signing key must never answer it.
const BLS_TO_EXECUTION_CHANGE: &str = "BLS_TO_EXECUTION_CHANGE";

impl SigningType {
    /// Reads a `type`, in any case (as Web3Signer does), under its name or an alias.
    pub(super) fn parse(text: &str) -> Result<Self, ParseError> {
        let canonical = Self::ALL.iter().copied().find(|known| known.name().eq_ignore_ascii_case(text));
        let alias = || ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(text)).map(|(_, known)| *known);
        match canonical.or_else(alias) {
            Some(known) => Ok(known),
            None if text.eq_ignore_ascii_case(BLS_TO_EXECUTION_CHANGE) => Err(ParseError::BlsToExecutionChange),
            None => Err(ParseError::UnknownType { found: clip(text).into_owned() }),
        }
    }

    /// All names, for an error message.
    pub(super) fn all_names() -> String {
        Self::ALL.iter().map(|known| known.name()).collect::<Vec<_>>().join(", ")
    }
}

impl std::fmt::Display for SigningType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
