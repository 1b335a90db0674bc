//! A client configuration whose identity and CAs can be replaced while it is in use.
//!
//! rustls asks a configuration for the certificate to present and for a verdict on the server's during each handshake;
//! here both look into the generation in use. So one [`ClientConfig`] is handed out once, and whoever holds it (every
//! channel to another node) connects with the newest identity without knowing of reloads. Connections that stand keep
//! the identity they began with: it is the other side's door that cuts those of a revoked one, and
//! [`super::newest`] that cuts those to a server that is trusted no longer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;

use super::config::{ClientSide, client_side, finish_client};
use super::expiry::Expiry;
use super::newest::{Generation, Newest};
use super::protocol::provider;
use super::stamps::Stamps;
use super::{ClientTls, OutgoingTls, TlsError};

/// The TLS identity of outgoing connections, as one generation of files.
pub struct ReloadableClientTls {
    settings: OutgoingTls,
    newest: Arc<Newest>,
    config: Arc<ClientConfig>,
    /// One at a time, so that of two reloads the one that read last also counts last.
    reloading: Mutex<()>,
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
        let newest = Arc::new(Newest::new(generation(&settings)?));
        let config = ClientConfig::builder_with_provider(provider(settings.versions, &settings.suites)?)
            .with_protocol_versions(settings.versions.supported())?
            .dangerous()
            .with_custom_certificate_verifier(newest.clone())
            .with_client_cert_resolver(newest.clone());
        let config = finish_client(config, alpn);
        Ok(Arc::new(Self { settings, newest, config, reloading: Mutex::default() }))
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
        self.newest.now().expiries.clone()
    }

    /// Reads the files again, uses them for the connections made from now on, and has the servers of the open ones
    /// verified again. Reads files: not for a thread of the runtime.
    ///
    /// # Errors
    /// As [`super::client_config`]; the generation in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        self.newest.renew(generation(&self.settings)?);
        Ok(())
    }

    pub(super) fn stamps(&self) -> Stamps {
        self.newest.now().stamps.clone()
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
