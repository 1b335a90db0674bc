//! Reads the JSON of a keystore field by field, so that every refusal names the field.
//!
//! In: a parsed JSON value. Out: checked texts, numbers, bytes. Deliberately absent: what the fields mean.

use super::error::KeystoreError;
use serde_json::Value;

/// A JSON document, or a value inside of it together with its path.
pub(super) struct Field<'v> {
    path: String,
    value: &'v Value,
}

/// Parses the text. The limit is checked before a byte is read.
///
/// # Errors
/// [`KeystoreError`] for a text that is too large, empty, truncated or no JSON.
pub(super) fn read(json: &[u8], bytes_max: usize) -> Result<Value, KeystoreError> {
    if json.len() > bytes_max {
        return Err(KeystoreError::TooLarge { bytes: json.len() as u64, bytes_max: bytes_max as u64 });
    }
    if json.trim_ascii().is_empty() {
        return Err(KeystoreError::Empty);
    }
    serde_json::from_slice(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        if error.is_eof() { KeystoreError::Truncated { line, column } } else { KeystoreError::NotJson { line, column } }
    })
}

impl<'v> Field<'v> {
    /// The document itself.
    pub(super) fn root(value: &'v Value) -> Result<Self, KeystoreError> {
        let root = Self { path: String::new(), value };
        if value.is_object() { Ok(root) } else { Err(root.is_not("an object")) }
    }

    /// A member that must be there.
    pub(super) fn field(&self, name: &str) -> Result<Self, KeystoreError> {
        self.optional(name).ok_or_else(|| KeystoreError::Missing { field: self.path_of(name) })
    }

    /// A member that may be absent or null.
    pub(super) fn optional(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Self { path: self.path_of(name), value })
    }

    /// The member as an object.
    pub(super) fn object(&self, name: &str) -> Result<Self, KeystoreError> {
        let field = self.field(name)?;
        if field.value.is_object() { Ok(field) } else { Err(field.is_not("an object")) }
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&'v str, KeystoreError> {
        self.value.as_str().ok_or_else(|| self.is_not("a text"))
    }

    /// A number without sign and fraction.
    pub(super) fn number(&self) -> Result<u64, KeystoreError> {
        self.value.as_u64().ok_or_else(|| self.is_not("a whole number"))
    }

    /// Hexadecimal of any length; `0x` is tolerated.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, KeystoreError> {
        let text = self.text()?;
        hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|_| self.is_not("hexadecimal"))
    }

    /// Hexadecimal of `N` bytes.
    pub(super) fn array<const N: usize>(&self, expected: &'static str) -> Result<[u8; N], KeystoreError> {
        self.bytes()?.try_into().map_err(|_| self.is_not(expected))
    }

    /// Whether the value is one that this program supports.
    pub(super) fn must_be(&self, supported: &'static str) -> Result<(), KeystoreError> {
        if self.text()? == supported { Ok(()) } else { Err(self.unsupported(supported)) }
    }

    /// The refusal of a function or parameter.
    pub(super) fn unsupported(&self, supported: &'static str) -> KeystoreError {
        KeystoreError::Unsupported { field: self.path.clone(), found: self.shown(), supported }
    }

    /// The refusal of a value's form.
    pub(super) fn is_not(&self, expected: &'static str) -> KeystoreError {
        let field = if self.path.is_empty() { "the keystore".to_owned() } else { self.path.clone() };
        KeystoreError::Field { field, expected }
    }

    /// The refusal of a cost parameter.
    pub(super) fn out_of_bounds(&self, found: u64, bound: String) -> KeystoreError {
        KeystoreError::Cost { field: self.path.clone(), found, bound }
    }

    /// The value as far as it fits into a message: names of functions and numbers, never a message or salt.
    pub(super) fn shown(&self) -> String {
        let text = self.value.as_str().map_or_else(|| self.value.to_string(), str::to_owned);
        text.chars().take(SHOWN_CHARS_MAX).collect()
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// Characters of a foreign value that an error repeats; the longest name of EIP-2335 has 11.
const SHOWN_CHARS_MAX: usize = 40;
