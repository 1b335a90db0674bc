//! One connection to Postgres: verified TLS, or in the clear if the operator said so in as many words.
//!
//! In: URL, password, files. Out: a client whose connection ends with it. Deliberately absent: TLS without a check of
//! the certificate or of its name. It looks safe and is not; who wants less says so by naming no TLS at all.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{ServerProof, Web3SignerDb, Web3SignerError};

/// For one address of the server; the deadline for everything together is the caller's.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What `pg_stat_activity` shows.
const APPLICATION: &str = "consigner history import";

/// A client and the task that moves its bytes.
pub(super) struct Session {
    pub(super) client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

pub(super) async fn connect(db: &Web3SignerDb) -> Result<Session, Web3SignerError> {
    let mut config = config(&db.url, &db.server)?;
    if let Some(password) = &db.password {
        config.password(password.as_bytes());
    }
    match &db.server {
        ServerProof::Tls { ca, identity } => {
            config.ssl_mode(SslMode::Require);
            let identity = identity.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
            let tls = MakeRustlsConnect::new(tls(ca, identity)?);
            let (client, connection) = config.connect(tls).await.map_err(Web3SignerError::Connect)?;
            Ok(driven(client, connection))
        }
        ServerProof::None => {
            config.ssl_mode(SslMode::Disable);
            let (client, connection) = config.connect(NoTls).await.map_err(Web3SignerError::Connect)?;
            Ok(driven(client, connection))
        }
    }
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

/// Understands the URL. What it says about TLS must not be weaker than what was asked for on the command line.
fn config(url: &str, server: &ServerProof) -> Result<Config, Web3SignerError> {
    let refuse = |why: &str| Err(Web3SignerError::Url(why.to_owned()));
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return refuse(
            "it must be postgres://USER@HOST:PORT/DATABASE (a JDBC URL without its \"jdbc:\", with the user)",
        );
    }
    let (url, sslmode) = without_sslmode(url);
    let weak = sslmode.as_deref().is_some_and(|mode| mode != "verify-full" && mode != "require");
    if weak && *server != ServerProof::None {
        return refuse("its sslmode asks for less than verify-full; leave it out");
    }
    // The parser's own error could repeat a part of the URL, in which somebody may have put a password.
    let Ok(mut config) = Config::from_str(&url) else {
        return refuse(
            "it is not understood as postgres://USER@HOST:PORT/DATABASE; of the parameters behind a \"?\", \
             certificates and passwords have flags of their own",
        );
    };
    if config.get_password().is_some() {
        return refuse(
            "it holds a password, which everybody on this machine can read in the list of processes: put it \
             into a file and change it",
        );
    }
    if config.get_user().is_none() || config.get_dbname().is_none() || config.get_hosts().is_empty() {
        return refuse("it must name user, host and database");
    }
    let local = config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
    if local && *server != ServerProof::None {
        return refuse("TLS cannot be spoken over a local socket; name a host");
    }
    config.application_name(APPLICATION).connect_timeout(CONNECT_TIMEOUT);
    Ok(config)
}

/// The URL without `sslmode`, of which the driver does not know the strict values.
fn without_sslmode(url: &str) -> (String, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (modes, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with("sslmode="));
    let mode = modes.last().and_then(|pair| pair.split_once('=')).map(|(_, mode)| mode.to_owned());
    let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    (url, mode)
}

/// rustls always compares the certificate with the host's name.
fn tls(ca: &Path, identity: Option<(&Path, &Path)>) -> Result<ClientConfig, Web3SignerError> {
    let bad = |path: &Path, problem: String| Web3SignerError::Tls { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| bad(ca, error.to_string()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| bad(ca, error.to_string()))?
        .with_root_certificates(roots);
    let Some((cert, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string()))?;
    builder.with_client_auth_cert(chain, private).map_err(|error| bad(cert, error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Web3SignerError> {
    let bad = |problem: String| Web3SignerError::Tls { path: path.to_owned(), problem };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| bad(error.to_string()))?;
    if found.is_empty() { Err(bad("no certificate in it".to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    fn strict() -> ServerProof {
        ServerProof::Tls { ca: "ca.pem".into(), identity: None }
    }

    #[test]
    fn a_url_names_user_host_and_database_and_asks_for_nothing_weak() {
        let good = "postgres://signer@db.example:5433/web3signer";
        for url in [good.to_owned(), format!("{good}?sslmode=verify-full"), format!("{good}?sslmode=require")] {
            let config = config(&url, &strict()).unwrap();
            assert_eq!((config.get_user(), config.get_dbname()), (Some("signer"), Some("web3signer")), "{url}");
        }
        for (url, named) in [
            ("jdbc:postgresql://db/web3signer", "JDBC"),
            ("postgres://signer:hunter2@db/web3signer", "password"),
            ("postgres://db/web3signer", "user, host and database"),
            ("postgres://signer@db/web3signer?sslmode=disable", "sslmode"),
            ("postgres://signer@db/web3signer?sslmode=prefer", "sslmode"),
            ("postgres://signer@db/web3signer?sslrootcert=/x", "flags of their own"),
            ("postgres://signer@%2Frun%2Fpostgresql/web3signer", "local socket"),
        ] {
            let Err(refused) = config(url, &strict()) else { panic!("{url}") };
            let text = refused.to_string();
            assert!(text.contains(named) && !text.contains("hunter2"), "{url}: {text}");
        }
        assert!(config("postgres://signer@%2Frun%2Fpostgresql/web3signer", &ServerProof::None).is_ok());
    }

    #[test]
    fn a_ca_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, "no certificate").unwrap();
        let refused = tls(&file, None).unwrap_err();
        assert!(refused.to_string().contains("ca.pem"), "{refused}");
        assert!(tls(&dir.path().join("absent"), None).is_err());
    }
}
