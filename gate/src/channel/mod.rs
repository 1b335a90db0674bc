//! The channel to one other node: HTTP/2 over mutual TLS, one connection shared by all calls.
//!
//! In: path, headers, body, deadline, the longest acceptable answer. Out: status, headers and body, or a
//! [`ChannelError`] that says whether the request can have been processed. Connects at the first call and again after
//! a failure.
//! Deliberately absent: what the bodies mean, retries of calls that may have been processed (the caller knows what
//! may be repeated), the choice of a node.

mod connect;
mod error;
mod link;

pub use error::ChannelError;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::{Instant, timeout_at};

use crate::dial;
use crate::peer::PeerCertificate;
use connect::Target;
use link::{Conn, Link};

/// A connection on which a call ran into its deadline is given up only if it has been silent for at least this long:
/// calls with deadlines of a few milliseconds must not cost a TLS handshake each on a busy machine.
const SILENCE_MIN: Duration = Duration::from_millis(200);

/// A client for one other node. Clones share the connection.
#[derive(Clone)]
pub struct PeerChannel {
    link: Arc<Link>,
    authority: Authority,
}

impl PeerChannel {
    /// A channel to `addr` (`host:port`, resolved at each connect) that accepts only a server whose certificate is
    /// valid for `server_name`. Does not connect yet. ALPN is set to `h2` whatever `tls` says.
    ///
    /// # Errors
    /// [`ChannelError::Address`] if either is malformed.
    pub fn new(addr: String, server_name: String, tls: Arc<ClientConfig>) -> Result<Self, ChannelError> {
        let addr: Arc<str> = addr.into();
        let unusable = |reason: String| ChannelError::Address { addr: addr.clone(), reason };
        let authority: Authority = addr.parse().map_err(|why: http::uri::InvalidUri| unusable(why.to_string()))?;
        if authority.port_u16().is_none() {
            return Err(unusable("no port".to_owned()));
        }
        let server_name = ServerName::try_from(server_name).map_err(|why| unusable(why.to_string()))?;
        let target = Target { addr, server_name, tls: dial::speaking(&tls, b"h2") };
        Ok(Self { link: Link::new(target), authority })
    }

    /// Where this channel leads, `host:port`.
    pub fn addr(&self) -> &str {
        self.link.addr()
    }

    /// Whether a connection stands that nobody has seen end. No promise that the next call succeeds.
    pub fn is_connected(&self) -> bool {
        self.link.is_up()
    }

    /// Sends `POST path` and returns status and body of the answer, whatever the status.
    ///
    /// Dropping the future resets just this request. Repeats the request by itself only if the connection did not
    /// take it.
    ///
    /// # Errors
    /// See [`ChannelError`]; [`ChannelError::is_unreachable`] says whether the request was certainly not processed.
    pub async fn call(
        &self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
        deadline: Duration,
        max_response_bytes: usize,
    ) -> Result<(StatusCode, Bytes), ChannelError> {
        let (answer, _server) = self.call_whole(path, headers, body, deadline, max_response_bytes).await?;
        Ok((answer.status(), answer.into_body()))
    }

    /// As [`PeerChannel::call`]; returns the headers of the answer too, and the certificate of the server that gave it:
    /// `None` if its names are malformed or ambiguous.
    ///
    /// # Errors
    /// As [`PeerChannel::call`].
    pub async fn call_whole(
        &self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
        deadline: Duration,
        max_response_bytes: usize,
    ) -> Result<(Response<Bytes>, Option<Arc<PeerCertificate>>), ChannelError> {
        let until = Instant::now() + deadline;
        let late = |sent| ChannelError::Deadline { addr: self.link.addr().clone(), deadline, sent };
        let mut request = Some(self.request(path, headers, body)?);
        loop {
            let conn = self.link.obtain(until, deadline).await?;
            let Some(taken) = request.take() else { return Err(late(false)) };
            conn.asked(Instant::now());
            match timeout_at(until, self.exchange(&conn, taken, max_response_bytes)).await {
                Ok(Ok(answer)) => return Ok((answer, conn.server.clone())),
                Ok(Err(Failure::NotTaken(returned))) => {
                    self.link.retire(&conn);
                    request = Some(*returned);
                }
                Ok(Err(Failure::Final(error))) => return Err(error),
                Err(_elapsed) => {
                    if conn.silence(Instant::now()) >= SILENCE_MIN {
                        self.link.retire(&conn);
                    }
                    return Err(late(true));
                }
            }
            if Instant::now() >= until {
                return Err(late(false));
            }
        }
    }

    fn request(
        &self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ChannelError> {
        let uri = Uri::builder().scheme(Scheme::HTTPS).authority(self.authority.clone()).path_and_query(path).build();
        let uri = uri.map_err(|why| self.http(why))?;
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri);
        request.headers_mut().extend(headers.iter().cloned());
        Ok(request)
    }

    async fn exchange(
        &self,
        conn: &Conn,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<Response<Bytes>, Failure> {
        let sent = conn.sender.clone().try_send_request(request).await;
        let response = sent.map_err(|mut error| match error.take_message() {
            Some(request) => Failure::NotTaken(Box::new(request)),
            None => Failure::Final(self.broken(conn, error.into_error())),
        })?;
        conn.answered();
        let (head, body) = response.into_parts();
        let body = self.read(conn, body, limit).await.map_err(Failure::Final)?;
        Ok(Response::from_parts(head, body))
    }

    async fn read(&self, conn: &Conn, mut body: Incoming, limit: usize) -> Result<Bytes, ChannelError> {
        let too_large = || ChannelError::TooLarge { addr: self.link.addr().clone(), limit };
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| self.broken(conn, error))?.into_data() else { continue };
            conn.answered();
            if first.len() + rest.len() + data.len() > limit {
                return Err(too_large());
            }
            // Most answers are one frame, which is handed on without a copy.
            if first.is_empty() {
                first = data;
            } else {
                rest.extend_from_slice(&data);
            }
        }
        if rest.is_empty() {
            return Ok(first);
        }
        let mut whole = BytesMut::with_capacity(first.len() + rest.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&rest);
        Ok(whole.freeze())
    }

    fn broken(&self, conn: &Conn, error: hyper::Error) -> ChannelError {
        // A stream that was reset leaves the connection usable; anything else ended it.
        if !conn.sender.is_closed() && !is_io(&error) {
            return self.http(error);
        }
        self.link.retire(conn);
        ChannelError::Closed { addr: self.link.addr().clone(), source: Arc::new(error) }
    }

    fn http(&self, source: impl Error + Send + Sync + 'static) -> ChannelError {
        ChannelError::Http { addr: self.link.addr().clone(), source: Arc::new(source) }
    }
}

impl std::fmt::Debug for PeerChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerChannel").field("addr", &self.addr()).field("connected", &self.is_connected()).finish()
    }
}

enum Failure {
    /// The connection ended before it took the request.
    NotTaken(Box<Request<Full<Bytes>>>),
    Final(ChannelError),
}

fn is_io(error: &hyper::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.is::<std::io::Error>() {
            return true;
        }
        next = cause.source();
    }
    error.is_closed() || error.is_canceled() || error.is_incomplete_message()
}
