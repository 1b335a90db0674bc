//! TLS configurations from files, and their renewal while connections stand.
//!
//! ```text
//! files -> settings -> one generation (identity, CAs, revocation lists, known clients) -> doors, outgoing connections
//!   ^------ watch: polled, SIGHUP, /reload ------'   all of it or nothing       \-> live connections verified again
//! ```
//!
//! In: paths. Out: rustls configurations with the aws-lc-rs provider passed explicitly, so that no process-wide
//! default is needed. TLS 1.2 stays on beside 1.3 because Teku pins `TLSv1.2` and Nimbus offers nothing newer.
//!
//! Deliberately absent: **session resumption**, on both sides. rustls copies the client chain of the first handshake
//! into a resumed session without verifying it again, so a resumed session would outlive a certificate check.

mod config;
pub(crate) mod crl;
mod error;
mod expiry;
pub(crate) mod known_clients;
pub(crate) mod newest;
mod outgoing;
pub(crate) mod pem;
pub(crate) mod pkcs12;
mod protocol;
mod reload;
mod settings;
pub(crate) mod stamps;
mod trust;
pub(crate) mod verifier;
mod watch;

pub(crate) use config::anonymous_client;
pub use config::{client_config, server_config};
pub use error::TlsError;
pub use expiry::{Expiry, What};
pub use outgoing::ReloadableClientTls;
pub use protocol::{CipherSuites, ProtocolError, TlsVersion, TlsVersions};
pub use reload::ReloadableTls;
/// So that other crates can hold a configuration without naming rustls.
pub use rustls::{ClientConfig, ServerConfig};
pub use settings::{ClientTrust, DoorTls, OutgoingTls, ServerIdentity, StaleCrl};
pub use watch::{OnTlsReload, TLS_POLL_INTERVAL, TlsHandle, TlsReload, TlsWatcher};

use std::path::PathBuf;

/// ALPN for doors that speak to validator clients and operators: HTTP/2 or HTTP/1.1.
pub const ALPN_API: &[&[u8]] = &[b"h2", b"http/1.1"];

/// ALPN between nodes: HTTP/2 only.
pub const ALPN_PEER: &[&[u8]] = &[b"h2"];

/// The files behind a listening TLS socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Certificate chain, leaf first, PEM.
    pub cert: PathBuf,
    /// Private key of the leaf, PEM (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key: PathBuf,
    /// CA certificates that may issue client certificates, PEM. Only these: no system store.
    pub client_ca: PathBuf,
}

/// Whether a door insists on a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Without a valid one the handshake fails. Every door but one kind.
    Required,
    /// A client may show none and is then nobody until it proves itself otherwise (a token); one that is shown must be
    /// valid. For a listener of the key manager's own only.
    Optional,
}

/// The files behind an outgoing TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// Certificate chain, leaf first, PEM.
    pub cert: PathBuf,
    /// Private key of the leaf, PEM (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key: PathBuf,
    /// CA certificates that may issue server certificates, PEM. Only these: no system store.
    pub ca: PathBuf,
}
