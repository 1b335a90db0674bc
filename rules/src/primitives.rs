//! Fixed-length byte strings of the consensus specification, with their `0x` hexadecimal text form.
//!
//! In: bytes or text. Out: checked values. Deliberately absent: any check that a public key lies on the curve
//! (unknown identifiers are simply not found) and any arithmetic.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A slot number (consensus specification: `Slot`, 12 s on mainnet).
pub type Slot = u64;
/// An epoch number (consensus specification: `Epoch`, 32 slots on mainnet).
pub type Epoch = u64;

/// Why a text is not a byte string of the expected length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// The text has another length than `expected` bytes.
    #[error("expected {expected} bytes of hexadecimal, got {got} characters")]
    Length {
        /// Bytes that the type holds.
        expected: usize,
        /// Hexadecimal characters found, without the `0x`.
        got: usize,
    },
    /// The text holds a character outside `0-9a-fA-F`.
    #[error("not hexadecimal")]
    Digit,
}

/// Decodes hexadecimal of exactly `N` bytes; the prefix `0x` is optional and letters may have either case.
///
/// # Errors
/// [`HexError`] when length or alphabet are wrong.
pub fn decode_fixed<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    if digits.len() != 2 * N {
        return Err(HexError::Length { expected: N, got: digits.len() });
    }
    let mut bytes = [0_u8; N];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| HexError::Digit)?;
    Ok(bytes)
}

macro_rules! byte_string {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Length in bytes.
            pub const LENGTH: usize = $length;

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "0x{}", hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{self}")
            }
        }

        impl std::str::FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                decode_fixed(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(formatter, "{} bytes as 0x-prefixed hexadecimal", $length)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        bytes.try_into().map($name).map_err(|_| E::invalid_length(bytes.len(), &self))
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Visitor)
                } else {
                    deserializer.deserialize_bytes(Visitor)
                }
            }
        }
    };
}

byte_string!(
    /// A validator's BLS public key in compressed form (consensus specification: `BLSPubkey`).
    PublicKey,
    48
);
byte_string!(
    /// A 32-byte hash: signing root, block root, genesis validators root (consensus specification: `Root`).
    Root,
    32
);
byte_string!(
    /// A BLS signature in compressed form (consensus specification: `BLSSignature`).
    Signature,
    96
);
byte_string!(
    /// An address of the execution layer, e.g. a fee recipient (consensus specification: `ExecutionAddress`).
    Address,
    20
);
byte_string!(
    /// The random identity of one cluster; another cluster's id is refused on every door and disk.
    ClusterId,
    16
);
byte_string!(
    /// The identity of one request to sign, so that a verdict can only answer the request that asked.
    RequestId,
    16
);

impl RequestId {
    /// Eight random bytes, then the node that the client asked, big-endian: so the record can say which one it was.
    #[must_use]
    pub fn new(node: u64, random: [u8; 8]) -> Self {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&random);
        bytes[8..].copy_from_slice(&node.to_be_bytes());
        Self(bytes)
    }

    /// The node that the client asked. Means nothing in ids that were made before rules version 3, which are all random.
    #[must_use]
    pub const fn node(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn hexadecimal_with_and_without_prefix_and_in_either_case() {
        let root: Root = "0xAb00000000000000000000000000000000000000000000000000000000000001".parse().unwrap();
        let same: Root = "aB00000000000000000000000000000000000000000000000000000000000001".parse().unwrap();
        assert_eq!(root, same);
        assert_eq!(root.to_string(), "0xab00000000000000000000000000000000000000000000000000000000000001");
    }

    #[test]
    fn wrong_length_and_alphabet_are_named() {
        assert_eq!("0x00".parse::<Root>(), Err(HexError::Length { expected: 32, got: 2 }));
        assert_eq!("zz".repeat(32).parse::<Root>(), Err(HexError::Digit));
        // A multi-byte character must not split inside a code point.
        assert_eq!("é".repeat(32).parse::<Root>(), Err(HexError::Digit));
    }
}
