//! Why a request gave no answer.

use std::io;
use std::time::Duration;

use super::url::Target;
use crate::dial;

/// Why a request gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an absolute `http://` or `https://` URL.
    #[error("{url}: not a usable URL: {reason}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// No TCP connection.
    #[error("{url}: cannot connect")]
    Connect {
        /// Where to.
        url: String,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS handshake failed: one side does not trust the other.
    #[error("{url}: TLS handshake failed")]
    Tls {
        /// Where to.
        url: String,
        /// What TLS said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No whole answer in time. The request may have been processed.
    #[error("{url}: no answer within {deadline:?}")]
    Deadline {
        /// Where to.
        url: String,
        /// The caller's deadline.
        deadline: Duration,
    },
    /// The connection failed under the request, which may have been processed.
    #[error("{url}: connection failed before the answer")]
    Http {
        /// Where to.
        url: String,
        /// What HTTP said.
        source: hyper::Error,
    },
    /// The answer is too long.
    #[error("{url}: answer longer than {limit} bytes")]
    TooLarge {
        /// Where to.
        url: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A redirect that cannot or must not be followed.
    #[error("{url}: redirect not followed: {reason}")]
    Redirect {
        /// Who redirected.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

impl ClientError {
    /// A server that speaks TLS 1.3 refuses a client certificate only after the client's handshake is over, so the
    /// refusal arrives in the place of an answer.
    pub(super) fn from_hyper(target: &Target, error: hyper::Error) -> Self {
        let url = target.to_string();
        match dial::tls_error_in(&error) {
            Some(_) => Self::Tls { url, source: error.into() },
            None => Self::Http { url, source: error },
        }
    }
}
