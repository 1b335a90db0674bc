//! A change as columns of a table, and back.
//!
//! In: a [`Change`]. Out: the table it belongs to and its columns; and from columns the same change again, or the
//! column that disagrees. Deliberately absent: the database. What a validator signed is columns alone, so that who looks
//! at the tables and who verifies the chain see the same; the rest is kept byte for byte, and its columns are compared
//! with those bytes.

use consigner_rules::codec;
use consigner_rules::command::{Floor, HighWatermark, HistoryImport};
use consigner_rules::{AgreedDuty, Change, PublicKey, Root, Violation};

pub use super::text::{escape, unescape};

/// A table of rows. Each is partitioned by log index, with the key (cluster, log index, ordinal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `signed_blocks`.
    Blocks,
    /// `signed_attestations`.
    Attestations,
    /// `signed_exits`.
    Exits,
    /// `refusals`.
    Refusals,
    /// `key_events`.
    KeyEvents,
    /// `policy_events`.
    PolicyEvents,
    /// `cluster_events`.
    ClusterEvents,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Blocks,
        Self::Attestations,
        Self::Exits,
        Self::Refusals,
        Self::KeyEvents,
        Self::PolicyEvents,
        Self::ClusterEvents,
    ];

    /// Its name within the schema `consigner`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "signed_blocks",
            Self::Attestations => "signed_attestations",
            Self::Exits => "signed_exits",
            Self::Refusals => "refusals",
            Self::KeyEvents => "key_events",
            Self::PolicyEvents => "policy_events",
            Self::ClusterEvents => "cluster_events",
        }
    }
}

/// The columns of one row, without its place (lineage, log index, ordinal, time).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Projection {
    /// A row of `signed_blocks`, `signed_attestations` or `signed_exits`, by its duty.
    Signed(SignedColumns),
    /// A row of `refusals`.
    Refused(RefusedColumns),
    /// A row of one of the tables of events.
    Event(Events, EventColumns),
}

/// Which table of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Events {
    /// What happened to keys and their history.
    Key,
    /// What happened to rights and limits.
    Policy,
    /// What happened to the cluster and its nodes.
    Cluster,
}

/// What may leave as a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedColumns {
    /// The validator.
    pub public_key: PublicKey,
    /// What was recorded.
    pub duty: AgreedDuty,
    /// What the signature covers.
    pub signing_root: Root,
    /// The client that asked; see [`escape`].
    pub peer: String,
    /// The node that it asked; unknown before rules version 3.
    pub node: Option<u64>,
}

/// What was refused for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedColumns {
    /// What was asked, by whom.
    pub asked: SignedColumns,
    /// `block`, `attestation` or `exit`.
    pub kind: String,
    /// The numbers of the duty.
    pub marks: Marks,
    /// Why, for people.
    pub reason: String,
    /// The change, encoded.
    pub content: Vec<u8>,
}

/// Anything else that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventColumns {
    /// What, in one word.
    pub kind: String,
    /// To which validator.
    pub public_key: Option<PublicKey>,
    /// To which node.
    pub node: Option<u64>,
    /// To what else, for people; see [`escape`].
    pub subject: String,
    /// The numbers of histories, limits and floors.
    pub marks: Marks,
    /// The change, encoded.
    pub content: Vec<u8>,
}

/// Slot and epochs, where a row has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Slot of a block.
    pub slot: Option<u64>,
    /// Source epoch.
    pub source_epoch: Option<u64>,
    /// Target epoch.
    pub target_epoch: Option<u64>,
}

impl Marks {
    /// Of imported or reduced history.
    #[must_use]
    pub fn of_history(history: &HistoryImport) -> Self {
        Self {
            slot: history.block.map(|block| block.slot),
            source_epoch: history.attestation.map(|vote| vote.max_source_epoch),
            target_epoch: history.attestation.map(|vote| vote.max_target_epoch),
        }
    }

    /// Of the floor after a restore.
    #[must_use]
    pub const fn of_floor(floor: &Floor) -> Self {
        Self { slot: Some(floor.slot), source_epoch: Some(floor.source), target_epoch: Some(floor.target) }
    }
}

