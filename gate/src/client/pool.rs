//! Kept-alive connections, by server.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::ClientError;
use super::url::Target;
use crate::dial;
use crate::tls::newest::ServerProof;

pub(super) type Sender = http1::SendRequest<Full<Bytes>>;

/// Scheme and authority.
type Server = (bool, String);

pub(super) struct Pool {
    tls: Arc<ClientConfig>,
    max_idle_per_host: usize,
    idle: Mutex<HashMap<Server, Vec<Sender>>>,
}

impl Pool {
    pub(super) fn new(tls: Arc<ClientConfig>, max_idle_per_host: usize) -> Self {
        Self { tls: dial::speaking(&tls, b"http/1.1"), max_idle_per_host, idle: Mutex::new(HashMap::new()) }
    }

    /// The most recently used idle connection that is still open.
    pub(super) async fn idle(&self, target: &Target) -> Option<Sender> {
        let server = server(target);
        loop {
            let mut sender = self.lock().get_mut(&server)?.pop()?;
            // Ready at once, or as soon as its task has seen the end of the last answer; an error means closed.
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    pub(super) fn put_back(&self, target: &Target, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.lock();
        let senders = idle.entry(server(target)).or_default();
        senders.retain(|sender| !sender.is_closed());
        if senders.len() < self.max_idle_per_host {
            senders.push(sender);
        }
    }

    pub(super) async fn connect(&self, target: &Target) -> Result<Sender, ClientError> {
        let unreachable = |source| ClientError::Connect { url: target.to_string(), source };
        let stream = dial::tcp(&target.host_port()).await.map_err(unreachable)?;
        if !target.is_tls {
            return begin(stream, target, None).await.map_err(|error| ClientError::from_hyper(target, error));
        }
        let name = ServerName::try_from(target.host().to_owned())
            .map_err(|why| ClientError::Url { url: target.to_string(), reason: why.to_string() })?;
        let secured = dial::tls(stream, name, self.tls.clone()).await;
        let (stream, proof) = secured.map_err(|source| tls_error(target, source))?;
        begin(stream, target, proof).await.map_err(|error| ClientError::from_hyper(target, error))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Server, Vec<Sender>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn server(target: &Target) -> Server {
    (target.is_tls, target.authority.as_str().to_ascii_lowercase())
}

async fn begin<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: I,
    target: &Target,
    proof: Option<ServerProof>,
) -> hyper::Result<Sender> {
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    // Ends when the connection does, or when its `Sender` is dropped: a call given up closes its connection.
    let to = target.host_port();
    tokio::spawn(async move { dial::while_trusted(&to, proof, connection).await });
    Ok(sender)
}

fn tls_error(target: &Target, source: io::Error) -> ClientError {
    let url = target.to_string();
    if dial::tls_error_in(&source).is_some() {
        return ClientError::Tls { url, source: source.into() };
    }
    ClientError::Connect { url, source }
}
