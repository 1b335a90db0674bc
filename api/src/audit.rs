//! The one place through which every action on keys, and every refused attempt at one, is recorded.
//!
//! In: an [`Event`]. Out: a count, and one structured log line with the target `audit`; the line carries the time, who,
//! from where, what, on which key, and what became of it. Deliberately absent: secrets, tokens and bodies, which no field
//! can hold; and where lines go, which the configuration of the log decides.

use crate::metrics;
use crate::quiet::Budgeted;
use consigner_gate::Peer;
use consigner_rules::PublicKey;
use std::net::SocketAddr;

/// The target of audit lines, for filters.
pub const TARGET: &str = "audit";

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Common name of the certificate, `token` for who has the token alone, `node` for the node itself.
    pub identity: String,
    /// What that identity rests on: a certificate may be named `node` or `token`, too.
    pub proof: Proof,
    /// Where the call came from; `None` for the node itself.
    pub address: Option<SocketAddr>,
}

/// What an identity rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A client certificate of the configured CA.
    Certificate,
    /// The token of the key manager API, without a certificate; in a refused attempt, the lack of the right one.
    Token,
    /// This process acts by itself.
    Node,
}

impl Actor {
    /// The node itself: a watched key source, a reload.
    #[must_use]
    pub fn node() -> Self {
        Self { identity: "node".to_owned(), proof: Proof::Node, address: None }
    }

    /// The caller of a request: by its certificate, or by the token where no certificate is required.
    #[must_use]
    pub fn peer(peer: &Peer) -> Self {
        let (identity, proof) = match peer.certificate {
            Some(_) => (peer.name(), Proof::Certificate),
            None => ("token".to_owned(), Proof::Token),
        };
        Self { identity, proof, address: Some(peer.addr) }
    }
}

/// What was done, or tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A validator key was to be added.
    KeyImport,
    /// A validator key was to be disabled on all nodes.
    KeyDelete,
    /// Signing history left the cluster.
    HistoryExport,
    /// Signing history was merged.
    HistoryImport,
    /// A data key was to be added.
    DataKeyAdd,
    /// A data key was to be removed.
    DataKeyRemove,
    /// Keys were to be sealed under another data key.
    Rewrap,
    /// Key sources were to be read again.
    Reload,
    /// A cluster was made.
    ClusterInit,
    /// A call of the key manager API was not admitted.
    KeyManagerAccess,
    /// An operator's call was not admitted.
    AdminAccess,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// There was nothing to do: held already, removed already, unknown.
    Unchanged,
    /// The caller may not.
    Refused,
    /// It could not be done, or nobody knows whether it was.
    Failed,
}

/// One line of the audit.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// What.
    pub operation: Operation,
    /// On which validator's key, if it is about one.
    pub key: Option<&'a PublicKey>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, how many, which data key: for people. Never a secret.
    pub reason: &'a str,
}

/// Records an event.
pub fn record(event: &Event<'_>) {
    metrics::audited(event.operation.name(), event.outcome.name());
    write(event);
}

/// Records an event that a stranger can cause at will: counted always, written within a budget.
pub(crate) fn record_within(budget: &Budgeted, event: &Event<'_>) {
    metrics::audited(event.operation.name(), event.outcome.name());
    if budget.may_write() {
        write(event);
    }
}

fn write(event: &Event<'_>) {
    let Event { actor, operation, key, outcome, reason } = event;
    let (identity, proof) = (actor.identity.as_str(), actor.proof.name());
    let address = actor.address.map(tracing::field::display);
    let key = key.map(tracing::field::display);
    let (operation, word) = (operation.name(), outcome.name());
    match outcome {
        Outcome::Done | Outcome::Unchanged => {
            tracing::info!(target: TARGET, identity, proof, address, operation, key, outcome = word, reason, "audit");
        }
        Outcome::Refused | Outcome::Failed => {
            tracing::warn!(target: TARGET, identity, proof, address, operation, key, outcome = word, reason, "audit");
        }
    }
}

impl Proof {
    /// As it stands in the line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Node => "node",
        }
    }
}

impl Operation {
    /// As it stands in the line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyImport => "key_import",
            Self::KeyDelete => "key_delete",
            Self::HistoryExport => "history_export",
            Self::HistoryImport => "history_import",
            Self::DataKeyAdd => "data_key_add",
            Self::DataKeyRemove => "data_key_remove",
            Self::Rewrap => "rewrap",
            Self::Reload => "reload",
            Self::ClusterInit => "cluster_init",
            Self::KeyManagerAccess => "keymanager_access",
            Self::AdminAccess => "admin_access",
        }
    }
}

impl Outcome {
    /// As it stands in the line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use consigner_gate::PeerCertificate;
    use std::sync::Arc;

    #[test]
    fn a_certificate_that_is_named_like_somebody_else_shows_what_it_is() {
        let certificate = |name: &str| PeerCertificate {
            common_name: Some(name.to_owned()),
            dns_names: Vec::new(),
            uris: Vec::new(),
            fingerprint_sha256: [7; 32],
            not_after_unix: i64::MAX,
            from_admin_ca: false,
        };
        let addr = "127.0.0.1:5555".parse().unwrap();
        let by = |name: &str| Actor::peer(&Peer { addr, certificate: Some(Arc::new(certificate(name))) });
        let (node, token) = (Actor::node(), Actor::peer(&Peer { addr, certificate: None }));
        for (actor, namesake, proof) in [(&node, by("node"), "node"), (&token, by("token"), "token")] {
            assert_eq!(actor.identity, namesake.identity);
            assert_eq!((actor.proof.name(), namesake.proof.name()), (proof, "certificate"));
        }
    }
}