/// Why columns are no change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectionError {
    /// The encoded change cannot be decoded.
    #[error("its content is damaged, or of a newer binary: {0}")]
    Content(String),
    /// A column says something else than the encoded change.
    #[error("its columns do not agree with its content")]
    Columns,
    /// A text is not one that [`escape`] makes.
    #[error("the text of its client is not one that was written")]
    Text,
}

impl Projection {
    /// The columns of a change.
    #[must_use]
    pub fn of(change: &Change) -> Self {
        let (events, event) = match change {
            Change::Signed { public_key, duty, signing_root, peer } => {
                return Self::Signed(asked(public_key, duty, signing_root, peer, None));
            }
            Change::SignedVia { public_key, duty, signing_root, peer, node } => {
                return Self::Signed(asked(public_key, duty, signing_root, peer, Some(*node)));
            }
            Change::Refused { public_key, duty, signing_root, peer, violation } => {
                return refused(change, asked(public_key, duty, signing_root, peer, None), violation);
            }
            Change::RefusedVia { public_key, duty, signing_root, peer, violation, node } => {
                return refused(change, asked(public_key, duty, signing_root, peer, Some(*node)), violation);
            }
            Change::DataKeyAdded(id) => (Events::Key, Event::new("data_key_added").about(hex::encode(id))),
            Change::DataKeyRemoved(id) => (Events::Key, Event::new("data_key_removed").about(hex::encode(id))),
            Change::KeysResealed { data_key, keys } => {
                let about = format!("{keys} keys under {}", hex::encode(data_key));
                (Events::Key, Event::new("keys_resealed").about(about))
            }
            Change::KeyAdded(key) => (Events::Key, Event::new("key_added").key(*key)),
            Change::KeyRemoved(key) => (Events::Key, Event::new("key_removed").key(*key)),
            Change::HistoryMerged(history) => {
                let event = Event::new("history_merged").key(history.public_key);
                (Events::Key, event.marks(Marks::of_history(history)))
            }
            Change::HighWatermarkSet(limit) => (Events::Policy, high_watermark(limit.as_ref())),
            Change::PolicyRenewed(version) => {
                (Events::Policy, Event::new("policy_renewed").about(format!("version {version}")))
            }
            Change::TokenAdded { id, name } => (Events::Policy, token("token_added", id, name)),
            Change::TokenRevoked { id, name } => (Events::Policy, token("token_revoked", id, name)),
            Change::ClusterInitialised(identity) => {
                let about = format!("{} on {}", identity.cluster_id, identity.network);
                (Events::Cluster, Event::new("cluster_initialised").about(about))
            }
            Change::AuditAnchored(anchor) => {
                let about = format!("line {}, hash {}", anchor.sequence, hex::encode(anchor.hash));
                (Events::Cluster, Event::new("audit_anchored").node(anchor.node).about(about))
            }
            Change::RulesRaised(version) => {
                (Events::Cluster, Event::new("rules_raised").about(format!("version {version}")))
            }
            Change::JoinTokenAdded { id, node } => (Events::Cluster, join_token("join_token_added", id, *node)),
            Change::JoinTokenRevoked { id, node } => (Events::Cluster, join_token("join_token_revoked", id, *node)),
            Change::NodeAdmitted { node, name, incarnation: _ } => {
                (Events::Cluster, Event::new("node_admitted").node(*node).about(name.clone()))
            }
            Change::NodeRetired { node } => (Events::Cluster, Event::new("node_retired").node(*node)),
            Change::Resumed(floor) => (Events::Cluster, Event::new("resumed").marks(Marks::of_floor(floor))),
        };
        Self::Event(events, event.encoded(change))
    }

    /// Where it belongs.
    #[must_use]
    pub const fn table(&self) -> Table {
        match self {
            Self::Signed(SignedColumns { duty: AgreedDuty::Block { .. }, .. }) => Table::Blocks,
            Self::Signed(SignedColumns { duty: AgreedDuty::Attestation { .. }, .. }) => Table::Attestations,
            Self::Signed(SignedColumns { duty: AgreedDuty::VoluntaryExit { .. }, .. }) => Table::Exits,
            Self::Refused(_) => Table::Refusals,
            Self::Event(Events::Key, _) => Table::KeyEvents,
            Self::Event(Events::Policy, _) => Table::PolicyEvents,
            Self::Event(Events::Cluster, _) => Table::ClusterEvents,
        }
    }

