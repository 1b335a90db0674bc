//! A client configuration whose identity and CAs can be replaced while it is in use.
//!
//! rustls asks a configuration for the certificate to present and for a verdict on the server's during each handshake;
//! here both look into the generation in use. So one [`ClientConfig`] is handed out once, and whoever holds it (every
//! channel to another node) connects with the newest identity without knowing of reloads. Connections that stand keep
//! the identity they began with; it is the other side's door that cuts those of a revoked one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::config::{ClientSide, client_side, finish_client};
use super::expiry::Expiry;
use super::protocol::provider;
use super::stamps::Stamps;
use super::{ClientTls, OutgoingTls, TlsError};

/// The TLS identity of outgoing connections, as one generation of files.
pub struct ReloadableClientTls {
    settings: OutgoingTls,
    current: Arc<ArcSwap<Generation>>,
    config: Arc<ClientConfig>,
    /// One at a time, so that of two reloads the one that read last also counts last.
    reloading: Mutex<()>,
}

struct Generation {
    own: Arc<CertifiedKey>,
    verifier: Arc<WebPkiServerVerifier>,
    expiries: Vec<Expiry>,
    stamps: Stamps,
}

impl ReloadableClientTls {
    /// Loads the first generation.
    ///
    /// # Errors
    /// As [`super::client_config`].
    pub fn load(files: ClientTls, alpn: &[&[u8]]) -> Result<Arc<Self>, TlsError> {
        Self::load_outgoing(files.into(), alpn)
    }

    /// As [`Self::load`], with every choice that an outgoing connection has.
    ///
    /// # Errors
    /// As [`super::client_config`].
    pub fn load_outgoing(settings: OutgoingTls, alpn: &[&[u8]]) -> Result<Arc<Self>, TlsError> {
        let current = Arc::new(ArcSwap::from_pointee(generation(&settings)?));
        let newest = Arc::new(Newest(current.clone()));
        let config = ClientConfig::builder_with_provider(provider(settings.versions, &settings.suites)?)
            .with_protocol_versions(settings.versions.supported())?
            .dangerous()
            .with_custom_certificate_verifier(newest.clone())
            .with_client_cert_resolver(newest);
        let config = finish_client(config, alpn);
        Ok(Arc::new(Self { settings, current, config, reloading: Mutex::default() }))
    }

    /// The configuration, which follows every reload.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// What it was loaded with.
    pub const fn settings(&self) -> &OutgoingTls {
        &self.settings
    }

    /// When everything in use expires.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.current.load().expiries.clone()
    }

    /// Reads the files again and uses them for the connections made from now on. Reads files: not for a thread of the
    /// runtime.
    ///
    /// # Errors
    /// As [`super::client_config`]; the generation in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(Arc::new(generation(&self.settings)?));
        Ok(())
    }

    pub(super) fn stamps(&self) -> Stamps {
        self.current.load().stamps.clone()
    }
}

impl fmt::Debug for ReloadableClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadableClientTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn generation(settings: &OutgoingTls) -> Result<Generation, TlsError> {
    let stamps = Stamps::of(&settings.files());
    let ClientSide { own, verifier, expiries } = client_side(settings)?;
    Ok(Generation { own, verifier, expiries, stamps })
}

/// Answers rustls out of the generation in use.
struct Newest(Arc<ArcSwap<Generation>>);

impl Newest {
    fn verifier(&self) -> Arc<WebPkiServerVerifier> {
        self.0.load().verifier.clone()
    }
}

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Newest")
    }
}

impl ResolvesClientCert for Newest {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().own.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for Newest {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier().verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier().supported_verify_schemes()
    }
}
