//! The keys of one validator and where they lie in the tree of keys.
//!
//! In: the master key of a mnemonic. Out: the signing key, its keystore and its deposit; the withdrawal public key.
//! Deliberately absent: the withdrawal secret, which nobody needs before a change of BLS credentials.

use super::deposit::{DepositData, DepositTerms};
use super::error::GenerateError;
use crate::bls::SecretKey;
use crate::keystore::{Kdf, Keystore, Password};
use consigner_rules::PublicKey;
use std::fmt;

//= EIP-2334: "m / purpose / coin_type / account / use", purpose 12381 (BLS 12-381), coin type 3600 (Ethereum)
const PURPOSE: u32 = 12381;
const COIN_TYPE: u32 = 3600;
/// Use 0 is the withdrawal key of the account; the signing key lies below it.
const WITHDRAWAL: u32 = 0;
const SIGNING: u32 = 0;

/// The keys of one validator.
pub struct ValidatorKeys {
    index: u32,
    signing: SecretKey,
    withdrawal: PublicKey,
}

impl ValidatorKeys {
    /// Derives both keys; 0.7 ms of computation.
    //= EIP-2334: withdrawal key "m/12381/3600/i/0", signing key "m/12381/3600/i/0/0"
    pub(super) fn derive(master: &SecretKey, index: u32) -> Option<Self> {
        let account = master.derive_child(PURPOSE)?.derive_child(COIN_TYPE)?.derive_child(index)?;
        let withdrawal = account.derive_child(WITHDRAWAL)?;
        let signing = withdrawal.derive_child(SIGNING)?;
        Some(Self { index, signing, withdrawal: withdrawal.public_key() })
    }

    /// The account in the tree, from 0.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The path of the signing key.
    #[must_use]
    pub fn path(&self) -> String {
        format!("m/{PURPOSE}/{COIN_TYPE}/{}/{WITHDRAWAL}/{SIGNING}", self.index)
    }

    /// The validator's public key; 113 us of computation.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.signing.public_key()
    }

    /// The public key of the withdrawal key.
    #[must_use]
    pub const fn withdrawal_public_key(&self) -> &PublicKey {
        &self.withdrawal
    }

    /// The signing key, for an import into a cluster.
    #[must_use]
    pub const fn signing_key(&self) -> &SecretKey {
        &self.signing
    }

    /// The keystore of the signing key; takes the time and memory of the key derivation.
    ///
    /// # Errors
    /// [`GenerateError::Keystore`].
    pub fn keystore(&self, password: &Password, kdf: Kdf) -> Result<Keystore, GenerateError> {
        Ok(Keystore::encrypt(&self.signing, password, &self.path(), kdf)?)
    }

    /// The signed deposit that makes this key a validator.
    ///
    /// # Errors
    /// [`GenerateError::Amount`] for an amount that the credentials do not allow.
    pub fn deposit(&self, terms: &DepositTerms) -> Result<DepositData, GenerateError> {
        DepositData::sign(&self.signing, &self.withdrawal, terms)
    }
}

impl fmt::Debug for ValidatorKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ValidatorKeys({} {})", self.path(), self.public_key())
    }
}
