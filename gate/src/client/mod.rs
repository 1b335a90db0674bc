//! A small HTTPS client for the command line, the bench and tests: HTTP/1.1 with a pool per server.
//!
//! In: method, URL, headers, body, deadline. Out: status, headers, body. Speaks plain HTTP for `http://` (metrics of a
//! node are plain). Deliberately absent: HTTP/2 (see [`crate::channel`]), proxies, cookies, compression, retries of
//! requests that may have been processed.

mod error;
mod pool;
mod url;

pub use error::ClientError;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, COOKIE, HOST, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use pool::{Pool, Sender};
use url::Target;

/// A redirect to a leader takes one hop, two during an election; more is a loop.
const REDIRECTS_MAX: usize = 5;

/// The longest answer that is read: a list of 100,000 keys with their history fits several times.
const RESPONSE_BYTES_MAX: usize = 256 << 20;

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status, of the last hop if redirects were followed.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// An HTTPS client with a pool of kept-alive connections. Clones share the pool.
#[derive(Clone)]
pub struct HttpsClient {
    pool: Arc<Pool>,
    follow_redirects: bool,
    answer_bytes_max: usize,
}

impl HttpsClient {
    /// A client that presents the certificate in `tls` and keeps up to `max_idle_per_host` idle connections per
    /// server. ALPN is set to `http/1.1` whatever `tls` says.
    pub fn new(tls: Arc<ClientConfig>, max_idle_per_host: usize) -> Self {
        let pool = Arc::new(Pool::new(tls, max_idle_per_host));
        Self { pool, follow_redirects: false, answer_bytes_max: RESPONSE_BYTES_MAX }
    }

    /// The longest body of an answer, in bytes (default: 256 MiB); a longer one is [`ClientError::TooLarge`].
    #[must_use]
    pub fn answer_bytes_max(mut self, bytes: usize) -> Self {
        self.answer_bytes_max = bytes;
        self
    }

    /// Whether to follow 307 and 308 with the same method and body (default: no).
    #[must_use]
    pub fn follow_redirects(mut self, follow: bool) -> Self {
        self.follow_redirects = follow;
        self
    }

    /// Sends a request and reads the whole answer within `deadline`, redirects included. A `Host` among `headers`
    /// replaces the one from the URL. A request that a kept-alive connection did not take is sent on a new one.
    ///
    /// # Errors
    /// See [`ClientError`]. A status of 4xx or 5xx is an answer, not an error.
    pub async fn request(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
        deadline: Duration,
    ) -> Result<Response, ClientError> {
        let call = async {
            let mut target = Target::parse(url)?;
            let mut headers: HeaderMap = headers.iter().cloned().collect();
            for _ in 0..=REDIRECTS_MAX {
                let response = self.send(&method, &target, &headers, body.clone()).await?;
                let Some(next) = self.redirect(&target, &response)? else { return Ok(response) };
                if next.authority != target.authority {
                    // Meant for the server they were given for.
                    for secret in [AUTHORIZATION, COOKIE, HOST] {
                        headers.remove(secret);
                    }
                }
                target = next;
            }
            Err(ClientError::Redirect { url: url.to_owned(), reason: format!("more than {REDIRECTS_MAX} hops") })
        };
        let late = |_elapsed| ClientError::Deadline { url: url.to_owned(), deadline };
        timeout_at(Instant::now() + deadline, call).await.map_err(late)?
    }

    fn redirect(&self, from: &Target, response: &Response) -> Result<Option<Target>, ClientError> {
        let is_redirect = matches!(response.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        if !self.follow_redirects || !is_redirect {
            return Ok(None);
        }
        let refuse = |reason: &str| ClientError::Redirect { url: from.to_string(), reason: reason.to_owned() };
        let location = response.headers.get(LOCATION).ok_or_else(|| refuse("no Location"))?;
        let next = from.join(location.to_str().map_err(|_| refuse("Location is not text"))?)?;
        if from.is_tls && !next.is_tls {
            return Err(refuse("from https to http"));
        }
        Ok(Some(next))
    }

    async fn send(
        &self,
        method: &Method,
        target: &Target,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response, ClientError> {
        let mut request = request(method, target, headers, body)?;
        // A kept-alive connection may have been closed by the server meanwhile; then the request comes back unsent.
        while let Some(mut sender) = self.pool.idle(target).await {
            match exchange(&mut sender, target, request, self.answer_bytes_max).await {
                Ok(response) => return Ok(self.keep(target, sender, response)),
                Err(Failure::NotTaken(returned, _)) => request = *returned,
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        let mut sender = self.pool.connect(target).await?;
        match exchange(&mut sender, target, request, self.answer_bytes_max).await {
            Ok(response) => Ok(self.keep(target, sender, response)),
            Err(Failure::NotTaken(_, error) | Failure::Final(error)) => Err(error),
        }
    }

    fn keep(&self, target: &Target, sender: Sender, response: Response) -> Response {
        self.pool.put_back(target, sender);
        response
    }
}

impl std::fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpsClient").field("follow_redirects", &self.follow_redirects).finish_non_exhaustive()
    }
}

enum Failure {
    /// Not a byte of the request was sent.
    NotTaken(Box<Request<Full<Bytes>>>, ClientError),
    Final(ClientError),
}

fn request(
    method: &Method,
    target: &Target,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, ClientError> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method.clone();
    *request.uri_mut() = target.path_and_query.clone().into();
    *request.headers_mut() = headers.clone();
    if !headers.contains_key(HOST) {
        let host = HeaderValue::from_str(target.authority.as_str())
            .map_err(|_| ClientError::Url { url: target.to_string(), reason: "not a valid Host header".to_owned() })?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(request)
}

async fn exchange(
    sender: &mut Sender,
    target: &Target,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<Response, Failure> {
    let response = sender.try_send_request(request).await.map_err(|mut error| {
        let message = error.take_message();
        let error = ClientError::from_hyper(target, error.into_error());
        match message {
            Some(request) => Failure::NotTaken(Box::new(request), error),
            None => Failure::Final(error),
        }
    })?;
    let (head, body) = response.into_parts();
    let body = read(target, body, limit).await.map_err(Failure::Final)?;
    Ok(Response { status: head.status, headers: head.headers, body })
}

async fn read(target: &Target, mut body: Incoming, limit: usize) -> Result<Bytes, ClientError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| ClientError::from_hyper(target, error))?.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(ClientError::TooLarge { url: target.to_string(), limit });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
