//! What a request's `Authorization` header shows, before anybody judges it.
//!
//! In: the headers of a request. Out: a bearer text, the password of a Basic pair, nothing, or why the header cannot be
//! understood; and, of a text, whether it has the shape of one of the cluster's tokens. Texts are erased when dropped;
//! no error holds one. Deliberately absent: whether a credential counts ([`super::caller`]), and where Basic is taken.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Longest `Authorization` header that is looked at, in bytes. Access tokens with many claims have some KiB; hyper takes
/// heads of hundreds of KiB, and hashing or decoding those is work for nothing.
pub(crate) const HEADER_BYTES_MAX: usize = 16 << 10;

/// How tokens of the cluster begin: so that a search for leaked secrets finds them.
pub(crate) const TOKEN_PREFIX: &str = "cst_";

/// Bytes of a token's id and of its secret part; both stand in the text as lower-case hexadecimal, joined by `_`.
pub(crate) const TOKEN_ID_BYTES: usize = 8;
pub(crate) const TOKEN_SECRET_BYTES: usize = 32;

/// What a request shows.
pub(crate) enum Shown {
    /// No `Authorization` header.
    Nothing,
    /// `Bearer ..` (RFC 6750, 2.1).
    Bearer(Zeroizing<String>),
    /// The password of `Basic ..` (RFC 7617); the user name is not looked at.
    Basic(Zeroizing<String>),
}

/// Why a header is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialProblem {
    /// One could hide behind the other.
    #[error("the request has more than one Authorization header")]
    Several,
    /// See [`HEADER_BYTES_MAX`].
    #[error("the Authorization header has more than {HEADER_BYTES_MAX} bytes")]
    TooLong,
    /// Neither tokens nor Base64 need them.
    #[error("the Authorization header holds other characters than visible ASCII")]
    Characters,
    /// Another scheme, or none.
    #[error("the Authorization header must be: Bearer, one space, the token")]
    Scheme,
    /// Not the Base64 of `user:password` in ASCII.
    #[error("the Authorization header is no Basic pair: Base64 of name:token")]
    Basic,
}

/// Reads the header. White space around a token, as a variable in a script leaves it, does not belong to it.
///
/// # Errors
/// [`CredentialProblem`]; never for a missing header.
pub(crate) fn shown(headers: &HeaderMap) -> Result<Shown, CredentialProblem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Shown::Nothing) };
    if values.next().is_some() {
        return Err(CredentialProblem::Several);
    }
    let text = ascii(value)?;
    let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
    let credential = credential.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        if credential.contains(' ') {
            return Err(CredentialProblem::Scheme);
        }
        return Ok(Shown::Bearer(Zeroizing::new(credential.to_owned())));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        return password(credential).map(Shown::Basic);
    }
    Err(CredentialProblem::Scheme)
}

fn ascii(value: &HeaderValue) -> Result<&str, CredentialProblem> {
    if value.len() > HEADER_BYTES_MAX {
        return Err(CredentialProblem::TooLong);
    }
    let text = value.to_str().map_err(|_| CredentialProblem::Characters)?;
    if text.contains('\t') { Err(CredentialProblem::Characters) } else { Ok(text) }
}

fn password(pair: &str) -> Result<Zeroizing<String>, CredentialProblem> {
    let decoded = Zeroizing::new(STANDARD.decode(pair).map_err(|_| CredentialProblem::Basic)?);
    let text = std::str::from_utf8(&decoded).map_err(|_| CredentialProblem::Basic)?;
    let (_name, password) = text.split_once(':').ok_or(CredentialProblem::Basic)?;
    if !password.chars().all(|character| character.is_ascii_graphic()) {
        return Err(CredentialProblem::Basic);
    }
    Ok(Zeroizing::new(password.to_owned()))
}

/// What a text with the shape of a token says: which token it claims to be, and the hash that would prove it.
pub(crate) struct TokenClaim {
    pub(crate) id: [u8; TOKEN_ID_BYTES],
    /// SHA-256 over the whole text.
    pub(crate) hash: [u8; 32],
}

/// Whether a text is meant as a token of the cluster.
pub(crate) fn is_cluster_token(text: &str) -> bool {
    text.starts_with(TOKEN_PREFIX)
}

/// Reads `cst_<16 hex>_<64 hex>`; `None` for any other text. Only lower case, so that one token has one text.
pub(crate) fn token_claim(text: &str) -> Option<TokenClaim> {
    let (id, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    let lower = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !lower(id) || !lower(secret) || secret.len() != 2 * TOKEN_SECRET_BYTES {
        return None;
    }
    let mut bytes = [0; TOKEN_ID_BYTES];
    hex::decode_to_slice(id, &mut bytes).ok()?;
    Some(TokenClaim { id: bytes, hash: token_hash(text) })
}

/// What is kept of a token.
pub(crate) fn token_hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
