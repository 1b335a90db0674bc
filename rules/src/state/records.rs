//! The state as key-value records: what the state store keeps and what a snapshot carries.
//!
//! | key | value |
//! |---|---|
//! | `c` | [`Cluster`] |
//! | `a` + public key of an audit log | [`AuditAnchor`] |
//! | `d` + data-key id | [`DataKey`] |
//! | `f` | [`HeldFloor`], after a restore |
//! | `h` + public key | [`History`] |
//! | `j` + join-token id | [`JoinToken`] |
//! | `k` + public key | [`SealedKey`] |
//! | `m` | [`ArchiveMark`], once something was archived |
//! | `n` + node id | [`NodeRecord`] |
//! | `p` | [`HeldPolicy`] |
//! | `q` + node id | [`NodePosition`] |
//! | `t` + token id | [`TokenRecord`] |
//! | `x` + public key | how often the key was deleted, if it was |
//!
//! Values are in the form of [`crate::codec`]; node ids in names are big-endian. `f`, `j`, `n` and `q` came with rules
//! version 2, `m` with 3. A new kind of record needs a new version of the rules, and a kind never changes its form.

use super::access::HeldPolicy;
use super::digest::Digest;
use super::floor::HeldFloor;
use super::{Cluster, NodeRecord, RULES_VERSION, State};
use crate::archive::ArchiveMark;
use crate::codec::{self, DecodeError};
use crate::command::{AuditAnchor, DataKey, JoinToken, NodePosition, SealedKey};
use crate::policy::TokenRecord;
use crate::primitives::PublicKey;
use crate::slashing::History;
use std::sync::Arc;

const AUDIT_ANCHOR: u8 = b'a';
const CLUSTER: u8 = b'c';
const DATA_KEY: u8 = b'd';
const FLOOR: u8 = b'f';
const HISTORY: u8 = b'h';
const JOIN_TOKEN: u8 = b'j';
const KEY: u8 = b'k';
const ARCHIVE_MARK: u8 = b'm';
const NODE: u8 = b'n';
const POLICY: u8 = b'p';
const POSITION: u8 = b'q';
const TOKEN: u8 = b't';
const DELETIONS: u8 = b'x';

/// One record of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Kind and name.
    pub key: Vec<u8>,
    /// Encoded content.
    pub value: Vec<u8>,
}

/// What the store must do to one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordWrite {
    /// Kind and name.
    pub key: Vec<u8>,
    /// Encoded content; `None` removes the record, which may not have been there.
    pub value: Option<Vec<u8>>,
}

/// A record that this binary cannot read. The store it came from must not be used.
#[derive(Debug, thiserror::Error)]
pub enum CorruptRecord {
    /// The key is of no known kind or length.
    #[error("state record with an unknown key of {0} bytes")]
    UnknownKey(usize),
    /// The value cannot be decoded.
    #[error("state record of kind '{kind}' cannot be decoded")]
    Value {
        /// First byte of the key.
        kind: char,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The value names another validator or data key than the record's key.
    #[error("state record of kind '{0}' lies under another record's key")]
    Misplaced(char),
    /// The cluster has moved to rules that this binary does not know: it would judge differently from the others.
    #[error("the state asks for rules version {found}, this binary knows up to {RULES_VERSION}; run a newer binary")]
    NewerRules {
        /// The version that the state asks for.
        found: u32,
    },
}

pub(super) fn cluster_record(cluster: &Cluster) -> Record {
    Record { key: vec![CLUSTER], value: codec::encode(cluster) }
}

pub(super) fn data_key_record(data_key: &DataKey) -> Record {
    Record { key: named(DATA_KEY, &data_key.id), value: codec::encode(data_key) }
}

pub(super) fn history_record(public_key: &PublicKey, history: &History) -> Record {
    Record { key: named(HISTORY, public_key.as_bytes()), value: codec::encode(history) }
}

pub(super) fn key_record(key: &SealedKey) -> Record {
    Record { key: named(KEY, key.public_key.as_bytes()), value: codec::encode(key) }
}

pub(super) fn deletions_record(public_key: &PublicKey, deletions: u64) -> Record {
    Record { key: named(DELETIONS, public_key.as_bytes()), value: codec::encode(&deletions) }
}

pub(super) fn policy_record(policy: &HeldPolicy) -> Record {
    Record { key: vec![POLICY], value: codec::encode(policy) }
}

pub(super) fn token_record(token: &TokenRecord) -> Record {
    Record { key: named(TOKEN, &token.id), value: codec::encode(token) }
}

pub(super) fn audit_anchor_record(anchor: &AuditAnchor) -> Record {
    Record { key: named(AUDIT_ANCHOR, &anchor.public_key), value: codec::encode(anchor) }
}

pub(super) fn floor_record(floor: &HeldFloor) -> Record {
    Record { key: vec![FLOOR], value: codec::encode(floor) }
}

pub(super) fn join_token_record(token: &JoinToken) -> Record {
    Record { key: named(JOIN_TOKEN, &token.id), value: codec::encode(token) }
}

pub(super) fn node_record(node: u64, record: &NodeRecord) -> Record {
    Record { key: named(NODE, &node.to_be_bytes()), value: codec::encode(record) }
}

pub(super) fn position_record(node: u64, position: &NodePosition) -> Record {
    Record { key: named(POSITION, &node.to_be_bytes()), value: codec::encode(position) }
}

pub(super) fn archive_mark_record(mark: &ArchiveMark) -> Record {
    Record { key: vec![ARCHIVE_MARK], value: codec::encode(mark) }
}

fn named(kind: u8, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(kind);
    key.extend_from_slice(name);
    key
}

impl State {
    /// Every record of the state, in a fixed order.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        // A state that was never applied to has no records, so that its digest is that of nothing.
        let cluster = (self.cluster != Cluster::default()).then(|| cluster_record(&self.cluster));
        let data_keys = self.data_keys.values().map(data_key_record);
        let validators = self.validators.iter().flat_map(|(public_key, validator)| {
            let history =
                (validator.history != History::default()).then(|| history_record(public_key, &validator.history));
            let deletions = (validator.deletions > 0).then(|| deletions_record(public_key, validator.deletions));
            history.into_iter().chain(validator.key.as_deref().map(key_record)).chain(deletions)
        });
        let policy = self.policy.as_ref().map(policy_record);
        let tokens = self.tokens.values().map(|token| token_record(token));
        let anchors = self.audit_anchors.values().map(audit_anchor_record);
        let access = policy.into_iter().chain(tokens).chain(anchors);
        cluster.into_iter().chain(data_keys).chain(validators).chain(access).chain(self.lifecycle_records())
    }

