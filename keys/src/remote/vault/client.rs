//! The HTTP client of a login: whom it trusts, what it presents.
//!
//! In: [`VaultConfig`]. Out: a client without a token. vaultrs would trust the system's CAs beside the configured ones
//! and follow redirects anywhere, so the HTTP client inside is replaced by ours. Deliberately absent: deadlines of
//! calls, which are the guard's.

use super::super::config::{self, ConfigError};
use super::{Pins, VaultAuth, VaultConfig};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, Url};
use std::path::Path;
use std::time::Duration;
use vaultrs::client::{VaultClient, VaultClientSettingsBuilder};
use zeroize::Zeroizing;

/// Of an attempt's five seconds, so that an unreachable server is told from a slow one.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// A standby server may send us to the active one, once, and that one may be renamed.
const REDIRECTS_MAX: usize = 2;

/// Checks what can be checked without a call: the address, the namespace, the CA file.
pub(super) fn check(config: &VaultConfig, pins: Option<&Pins>) -> Result<(), ConfigError> {
    let wrong = |what, problem: &str| Err(ConfigError::Value { what, problem: problem.to_owned() });
    let Ok(url) = Url::parse(&config.address) else { return wrong("Vault address", "not a URL") };
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return wrong("Vault address", "neither https://host:port nor http://host:port");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
        return wrong("Vault address", "more than scheme, host and port");
    }
    if config.namespace.as_ref().is_some_and(|namespace| !namespace.bytes().all(|byte| byte.is_ascii_graphic())) {
        return wrong("Vault namespace", "not printable ASCII");
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        tracing::warn!(address = %url, "tokens and secrets travel to this Vault server in clear: use https");
    }
    // Everything that a login will need but the credentials, which may appear later.
    http_client(config, pins, None).map(drop)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A client without a token, with the client certificate if that is the way to log in.
pub(super) fn build(config: &VaultConfig, pins: Option<&Pins>) -> Result<VaultClient, ConfigError> {
    let wrong = |problem: String| ConfigError::Value { what: "Vault client", problem };
    let identity = match &config.auth {
        VaultAuth::Certificate { cert, key, .. } => Some(identity(cert, key)?),
        VaultAuth::Token { .. }
        | VaultAuth::TokenText(_)
        | VaultAuth::AppRole { .. }
        | VaultAuth::Kubernetes { .. } => None,
    };
    let http = http_client(config, pins, identity)?;
    let mut settings = VaultClientSettingsBuilder::default();
    // Nothing is left to vaultrs' own reading of the environment.
    settings.address(&config.address).token("").ca_certs(Vec::new()).identity(None).verify(true);
    if let Some(namespace) = &config.namespace {
        settings.set_namespace(namespace.clone());
    }
    let settings = settings.build().map_err(|error| wrong(error.to_string()))?;
    let mut client = VaultClient::new(settings).map_err(|error| wrong(error.to_string()))?;
    client.http.http = http;
    Ok(client)
}

fn http_client(
    config: &VaultConfig,
    pins: Option<&Pins>,
    identity: Option<Identity>,
) -> Result<reqwest::Client, ConfigError> {
    let secure = config.address.starts_with("https:");
    let redirects = Policy::custom(move |attempt| {
        // As Vault's own client: never from https to http.
        if attempt.previous().len() > REDIRECTS_MAX || (secure && attempt.url().scheme() != "https") {
            attempt.stop()
        } else {
            attempt.follow()
        }
    });
    let mut builder =
        reqwest::Client::builder().tls_backend_rustls().connect_timeout(CONNECT_DEADLINE).redirect(redirects);
    if let Some(pins) = pins {
        builder = builder.tls_backend_preconfigured(pins.tls()?);
    } else if let Some(path) = &config.ca {
        builder = builder.tls_certs_only(authorities(path)?);
    } else if !secure {
        // Without TLS no CA is needed, and a machine without any would refuse to build the client.
        builder = builder.tls_certs_only([]);
    }
    if let Some(identity) = identity {
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| ConfigError::Value { what: "Vault client", problem: error.to_string() })
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, ConfigError> {
    let what = "CA file of the Vault server";
    let content = config::bytes(what, path)?;
    let problem = "no PEM certificate in it";
    let failed = || ConfigError::Content { what, path: path.to_path_buf(), problem };
    let certificates = Certificate::from_pem_bundle(&content).map_err(|_| failed())?;
    if certificates.is_empty() { Err(failed()) } else { Ok(certificates) }
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, ConfigError> {
    let chain = config::bytes("client certificate for Vault", cert)?;
    let private = config::bytes("private key for Vault", key)?;
    let mut pem = Zeroizing::new(Vec::with_capacity(chain.len() + 1 + private.len()));
    pem.extend_from_slice(&chain);
    pem.push(b'\n');
    pem.extend_from_slice(&private);
    let problem = "certificate and key are not a PEM pair";
    Identity::from_pem(&pem).map_err(|_| ConfigError::Content {
        what: "client certificate for Vault",
        path: cert.to_path_buf(),
        problem,
    })
}
