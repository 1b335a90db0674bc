//! Access tokens of an OAuth 2.0 or OpenID Connect issuer (JWT, RFC 7519 and 9068), verified without asking the issuer
//! about each.
//!
//! ```text
//! key set: file (watched) or URL (refreshed) -> keys in use ------\
//! token text -> header (algorithm, key id) -> key -> signature -> claims (issuer, audience, dates) -> [`Claims`]
//!                                     \-> unknown key id: the key set is fetched once more, rarely
//! ```
//!
//! In: the text of a token, the clock. Out: [`Claims`], or the reason why not, which never contains any of the token.
//! Strict: RS256, ES256 and EdDSA only, the algorithm is that of the key, every name at most once, every date in
//! range. Deliberately absent: what a claim permits (`rules`), opaque tokens and introspection, encrypted tokens,
//! discovery documents, HMAC: with a shared secret everybody who can verify a token can make one.

mod error;
mod fetch;
mod json;
mod jwk;
mod settings;
mod token;
mod verifier;

pub use error::{JwtError, OAuthError};
pub use settings::{KeySet, LEEWAY_MAX, OAuth, REFRESH_MAX, REFRESH_MIN};
pub use token::{Claims, TOKEN_BYTES_MAX};
pub use verifier::{KEYS_AGE_MAX, OAuthStatus, TokenVerifier};

#[cfg(feature = "fuzzing")]
pub(crate) use jwk::Keys;
#[cfg(feature = "fuzzing")]
pub(crate) use token::{Expected, claims, verify};
