//! The proof that a signature may be made: the keyring signs a permit and nothing else.
//!
//! In: a committed verdict, or a request of a type that cannot be slashed. Out: a [`SignPermit`], which is moved, never
//! cloned. Deliberately absent: any way to build a permit from a local request for a block, an attestation or an exit.

use crate::command::Verdict;
use crate::message::SigningType;
use crate::primitives::{PublicKey, Root};
use crate::slashing::Ruling;

/// Leave to make one signature. Holds what was checked: key and root.
#[derive(Debug)]
#[must_use = "a permit that is not signed wastes an agreement"]
pub struct SignPermit {
    public_key: PublicKey,
    signing_root: Root,
    log_index: Option<u64>,
}

impl SignPermit {
    /// Mints a permit from a committed verdict, if its ruling allows signing.
    ///
    /// `clippy.toml` forbids this call everywhere but in `raft/src/cluster.rs`, which passes the verdict that `apply`
    /// answered for the committed record, never the local request.
    #[must_use]
    pub fn from_verdict(verdict: &Verdict) -> Option<Self> {
        match verdict.ruling {
            Ruling::Safe | Ruling::Repeat => {
                Some(Self { public_key: verdict.public_key, signing_root: verdict.signing_root, log_index: None })
            }
            Ruling::Refused(_) | Ruling::Stale { .. } | Ruling::UnknownKey | Ruling::AwaitingFloor => None,
        }
    }

    /// Mints a permit for a message that no rule can slash.
    pub fn unslashable(request: Unslashable) -> Self {
        Self { public_key: request.public_key, signing_root: request.signing_root, log_index: None }
    }

    /// The same, with the log index of the entry whose verdict it was minted from. For records; it allows nothing.
    pub const fn recorded_at(mut self, log_index: u64) -> Self {
        self.log_index = Some(log_index);
        self
    }

    /// The log index of the entry that it was minted from; `None` for a message that no rule can slash.
    #[must_use]
    pub const fn log_index(&self) -> Option<u64> {
        self.log_index
    }

    /// The validator that signs.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// What the signature covers.
    #[must_use]
    pub const fn signing_root(&self) -> &Root {
        &self.signing_root
    }
}

/// A request whose signature cannot be slashed. Cannot hold a block, an attestation or an exit: [`UnslashableType`]
/// has no such case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unslashable {
    /// The validator.
    pub public_key: PublicKey,
    /// What the signature would cover.
    pub signing_root: Root,
    /// What is asked for.
    pub kind: UnslashableType,
}

macro_rules! unslashable_types {
    ($($name:ident),+ $(,)?) => {
        /// The signing types that any node may sign alone (DESIGN: not slashable, not irrevocable).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum UnslashableType {
            $(
                #[doc = concat!("See [`SigningType::", stringify!($name), "`].")]
                $name,
            )+
        }

        impl From<UnslashableType> for SigningType {
            fn from(kind: UnslashableType) -> Self {
                match kind {
                    $(UnslashableType::$name => Self::$name,)+
                }
            }
        }
    };
}

unslashable_types!(
    AggregationSlot,
    AggregateAndProof,
    AggregateAndProofV2,
    RandaoReveal,
    Deposit,
    SyncCommitteeMessage,
    SyncCommitteeSelectionProof,
    SyncCommitteeContributionAndProof,
    ValidatorRegistration,
    ExecutionPayloadBid,
    ExecutionPayloadEnvelope,
    PayloadAttestationMessage,
    ProposerPreferences,
    BuilderRequestAuth,
    InclusionList,
);
