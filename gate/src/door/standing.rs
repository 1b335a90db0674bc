//! Whether a connection that was let in may stay.
//!
//! Each connection waits here for news by itself, so that no register of all of them is needed: after a reload of the
//! door's TLS files it verifies its own client's chain again.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::tls::ReloadableTls;

/// The grounds on which one connection stands.
pub(super) struct Standing {
    proof: Option<Proof>,
}

/// The certificate that the caller showed, and the word that trust in it may have ended.
struct Proof {
    tls: Arc<ReloadableTls>,
    renewals: watch::Receiver<u64>,
    /// Leaf first; empty if none was shown.
    chain: Vec<CertificateDer<'static>>,
}

impl Standing {
    /// For a connection without TLS.
    pub(super) const fn plain() -> Self {
        Self { proof: None }
    }

    /// `renewals` was taken before the handshake began.
    pub(super) const fn proved(
        tls: Arc<ReloadableTls>,
        renewals: watch::Receiver<u64>,
        chain: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self { proof: Some(Proof { tls, renewals, chain }) }
    }

    /// Returns once the caller would not be let in any more, with the reason. May be dropped and called again.
    pub(super) async fn lost(&mut self) -> String {
        match &mut self.proof {
            Some(proof) => proof.lost().await,
            None => std::future::pending().await,
        }
    }
}

impl Proof {
    async fn lost(&mut self) -> String {
        while self.renewals.changed().await.is_ok() {
            if let Err(why) = self.tls.verify_again(&self.chain) {
                return format!("certificate no longer accepted: {why}");
            }
        }
        // Not reached: the sender lives in `tls`, which is held here.
        std::future::pending().await
    }
}
