//! The PROXY protocol, version 2: a balancer's word on who is behind it.
//!
//! ```text
//! 12 bytes signature | 0x20 LOCAL or 0x21 PROXY | family | length, big endian | addresses, then extensions
//! ```
//!
//! Source: <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>, section 2.2. Strict: only TCP over IPv4 and
//! IPv6 names a client. Deliberately absent: version 1 (text, unbounded to parse), the extensions' contents.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::handshake::{Refused, RefusedAs};

/// The first byte of a header. No TLS handshake and no HTTP request begins with it.
pub(super) const FIRST_BYTE: u8 = b'\r';

/// A balancer sends its header with its first packet; the specification asks for at least 3 s, so that one packet may
/// be lost.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(3);

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, command, family, length.
const HEAD_BYTES: usize = 16;

/// Of what follows the head. Addresses take 36 bytes; extensions (host name, TLS details, a cloud's endpoint id) stay
/// below 500 in practice.
const BODY_BYTES_MAX: usize = 2048;

/// For whom a balancer connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// For itself: a health check.
    Local,
    /// For this client.
    Client(SocketAddr),
}

/// Why a header is not believed.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
enum HeaderError {
    #[error("no PROXY header (version 2), which is required of a balancer")]
    Missing,
    #[error("PROXY header of an unknown version or command")]
    Command,
    #[error("PROXY header without a TCP client over IPv4 or IPv6")]
    Family,
    #[error("PROXY header longer than {BODY_BYTES_MAX} bytes")]
    TooLong,
    #[error("PROXY header too short for its addresses")]
    TooShort,
    #[error("PROXY header with a malformed extension")]
    Extension,
    #[error("PROXY header with an address that no client has")]
    Address,
}

/// Takes the header, and not a byte more, off a connection from a balancer. The address of the client; the balancer's
/// own if it connects for itself.
pub(super) async fn client_of(
    stream: &mut TcpStream,
    balancer: SocketAddr,
    timeout: Duration,
) -> Result<SocketAddr, Refused> {
    let origin = tokio::time::timeout(timeout, read(stream)).await;
    match origin.unwrap_or_else(|_| Err(Refused::because(format!("no whole PROXY header within {timeout:?}"))))? {
        Origin::Local => Ok(balancer),
        Origin::Client(client) => Ok(client),
    }
}

async fn read(stream: &mut TcpStream) -> Result<Origin, Refused> {
    let mut head = [0; HEAD_BYTES];
    if matches!(stream.read(&mut head[..1]).await, Ok(0) | Err(_)) {
        return Err(Refused { kind: RefusedAs::Probe, ..Refused::because("closed before the PROXY header") });
    }
    // Whatever else it says will not be longer than a header: nothing to wait for.
    if head[0] != FIRST_BYTE {
        return Err(refuse(HeaderError::Missing));
    }
    stream.read_exact(&mut head[1..]).await.map_err(broken)?;
    let length = body_length(&head).map_err(refuse)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(broken)?;
    origin(&head, &body).map_err(refuse)
}

fn body_length(head: &[u8; HEAD_BYTES]) -> Result<usize, HeaderError> {
    if &head[..SIGNATURE.len()] != SIGNATURE {
        return Err(HeaderError::Missing);
    }
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > BODY_BYTES_MAX { Err(HeaderError::TooLong) } else { Ok(length) }
}

fn origin(head: &[u8; HEAD_BYTES], body: &[u8]) -> Result<Origin, HeaderError> {
    match head[12] {
        // "the receiver must [...] discard the protocol block" of a LOCAL connection.
        0x20 => return Ok(Origin::Local),
        0x21 => {}
        _other => return Err(HeaderError::Command),
    }
    let (client, extensions) = match head[13] {
        // TCP over IPv4: source and destination, 4 bytes each, then their ports.
        0x11 => {
            let (addresses, rest) = body.split_first_chunk::<12>().ok_or(HeaderError::TooShort)?;
            let [a, b, c, d, _, _, _, _, port @ .., _, _] = *addresses;
            (SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes(port))), rest)
        }
        // TCP over IPv6: 16 bytes each.
        0x21 => {
            let (addresses, rest) = body.split_first_chunk::<36>().ok_or(HeaderError::TooShort)?;
            let (source, others) = addresses.split_first_chunk::<16>().ok_or(HeaderError::TooShort)?;
            (SocketAddr::from((Ipv6Addr::from(*source), u16::from_be_bytes([others[16], others[17]]))), rest)
        }
        _other => return Err(HeaderError::Family),
    };
    check_extensions(extensions)?;
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    if !may_be_a_client(client.ip()) {
        return Err(HeaderError::Address);
    }
    Ok(Origin::Client(client))
}

/// Type, length in two bytes, value; to the last byte.
fn check_extensions(mut rest: &[u8]) -> Result<(), HeaderError> {
    while !rest.is_empty() {
        let ([_kind, length @ ..], value) = rest.split_first_chunk::<3>().ok_or(HeaderError::Extension)?;
        rest = value.get(usize::from(u16::from_be_bytes(*length))..).ok_or(HeaderError::Extension)?;
    }
    Ok(())
}

fn may_be_a_client(addr: IpAddr) -> bool {
    let is_broadcast = matches!(addr, IpAddr::V4(addr) if addr.is_broadcast());
    !addr.is_unspecified() && !addr.is_multicast() && !is_broadcast
}

fn refuse(why: HeaderError) -> Refused {
    Refused::because(why.to_string())
}

fn broken(error: io::Error) -> Refused {
    Refused::because(format!("PROXY header broke off: {error}"))
}

/// Whether a header with these bytes would be believed.
#[cfg(feature = "fuzzing")]
pub(crate) fn is_believed(bytes: &[u8]) -> bool {
    let Some((head, body)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return false };
    body_length(head).is_ok_and(|length| body.get(..length).is_some_and(|body| origin(head, body).is_ok()))
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
