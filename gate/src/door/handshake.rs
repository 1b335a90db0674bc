//! One TLS handshake: a proven peer, or the reason why not.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::proxy;
use crate::peer::{self, Peer, PeerCertificate};
use crate::tls::verifier::noting_the_leaf;
use crate::tls::{ClientAuth, ReloadableTls};

/// After a refusal the caller's bytes are read (and thrown away) for this long: closing a socket with unread bytes
/// sends a reset, which on some systems and on lossy links destroys the alert that tells the caller why (RFC 9112,
/// 9.6).
const LINGER: Duration = Duration::from_millis(500);

/// At most so many bytes while lingering.
const LINGER_BYTES_MAX: u64 = 64 << 10;

/// Why a caller did not get in.
#[derive(Debug)]
pub(super) struct Refused {
    /// For the log line.
    pub(super) reason: String,
    /// Subject and fingerprint of the certificate that the caller presented, if it did.
    pub(super) certificate: Option<String>,
    /// What to do about it.
    pub(super) kind: RefusedAs,
}

/// How a refusal is counted and logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusedAs {
    /// The caller went away before it sent a byte: a TCP health check, not an attempt to get in.
    Probe,
    /// There was no room for it, whoever it was.
    Crowded,
    /// Nobody is let in from where it is.
    Address,
    /// It did not prove that it may come in.
    Unproved,
}

impl Refused {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), certificate: None, kind: RefusedAs::Unproved }
    }

    pub(super) fn crowded(reason: &str) -> Self {
        Self { kind: RefusedAs::Crowded, ..Self::because(reason) }
    }
}

/// Waits for the caller's first byte, which stays unread, for as long as `timeout`.
pub(super) async fn first_byte(stream: &TcpStream, timeout: Duration) -> Result<(), Refused> {
    let mut first = [0];
    match tokio::time::timeout(timeout, stream.peek(&mut first)).await {
        Err(_elapsed) => Err(Refused::because(format!("no byte within {timeout:?}"))),
        // Closed, or reset as load balancers end their TCP health checks.
        Ok(Ok(0) | Err(_)) => {
            Err(Refused { kind: RefusedAs::Probe, ..Refused::because("closed before the first byte") })
        }
        Ok(Ok(_)) if first == [proxy::FIRST_BYTE] => {
            Err(Refused::because("a PROXY header where none belongs: not from a configured balancer, or a second one"))
        }
        Ok(Ok(_)) => Ok(()),
    }
}

/// Shakes hands until `until`; `deadline` is what that was, for the reason.
pub(super) async fn shake_hands(
    stream: TcpStream,
    addr: SocketAddr,
    tls: &ReloadableTls,
    until: Instant,
    deadline: Duration,
) -> Result<(TlsStream<TcpStream>, Peer), Refused> {
    let accept = TlsAcceptor::from(tls.current()).accept(stream).into_fallible();
    let (result, leaf) = noting_the_leaf(timeout_at(until, accept)).await;
    let certificate = leaf.as_ref().map(peer::describe);
    match result {
        Err(_elapsed) => {
            Err(Refused { certificate, ..Refused::because(format!("handshake not finished within {deadline:?}")) })
        }
        Ok(Err((error, stream))) => {
            linger(stream).await;
            Err(Refused { certificate, ..Refused::because(explain(&error)) })
        }
        Ok(Ok(stream)) => match who(&stream, addr, tls) {
            Ok(peer) => Ok((stream, peer)),
            Err(reason) => Err(Refused { certificate, ..Refused::because(reason) }),
        },
    }
}

fn who(stream: &TlsStream<TcpStream>, addr: SocketAddr, tls: &ReloadableTls) -> Result<Peer, String> {
    let chain: &[CertificateDer<'static>] = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let leaf = match (chain.first(), tls.client_auth()) {
        (Some(leaf), _) => leaf,
        (None, ClientAuth::Optional) => return Ok(Peer { addr, certificate: None }),
        // Cannot be absent, since the verifier demands one; but a door must not open on "cannot".
        (None, ClientAuth::Required) => return Err("no client certificate".to_owned()),
    };
    let mut certificate = PeerCertificate::parse(leaf).map_err(|why| why.to_string())?;
    certificate.from_admin_ca = tls.is_of_admin_ca(chain);
    Ok(Peer { addr, certificate: Some(Arc::new(certificate)) })
}

fn explain(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::NoCertificatesPresented) => "no client certificate".to_owned(),
        Some(rustls::Error::InvalidMessage(_)) => format!("not a TLS handshake (plain HTTP on a TLS port?): {error}"),
        Some(tls) => tls.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "closed during the handshake".to_owned(),
        None => error.to_string(),
    }
}

async fn linger(mut stream: TcpStream) {
    let _farewell = timeout(LINGER, async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    })
    .await;
}
