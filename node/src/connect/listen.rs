//! Where the sidecar listens: a loopback address or a Unix socket.
//!
//! In: the text of a flag. Out: a [`Listen`], and whether only processes of this machine reach it. Deliberately absent:
//! the socket itself.

use crate::config::values;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the sidecar listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `IP:PORT`; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket file, mode 0600.
    Unix(PathBuf),
}

impl Listen {
    /// Reads `IP:PORT`, `localhost:PORT` or `unix:PATH`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some(path) => (!path.is_empty()).then(|| Self::Unix(PathBuf::from(path))),
            None => values::listen(text).map(Self::Tcp),
        }
    }

    /// Whether only processes of this machine can connect.
    #[must_use]
    pub fn is_private(&self) -> bool {
        match self {
            Self::Tcp(addr) => is_loopback(addr),
            Self::Unix(_) => true,
        }
    }
}

/// Whether only processes of this machine reach the address, in whichever of its spellings.
#[must_use]
pub fn is_loopback(addr: &SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => write!(f, "http://{addr}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_loopback_and_socket_files_are_private() {
        let cases = [
            ("127.0.0.1:9900", true),
            ("127.8.9.10:0", true),
            ("localhost:9900", true),
            ("[::1]:9900", true),
            ("[::ffff:127.0.0.1]:9900", true),
            ("unix:/run/consigner.sock", true),
            ("0.0.0.0:9900", false),
            ("[::]:9900", false),
            ("10.0.0.1:9900", false),
            ("[::ffff:10.0.0.1]:9900", false),
        ];
        for (text, expected) in cases {
            assert_eq!(Listen::parse(text).unwrap().is_private(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "unix:", "9900", "127.0.0.1", "signer.example:9900", "http://127.0.0.1:9900"] {
            assert_eq!(Listen::parse(text), None, "{text:?}");
        }
    }
}
