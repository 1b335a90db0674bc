//! Why a token is refused, and why none can be verified at all.

use std::io;
use std::path::PathBuf;

use crate::ClientError;
use crate::tls::TlsError;

/// Why a token is not believed. Neither text holds any of the token, so both may be logged and sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Longer than any token should be.
    #[error("the token is longer than {} bytes", super::TOKEN_BYTES_MAX)]
    TooLong,
    /// Not three parts of base64url with two JSON objects, or a name twice.
    #[error("not a JWT: {0}")]
    Malformed(&'static str),
    /// `none`, HMAC, or anything else that is not verified here.
    #[error("the token's algorithm is not RS256, ES256 or EdDSA")]
    Algorithm,
    /// A header that would change what the token means.
    #[error("the token's header has {0}, which is not supported")]
    Header(&'static str),
    /// No key set has been fetched yet, or the last one is too old to be trusted. Not the caller's fault.
    #[error("the issuer's keys are not available")]
    NoKeys,
    /// No key with this id (and of this algorithm) is in the issuer's set.
    #[error("the token is signed with a key that the issuer does not publish")]
    UnknownKey,
    /// The token names no key, and the issuer has several.
    #[error("the token does not say which of the issuer's keys signed it")]
    AmbiguousKey,
    /// Forged, damaged, or signed by somebody else.
    #[error("the token's signature is wrong")]
    Signature,
    /// A claim that must be there is not.
    #[error("the token has no {0}")]
    Missing(&'static str),
    /// A claim is of another type than it must be, or out of range.
    #[error("the token's {0} is malformed or out of range")]
    BadClaim(&'static str),
    /// Another issuer's.
    #[error("the token is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Over, by this many seconds.
    #[error("the token expired {seconds} s ago")]
    Expired {
        /// Since its end, the leeway not counted.
        seconds: i64,
    },
    /// Not yet begun.
    #[error("the token is not valid before {seconds} s from now")]
    NotYetValid {
        /// Until its begin, the leeway not counted.
        seconds: i64,
    },
}

impl JwtError {
    /// True if the caller may be right and this node cannot know: an answer of 503, not of 401.
    pub const fn is_unavailable(self) -> bool {
        matches!(self, Self::NoKeys)
    }

    /// For the label of the metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong | Self::Malformed(_) | Self::Header(_) | Self::Missing(_) | Self::BadClaim(_) => "malformed",
            Self::Algorithm => "algorithm",
            Self::NoKeys => "no_keys",
            Self::UnknownKey | Self::AmbiguousKey => "unknown_key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
        }
    }
}

/// Why tokens cannot be verified: a setting, or the issuer's key set.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// A setting that could never work, or not safely.
    #[error("oauth {setting}: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The file with the key set cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The CA bundle for the URL, or the system's own.
    #[error("cannot verify the issuer's server")]
    Tls(#[source] Box<TlsError>),
    /// The machine has no roots of trust, and no bundle is configured.
    #[error("the system has no usable CA certificate: name a bundle (oauth.ca)")]
    NoSystemRoots,
    /// No answer from the URL.
    #[error("the key set was not fetched")]
    Fetch(#[source] Box<ClientError>),
    /// An answer other than 200. Redirects are not followed.
    #[error("the issuer's server answered {status} instead of a key set")]
    Status {
        /// The status.
        status: u16,
    },
    /// Not a key set.
    #[error("not a JWK set: {reason}")]
    KeySet {
        /// What is wrong with it.
        reason: String,
    },
}

impl From<TlsError> for OAuthError {
    fn from(error: TlsError) -> Self {
        Self::Tls(Box::new(error))
    }
}
