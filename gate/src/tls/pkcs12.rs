//! A server identity out of a PKCS#12 file, as Web3Signer's users have it (`--tls-keystore-file`).
//!
//! The password lies in a file of its own, on the first line. Deliberately absent: writing such files, client CAs in
//! them (Java's trust stores), several keys in one file. The reader keeps a copy of the key in memory that is freed but
//! not wiped; rustls keeps the key as long as the door is open anyway.

use std::path::Path;

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy, PrivateKeyChain};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::TlsError;
use super::pem::{self, PEM_FILE_BYTES_MAX};

/// Longest password file.
const PASSWORD_FILE_BYTES_MAX: u64 = 64 << 10;

/// Chain and key, checked as those from PEM files are.
pub(super) fn certified_key(
    file: &Path,
    password_file: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let bytes = pem::read(file, PEM_FILE_BYTES_MAX)?;
    certified_key_in(file, &bytes, &password(password_file)?, provider)
}

/// The same in the bytes of this file.
pub(crate) fn certified_key_in(
    file: &Path,
    bytes: &[u8],
    password: &str,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let bad = |reason: &str| TlsError::Pkcs12 { path: file.into(), reason: reason.to_owned() };
    let store = KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Strict).map_err(|why| {
        if matches!(why, p12_keystore::error::Error::MacError(_)) {
            return bad("wrong password, or the file is damaged");
        }
        bad(&why.to_string())
    })?;
    let chain = only_key(&store).map_err(bad)?;
    let certificates: Vec<CertificateDer<'static>> =
        chain.certs().iter().map(|certificate| certificate.as_der().to_vec().into()).collect();
    let key = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec());
    pem::checked_key(file, file, certificates, key.into(), provider)
}

fn only_key(store: &KeyStore) -> Result<&PrivateKeyChain, &'static str> {
    let mut only = None;
    for (_alias, entry) in store.entries() {
        if let KeyStoreEntry::PrivateKeyChain(chain) = entry {
            if only.is_some() {
                return Err("more than one private key: which one would be the server's?");
            }
            only = Some(chain);
        }
    }
    only.ok_or("no private key with its certificate")
}

fn password(path: &Path) -> Result<Zeroizing<String>, TlsError> {
    let bytes = pem::read(path, PASSWORD_FILE_BYTES_MAX)?;
    let bad = || TlsError::Pkcs12 { path: path.into(), reason: "the password is not UTF-8 text".to_owned() };
    let text = std::str::from_utf8(&bytes).map_err(|_| bad())?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}
