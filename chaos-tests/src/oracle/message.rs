//! A request to sign, as the oracle understands it.
//!
//! In: a validator, what the message says, a JSON body. Out: the same with the signing root computed here from the
//! body. Deliberately absent: any opinion whether it may be signed.

use bytes::Bytes;
use consigner_rules::message::SignPath;
use consigner_rules::{AgreedDuty, Epoch, Network, ParseError, PublicKey, Root, SignRequest, SigningType, Slot};
use std::fmt;

/// What a message says, as far as slashing looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// A block.
    Block {
        /// Its slot.
        slot: Slot,
    },
    /// A vote.
    Attestation {
        /// Source epoch.
        source: Epoch,
        /// Target epoch.
        target: Epoch,
    },
    /// Anything else: any number of these may be signed, as long as the key is there.
    Unslashable {
        /// Its type.
        kind: SigningType,
    },
}

/// One request to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who is to sign.
    pub validator: PublicKey,
    /// What.
    pub content: Content,
    /// What the signature must cover, computed from the body.
    pub root: Root,
    /// The JSON body.
    pub body: Bytes,
}

/// A body that does not say what its author meant: a slip of this program.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// No request.
    #[error("the body is no request")]
    Parse(#[from] ParseError),
    /// Another message.
    #[error("the body means {found}, {meant} was meant")]
    Other {
        /// By the author.
        meant: Content,
        /// In the body.
        found: String,
    },
}

impl Message {
    /// Reads the body, computes the root, and holds the author to what was meant.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn new(validator: PublicKey, meant: Content, body: Bytes, network: &Network) -> Result<Self, MessageError> {
        let request = SignRequest::parse(validator, &body, network)?;
        let found = match request.path {
            SignPath::Agreed(AgreedDuty::Block { slot }) => Some(Content::Block { slot }),
            SignPath::Agreed(AgreedDuty::Attestation { source_epoch, target_epoch }) => {
                Some(Content::Attestation { source: source_epoch, target: target_epoch })
            }
            SignPath::Agreed(AgreedDuty::VoluntaryExit { .. }) | SignPath::Local(_) => {
                Some(Content::Unslashable { kind: request.signing_type })
            }
        };
        if found != Some(meant) {
            let found = found.map_or_else(|| request.signing_type.name().to_owned(), |found| found.to_string());
            return Err(MessageError::Other { meant, found });
        }
        Ok(Self { validator, content: meant, root: request.signing_root, body })
    }
}

impl Content {
    /// Whether both stand at one slot, or at one target: of such two with different roots one must be refused.
    #[must_use]
    pub fn is_rival_of(self, other: Self) -> bool {
        match (self, other) {
            (Self::Block { slot }, Self::Block { slot: other }) => slot == other,
            (Self::Attestation { target, .. }, Self::Attestation { target: other, .. }) => target == other,
            (Self::Block { .. } | Self::Attestation { .. } | Self::Unslashable { .. }, _) => false,
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block { slot } => write!(formatter, "block {slot}"),
            Self::Attestation { source, target } => write!(formatter, "attestation {source}->{target}"),
            Self::Unslashable { kind } => formatter.write_str(kind.name()),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} root {}", self.content, self.validator, self.root)
    }
}
