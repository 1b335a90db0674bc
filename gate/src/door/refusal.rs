//! What becomes of a caller that is turned away: counted, logged within a budget, and told to whoever keeps records.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::handshake::{Refused, RefusedAs};
use super::{DoorLimits, Gatekeeper};
use crate::peer::Peer;

/// A caller that was turned away, or put out.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The door's name.
    pub door: &'a str,
    /// The caller; behind a balancer the client, as far as it was named.
    pub addr: SocketAddr,
    /// For people.
    pub reason: &'a str,
    /// Subject and fingerprint of the certificate that the caller presented, if it did. The subject is what the caller
    /// says, with control characters escaped.
    pub certificate: Option<&'a str>,
    /// Why, for machines.
    pub kind: RefusalKind,
}

/// Why a caller was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Its address is not allowed.
    Address,
    /// It did not prove that it may come in: handshake, certificate, PROXY header, admission.
    Unproved,
    /// There was no room.
    Full,
    /// It was in, and would not be let in any more: certificate revoked, CA or pin removed, address no longer allowed.
    Expelled,
}

/// Hears of every refusal; see [`super::Door::on_refusal`].
pub type OnRefusal = Arc<dyn Fn(&Refusal<'_>) + Send + Sync>;

impl Gatekeeper {
    pub(super) fn refused(&self, addr: SocketAddr, refused: &Refused) {
        let Refused { reason, certificate, kind } = refused;
        let shown = certificate.as_deref().unwrap_or("none");
        let kind = match kind {
            RefusedAs::Probe => {
                tracing::debug!(door = %self.name, peer = %addr, reason, "connection closed by the caller");
                return;
            }
            RefusedAs::Crowded => {
                self.counters.refused_full.fetch_add(1, Ordering::Relaxed);
                if self.overflow.may_write(Instant::now()) {
                    let DoorLimits { connections_max, handshakes_max, waiting_max, .. } = self.limits;
                    tracing::warn!(door = %self.name, peer = %addr, reason, certificate = shown, connections_max,
                        handshakes_max, waiting_max, "connection refused: the door is full");
                }
                RefusalKind::Full
            }
            RefusedAs::Address => {
                self.counters.address_refused.fetch_add(1, Ordering::Relaxed);
                metrics::counter!("consigner_door_address_refused_total", "door" => self.name.clone()).increment(1);
                self.warn(addr, reason, shown);
                RefusalKind::Address
            }
            RefusedAs::Unproved => {
                self.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                self.warn(addr, reason, shown);
                RefusalKind::Unproved
            }
        };
        self.tell(addr, reason, certificate.as_deref(), kind);
    }

    /// Counts and logs a connection that is cut because its caller would not be let in any more. What is in flight on
    /// it gets no answer.
    pub(super) fn expelled(&self, peer: &Peer, reason: String) -> String {
        self.counters.expelled.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("consigner_door_expelled_total", "door" => self.name.clone()).increment(1);
        let certificate = described(peer);
        if self.refusals.may_write(Instant::now()) {
            let certificate = certificate.as_deref().unwrap_or("none");
            tracing::warn!(door = %self.name, peer = %peer.addr, reason, certificate, "connection cut");
        }
        self.tell(peer.addr, &reason, certificate.as_deref(), RefusalKind::Expelled);
        reason
    }

    fn warn(&self, addr: SocketAddr, reason: &str, certificate: &str) {
        if self.refusals.may_write(Instant::now()) {
            tracing::warn!(door = %self.name, peer = %addr, reason, certificate, "connection refused");
        }
    }

    fn tell(&self, addr: SocketAddr, reason: &str, certificate: Option<&str>, kind: RefusalKind) {
        if let Some(on_refusal) = &self.on_refusal {
            on_refusal(&Refusal { door: &self.name, addr, reason, certificate, kind });
        }
    }
}

/// Name and fingerprint of the certificate of a caller that was let in.
pub(super) fn described(peer: &Peer) -> Option<String> {
    let fingerprint = peer.certificate.as_ref().map(|certificate| hex::encode(certificate.fingerprint_sha256));
    fingerprint.map(|hex| format!("{} sha256:{hex}", peer.name()))
}
