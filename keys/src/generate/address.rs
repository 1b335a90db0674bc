//! Execution-layer addresses with their checksum.
//!
//! In: text. Out: 20 bytes. A withdrawal address cannot be changed later, so a typing error is a loss: EIP-55 notices
//! it. Deliberately absent: names (ENS), and any look at a chain.

use sha3::{Digest, Keccak256};
use std::fmt;
use std::str::FromStr;

/// An execution-layer address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address(pub [u8; Address::LENGTH]);

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not 40 digits after `0x`.
    #[error("an address is 0x and 40 hexadecimal digits")]
    Form,
    /// Upper and lower case do not fit the digits.
    #[error("the checksum of the address does not match (EIP-55); if every digit is right, it reads {expected}")]
    Checksum {
        /// The same digits with a right checksum.
        expected: Address,
    },
    /// Nobody has it.
    #[error("the zero address belongs to nobody")]
    Zero,
}

impl Address {
    /// Length in bytes.
    pub const LENGTH: usize = 20;

    /// Whether a text of this address carries a checksum; one in lower case does not, and deserves a question.
    #[must_use]
    pub fn is_checksummed(text: &str) -> bool {
        text.parse::<Self>().is_ok_and(|address| text == address.to_string())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads an address with a checksum, or all in one case.
    //= EIP-55: "backwards compatible with many hex parsers that accept mixed case"
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let digits = text.strip_prefix("0x").ok_or(AddressError::Form)?;
        let mut bytes = [0_u8; Self::LENGTH];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| AddressError::Form)?;
        if bytes == [0; Self::LENGTH] {
            return Err(AddressError::Zero);
        }
        let address = Self(bytes);
        let lower = digits.bytes().any(|digit| digit.is_ascii_lowercase());
        let mixed = lower && digits.bytes().any(|digit| digit.is_ascii_uppercase());
        if mixed && text != address.to_string() {
            return Err(AddressError::Checksum { expected: address });
        }
        Ok(address)
    }
}

impl fmt::Display for Address {
    //= EIP-55: "convert the address to hex, but if the ith digit is a letter [...] print it in uppercase if the 4*ith
    //= bit of the hash of the lowercase hexadecimal address is 1"
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex::encode(self.0);
        let hash = Keccak256::digest(digits.as_bytes());
        formatter.write_str("0x")?;
        for (index, digit) in digits.char_indices() {
            let nibble = hash[index / 2] >> (if index % 2 == 0 { 4 } else { 0 }) & 0xf;
            let digit = if nibble >= 8 { digit.to_ascii_uppercase() } else { digit };
            write!(formatter, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}
