//! Why a body is not a request, with the path of the field at fault.

use super::signing_type::SigningType;
use crate::primitives::Root;

/// Why a body is not a request. Its text is the answer to the client (status 400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The body is not JSON, or is JSON that a signer must not accept (a field given twice, too many values).
    #[error("the body is not acceptable JSON: {0}")]
    Json(String),
    /// A field is missing or wrong.
    #[error("{path}: {fault}")]
    Field {
        /// Where, from the top of the body: `attestation.target.epoch`.
        path: String,
        /// What is wrong there.
        fault: Fault,
    },
    /// The body's `type` is none of the known ones.
    #[error("type: unknown signing type \"{found}\"; known are {}", SigningType::all_names())]
    UnknownType {
        /// The value found, shortened.
        found: String,
    },
    /// A request that no validator key must answer.
    #[error(
        "type: BLS_TO_EXECUTION_CHANGE is signed with the withdrawal key, never with a validator's signing key; it is \
         not supported"
    )]
    BlsToExecutionChange,
    /// The client's signing root is not the root of the payload.
    #[error("signingRoot: the request says {claimed}, but the signing root of its payload is {computed}")]
    SigningRootMismatch {
        /// The root in the body.
        claimed: Root,
        /// The root of the payload.
        computed: Root,
    },
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The field is absent or `null`.
    #[error("missing")]
    Missing,
    /// Another JSON type stands there.
    #[error("expected {expected}, found {found}")]
    Shape {
        /// What the field takes.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// Not a decimal number below 2^64.
    #[error("expected a decimal number below 2^64 (as a string), found \"{0}\"")]
    Uint64(String),
    /// Not a decimal number below 2^256.
    #[error("expected a decimal number below 2^256 (as a string), found \"{0}\"")]
    Uint256(String),
    /// Not hexadecimal.
    #[error("expected hexadecimal, two digits per byte")]
    Hexadecimal,
    /// Another number of bytes than the field holds.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// Bytes that the field holds.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// More bytes, bits or elements than the preset allows.
    #[error("expected at most {limit} {unit}, found {found}")]
    TooLong {
        /// What is counted.
        unit: &'static str,
        /// The limit.
        limit: u64,
        /// The count found.
        found: u64,
    },
    /// Another number of elements than the vector holds.
    #[error("expected {expected} elements, found {found}")]
    Elements {
        /// Elements of the vector.
        expected: u64,
        /// Elements found.
        found: u64,
    },
    /// A bit vector with bits beyond its length.
    #[error("bits beyond the length of {0} bits are set")]
    Padding(u64),
    /// A bit list whose last byte is zero: its length is unknown.
    #[error("a bit list must end with a delimiter bit")]
    Delimiter,
    /// A fork name that does not exist or does not have this object.
    #[error("\"{found}\" is not a version of this object; known are {known}")]
    Version {
        /// The name found, shortened.
        found: String,
        /// The names that would be accepted.
        known: String,
    },
    /// The version names another SSZ shape than the fork at the object's slot.
    #[error("{version} does not fit slot {slot}, which belongs to {scheduled} on this network")]
    Schedule {
        /// The version in the body.
        version: &'static str,
        /// The object's slot.
        slot: u64,
        /// The fork at that slot.
        scheduled: &'static str,
    },
    /// Two fields exclude each other.
    #[error("given together with \"{0}\"; give one of them")]
    Both(&'static str),
}