    fn lifecycle_records(&self) -> impl Iterator<Item = Record> {
        let floor = self.floor.as_ref().map(floor_record);
        let join_tokens = self.join_tokens.values().map(join_token_record);
        let nodes = self.nodes.iter().map(|(node, record)| node_record(*node, record));
        let positions = self.positions.iter().map(|(node, position)| position_record(*node, position));
        let mark = self.archive_mark.as_ref().map(archive_mark_record);
        floor.into_iter().chain(join_tokens).chain(nodes).chain(positions).chain(mark)
    }

    /// Builds a state from records in any order.
    ///
    /// # Errors
    /// [`CorruptRecord`] on the first record that cannot be read; nothing of the others is used then.
    pub fn from_records<K, V>(records: impl IntoIterator<Item = (K, V)>) -> Result<Self, CorruptRecord>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut state = Self::default();
        let mut first = None;
        for (key, value) in records {
            let (key, value) = (key.as_ref(), value.as_ref());
            // Newer rules bring records that this binary cannot know: say that rather than that one is unknown.
            if first.is_none() || key == [CLUSTER] {
                first = state.load(key, value).err().or(first);
            }
        }
        if state.cluster.rules_version > RULES_VERSION {
            return Err(CorruptRecord::NewerRules { found: state.cluster.rules_version });
        }
        match first {
            Some(corrupt) => Err(corrupt),
            None => Ok(state.with_digest()),
        }
    }

    /// With the digest of its records, computed afresh.
    pub(super) fn with_digest(self) -> Self {
        let mut digest = Digest::default();
        for record in self.records() {
            digest.add(&record);
        }
        Self { digest, ..self }
    }

    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptRecord> {
        let (kind, name) = key.split_first().ok_or(CorruptRecord::UnknownKey(0))?;
        match (*kind, name.len()) {
            (CLUSTER, 0) => self.cluster = read(*kind, value)?,
            (DATA_KEY, 16) => {
                let data_key: DataKey = read(*kind, value)?;
                expect_name(*kind, name, &data_key.id)?;
                self.data_keys.insert(data_key.id, data_key);
            }
            (HISTORY, PublicKey::LENGTH) => {
                let public_key = PublicKey(name.try_into().map_err(|_| CorruptRecord::UnknownKey(key.len()))?);
                self.validators.entry(public_key).or_default().history = read(*kind, value)?;
            }
            (KEY, PublicKey::LENGTH) => {
                let sealed: SealedKey = read(*kind, value)?;
                expect_name(*kind, name, sealed.public_key.as_bytes())?;
                let public_key = sealed.public_key;
                self.validators.entry(public_key).or_default().key = Some(Arc::new(sealed));
            }
            (DELETIONS, PublicKey::LENGTH) => {
                let public_key = PublicKey(name.try_into().map_err(|_| CorruptRecord::UnknownKey(key.len()))?);
                self.validators.entry(public_key).or_default().deletions = read(*kind, value)?;
            }
            (POLICY, 0) => self.policy = Some(read(*kind, value)?),
            (TOKEN, 8) => {
                let token: TokenRecord = read(*kind, value)?;
                expect_name(*kind, name, &token.id)?;
                self.tokens.insert(token.id, Arc::new(token));
            }
            (AUDIT_ANCHOR, 32) => {
                let anchor: AuditAnchor = read(*kind, value)?;
                expect_name(*kind, name, &anchor.public_key)?;
                self.audit_anchors.insert(anchor.public_key, anchor);
            }
            (FLOOR, 0) => self.floor = Some(read(*kind, value)?),
            (ARCHIVE_MARK, 0) => self.archive_mark = Some(read(*kind, value)?),
            (JOIN_TOKEN, 8) => {
                let token: JoinToken = read(*kind, value)?;
                expect_name(*kind, name, &token.id)?;
                self.join_tokens.insert(token.id, token);
            }
            (NODE, 8) => {
                self.nodes.insert(node_id(name)?, read(*kind, value)?);
            }
            (POSITION, 8) => {
                self.positions.insert(node_id(name)?, read(*kind, value)?);
            }
            _ => return Err(CorruptRecord::UnknownKey(key.len())),
        }
        Ok(())
    }
}

fn node_id(name: &[u8]) -> Result<u64, CorruptRecord> {
    name.try_into().map(u64::from_be_bytes).map_err(|_| CorruptRecord::UnknownKey(1 + name.len()))
}

fn read<T: serde::de::DeserializeOwned>(kind: u8, value: &[u8]) -> Result<T, CorruptRecord> {
    codec::decode(value).map_err(|source| CorruptRecord::Value { kind: char::from(kind), source })
}

fn expect_name(kind: u8, expected: &[u8], found: &[u8]) -> Result<(), CorruptRecord> {
    if expected == found { Ok(()) } else { Err(CorruptRecord::Misplaced(char::from(kind))) }
}
