//! What can be told to the audit: who did what to which key, and what became of it.

use consigner_gate::Peer;
use consigner_rules::{PublicKey, SigningType};
use std::net::SocketAddr;

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Common name of the certificate (else its fingerprint), name of the client or token that the policy matched,
    /// `token` for who has the token of the key manager API alone, `node` for the node itself.
    pub identity: String,
    /// What that identity rests on: a certificate may be named `node` or `token`, too.
    pub proof: Proof,
    /// Where the call came from; `None` for the node itself.
    pub address: Option<SocketAddr>,
    /// Through which door it came; `None` for the node itself and where that is not known.
    pub door: Option<&'static str>,
}

/// What an identity rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A client certificate of the configured CA.
    Certificate,
    /// A token, without a certificate; in a refused attempt, the lack of the right one.
    Token,
    /// An access token of the configured issuer, without a certificate.
    Jwt,
    /// This process acts by itself.
    Node,
    /// Nothing: refused before anything was shown, on a door that asks for nothing, or by its address.
    Nothing,
}

impl Actor {
    /// The node itself: a watched key source, a reload.
    #[must_use]
    pub fn node() -> Self {
        Self { identity: "node".to_owned(), proof: Proof::Node, address: None, door: None }
    }

    /// The caller of a request: by its certificate, or by the token where no certificate is required.
    #[must_use]
    pub fn peer(peer: &Peer) -> Self {
        let (identity, proof) = match peer.certificate {
            Some(_) => (peer.name(), Proof::Certificate),
            None => ("token".to_owned(), Proof::Token),
        };
        Self { identity, proof, address: Some(peer.addr), door: None }
    }

    /// Somebody of whom only the address is known.
    #[must_use]
    pub fn stranger(address: Option<SocketAddr>) -> Self {
        Self { identity: "anonymous".to_owned(), proof: Proof::Nothing, address, door: None }
    }

    /// The same, through this door.
    #[must_use]
    pub const fn at(mut self, door: &'static str) -> Self {
        self.door = Some(door);
        self
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
    /// Low watermarks were to be raised.
    WatermarkRaise,
    /// The high watermark was to be set or removed.
    HighWatermark,
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
    /// A node was to become a member.
    MemberAdd,
    /// A learner was to be given a vote.
    MemberPromote,
    /// A member was to leave.
    MemberRemove,
    /// A member was to leave and another to take its place.
    MemberReplace,
    /// Another node was to lead.
    LeaderTransfer,
    /// Leave to join was to be given.
    JoinTokenCreate,
    /// Leave to join was to be taken back.
    JoinTokenRevoke,
    /// A node that waited for others to know it again was to go on.
    RestartAccept,
    /// Everything that the cluster holds left it, sealed.
    ClusterBackup,
    /// A restored cluster was to sign again.
    ClusterResume,
    /// An archive that lost something was to be filled again.
    ArchiveBackfill,
    /// The policy was to be replaced.
    PolicyApply,
    /// A token was to be made.
    TokenCreate,
    /// A token was to be revoked.
    TokenRevoke,
    /// A message was to be signed; `None`: the body was not understood yet.
    Sign(Option<SigningType>),
    /// A call of the endpoints of validator clients was not admitted.
    Access,
    /// A call of the key manager API was not admitted.
    KeyManagerAccess,
    /// An operator's call was not admitted.
    AdminAccess,
    /// A request named a host that is not allowed.
    Host,
    /// A connection was to be made.
    Connection,
    /// The node's configuration, or its part that can change while it runs, was read.
    ConfigReload,
    /// Certificates, keys, CAs or revocation lists were read again.
    TlsReload,
    /// A key file, or a file that says where keys lie, was opened.
    KeyFile,
    /// The audit itself: so many lines were left out of it.
    LeftOut,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is about to be tried; the line with its outcome follows, unless the process ended.
    Begun,
    /// As asked.
    Done,
    /// There was nothing to do: held already, removed already, unknown.
    Unchanged,
    /// The caller may not, or slashing protection forbids it.
    Refused,
    /// It could not be done, or nobody knows whether it was.
    Failed,
}

/// One line of the audit.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// What.
    pub operation: Operation,
    /// On which validator's key, if it is about one.
    pub key: Option<&'a PublicKey>,
    /// Where the cluster's log has it, if that is known.
    pub log_index: Option<u64>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, how many, which data key: for people. Never a secret.
    pub reason: &'a str,
}

impl<'a> Event<'a> {
    /// An event that is about no key.
    #[must_use]
    pub const fn new(actor: &'a Actor, operation: Operation, outcome: Outcome, reason: &'a str) -> Self {
        Self { actor, operation, key: None, log_index: None, outcome, reason }
    }

    /// The same, about this key.
    #[must_use]
    pub const fn about(mut self, key: Option<&'a PublicKey>) -> Self {
        self.key = key;
        self
    }
}

impl Proof {
    /// As it stands in the line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Jwt => "jwt",
            Self::Node => "node",
            Self::Nothing => "nothing",
        }
    }
}

impl Operation {
    /// As it stands in the line and in metrics: a signing type's own name (`ATTESTATION`), else words in small letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyImport => "key_import",
            Self::KeyDelete => "key_delete",
            Self::HistoryExport => "history_export",
            Self::HistoryImport => "history_import",
            Self::WatermarkRaise => "watermark_raise",
            Self::HighWatermark => "high_watermark",
            Self::DataKeyAdd => "data_key_add",
            Self::DataKeyRemove => "data_key_remove",
            Self::Rewrap => "rewrap",
            Self::Reload => "reload",
            Self::ClusterInit => "cluster_init",
            Self::MemberAdd => "member_add",
            Self::MemberPromote => "member_promote",
            Self::MemberRemove => "member_remove",
            Self::MemberReplace => "member_replace",
            Self::LeaderTransfer => "leader_transfer",
            Self::JoinTokenCreate => "join_token_create",
            Self::JoinTokenRevoke => "join_token_revoke",
            Self::RestartAccept => "restart_accept",
            Self::ClusterBackup => "cluster_backup",
            Self::ClusterResume => "cluster_resume",
            Self::ArchiveBackfill => "archive_backfill",
            Self::PolicyApply => "policy_apply",
            Self::TokenCreate => "token_create",
            Self::TokenRevoke => "token_revoke",
            Self::Sign(signing_type) => signing_type.map_or("sign", SigningType::name),
            Self::Access => "access",
            Self::KeyManagerAccess => "keymanager_access",
            Self::AdminAccess => "admin_access",
            Self::Host => "host",
            Self::Connection => "connection",
            Self::ConfigReload => "config_reload",
            Self::TlsReload => "tls_reload",
            Self::KeyFile => "key_file",
            Self::LeftOut => "left_out",
        }
    }
}

impl Outcome {
    /// As it stands in the line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
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
