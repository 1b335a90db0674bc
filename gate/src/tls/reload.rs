//! A server configuration that can be replaced while connections are accepted.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;

use super::config::{ServerSide, server_side};
use super::expiry::Expiry;
use super::stamps::Stamps;
use super::trust::Clients;
use super::{ClientAuth, DoorTls, ServerTls, TlsError};

/// The TLS configuration of a door, taken anew for every accepted connection.
///
/// Everything in [`DoorTls`] is one generation: a reload takes all of its files or none, and a bad file leaves the
/// generation in use untouched. Connections that are already open keep the keys they began with, but the client
/// certificate of each is verified again: one that the new generation would not let in is cut.
pub struct ReloadableTls {
    settings: DoorTls,
    alpn: Vec<Vec<u8>>,
    current: ArcSwap<Generation>,
    /// One at a time, so that of two reloads the one that read last also counts last.
    reloading: Mutex<()>,
    /// The number of reloads, for live connections.
    renewals: watch::Sender<u64>,
}

struct Generation {
    config: Arc<ServerConfig>,
    clients: Clients,
    expiries: Vec<Expiry>,
    not_after_unix: i64,
    /// Taken before the files were read, so that a change in between is seen as one.
    stamps: Stamps,
}

impl ReloadableTls {
    /// Loads the first generation; every client must show a certificate.
    ///
    /// # Errors
    /// As [`super::server_config`].
    pub fn load(files: ServerTls, alpn: &[&[u8]]) -> Result<Arc<Self>, TlsError> {
        Self::load_door(files.into(), alpn)
    }

    /// As [`Self::load`], and says whether clients must show a certificate. Behind [`ClientAuth::Optional`] a
    /// [`crate::Peer`] may have none, and whatever is served there must ask for another proof.
    ///
    /// # Errors
    /// As [`super::server_config`].
    pub fn load_for(files: ServerTls, client_auth: ClientAuth, alpn: &[&[u8]]) -> Result<Arc<Self>, TlsError> {
        Self::load_door(DoorTls { client_auth, ..files.into() }, alpn)
    }

    /// As [`Self::load`], with every choice that a door has.
    ///
    /// # Errors
    /// As [`super::server_config`].
    pub fn load_door(settings: DoorTls, alpn: &[&[u8]]) -> Result<Arc<Self>, TlsError> {
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let current = ArcSwap::from_pointee(generation(&settings, &alpn)?);
        Ok(Arc::new(Self { settings, alpn, current, reloading: Mutex::default(), renewals: watch::Sender::new(0) }))
    }

    /// Whether clients must show a certificate.
    pub const fn client_auth(&self) -> ClientAuth {
        self.settings.client_auth
    }

    /// What it was loaded with.
    pub const fn settings(&self) -> &DoorTls {
        &self.settings
    }

    /// The configuration for the next connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }

    /// When the server certificate in use expires, in seconds since 1970 (for alarms).
    pub fn not_after_unix(&self) -> i64 {
        self.current.load().not_after_unix
    }

    /// When everything in use expires.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.current.load().expiries.clone()
    }

    /// Reads the files again, uses them for the connections accepted from now on, and has the client certificates of
    /// the open ones verified again. Reads files: not for a thread of the runtime.
    ///
    /// # Errors
    /// As [`super::server_config`]; the generation in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(Arc::new(generation(&self.settings, &self.alpn)?));
        self.renewals.send_modify(|count| *count += 1);
        Ok(())
    }

    pub(super) fn stamps(&self) -> Stamps {
        self.current.load().stamps.clone()
    }

    /// Tells of every reload from now on. To be taken before [`Self::current`], so that none is missed in between.
    pub(crate) fn renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }

    /// Verifies the chain of an open connection, leaf first, against the generation in use now. Whether a CA of the
    /// administrators issued it; false if there is none.
    pub(crate) fn verify_again(&self, chain: &[CertificateDer<'static>]) -> Result<bool, rustls::Error> {
        let Some((leaf, intermediates)) = chain.split_first() else { return Ok(false) };
        let (now, current) = (UnixTime::now(), self.current.load());
        current.clients.verifier.verify_client_cert(leaf, intermediates, now)?;
        Ok(current.clients.are_admins(leaf, intermediates, now))
    }

    /// Whether a CA of the administrators issued this chain, which a handshake has verified, leaf first.
    pub(crate) fn is_of_admin_ca(&self, chain: &[CertificateDer<'static>]) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else { return false };
        self.current.load().clients.are_admins(leaf, intermediates, UnixTime::now())
    }
}

impl std::fmt::Debug for ReloadableTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReloadableTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn generation(settings: &DoorTls, alpn: &[Vec<u8>]) -> Result<Generation, TlsError> {
    let stamps = Stamps::of(&settings.files());
    let alpn: Vec<&[u8]> = alpn.iter().map(Vec::as_slice).collect();
    let ServerSide { config, clients, expiries, not_after_unix } = server_side(settings, &alpn)?;
    Ok(Generation { config, clients, expiries, not_after_unix, stamps })
}
