//! Whether a connection that was let in may stay.
//!
//! Each connection waits here for news by itself, so that no register of all of them is needed: after a reload of the
//! door's TLS files it verifies its own client's chain again, after a change of the address rules its own address.
//! Whoever ceases to be an administrator is put out, too, with what it has in flight; whoever becomes one is from its
//! next request on.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use super::addresses::{AddressRules, IpAllowlist};
use crate::peer::{Peer, PeerCertificate};
use crate::tls::ReloadableTls;

/// The grounds on which one connection stands.
pub(super) struct Standing {
    address: IpAddr,
    rules: Option<(Arc<AddressRules>, watch::Receiver<IpAllowlist>)>,
    proof: Option<Proof>,
}

/// The certificate that the caller showed, and the word that trust in it may have ended.
struct Proof {
    tls: Arc<ReloadableTls>,
    renewals: watch::Receiver<u64>,
    /// Leaf first; empty if none was shown.
    chain: Vec<CertificateDer<'static>>,
    caller: Caller,
}

/// Who a connection's next request comes from. Clones are the same caller.
#[derive(Clone)]
pub(super) struct Caller(Arc<ArcSwap<Peer>>);

impl Caller {
    pub(super) fn new(peer: Peer) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(peer)))
    }

    pub(super) fn now(&self) -> Peer {
        Peer::clone(&self.0.load())
    }

    fn is_admin(&self) -> bool {
        self.0.load().certificate.as_ref().is_some_and(|certificate| certificate.from_admin_ca)
    }

    fn becomes_admin(&self) {
        let Peer { addr, certificate } = self.now();
        let raise = |certificate: Arc<PeerCertificate>| {
            Arc::new(PeerCertificate { from_admin_ca: true, ..Arc::unwrap_or_clone(certificate) })
        };
        self.0.store(Arc::new(Peer { addr, certificate: certificate.map(raise) }));
    }
}

impl Proof {
    /// # Errors
    /// Why the caller may not stay.
    fn judge_again(&self) -> Result<(), String> {
        let is_admin =
            self.tls.verify_again(&self.chain).map_err(|why| format!("certificate no longer accepted: {why}"))?;
        match (self.caller.is_admin(), is_admin) {
            (true, false) => return Err("certificate no longer of an administrators' CA".to_owned()),
            (false, true) => self.caller.becomes_admin(),
            (true, true) | (false, false) => {}
        }
        Ok(())
    }
}

impl Standing {
    /// For a caller at this address. The receiver was taken before the address was checked.
    pub(super) const fn at(address: IpAddr, rules: Option<(Arc<AddressRules>, watch::Receiver<IpAllowlist>)>) -> Self {
        Self { address, rules, proof: None }
    }

    /// The caller has shaken hands. `renewals` was taken before the handshake began.
    pub(super) fn prove(
        &mut self,
        tls: Arc<ReloadableTls>,
        renewals: watch::Receiver<u64>,
        chain: Vec<CertificateDer<'static>>,
        caller: Caller,
    ) {
        self.proof = Some(Proof { tls, renewals, chain, caller });
    }

    /// Returns once the caller would not be let in any more, with the reason. May be dropped and called again.
    pub(super) async fn lost(&mut self) -> String {
        let Self { address, rules, proof } = self;
        loop {
            tokio::select! {
                () = news(rules.as_mut().map(|(_, changes)| changes)) => {
                    if rules.as_ref().is_some_and(|(rules, _)| !rules.allows(*address)) {
                        return "address no longer allowed".to_owned();
                    }
                }
                () = news(proof.as_mut().map(|proof| &mut proof.renewals)) => {
                    if let Some(Err(why)) = proof.as_ref().map(Proof::judge_again) {
                        return why;
                    }
                }
            }
        }
    }
}

/// Returns when there is something new; never if nothing can be.
async fn news<T>(receiver: Option<&mut watch::Receiver<T>>) {
    if let Some(receiver) = receiver
        && receiver.changed().await.is_ok()
    {
        return;
    }
    // Without a receiver. An error cannot be: the sender lives in what the connection itself holds.
    std::future::pending().await
}
