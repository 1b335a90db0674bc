//! Why a call to another node gave no answer.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a call gave no answer. Cheap to clone: all callers that waited for one connection get the same error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChannelError {
    /// The address or server name is not usable.
    #[error("{addr}: not a usable address or server name: {reason}")]
    Address {
        /// As given.
        addr: Arc<str>,
        /// What is wrong.
        reason: String,
    },
    /// Nobody listens there: the process is not running (or not yet).
    #[error("{addr}: connection refused")]
    ConnectRefused {
        /// Where to.
        addr: Arc<str>,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// No connection for another reason: name not found, no route, no answer in time, closed at once.
    #[error("{addr}: cannot connect")]
    Connect {
        /// Where to.
        addr: Arc<str>,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The TLS handshake failed: one side does not trust the other.
    #[error("{addr}: TLS handshake failed")]
    Tls {
        /// Where to.
        addr: Arc<str>,
        /// What TLS said.
        source: Arc<io::Error>,
    },
    /// No answer within the caller's deadline.
    #[error("{addr}: no answer within {deadline:?}")]
    Deadline {
        /// Where to.
        addr: Arc<str>,
        /// The caller's deadline.
        deadline: Duration,
        /// False if the request was never handed to a connection.
        sent: bool,
    },
    /// The connection ended before the answer did. The request may have been processed.
    #[error("{addr}: connection closed before the answer")]
    Closed {
        /// Where to.
        addr: Arc<str>,
        /// What HTTP/2 said.
        source: Arc<hyper::Error>,
    },
    /// The answer is longer than the caller accepts. The request was processed.
    #[error("{addr}: answer longer than {limit} bytes")]
    TooLarge {
        /// Where to.
        addr: Arc<str>,
        /// The caller's limit, in bytes.
        limit: usize,
    },
    /// The request could not be built, or its stream was reset. It may have been processed.
    #[error("{addr}: HTTP/2 error")]
    Http {
        /// Where to.
        addr: Arc<str>,
        /// What went wrong.
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl ChannelError {
    /// True if the request was certainly not processed, because it never left this node.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Address { .. } | Self::ConnectRefused { .. } | Self::Connect { .. } | Self::Tls { .. } => true,
            Self::Deadline { sent, .. } => !sent,
            Self::Closed { .. } | Self::TooLarge { .. } | Self::Http { .. } => false,
        }
    }
}
