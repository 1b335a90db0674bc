//! A place in the body: a value, and the path to it for error messages.
//!
//! In: the JSON tree. Out: checked scalars and texts. The path is a list on the stack that is written out only when
//! something is wrong. Deliberately absent: hashing (see `schema`).

use super::error::{Fault, ParseError};
use super::json::{Json, clip};
use super::merkle::{CHUNK_BYTES, Chunk};
use std::fmt::Write;

/// A value and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'j, 'p> {
    pub(super) json: &'j Json<'j>,
    parent: Option<&'p Cursor<'j, 'p>>,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Index(usize),
}

impl<'j> Cursor<'j, '_> {
    /// The whole body.
    pub(super) fn top(json: &'j Json<'j>) -> Result<Self, ParseError> {
        let top = Cursor { json, parent: None, step: Step::Field("body") };
        match json {
            Json::Object(_) => Ok(top),
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::OtherNumber | Json::Text(_) | Json::Array(_) => {
                Err(top.shape("an object"))
            }
        }
    }
}

impl<'j, 'p> Cursor<'j, 'p> {
    /// A field that must be there.
    pub(super) fn field<'s>(&'s self, name: &'static str) -> Result<Cursor<'j, 's>, ParseError>
    where
        'p: 's,
    {
        match self.optional(name)? {
            Some(cursor) => Ok(cursor),
            None => Err(Cursor { json: self.json, parent: Some(self), step: Step::Field(name) }.fault(Fault::Missing)),
        }
    }

    /// A field that may be absent or `null`.
    pub(super) fn optional<'s>(&'s self, name: &'static str) -> Result<Option<Cursor<'j, 's>>, ParseError>
    where
        'p: 's,
    {
        if !matches!(self.json, Json::Object(_)) {
            return Err(self.shape("an object"));
        }
        Ok(self.json.get(name).map(|json| Cursor { json, parent: Some(self), step: Step::Field(name) }))
    }

    /// The elements of an array.
    pub(super) fn elements<'s>(&'s self) -> Result<impl ExactSizeIterator<Item = Cursor<'j, 's>>, ParseError>
    where
        'p: 's,
    {
        let Json::Array(items) = self.json else { return Err(self.shape("an array")) };
        Ok(items.iter().enumerate().map(move |(index, json)| Cursor {
            json,
            parent: Some(self),
            step: Step::Index(index),
        }))
    }

    /// A string.
    pub(super) fn text(&self) -> Result<&'j str, ParseError> {
        match self.json {
            Json::Text(text) => Ok(text),
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::OtherNumber | Json::Array(_) | Json::Object(_) => {
                Err(self.shape("a string"))
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, ParseError> {
        match self.json {
            Json::Bool(value) => Ok(*value),
            Json::Null | Json::Text(_) | Json::Integer(_) | Json::OtherNumber | Json::Array(_) | Json::Object(_) => {
                Err(self.shape("true or false"))
            }
        }
    }

    /// A 64-bit number: a decimal string, or a plain JSON number, which some clients write.
    pub(super) fn uint64(&self) -> Result<u64, ParseError> {
        if let Json::Integer(value) = self.json {
            return Ok(*value);
        }
        let text = self.text()?;
        // `parse` would take a sign.
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(value) if digits => Ok(value),
            Ok(_) | Err(_) => Err(self.fault(Fault::Uint64(clip(text).into_owned()))),
        }
    }

    /// A 256-bit number, as little-endian bytes.
    pub(super) fn uint256(&self) -> Result<Chunk, ParseError> {
        if let Json::Integer(value) = self.json {
            return Ok(super::merkle::uint64_chunk(*value));
        }
        let text = self.text()?;
        parse_uint256(text).ok_or_else(|| self.fault(Fault::Uint256(clip(text).into_owned())))
    }

    /// The digits of a hexadecimal string and the bytes they stand for.
    pub(super) fn hex_digits(&self) -> Result<&'j [u8], ParseError> {
        let text = self.text()?;
        // Web3Signer takes hexadecimal without the prefix too.
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text).as_bytes();
        if digits.len().is_multiple_of(2) { Ok(digits) } else { Err(self.fault(Fault::Hexadecimal)) }
    }

    /// Exactly `N` bytes of hexadecimal.
    pub(super) fn bytes<const N: usize>(&self) -> Result<[u8; N], ParseError> {
        let digits = self.hex_digits()?;
        if digits.len() != 2 * N {
            return Err(self.fault(Fault::Length { expected: N as u64, found: digits.len() as u64 / 2 }));
        }
        let mut bytes = [0_u8; N];
        self.decode(digits, &mut bytes)?;
        Ok(bytes)
    }

    /// Decodes digits of this field into a buffer of half their number.
    pub(super) fn decode(&self, digits: &[u8], bytes: &mut [u8]) -> Result<(), ParseError> {
        hex::decode_to_slice(digits, bytes).map_err(|_| self.fault(Fault::Hexadecimal))
    }

    /// Something is wrong here.
    pub(super) fn fault(&self, fault: Fault) -> ParseError {
        let mut path = String::new();
        self.write_path(&mut path);
        ParseError::Field { path, fault }
    }

    /// Another JSON type stands here than is expected.
    pub(super) fn shape(&self, expected: &'static str) -> ParseError {
        let found = match self.json {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Integer(_) | Json::OtherNumber => "a number",
            Json::Text(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        };
        self.fault(Fault::Shape { expected, found })
    }

    fn write_path(&self, path: &mut String) {
        if let Some(parent) = self.parent {
            parent.write_path(path);
        }
        match self.step {
            // The top has no name in a path, unless it is at fault itself.
            Step::Field(name) => {
                if path == "body" {
                    path.clear();
                }
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Index(index) => {
                // Writing to a string does not fail.
                let _ = write!(path, "[{index}]");
            }
        }
    }
}

/// Decimal text to 32 little-endian bytes, `None` if it is no number below 2^256.
fn parse_uint256(text: &str) -> Option<Chunk> {
    /// 2^256 has 78 decimal digits.
    const DIGITS_MAX: usize = 78;
    if text.is_empty() || text.len() > DIGITS_MAX {
        return None;
    }
    let mut limbs = [0_u64; 4];
    for byte in text.bytes() {
        let mut carry = u128::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
        for limb in &mut limbs {
            let wide = u128::from(*limb) * 10 + carry;
            *limb = wide as u64;
            carry = wide >> 64;
        }
        if carry > 0 {
            return None;
        }
    }
    let mut chunk = [0_u8; CHUNK_BYTES];
    for (bytes, limb) in chunk.chunks_exact_mut(8).zip(limbs) {
        bytes.copy_from_slice(&limb.to_le_bytes());
    }
    Some(chunk)
}
