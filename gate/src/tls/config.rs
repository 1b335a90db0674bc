//! Builds rustls configurations: certificates on both sides (on one kind of door the client's is optional), resumption
//! never.

use std::path::Path;
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::expiry::Expiry;
use super::protocol::provider;
use super::trust::Clients;
use super::verifier::RecordingVerifier;
use super::{
    CipherSuites, ClientTls, DoorTls, OutgoingTls, ServerIdentity, ServerTls, StaleCrl, TlsError, TlsVersions, crl,
    pem, pkcs12,
};
use crate::peer::PeerCertificate;

/// What a door needs, all from one reading of its files.
pub(super) struct ServerSide {
    pub(super) config: Arc<ServerConfig>,
    pub(super) clients: Clients,
    pub(super) expiries: Vec<Expiry>,
    /// Of the leaf.
    pub(super) not_after_unix: i64,
}

/// What outgoing connections need, all from one reading of their files.
pub(super) struct ClientSide {
    pub(super) own: Arc<CertifiedKey>,
    pub(super) verifier: Arc<WebPkiServerVerifier>,
    pub(super) expiries: Vec<Expiry>,
}

/// A server configuration that demands a client certificate from the given CA bundle and resumes no session.
///
/// # Errors
/// Any file that cannot be read, parsed or used, by name and with the reason.
pub fn server_config(tls: &ServerTls, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    Ok(server_side(&tls.clone().into(), alpn)?.config)
}

/// A client configuration that presents a certificate and trusts the given CA bundle only.
///
/// # Errors
/// Any file that cannot be read, parsed or used, by name and with the reason.
pub fn client_config(tls: &ClientTls, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let tls = OutgoingTls::from(tls.clone());
    let ClientSide { own, verifier, .. } = client_side(&tls)?;
    let config = ClientConfig::builder_with_provider(provider(tls.versions, &tls.suites)?)
        .with_protocol_versions(tls.versions.supported())?
        .with_webpki_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    Ok(finish_client(config, alpn))
}

/// A client configuration that shows no certificate and trusts the given CA bundle only; without one, the roots of the
/// system. `None`: the system has none.
pub(crate) fn anonymous_client(ca: Option<&Path>) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let roots = match ca {
        Some(ca) => pem::authorities(ca)?.store,
        None => {
            let mut roots = RootCertStore::empty();
            let (_usable, _exotic) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        }
    };
    if roots.is_empty() {
        return Ok(None);
    }
    let versions = TlsVersions::default();
    let config = ClientConfig::builder_with_provider(provider(versions, &CipherSuites::default())?)
        .with_protocol_versions(versions.supported())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(finish_client(config, &[b"http/1.1"])))
}

/// Reads every file of a door.
pub(super) fn server_side(door: &DoorTls, alpn: &[&[u8]]) -> Result<ServerSide, TlsError> {
    let provider = provider(door.versions, &door.suites)?;
    let own = identity(&door.identity, &provider)?;
    let clients = Clients::load(door, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(door.versions.supported())?
        .with_client_cert_verifier(Arc::new(RecordingVerifier::new(clients.verifier.clone())))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own.key)));
    // A resumed session skips the verification of the client certificate (see the module head): neither session ids,
    // nor TLS 1.2 tickets (the default ticketer makes none), nor TLS 1.3 tickets.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = protocols(alpn);
    // Whoever lists suites means their order, too.
    config.ignore_client_order = door.suites.are_chosen();
    let expiries = own.expiries.into_iter().chain(clients.expiries.iter().cloned()).collect();
    Ok(ServerSide { config: Arc::new(config), clients, expiries, not_after_unix: own.not_after_unix })
}

/// Reads every file of outgoing connections.
pub(super) fn client_side(tls: &OutgoingTls) -> Result<ClientSide, TlsError> {
    let provider = provider(tls.versions, &tls.suites)?;
    let ClientTls { cert, key, ca } = &tls.files;
    let own = pem::certified_key(cert, key, &provider)?;
    let mut expiries = pem::chain_expiries(cert, &own.cert)?;
    let authorities = pem::authorities(ca)?;
    let crls = crl::load(&tls.crls, tls.stale_crl, &authorities, &provider)?;
    let mut verifier =
        WebPkiServerVerifier::builder_with_provider(authorities.store.clone(), provider).with_crls(crls.lists);
    if tls.stale_crl == StaleCrl::Refuse {
        verifier = verifier.enforce_revocation_expiration();
    }
    expiries.extend(authorities.expiries.into_iter().chain(crls.expiries));
    Ok(ClientSide { own: Arc::new(own), verifier: verifier.build()?, expiries })
}

/// The last steps of every client configuration.
pub(super) fn finish_client(mut config: ClientConfig, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = protocols(alpn);
    Arc::new(config)
}

/// The certificate that a door shows.
struct Identity {
    key: Arc<CertifiedKey>,
    expiries: Vec<Expiry>,
    not_after_unix: i64,
}

fn identity(identity: &ServerIdentity, provider: &CryptoProvider) -> Result<Identity, TlsError> {
    let (key, path): (_, &Path) = match identity {
        ServerIdentity::Pem { cert, key } => (pem::certified_key(cert, key, provider)?, cert),
        ServerIdentity::Pkcs12 { file, password_file } => (pkcs12::certified_key(file, password_file, provider)?, file),
    };
    let leaf = PeerCertificate::parse(key.end_entity_cert()?)
        .map_err(|reason| TlsError::BadCertificate { path: path.into(), reason: reason.to_string() })?;
    let expiries = pem::chain_expiries(path, &key.cert)?;
    Ok(Identity { key: Arc::new(key), expiries, not_after_unix: leaf.not_after_unix })
}

fn protocols(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}