    /// The validator, where there is one.
    #[must_use]
    pub const fn public_key(&self) -> Option<&PublicKey> {
        match self {
            Self::Signed(signed) => Some(&signed.public_key),
            Self::Refused(refused) => Some(&refused.asked.public_key),
            Self::Event(_, event) => event.public_key.as_ref(),
        }
    }

    /// The change that these are the columns of.
    ///
    /// # Errors
    /// [`ProjectionError`]: they are of no change.
    pub fn change(&self) -> Result<Change, ProjectionError> {
        let content = match self {
            Self::Signed(signed) => return signed_change(signed),
            Self::Refused(refused) => &refused.content,
            Self::Event(_, event) => &event.content,
        };
        let change: Change = codec::decode(content).map_err(|error| ProjectionError::Content(error.to_string()))?;
        if Self::of(&change) == *self { Ok(change) } else { Err(ProjectionError::Columns) }
    }
}

fn signed_change(signed: &SignedColumns) -> Result<Change, ProjectionError> {
    let SignedColumns { public_key, duty, signing_root, node, .. } = *signed;
    let peer = unescape(&signed.peer).ok_or(ProjectionError::Text)?;
    Ok(match node {
        Some(node) => Change::SignedVia { public_key, duty, signing_root, peer, node },
        None => Change::Signed { public_key, duty, signing_root, peer },
    })
}

fn asked(public_key: &PublicKey, duty: &AgreedDuty, root: &Root, peer: &str, node: Option<u64>) -> SignedColumns {
    let peer = escape(peer).into_owned();
    SignedColumns { public_key: *public_key, duty: *duty, signing_root: *root, peer, node }
}

fn refused(change: &Change, asked: SignedColumns, violation: &Violation) -> Projection {
    let none = Marks::default();
    let (kind, marks) = match asked.duty {
        AgreedDuty::Block { slot } => ("block", Marks { slot: Some(slot), ..none }),
        AgreedDuty::Attestation { source_epoch, target_epoch } => {
            ("attestation", Marks { source_epoch: Some(source_epoch), target_epoch: Some(target_epoch), ..none })
        }
        AgreedDuty::VoluntaryExit { .. } => ("exit", none),
    };
    let (kind, reason, content) = (kind.to_owned(), violation.to_string(), codec::encode(change));
    Projection::Refused(RefusedColumns { asked, kind, marks, reason, content })
}

fn high_watermark(limit: Option<&HighWatermark>) -> Event {
    let event = Event::new("high_watermark_set");
    let Some(HighWatermark { epoch, slot }) = limit.copied() else { return event.about("none".to_owned()) };
    event.marks(Marks { slot: Some(slot), source_epoch: Some(epoch), target_epoch: Some(epoch) })
}

fn token(kind: &'static str, id: &[u8; 8], name: &str) -> Event {
    Event::new(kind).about(format!("{} {name}", hex::encode(id)))
}

fn join_token(kind: &'static str, id: &[u8; 8], node: u64) -> Event {
    Event::new(kind).node(node).about(hex::encode(id))
}

/// [`EventColumns`] in the making.
struct Event {
    kind: &'static str,
    public_key: Option<PublicKey>,
    node: Option<u64>,
    subject: String,
    marks: Marks,
}

impl Event {
    fn new(kind: &'static str) -> Self {
        Self { kind, public_key: None, node: None, subject: String::new(), marks: Marks::default() }
    }

    fn key(self, public_key: PublicKey) -> Self {
        Self { public_key: Some(public_key), ..self }
    }

    fn node(self, node: u64) -> Self {
        Self { node: Some(node), ..self }
    }

    fn about(self, subject: String) -> Self {
        Self { subject, ..self }
    }

    fn marks(self, marks: Marks) -> Self {
        Self { marks, ..self }
    }

    fn encoded(self, change: &Change) -> EventColumns {
        let Self { kind, public_key, node, subject, marks } = self;
        let (subject, content) = (escape(&subject).into_owned(), codec::encode(change));
        EventColumns { kind: kind.to_owned(), public_key, node, subject, marks, content }
    }
}

#[cfg(test)]
#[path = "project_tests.rs"]
mod tests;
