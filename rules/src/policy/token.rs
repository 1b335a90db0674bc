//! Bearer tokens as the cluster keeps them: a hash and what the token may do, never the token.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most tokens that a cluster holds; each is one caller that somebody must keep an eye on.
pub const TOKENS_MAX: usize = 1_024;

/// Most roles of one token or client.
pub(super) const ROLES_OF_ONE_MAX: usize = 64;

/// Longest name of a role, tag, client or token, in bytes: they stand in every audit line.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// A token, as the cluster keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Random public part of the token.
    #[serde(with = "serde_bytes")]
    pub id: [u8; 8],
    /// What people call it.
    pub name: String,
    /// SHA-256 of the whole token text.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    /// What it may do.
    pub roles: BTreeSet<String>,
    /// Milliseconds since the Unix epoch when it was made; information.
    pub created_ms: u64,
    /// Milliseconds since the Unix epoch from which on it is not admitted; looked at by whoever admits.
    pub expires_ms: Option<u64>,
}

/// Why a token is not one that a cluster keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum BadToken {
    /// Its name or the name of a role is no name.
    #[error("\"{0}\" is no name: 1 to 64 of letters, digits and . _ - @ /")]
    Name(String),
    /// It has no role, or too many.
    #[error("a token has 1 to {ROLES_OF_ONE_MAX} roles, not {0}")]
    Roles(u64),
}

impl TokenRecord {
    /// Whether the token counts for nothing any more at this moment (milliseconds since the Unix epoch).
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires| expires <= now_ms)
    }

    /// Whether the record is one that a cluster keeps.
    ///
    /// # Errors
    /// [`BadToken`]
    pub fn check(&self) -> Result<(), BadToken> {
        let names = std::iter::once(&self.name).chain(&self.roles);
        if let Some(bad) = names.into_iter().find(|name| !check_name(name)) {
            return Err(BadToken::Name(bad.chars().take(NAME_BYTES_MAX).collect()));
        }
        if (1..=ROLES_OF_ONE_MAX).contains(&self.roles.len()) {
            Ok(())
        } else {
            Err(BadToken::Roles(self.roles.len() as u64))
        }
    }
}

/// Whether a text may be the name of a role, tag, client or token: it needs no quotes in YAML, logs and shells.
#[must_use]
pub fn check_name(name: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@' | b'/');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(named)
}
