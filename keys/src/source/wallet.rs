//! The decrypted content of a Prysm wallet: `{"private_keys": [base64...], "public_keys": [base64...]}`.
//!
//! In: decrypted bytes. Out: secrets, each checked against its public key. Deliberately absent: decryption.

use super::error::SourceError;
use crate::bls::SecretKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use consigner_rules::PublicKey;
use serde::Deserialize;
use zeroize::Zeroizing;

/// A key of a wallet: the validator that the wallet names, and its secret or why it has none.
pub(super) type WalletKey = (Option<PublicKey>, Result<SecretKey, SourceError>);

/// Borrowed from the decrypted bytes, so no copy of a secret is left behind.
#[derive(Deserialize)]
struct Accounts<'p> {
    #[serde(borrow)]
    private_keys: Vec<&'p str>,
    #[serde(borrow)]
    public_keys: Vec<&'p str>,
}

/// Reads the keys in the order of the wallet.
///
/// # Errors
/// [`SourceError::Wallet`] when the content as a whole has another form.
pub(super) fn read(payload: &[u8]) -> Result<Vec<WalletKey>, SourceError> {
    let unusable = |reason: String| SourceError::Wallet { reason };
    let accounts: Accounts<'_> = serde_json::from_slice(payload).map_err(|error| {
        // Only the position: what serde says repeats parts of the text.
        let place = format!("line {} column {}", error.line(), error.column());
        unusable(format!("not a list of private_keys and public_keys ({place})"))
    })?;
    let (secrets, names) = (accounts.private_keys.len(), accounts.public_keys.len());
    if secrets != names {
        return Err(unusable(format!("{secrets} private keys, but {names} public keys")));
    }
    Ok(accounts.private_keys.iter().zip(&accounts.public_keys).map(|(secret, name)| read_one(secret, name)).collect())
}

fn read_one(secret: &str, name: &str) -> WalletKey {
    let mut public_key = [0_u8; PublicKey::LENGTH];
    let named = match STANDARD.decode_slice(name, &mut public_key) {
        Ok(PublicKey::LENGTH) => Some(PublicKey(public_key)),
        Ok(_) | Err(_) => None,
    };
    (named, read_secret(secret, named))
}

fn read_secret(text: &str, named: Option<PublicKey>) -> Result<SecretKey, SourceError> {
    let unusable = |reason: &str| SourceError::Wallet { reason: reason.to_owned() };
    let named = named.ok_or_else(|| unusable("a public key is not 48 bytes of base64"))?;
    let mut bytes = Zeroizing::new([0_u8; 32]);
    match STANDARD.decode_slice(text, bytes.as_mut_slice()) {
        Ok(32) => {}
        Ok(_) | Err(_) => return Err(unusable("a private key is not 32 bytes of base64")),
    }
    let secret = SecretKey::from_bytes(&bytes)?;
    let held = secret.public_key();
    if held == named { Ok(secret) } else { Err(SourceError::WrongPublicKey { named, held }) }
}

#[cfg(test)]
#[path = "wallet_tests.rs"]
mod tests;
