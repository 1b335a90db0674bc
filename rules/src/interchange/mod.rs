//! The slashing-protection interchange of EIP-3076, format version 5.
//!
//! In: the text of a file that another signer exported, or the watermarks of this cluster. Out: per validator what the
//! minimal rule keeps, as [`HistoryImport`]s; a report for the operator; the text of a file for another signer.
//! Deliberately absent: I/O, and any use of a part of a file: a file with one error is refused as a whole, because
//! history that is silently missing is permission to sign.

mod complete;
mod parse;
mod raw;
mod reduce;
mod report;
mod write;

#[cfg(test)]
mod tests;

use crate::command::HistoryImport;
use crate::primitives::{Epoch, HexError, PublicKey, Root, Slot};
pub use complete::{Complete, add_change, add_history};
pub use report::{ValidatorReport, Warning};
use std::collections::BTreeMap;
use std::fmt;

/// The one format version that this binary reads and writes. Version 4 and older had other meanings of the same fields.
pub const FORMAT_VERSION: &str = "5";

/// Upper bound of a file, in bytes.
///
/// A complete history of 10,000 validators over the 250 epochs that Web3Signer keeps is about 400 MB; parsing needs
/// about twice the size of the text.
pub const FILE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A checked interchange file: everything that it says is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interchange {
    genesis_validators_root: Root,
    validators: BTreeMap<PublicKey, Records>,
}

/// The records of one validator; several entries of one public key are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Signed blocks, in the order of the file.
    pub blocks: Vec<SignedBlock>,
    /// Signed attestations, in the order of the file.
    pub attestations: Vec<SignedAttestation>,
    /// Roots that were hexadecimal but not 32 bytes long; their records count as records without a root.
    pub unusable_roots: usize,
}

/// A block that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedBlock {
    /// The block's slot.
    pub slot: Slot,
    /// What the signature covers, if the file says so.
    pub signing_root: Option<Root>,
}

/// An attestation that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedAttestation {
    /// The vote's source epoch.
    pub source_epoch: Epoch,
    /// The vote's target epoch.
    pub target_epoch: Epoch,
    /// What the signature covers, if the file says so.
    pub signing_root: Option<Root>,
}

/// Why a file is refused. Nothing of a refused file is used.
#[derive(Debug, thiserror::Error)]
pub enum InterchangeError {
    /// Not JSON, or a field occurs twice in one object.
    #[error("the interchange file is not valid JSON")]
    Json(#[source] serde_json::Error),
    /// Larger than [`FILE_BYTES_MAX`].
    #[error("the interchange file has {bytes} bytes, more than {FILE_BYTES_MAX}; split it by validators")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
    },
    /// Another format version.
    #[error(
        "metadata.interchange_format_version: version {found} is not supported, only \"{FORMAT_VERSION}\"; export the \
         history again with a current release of the other signer"
    )]
    Version {
        /// The version that the file claims.
        found: String,
    },
    /// A field that is missing or not what EIP-3076 asks for.
    #[error("{path}: {problem}")]
    Field {
        /// Where, e.g. `data[1].signed_blocks[0].slot`.
        path: String,
        /// What.
        problem: Problem,
    },
    /// The file is about another chain.
    #[error(
        "metadata.genesis_validators_root: the file belongs to the chain {found}, this cluster signs for {expected}"
    )]
    OtherChain {
        /// Genesis validators root of the file.
        found: Root,
        /// Genesis validators root of the cluster.
        expected: Root,
    },
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The field is absent.
    #[error("missing")]
    Missing,
    /// The field has another JSON type.
    #[error("expected {expected}, got {found}")]
    Type {
        /// What EIP-3076 asks for.
        expected: &'static str,
        /// The JSON type found.
        found: &'static str,
    },
    /// Text that is not a number of 64 bits.
    #[error("expected a decimal number from 0 to {}, got \"{found}\"", u64::MAX)]
    Number {
        /// The text, shortened.
        found: String,
    },
    /// Text that is no byte string of the right length.
    #[error("{0}")]
    Hex(HexError),
}

impl Interchange {
    /// An interchange without validators.
    #[must_use]
    pub const fn new(genesis_validators_root: Root) -> Self {
        Self { genesis_validators_root, validators: BTreeMap::new() }
    }

    /// The chain whose messages the file lists.
    #[must_use]
    pub const fn genesis_validators_root(&self) -> &Root {
        &self.genesis_validators_root
    }

    /// The records, by public key; every validator of the file is here, even one without records.
    #[must_use]
    pub const fn validators(&self) -> &BTreeMap<PublicKey, Records> {
        &self.validators
    }

    /// The records of one validator, to be added to. Creates the validator if it is new.
    pub fn records_mut(&mut self, public_key: PublicKey) -> &mut Records {
        self.validators.entry(public_key).or_default()
    }

    /// Checks that the file belongs to the given chain.
    ///
    /// # Errors
    /// [`InterchangeError::OtherChain`] with both roots.
    pub fn check_genesis(&self, expected: &Root) -> Result<(), InterchangeError> {
        // History of another chain protects nobody here, and importing it would block slots that were never signed.
        if self.genesis_validators_root == *expected {
            return Ok(());
        }
        Err(InterchangeError::OtherChain { found: self.genesis_validators_root, expected: *expected })
    }

    /// What the minimal rule keeps of every validator that has records, by public key.
    #[must_use]
    pub fn reduce(&self) -> Vec<HistoryImport> {
        self.validators.iter().filter_map(|(public_key, records)| reduce::reduce(*public_key, records)).collect()
    }

    /// Counts and doubts per validator, by public key. A doubt is no refusal: the import takes the maxima.
    #[must_use]
    pub fn report(&self) -> Vec<ValidatorReport> {
        self.validators.iter().map(|(public_key, records)| report::report(*public_key, records)).collect()
    }
}

impl fmt::Display for SignedAttestation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}->{}", self.source_epoch, self.target_epoch)
    }
}
