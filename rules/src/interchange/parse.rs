//! From text to a checked [`Interchange`], or to the first error with its path.

use super::raw::{self, Given, List, Scalar};
use super::{FILE_BYTES_MAX, FORMAT_VERSION, Interchange, InterchangeError, Problem, SignedAttestation, SignedBlock};
use crate::primitives::{HexError, Root, decode_fixed};
use std::fmt;
use std::str::FromStr;

/// Characters of a wrong value that an error repeats; enough to recognise it, and no more of an unknown file.
const QUOTED_CHARACTERS_MAX: usize = 40;

impl Interchange {
    /// Understands a whole file, or refuses the whole file. Takes text or bytes.
    ///
    /// Tolerated: numbers instead of decimal texts; unknown fields; hexadecimal without `0x`; a missing, null or
    /// wrongly long signing root (the record then has no root, which is the most careful reading); `null` for an empty
    /// list of records; a public key that occurs several times (merged).
    ///
    /// # Errors
    /// [`InterchangeError`] naming the first field that is missing or wrong. A missing list is an error: a mistyped
    /// field name must not pass for "nothing was signed".
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, InterchangeError> {
        let text = text.as_ref();
        if text.len() > FILE_BYTES_MAX {
            return Err(InterchangeError::TooLarge { bytes: text.len() });
        }
        let file: Given<raw::File> = serde_json::from_slice(text).map_err(InterchangeError::Json)?;
        let root = Path::Root;
        let file = require(file, &root, "an object")?;
        let genesis_validators_root = metadata(file.metadata, &root.field("metadata"))?;
        let mut interchange = Self::new(genesis_validators_root);
        let data = root.field("data");
        for (index, validator) in require(file.data, &data, "an array")?.0.into_iter().enumerate() {
            interchange.take_validator(validator, &data.index(index))?;
        }
        Ok(interchange)
    }

    fn take_validator(&mut self, given: Given<raw::Validator>, path: &Path<'_>) -> Result<(), InterchangeError> {
        let validator = require(given, path, "an object")?;
        let public_key = hex(validator.pubkey, &path.field("pubkey"), "a public key of 48 bytes as hexadecimal text")?;
        let records = self.records_mut(public_key);
        let blocks = path.field("signed_blocks");
        for (index, given) in list(validator.signed_blocks, &blocks)?.into_iter().enumerate() {
            let path = blocks.index(index);
            let block = require(given, &path, "an object")?;
            let slot = number(block.slot, &path.field("slot"))?;
            let signing_root = signing_root(block.signing_root, &path, &mut records.unusable_roots)?;
            records.blocks.push(SignedBlock { slot, signing_root });
        }
        let attestations = path.field("signed_attestations");
        for (index, given) in list(validator.signed_attestations, &attestations)?.into_iter().enumerate() {
            let path = attestations.index(index);
            let vote = require(given, &path, "an object")?;
            let source_epoch = number(vote.source_epoch, &path.field("source_epoch"))?;
            let target_epoch = number(vote.target_epoch, &path.field("target_epoch"))?;
            let signing_root = signing_root(vote.signing_root, &path, &mut records.unusable_roots)?;
            records.attestations.push(SignedAttestation { source_epoch, target_epoch, signing_root });
        }
        Ok(())
    }
}

/// Checks the version first: the fields of another version may have other names.
fn metadata(given: Given<raw::Metadata>, path: &Path<'_>) -> Result<Root, InterchangeError> {
    let metadata = require(given, path, "an object")?;
    let version = path.field("interchange_format_version");
    let found = match require(metadata.interchange_format_version, &version, "the text \"5\"")? {
        Scalar::Text(text) => text,
        Scalar::Number(number) => number.to_string(),
    };
    if found != FORMAT_VERSION {
        return Err(InterchangeError::Version { found: format!("\"{}\"", shorten(&found)) });
    }
    hex(metadata.genesis_validators_root, &path.field("genesis_validators_root"), "32 bytes as hexadecimal text")
}

fn require<T>(given: Given<T>, path: &Path<'_>, expected: &'static str) -> Result<T, InterchangeError> {
    match given {
        Given::Value(value) => Ok(value),
        Given::Missing => Err(path.refuse(Problem::Missing)),
        Given::Null => Err(path.refuse(Problem::Type { expected, found: "null" })),
        Given::Other(found) => Err(path.refuse(Problem::Type { expected, found })),
    }
}

/// A list of records. `null` says under the right name that there are none (Go programs write an empty list so).
fn list<T>(given: Given<List<T>>, path: &Path<'_>) -> Result<Vec<Given<T>>, InterchangeError> {
    if matches!(given, Given::Null) {
        return Ok(Vec::new());
    }
    require(given, path, "an array").map(|list| list.0)
}

fn number(given: Given<Scalar>, path: &Path<'_>) -> Result<u64, InterchangeError> {
    match require(given, path, "a decimal number as text")? {
        Scalar::Number(number) => Ok(number),
        Scalar::Text(text) => {
            // `u64::from_str` alone would also take a sign.
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| text.parse().ok()).flatten();
            number.ok_or_else(|| path.refuse(Problem::Number { found: shorten(&text) }))
        }
    }
}

fn hex<T>(given: Given<Scalar>, path: &Path<'_>, expected: &'static str) -> Result<T, InterchangeError>
where
    T: FromStr<Err = HexError>,
{
    match require(given, path, expected)? {
        Scalar::Text(text) => text.parse().map_err(|error| path.refuse(Problem::Hex(error))),
        Scalar::Number(_) => Err(path.refuse(Problem::Type { expected, found: "a number" })),
    }
}

/// A signing root is optional. One of another length is kept as "unknown" and counted: no root of ours can equal it,
/// and an unknown root makes any message at its slot or target suspicious, which errs on the safe side.
fn signing_root(
    given: Given<Scalar>,
    record: &Path<'_>,
    unusable: &mut usize,
) -> Result<Option<Root>, InterchangeError> {
    let path = record.field("signing_root");
    if matches!(given, Given::Missing | Given::Null) {
        return Ok(None);
    }
    let expected = "hexadecimal text or null";
    let text = match require(given, &path, expected)? {
        Scalar::Text(text) => text,
        Scalar::Number(_) => return Err(path.refuse(Problem::Type { expected, found: "a number" })),
    };
    match decode_fixed(&text) {
        Ok(bytes) => Ok(Some(Root(bytes))),
        Err(HexError::Length { .. }) if is_hexadecimal(&text) => {
            *unusable += 1;
            Ok(None)
        }
        Err(HexError::Length { .. } | HexError::Digit) => Err(path.refuse(Problem::Hex(HexError::Digit))),
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.strip_prefix("0x").unwrap_or(text).bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn shorten(text: &str) -> String {
    text.chars().take(QUOTED_CHARACTERS_MAX).filter(|character| !character.is_control()).collect()
}

/// Where in the file, without allocating while all is well.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'static str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    const fn field(&self, name: &'static str) -> Path<'_> {
        Path::Field(self, name)
    }

    const fn index(&self, index: usize) -> Path<'_> {
        Path::Index(self, index)
    }

    fn refuse(&self, problem: Problem) -> InterchangeError {
        InterchangeError::Field { path: self.to_string(), problem }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => formatter.write_str("file"),
            Self::Field(Path::Root, name) => formatter.write_str(name),
            Self::Field(parent, name) => write!(formatter, "{parent}.{name}"),
            Self::Index(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}
