//! Servers that speak Vault's API: HashiCorp Vault and OpenBao.
//!
//! ```text
//! VaultConfig --Session: log in, renew--> token --guard--> call
//! ```
//! In: where the server is and how to log in. Out: calls with a valid token. Deliberately absent: what is called
//! (transit, KV), and any credential in the configuration: it names files, read anew at each login, so that whoever
//! rotates them need not tell us.

mod client;
mod errors;
mod login;
mod pinned;
mod session;

pub(crate) use errors::{Place, failed, is_deleted, says};
pub(crate) use login::Login;
pub(crate) use pinned::Pins;
pub(crate) use session::Session;
use std::fmt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// How a server is reached and logged in to.
#[derive(Debug, Clone)]
pub struct VaultConfig {
    /// `https://host:port`, without a path. `http://` sends the token in clear; that is for this machine only.
    pub address: String,
    /// Namespace of everything, the login included.
    pub namespace: Option<String>,
    /// CAs of the server, PEM: these and no others; the system's without it.
    pub ca: Option<PathBuf>,
    /// How to log in.
    pub auth: VaultAuth,
}

/// How to log in.
#[derive(Clone)]
pub enum VaultAuth {
    /// A token that somebody else made.
    Token {
        /// Its file; the variable `VAULT_TOKEN` without it.
        file: Option<PathBuf>,
    },
    /// A token at hand.
    TokenText(Zeroizing<String>),
    /// `AppRole`.
    AppRole {
        /// Mount of the method, `approle`.
        mount: String,
        /// File with the role id.
        role_id_file: PathBuf,
        /// File with the secret id.
        secret_id_file: PathBuf,
    },
    /// The service account of a Kubernetes pod.
    Kubernetes {
        /// Mount of the method, `kubernetes`.
        mount: String,
        /// Role at the server.
        role: String,
        /// File with the service account's token.
        jwt_file: PathBuf,
    },
    /// A TLS client certificate.
    Certificate {
        /// Mount of the method, `cert`.
        mount: String,
        /// Role at the server, if several would fit.
        role: Option<String>,
        /// The certificate with its chain, PEM.
        cert: PathBuf,
        /// Its private key, PEM.
        key: PathBuf,
    },
}

impl fmt::Debug for VaultAuth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { file } => write!(formatter, "Token({file:?})"),
            Self::TokenText(_) => formatter.write_str("Token(hidden)"),
            Self::AppRole { mount, .. } => write!(formatter, "AppRole({mount})"),
            Self::Kubernetes { mount, role, .. } => write!(formatter, "Kubernetes({role} at {mount})"),
            Self::Certificate { mount, cert, .. } => write!(formatter, "Certificate({} at {mount})", cert.display()),
        }
    }
}

/// Whether a text can be a path below `/v1/` (a mount, a name, a folder): nothing that a URL would understand as a way
/// out of its place.
pub(crate) fn is_path(text: &str) -> bool {
    !text.is_empty()
        && !text.chars().any(char::is_control)
        && text.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}
