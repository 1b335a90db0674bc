//! One connection to Postgres: verified TLS, or in the clear if the operator said so in as many words.
//!
//! In: a URL, a password, files. Out: a client whose connection ends with it. Deliberately absent: TLS without a check
//! of the certificate or of its name. It looks safe and is not; who wants less says so by naming no TLS at all. Files
//! are read at every call, so that a certificate that was renewed on the disk is used by the next connection.

mod tls;
mod url;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::{Client, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

/// For one address of the server; the deadline for everything together is the caller's.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that vanished without a word is noticed after about a minute, not after the system's two hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// How the server proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerProof {
    /// TLS: a certificate of one of these CAs for the host of the URL (what libpq calls `verify-full`).
    Tls {
        /// CA certificates, PEM.
        ca: PathBuf,
        /// This side's certificate chain and key, PEM, if the server asks for one.
        identity: Option<(PathBuf, PathBuf)>,
    },
    /// Not at all, and in the clear: who can reach the network between reads and changes what is exchanged.
    None,
}

/// Where to connect to, and as whom.
pub(crate) struct Target<'a> {
    /// `postgres://USER@HOST:PORT/DATABASE`, without a password.
    pub(crate) url: &'a str,
    pub(crate) password: Option<&'a Zeroizing<String>>,
    pub(crate) server: &'a ServerProof,
    pub(crate) channel_binding: ChannelBinding,
    /// What `pg_stat_activity` shows.
    pub(crate) application: &'a str,
}

/// Why there is no connection.
pub(crate) enum ConnectFault {
    /// The URL is not one of a Postgres database; why.
    Url(String),
    /// A CA, certificate or key cannot be used.
    File { path: PathBuf, problem: String },
    /// The server is not there, is not the right one, or does not let us in.
    Connect(tokio_postgres::Error),
}

/// A client and the task that moves its bytes.
pub(crate) struct Session {
    pub(crate) client: Client,
    driver: JoinHandle<()>,
}

impl Session {
    /// Ends the connection at once; the server rolls back what was not committed. Later calls fail as closed.
    pub(crate) fn close(&self) {
        self.driver.abort();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Whether a URL is one that [`connect`] can use; nothing outside is touched.
pub(crate) fn check_url(url: &str, server: &ServerProof) -> Result<(), ConnectFault> {
    url::config(url, server).map(drop)
}

pub(crate) async fn connect(target: &Target<'_>) -> Result<Session, ConnectFault> {
    let mut config = url::config(target.url, target.server)?;
    config.application_name(target.application).connect_timeout(CONNECT_TIMEOUT);
    config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL);
    config.keepalives_retries(KEEPALIVE_RETRIES);
    if let Some(password) = target.password {
        config.password(password.as_bytes());
    }
    match target.server {
        ServerProof::Tls { ca, identity } => {
            config.ssl_mode(SslMode::Require).channel_binding(target.channel_binding);
            let tls = MakeRustlsConnect::new(tls_config(ca, identity.as_ref()).await?);
            let (client, connection) = config.connect(tls).await.map_err(ConnectFault::Connect)?;
            Ok(driven(client, connection))
        }
        ServerProof::None => {
            // Without TLS there is no channel to bind to.
            config.ssl_mode(SslMode::Disable).channel_binding(ChannelBinding::Disable);
            let (client, connection) = config.connect(NoTls).await.map_err(ConnectFault::Connect)?;
            Ok(driven(client, connection))
        }
    }
}

/// Files may lie where reading them takes long, and the threads of the runtime sign.
async fn tls_config(ca: &Path, identity: Option<&(PathBuf, PathBuf)>) -> Result<ClientConfig, ConnectFault> {
    let (asked, identity) = (ca.to_owned(), identity.cloned());
    let read = tokio::task::spawn_blocking(move || {
        let identity = identity.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
        tls::config(&asked, identity)
    });
    let failed = |_| ConnectFault::File { path: ca.to_owned(), problem: "reading it failed".to_owned() };
    read.await.map_err(failed)?
}

fn driven<S, T>(client: Client, connection: Connection<S, T>) -> Session
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Its error reaches the question that was asked; the future holds nothing else to tell.
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to Postgres ended");
        }
    });
    Session { client, driver }
}
