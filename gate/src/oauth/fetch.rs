//! Gets the bytes of a key set, from a file or over HTTPS, and trusts neither to be short or quick.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, Method, StatusCode};

use super::jwk::Keys;
use super::{KeySet, OAuthError};
use crate::client::HttpsClient;
use crate::tls::anonymous_client;

/// Name resolution, handshake and answer together; callers with a token of a new key wait for it.
pub(super) const FETCH_DEADLINE: Duration = Duration::from_secs(5);

/// A key is below 1 KiB, with its certificate chain below 8 KiB.
const KEY_SET_BYTES_MAX: usize = 256 << 10;

/// Reads or fetches, and parses. The CA bundle is read each time, so that a renewed one counts.
pub(super) async fn fetch(source: &KeySet) -> Result<Keys, OAuthError> {
    match source {
        KeySet::File(path) => {
            let path = path.clone();
            on_a_thread(move || read(&path)).await
        }
        KeySet::Url { url, ca } => {
            let client = client(ca.clone()).await?;
            let headers = [
                (ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json")),
                (USER_AGENT, HeaderValue::from_static("consigner")),
            ];
            let answer = client.request(Method::GET, url, &headers, Bytes::new(), FETCH_DEADLINE).await;
            let answer = answer.map_err(|why| OAuthError::Fetch(Box::new(why)))?;
            if answer.status != StatusCode::OK {
                return Err(OAuthError::Status { status: answer.status.as_u16() });
            }
            Keys::parse(&answer.body)
        }
    }
}

/// The key set in a file.
pub(super) fn read(path: &Path) -> Result<Keys, OAuthError> {
    let unreadable = |source| OAuthError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(KEY_SET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > KEY_SET_BYTES_MAX {
        return Err(OAuthError::KeySet { reason: format!("longer than {KEY_SET_BYTES_MAX} bytes") });
    }
    Keys::parse(&bytes)
}

/// Whether a connection to the issuer's server could be made, as far as files say.
pub(super) fn check_roots(ca: Option<&Path>) -> Result<(), OAuthError> {
    anonymous_client(ca)?.map(|_config| ()).ok_or(OAuthError::NoSystemRoots)
}

async fn client(ca: Option<PathBuf>) -> Result<HttpsClient, OAuthError> {
    let config = on_a_thread(move || anonymous_client(ca.as_deref()).map_err(OAuthError::from)).await?;
    // A connection per fetch: the next one comes minutes later.
    Ok(HttpsClient::new(config.ok_or(OAuthError::NoSystemRoots)?, 0).answer_bytes_max(KEY_SET_BYTES_MAX))
}

/// Reading files blocks.
async fn on_a_thread<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, OAuthError> + Send + 'static,
) -> Result<T, OAuthError> {
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|broken| Err(OAuthError::Read { path: PathBuf::new(), source: io::Error::other(broken) }))
}
