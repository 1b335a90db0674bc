//! `consigner-gate`: lets in who may come in, on every door.
//!
//! Every listening and every outgoing socket of the program, and its TLS, live here; no other crate names
//! tokio-rustls. In flow: files with certificates, addresses, a `tower` service. Out flow: requests that carry an
//! authenticated [`Peer`] in their extensions, answers of other nodes, one WARN line for each caller turned away.
//!
//! | module | what it owns |
//! |---|---|
//! | [`tls`] | certificates and keys from PEM files, TLS configurations without session resumption, revocation, hot reload |
//! | [`peer`] | who is at the other end, as the TLS handshake proved it |
//! | [`door`] | the accept loop: addresses, PROXY headers, handshake deadline, caps, idle and slow connections, shutdown |
//! | [`channel`] | one HTTP/2 connection to one other node |
//! | [`client`] | an HTTPS client for the command line, the bench and tests |
//! | [`oauth`] | access tokens (JWT) of an issuer, verified |
//! | [`host`] | the Host header allowlist, as a pure function |
//!
//! Deliberately absent: what a request means, HTTP error answers, permissions. Those belong to `rules` and `api`.

mod causes;
pub mod channel;
pub mod client;
mod dial;
pub mod door;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
pub mod oauth;
pub mod peer;
pub mod tls;

pub use causes::with_causes;
pub use channel::{ChannelError, PeerChannel};
pub use client::{ClientError, HttpsClient, Response};
pub use door::{
    AddressRules, Admit, Balancers, Door, DoorConfig, DoorCounters, DoorError, DoorLimits, IpAllowlist,
    IpAllowlistError, LogBudget, OnRefusal, Refusal, RefusalKind,
};
pub use host::{HostAllowlist, HostAllowlistError};
pub use peer::{Peer, PeerCertificate};
pub use tls::{ClientTls, ReloadableClientTls, ReloadableTls, ServerTls, TlsError, TlsReload, TlsWatcher};
