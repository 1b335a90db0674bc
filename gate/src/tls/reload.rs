//! A server configuration that can be replaced while connections are accepted.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

use super::config::server_config_with_leaf;
use super::{ClientAuth, ServerTls, TlsError};
use crate::peer::PeerCertificate;

/// The TLS configuration of a door, taken anew for every accepted connection.
///
/// Certificate, key and client CA bundle are one generation: a reload takes all three or none, and a bad file leaves
/// the generation in use untouched. Connections that are already open keep the generation they began with.
pub struct ReloadableTls {
    files: ServerTls,
    client_auth: ClientAuth,
    alpn: Vec<Vec<u8>>,
    current: ArcSwap<Generation>,
}

struct Generation {
    config: Arc<ServerConfig>,
    not_after_unix: i64,
}

impl ReloadableTls {
    /// Loads the first generation; every client must show a certificate.
    ///
    /// # Errors
    /// As [`super::server_config`].
    pub fn load(files: ServerTls, alpn: &[&[u8]]) -> Result<Arc<Self>, TlsError> {
        Self::load_for(files, ClientAuth::Required, alpn)
    }

    /// As [`Self::load`], and says whether clients must show a certificate. Behind [`ClientAuth::Optional`] a
    /// [`crate::Peer`] may have none, and whatever is served there must ask for another proof.
    ///
    /// # Errors
    /// As [`super::server_config`].
    pub fn load_for(files: ServerTls, client_auth: ClientAuth, alpn: &[&[u8]]) -> Result<Arc<Self>, TlsError> {
        let first = generation(&files, client_auth, alpn)?;
        let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(Self { files, client_auth, alpn, current: ArcSwap::from_pointee(first) }))
    }

    /// Whether clients must show a certificate.
    pub const fn client_auth(&self) -> ClientAuth {
        self.client_auth
    }

    /// The configuration for the next connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }

    /// When the server certificate in use expires, in seconds since 1970 (for alarms).
    pub fn not_after_unix(&self) -> i64 {
        self.current.load().not_after_unix
    }

    /// Reads the files again and uses them for the connections accepted from now on.
    ///
    /// # Errors
    /// As [`super::server_config`]; the generation in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let alpn: Vec<&[u8]> = self.alpn.iter().map(Vec::as_slice).collect();
        self.current.store(Arc::new(generation(&self.files, self.client_auth, &alpn)?));
        Ok(())
    }
}

impl std::fmt::Debug for ReloadableTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReloadableTls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn generation(files: &ServerTls, client_auth: ClientAuth, alpn: &[&[u8]]) -> Result<Generation, TlsError> {
    let (config, own) = server_config_with_leaf(files, client_auth, alpn)?;
    let leaf = own.end_entity_cert()?;
    let leaf = PeerCertificate::parse(leaf)
        .map_err(|reason| TlsError::BadCertificate { path: files.cert.clone(), reason: reason.to_string() })?;
    Ok(Generation { config, not_after_unix: leaf.not_after_unix })
}
