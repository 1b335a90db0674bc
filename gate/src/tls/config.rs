//! Builds rustls configurations: certificates on both sides (on one kind of door the client's is optional), resumption
//! never.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};

use super::verifier::RecordingVerifier;
use super::{ClientAuth, ClientTls, ServerTls, TlsError, pem};

/// A server configuration that demands a client certificate from the given CA bundle and resumes no session.
///
/// # Errors
/// Any file that cannot be read, parsed or used, by name and with the reason.
pub fn server_config(tls: &ServerTls, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let (config, _) = server_config_with_leaf(tls, ClientAuth::Required, alpn)?;
    Ok(config)
}

/// Like [`server_config`], and the chain that it presents.
pub(super) fn server_config_with_leaf(
    tls: &ServerTls,
    client_auth: ClientAuth,
    alpn: &[&[u8]],
) -> Result<(Arc<ServerConfig>, Arc<CertifiedKey>), TlsError> {
    let provider = provider();
    let own = Arc::new(pem::certified_key(&tls.cert, &tls.key, &provider)?);
    let authorities = pem::authorities(&tls.client_ca)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider.clone());
    let verifier = match client_auth {
        ClientAuth::Required => verifier.build()?,
        // A certificate that is shown must still be valid: a wrong one is refused, not ignored.
        ClientAuth::Optional => verifier.allow_unauthenticated().build()?,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(RecordingVerifier::new(verifier)))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own.clone())));
    // A resumed session skips the verification of the client certificate (see the module head): neither session ids,
    // nor TLS 1.2 tickets (the default ticketer makes none), nor TLS 1.3 tickets.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = protocols(alpn);
    Ok((Arc::new(config), own))
}

/// A client configuration that presents a certificate and trusts the given CA bundle only.
///
/// # Errors
/// Any file that cannot be read, parsed or used, by name and with the reason.
pub fn client_config(tls: &ClientTls, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let own = pem::certified_key(&tls.cert, &tls.key, &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(pem::authorities(&tls.ca)?)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = protocols(alpn);
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn protocols(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}
