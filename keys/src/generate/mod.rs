//! New validator keys: a mnemonic, the keys below it, their keystores, and the deposits that make them validators.
//!
//! ```text
//! mnemonic --BIP-39--> seed --EIP-2333, EIP-2334--> signing key --> keystore, deposit data for the launchpad
//!                                               \-> withdrawal public key (only for BLS credentials)
//! ```
//! In: a mnemonic or the system's randomness, a withdrawal address, a network. Out: secrets, keystores, JSON texts and
//! files. The one signature that this crate makes without a permit is made here: over a typed deposit message of a key
//! that was derived a moment ago, under the domain of deposits, which no slashing rule knows. Deliberately absent: any
//! function that signs a root, passwords (the caller has them), and the deposit transaction itself.

mod address;
mod deposit;
mod error;
mod files;
mod mnemonic;
mod validator;

pub use address::{Address, AddressError};
pub use deposit::{AMOUNT_GWEI_DEFAULT, DepositData, DepositTerms, WithdrawalCredentials, deposit_data_json};
pub use error::GenerateError;
pub use files::{deposit_data_file_name, keystore_file_name, write_private};
pub use mnemonic::{Mnemonic, Seed};
pub use validator::ValidatorKeys;
