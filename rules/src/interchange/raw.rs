//! The JSON of a file before it is checked: every field may be missing or of another type than it should.
//!
//! In: JSON text. Out: the same tree, in which a wrong type is a value like any other, so that [`super::parse`] can
//! name its path. Deliberately absent: judgement. Unknown fields are skipped; a field that occurs twice in one object
//! is an error of the JSON, because nobody knows which of the two is meant.

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// What stands at a place where a `T` belongs.
#[derive(Debug, Default)]
pub(super) enum Given<T> {
    /// Nothing.
    #[default]
    Missing,
    /// The word `null`.
    Null,
    /// Something else; the name of its JSON type.
    Other(&'static str),
    /// A `T`.
    Value(T),
}

/// A number, as text or as a JSON number; or any text.
#[derive(Debug)]
pub(super) enum Scalar {
    Number(u64),
    Text(String),
}

/// The whole file.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub(super) metadata: Given<Metadata>,
    pub(super) data: Given<List<Validator>>,
}

/// `metadata`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) interchange_format_version: Given<Scalar>,
    pub(super) genesis_validators_root: Given<Scalar>,
}

/// `data[]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Validator {
    pub(super) pubkey: Given<Scalar>,
    pub(super) signed_blocks: Given<List<Block>>,
    pub(super) signed_attestations: Given<List<Attestation>>,
}

/// `data[].signed_blocks[]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Block {
    pub(super) slot: Given<Scalar>,
    pub(super) signing_root: Given<Scalar>,
}

/// `data[].signed_attestations[]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Attestation {
    pub(super) source_epoch: Given<Scalar>,
    pub(super) target_epoch: Given<Scalar>,
    pub(super) signing_root: Given<Scalar>,
}

/// An array.
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<Given<T>>);

/// Which JSON types can be a `Self`; everything else becomes [`Given::Other`].
trait Accept<'de>: Sized {
    fn number(_number: u64) -> Given<Self> {
        Given::Other("a number")
    }

    fn text(_text: &str) -> Given<Self> {
        Given::Other("a text")
    }

    fn array<A: SeqAccess<'de>>(mut items: A) -> Result<Given<Self>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Given::Other("an array"))
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Given<Self>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other("an object"))
    }
}

impl Accept<'_> for Scalar {
    fn number(number: u64) -> Given<Self> {
        Given::Value(Self::Number(number))
    }

    fn text(text: &str) -> Given<Self> {
        Given::Value(Self::Text(text.to_owned()))
    }
}

impl<'de, T: Accept<'de>> Accept<'de> for List<T> {
    fn array<A: SeqAccess<'de>>(mut items: A) -> Result<Given<Self>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Given::Value(Self(list)))
    }
}

macro_rules! accept_object {
    ($($name:ident),+) => {
        $(impl<'de> Accept<'de> for $name {
            fn object<A: MapAccess<'de>>(entries: A) -> Result<Given<Self>, A::Error> {
                Self::deserialize(MapAccessDeserializer::new(entries)).map(Given::Value)
            }
        })+
    };
}

accept_object!(File, Metadata, Validator, Block, Attestation);

impl<'de, T: Accept<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor(PhantomData))
    }
}

struct GivenVisitor<T>(PhantomData<T>);

impl<'de, T: Accept<'de>> Visitor<'de> for GivenVisitor<T> {
    type Value = Given<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Given::Null)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Given::Other("a boolean"))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(T::number(number))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Given::Other("a negative number"))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Given::Other("a number with a fraction, an exponent or more than 64 bits"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(T::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        T::array(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        T::object(entries)
    }
}
