//! What can be granted: every signing type, the listing of keys, the verbs of the key manager and of administration.

use crate::message::SigningType;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// One thing that a caller can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// A signature of this type.
    Sign(SigningType),
    /// The public keys that it may sign something for.
    ListKeys,
    /// A call of the key manager API.
    KeyManager(KeyManagerVerb),
    /// A call of the administrators' API.
    Admin(AdminVerb),
}

macro_rules! verbs {
    ($(#[$doc:meta])* $name:ident { $($(#[$verb_doc:meta])* $verb:ident = $wire:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$verb_doc])* $verb,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$verb),+];

            /// The name in a policy.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$verb => $wire,)+
                }
            }
        }
    };
}

verbs!(
    /// The verbs of the key manager API.
    KeyManagerVerb {
        /// `GET` of keystores.
        List = "keymanager.list",
        /// `POST` of keystores.
        Import = "keymanager.import",
        /// `DELETE` of keystores.
        Delete = "keymanager.delete",
    }
);

verbs!(
    /// The verbs of administration.
    AdminVerb {
        /// What the nodes say about themselves.
        Status = "admin.status",
        /// Making and changing the cluster.
        Cluster = "admin.cluster",
        /// Export of slashing protection history.
        HistoryExport = "admin.history-export",
        /// Import of slashing protection history.
        HistoryImport = "admin.history-import",
        /// Listing of all keys with their sealing.
        KeysList = "admin.keys-list",
        /// Import of keys.
        KeysImport = "admin.keys-import",
        /// Deletion of keys.
        KeysDelete = "admin.keys-delete",
        /// Sealing keys under another data key.
        KeysRewrap = "admin.keys-rewrap",
        /// Reading the policy and asking what it allows.
        PolicyRead = "admin.policy-read",
        /// Replacing the policy.
        PolicyWrite = "admin.policy-write",
        /// Making, listing and revoking tokens.
        Tokens = "admin.tokens",
        /// Reading certificates and other files again.
        Reload = "admin.reload",
        /// What the audit logs are anchored at.
        Audit = "admin.audit",
    }
);

impl Operation {
    /// Every operation, in the order of their kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        let signing = SigningType::ALL.iter().copied().map(Self::Sign);
        let keymanager = KeyManagerVerb::ALL.iter().copied().map(Self::KeyManager);
        let admin = AdminVerb::ALL.iter().copied().map(Self::Admin);
        signing.chain([Self::ListKeys]).chain(keymanager).chain(admin)
    }

    /// The name in a policy: a signing type in upper case, or a verb.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sign(signing_type) => signing_type.name(),
            Self::ListKeys => "list-keys",
            Self::KeyManager(verb) => verb.name(),
            Self::Admin(verb) => verb.name(),
        }
    }

    /// The operation of exactly this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|known| known.name() == name)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One item of a role's `operations`: an operation, or a name for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// `duties`: what a validator client signs day by day. Not exits, deposits and registrations: each of those is
    /// granted by its own name or not at all.
    Duties,
    /// `keymanager.*`
    AnyKeyManager,
    /// `admin.*`
    AnyAdmin,
    /// One operation.
    One(Operation),
}

/// Names for several operations.
const GROUPS: [(&str, Grant); 3] =
    [("duties", Grant::Duties), ("keymanager.*", Grant::AnyKeyManager), ("admin.*", Grant::AnyAdmin)];

impl Grant {
    /// Whether the grant includes an operation by itself (listing keys comes with any signing operation of a role).
    #[must_use]
    pub fn includes(self, operation: Operation) -> bool {
        match (self, operation) {
            (Self::Duties, Operation::Sign(signing_type)) => is_duty(signing_type),
            (Self::AnyKeyManager, Operation::KeyManager(_)) | (Self::AnyAdmin, Operation::Admin(_)) => true,
            (Self::One(granted), asked) => granted == asked,
            (Self::Duties, Operation::ListKeys | Operation::KeyManager(_) | Operation::Admin(_))
            | (Self::AnyKeyManager, Operation::Sign(_) | Operation::ListKeys | Operation::Admin(_))
            | (Self::AnyAdmin, Operation::Sign(_) | Operation::ListKeys | Operation::KeyManager(_)) => false,
        }
    }

    /// Whether the grant is about validator keys on the signing doors.
    #[must_use]
    pub const fn is_about_keys(self) -> bool {
        match self {
            Self::Duties | Self::One(Operation::Sign(_) | Operation::ListKeys) => true,
            Self::AnyKeyManager | Self::AnyAdmin | Self::One(Operation::KeyManager(_) | Operation::Admin(_)) => false,
        }
    }

    /// Whether the grant allows any signature.
    #[must_use]
    pub const fn signs(self) -> bool {
        match self {
            Self::Duties | Self::One(Operation::Sign(_)) => true,
            Self::AnyKeyManager
            | Self::AnyAdmin
            | Self::One(Operation::ListKeys | Operation::KeyManager(_) | Operation::Admin(_)) => false,
        }
    }

    /// The name in a policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Duties => GROUPS[0].0,
            Self::AnyKeyManager => GROUPS[1].0,
            Self::AnyAdmin => GROUPS[2].0,
            Self::One(operation) => operation.name(),
        }
    }

    /// The grant of exactly this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let group = GROUPS.iter().find(|(known, _)| *known == name).map(|(_, grant)| *grant);
        group.or_else(|| Operation::parse(name).map(Self::One))
    }

    /// All names, for an error message.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        GROUPS.iter().map(|(name, _)| *name).chain(Operation::all().map(Operation::name))
    }
}

/// An exit cannot be taken back, a deposit moves money, a registration says where the fees go.
const fn is_duty(signing_type: SigningType) -> bool {
    match signing_type {
        SigningType::VoluntaryExit | SigningType::Deposit | SigningType::ValidatorRegistration => false,
        SigningType::Block
        | SigningType::BlockV2
        | SigningType::Attestation
        | SigningType::AggregationSlot
        | SigningType::AggregateAndProof
        | SigningType::AggregateAndProofV2
        | SigningType::RandaoReveal
        | SigningType::SyncCommitteeMessage
        | SigningType::SyncCommitteeSelectionProof
        | SigningType::SyncCommitteeContributionAndProof
        | SigningType::ExecutionPayloadBid
        | SigningType::ExecutionPayloadEnvelope
        | SigningType::PayloadAttestationMessage
        | SigningType::ProposerPreferences
        | SigningType::BuilderRequestAuth
        | SigningType::InclusionList => true,
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Grant;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of an operation")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Grant, E> {
                Grant::parse(text).ok_or_else(|| E::custom("unknown operation"))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
