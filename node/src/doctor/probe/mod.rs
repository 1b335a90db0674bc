//! Looks at a door from outside, as a stranger would: what it says to plain HTTP, to old versions and weak suites, and to
//! a handshake without a certificate.
//!
//! ```text
//! connect -> a ClientHello made by hand -> the records that come back -> an Answer
//! ```
//! In: an address. Out: [`Seen`]. A TLS library would not offer what must be refused, so the few messages are written
//! out here; in TLS 1.2 everything up to the client's certificate travels in the clear, so no key is needed. Deliberately
//! absent: judgement ([`judge`] alone), and TLS 1.3 beyond the choice of the version, which is encrypted.

pub mod hello;
pub mod judge;
mod records;
#[cfg(test)]
mod tests;

use hello::{Offer, client_hello};
pub use records::Answer;
use records::read_flight;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// For one look; a door answers in milliseconds, or waits for more of us.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a door that has our last word may stay silent before it counts as waiting for more.
const SILENCE: Duration = Duration::from_secs(2);

/// An empty certificate list in a handshake message of TLS 1.2 (RFC 5246, 7.4.6), in its record.
const NO_CERTIFICATE: &[u8] = &[0x16, 3, 3, 0, 7, 11, 0, 0, 3, 0, 0, 0];

/// What a stranger sees of a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The answer to a hello of TLS 1.3.
    pub tls13: Answer,
    /// The answer to a hello of TLS 1.2 with safe suites.
    pub tls12: Answer,
    /// The answer to a hello of TLS 1.1.
    pub tls11: Answer,
    /// The answer to a hello of TLS 1.0.
    pub tls10: Answer,
    /// The answer to a hello of TLS 1.2 with weak suites only.
    pub weak: Answer,
    /// Whether the door let go of a caller without a certificate; `None`: it was not to be seen (no TLS 1.2).
    pub certificate_required: Option<bool>,
    /// The first line that came back to plain HTTP, if that is an HTTP answer.
    pub plain_http: Option<String>,
}

/// Looks at one door; `host` goes into the hello if it is a name.
///
/// # Errors
/// Nothing listens there.
pub async fn look(address: &str, host: &str) -> std::io::Result<Seen> {
    connect(address).await?;
    let tls12 = ask(address, host, Offer::Tls12).await;
    let certificate_required = match &tls12 {
        Answer::Hello { certificate_asked: true, .. } => without_certificate(address, host).await,
        Answer::Hello { .. } => Some(false),
        Answer::Refused | Answer::Other => None,
    };
    Ok(Seen {
        tls13: ask(address, host, Offer::Tls13).await,
        tls11: ask(address, host, Offer::Tls11).await,
        tls10: ask(address, host, Offer::Tls10).await,
        weak: ask(address, host, Offer::Weak).await,
        tls12,
        certificate_required,
        plain_http: plain_http(address, host).await,
    })
}

async fn connect(address: &str) -> std::io::Result<TcpStream> {
    let late = |_elapsed| std::io::Error::from(std::io::ErrorKind::TimedOut);
    tokio::time::timeout(DEADLINE, TcpStream::connect(address)).await.map_err(late)?
}

async fn ask(address: &str, host: &str, offer: Offer) -> Answer {
    let asked = async {
        let mut stream = connect(address).await.ok()?;
        stream.write_all(&client_hello(offer, host)).await.ok()?;
        Some(read_flight(&mut stream).await)
    };
    tokio::time::timeout(DEADLINE, asked).await.ok().flatten().unwrap_or(Answer::Other)
}

/// Goes on after the server's flight with an empty certificate list: a door that requires one ends it here.
async fn without_certificate(address: &str, host: &str) -> Option<bool> {
    let asked = async {
        let mut stream = connect(address).await.ok()?;
        stream.write_all(&client_hello(Offer::Tls12, host)).await.ok()?;
        let Answer::Hello { .. } = read_flight(&mut stream).await else { return None };
        stream.write_all(NO_CERTIFICATE).await.ok()?;
        let mut first = [0];
        match tokio::time::timeout(SILENCE, stream.read(&mut first)).await {
            // An alert, or the end.
            Ok(Ok(0) | Err(_)) => Some(true),
            Ok(Ok(_)) => Some(first == [records::ALERT]),
            // It waits for our key: it would go on without a certificate.
            Err(_silent) => Some(false),
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.ok().flatten()
}

async fn plain_http(address: &str, host: &str) -> Option<String> {
    let asked = async {
        let mut stream = connect(address).await.ok()?;
        let request = format!("GET /upcheck HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut beginning = Vec::new();
        stream.take(records::BEGINNING_MAX).read_to_end(&mut beginning).await.ok()?;
        let text = String::from_utf8_lossy(&beginning).into_owned();
        let line = text.lines().next().unwrap_or_default();
        line.starts_with("HTTP/").then(|| line.to_owned())
    };
    tokio::time::timeout(DEADLINE, asked).await.ok().flatten()
}
