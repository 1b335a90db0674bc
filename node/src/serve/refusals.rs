//! Refused connections, from the doors to the audit.

use consigner_api::audit::{Actor, Auditor, Event, Flood, Operation, Outcome, Proof};
use consigner_gate::{OnRefusal, Refusal, RefusalKind};
use std::sync::Arc;

/// Tells of every connection that this door turns away, within what the audit takes from strangers.
pub(super) fn to_audit(audit: Auditor, door: &'static str) -> OnRefusal {
    Arc::new(move |refusal: &Refusal<'_>| {
        let Refusal { addr, reason, certificate, kind, .. } = *refusal;
        let identity = certificate.unwrap_or("anonymous").to_owned();
        // What it showed was not accepted, or not any more.
        let proof = match kind {
            RefusalKind::Expelled if certificate.is_some() => Proof::Certificate,
            RefusalKind::Expelled | RefusalKind::Address | RefusalKind::Unproved | RefusalKind::Full => Proof::Nothing,
        };
        let actor = Actor { identity, proof, address: Some(addr), door: Some(door) };
        let event = Event::new(&actor, Operation::Connection, Outcome::Refused, reason);
        match kind {
            RefusalKind::Address | RefusalKind::Full => audit.record_within(Flood::Connections, &event),
            RefusalKind::Unproved => audit.record_within(Flood::Credentials, &event),
            // Only who was in is put out: no stranger can cause this.
            RefusalKind::Expelled => audit.record(&event),
        }
    })
}
