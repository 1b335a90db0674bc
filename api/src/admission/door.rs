//! Which door a router stands behind, and what that door asks of everybody.
//!
//! In: nothing. Out: a name for records, and which proofs count. Deliberately absent: sockets and TLS (`gate`).

/// A door of the HTTP surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// `api.listen`: a certificate is required by the handshake, tokens count on top.
    Api,
    /// `keymanager.listen`.
    KeyManager {
        /// Whether the handshake requires a certificate.
        certificate: bool,
    },
    /// `admin.listen`.
    Admin {
        /// Whether the handshake requires a certificate.
        certificate: bool,
    },
    /// `token-door.listen`: signing for who has a token, with or without a certificate.
    Token,
}

impl Door {
    /// In records.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::KeyManager { .. } => "keymanager",
            Self::Admin { .. } => "admin",
            Self::Token => "token-door",
        }
    }

    /// Whether nobody without a certificate is served.
    pub(crate) const fn requires_certificate(self) -> bool {
        match self {
            Self::Api => true,
            Self::KeyManager { certificate } | Self::Admin { certificate } => certificate,
            Self::Token => false,
        }
    }

    /// Whether a token may come as a Basic password: in URLs of clients that can do nothing else.
    pub(crate) const fn takes_basic(self) -> bool {
        match self {
            Self::Token => true,
            Self::Api | Self::KeyManager { .. } | Self::Admin { .. } => false,
        }
    }

    /// Whether access tokens of an issuer count: they are for people and their tools, not for validator clients alone.
    pub(crate) const fn takes_access_tokens(self) -> bool {
        match self {
            Self::Api | Self::KeyManager { .. } | Self::Admin { .. } => true,
            Self::Token => false,
        }
    }
}
