//! What comes back to a hello: records, and the handshake messages in them.

use super::super::x509::Certificate;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Record type of alerts.
pub(super) const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;

// Handshake messages.
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;

/// The extension in which TLS 1.3 tells its version.
const SUPPORTED_VERSIONS: u16 = 43;

/// A server's first flight with its chain is a few KiB; more is something else.
const FLIGHT_BYTES_MAX: usize = 256 * 1024;

/// Of an answer to plain HTTP, the first line is enough.
pub(super) const BEGINNING_MAX: u64 = 1024;

/// What came back to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The server goes on.
    Hello {
        /// The version that it chose.
        version: u16,
        /// The suite that it chose.
        suite: u16,
        /// Whether it asks for a certificate, as far as that is in the clear (TLS 1.2).
        certificate_asked: bool,
        /// Its own certificate, as far as that is in the clear (TLS 1.2).
        certificate: Option<Box<Certificate>>,
    },
    /// An alert, or the end of the connection.
    Refused,
    /// No TLS, or nothing within the deadline.
    Other,
}

/// Reads until the server is done, breaks off, or is seen to speak TLS 1.3.
pub(super) async fn read_flight(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let mut messages = Vec::new();
    while messages.len() < FLIGHT_BYTES_MAX {
        let mut head = [0; 5];
        if stream.read_exact(&mut head).await.is_err() {
            return Answer::Refused;
        }
        let [kind, _, _, high, low] = head;
        if kind == ALERT {
            return Answer::Refused;
        }
        if kind != HANDSHAKE {
            return Answer::Other;
        }
        let mut content = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        if stream.read_exact(&mut content).await.is_err() {
            return Answer::Other;
        }
        messages.extend(content);
        if let Some(answer) = complete(&messages) {
            return answer;
        }
    }
    Answer::Other
}

/// The answer, once the flight is there.
fn complete(mut messages: &[u8]) -> Option<Answer> {
    let (mut chosen, mut certificate, mut certificate_asked) = (None, None, false);
    while let [kind, a, b, c, rest @ ..] = messages {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let content = rest.get(..length)?;
        messages = &rest[length..];
        match *kind {
            SERVER_HELLO => {
                let Some((version, suite)) = server_hello(content) else { return Some(Answer::Other) };
                chosen = Some((version, suite));
                if version > 0x0303 {
                    break;
                }
            }
            CERTIFICATE => certificate = first_certificate(content).map(Box::new),
            CERTIFICATE_REQUEST => certificate_asked = true,
            SERVER_HELLO_DONE => break,
            _ => {}
        }
        if messages.is_empty() {
            return None;
        }
    }
    let (version, suite) = chosen?;
    Some(Answer::Hello { version, suite, certificate_asked, certificate })
}

/// Version and suite.
fn server_hello(content: &[u8]) -> Option<(u16, u16)> {
    let number = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?));
    let legacy = number(content)?;
    let session = usize::from(*content.get(34)?);
    let rest = content.get(35 + session..)?;
    let suite = number(rest)?;
    let mut extensions = rest.get(5..).unwrap_or_default();
    while let (Some(kind), Some(length)) = (number(extensions), number(extensions.get(2..).unwrap_or_default())) {
        let value = extensions.get(4..4 + usize::from(length))?;
        if kind == SUPPORTED_VERSIONS {
            return Some((number(value)?, suite));
        }
        extensions = &extensions[4 + usize::from(length)..];
    }
    Some((legacy, suite))
}

fn first_certificate(content: &[u8]) -> Option<Certificate> {
    let [_, _, _, a, b, c, rest @ ..] = content else { return None };
    let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
    Certificate::parse(rest.get(..length)?)
}
