//! One YAML document of a key configuration file: its known fields as text.
//!
//! In: YAML text. Out: documents whose secrets are erased when dropped. Deliberately absent: what the fields mean, and
//! any error text of the YAML library: it repeats parts of the file, which may be a secret.

use super::error::SourceError;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// Documents of one file at most; [`super::web3signer`] bounds the bytes.
const DOCUMENTS_MAX: usize = 50_000;

/// Fields that are read; others are ignored, as Web3Signer does.
const FIELDS: &[&str] = &[
    "type",
    "keyType",
    "privateKey",
    "keystoreFile",
    "keystorePasswordFile",
    "serverHost",
    "serverPort",
    "keyPath",
    "keyName",
    "timeout",
    "tlsEnabled",
    "tlsKnownServersPath",
    "authMethod",
    "token",
    "kubernetesRole",
    "kubernetesAuthPath",
    "kubernetesServiceAccountTokenPath",
    "region",
    "secretName",
    "authenticationMode",
    "accessKeyId",
    "secretAccessKey",
    "endpointOverride",
];

/// Fields that hold a secret.
const SECRETS: &[&str] = &["privateKey", "token", "secretAccessKey"];

/// The values as text: a YAML number would lose the digits of `privateKey: 0x25...`.
pub(super) struct KeyDocument(BTreeMap<&'static str, Zeroizing<String>>);

/// Reads all documents of a file; empty ones are skipped.
///
/// # Errors
/// [`SourceError::Yaml`] with the place of the fault.
pub(super) fn read(text: &str) -> Result<Vec<KeyDocument>, SourceError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_documents: DOCUMENTS_MAX },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location().map_or((0, 0), |location| (location.line(), location.column()));
        SourceError::Yaml { line: place.0, column: place.1 }
    })
}

impl KeyDocument {
    /// A field that must be there and not empty.
    pub(super) fn required(&self, field: &'static str) -> Result<&str, SourceError> {
        self.optional(field).ok_or_else(|| self.wrong(field, "missing"))
    }

    /// A field that may be absent; an empty one counts as absent.
    pub(super) fn optional(&self, field: &'static str) -> Option<&str> {
        self.0.get(field).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// A required field whose copy is erased, too.
    pub(super) fn secret(&self, field: &'static str) -> Result<Zeroizing<String>, SourceError> {
        self.required(field).map(|text| Zeroizing::new(text.to_owned()))
    }

    /// A whole number.
    pub(super) fn number(&self, field: &'static str) -> Result<Option<u64>, SourceError> {
        let parse = |text: &str| text.parse().map_err(|_| self.wrong(field, "not a whole number"));
        self.optional(field).map(parse).transpose()
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, field: &'static str) -> Result<Option<bool>, SourceError> {
        match self.optional(field).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(field, "neither true nor false")),
        }
    }

    /// The refusal of a field; never repeats its value.
    pub(super) fn wrong(&self, field: &'static str, problem: &str) -> SourceError {
        SourceError::Field { field, problem: problem.to_owned() }
    }

    /// Whether the document holds a secret itself.
    pub(super) fn holds_secret(&self) -> bool {
        SECRETS.iter().any(|field| self.0.contains_key(field))
    }
}

impl<'de> Deserialize<'de> for KeyDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DocumentVisitor;
        impl<'de> Visitor<'de> for DocumentVisitor {
            type Value = KeyDocument;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a mapping of fields to values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<KeyDocument, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some(name) = access.next_key::<String>()? {
                    match FIELDS.iter().find(|field| **field == name) {
                        Some(field) => {
                            // Nothing stands for a null; it counts as absent.
                            let value = access.next_value::<Option<String>>()?.unwrap_or_default();
                            fields.insert(*field, Zeroizing::new(value));
                        }
                        None => {
                            access.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(KeyDocument(fields))
            }
        }
        deserializer.deserialize_map(DocumentVisitor)
    }
}
