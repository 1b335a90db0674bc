//! What the slashing tests share: tiny values, a naive oracle, and a state that checks itself after every batch.

#![allow(dead_code, reason = "every test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "vectors lie in files; only the rules themselves touch none")]

pub mod oracle;

use consigner_rules::command::{ClusterIdentity, DataKey};
use consigner_rules::primitives::{ClusterId, RequestId};
use consigner_rules::state::{Applied, Record, RecordWrite, State, TouchedKeys};
use consigner_rules::{AgreedDuty, Change, Command, CommandBatch, Outcome, PublicKey, Root, SealedKey, SignIntent};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The policy version of a new cluster.
pub const POLICY: u64 = 1;

pub fn key(number: u8) -> PublicKey {
    PublicKey([number; 48])
}

pub fn root(number: u8) -> Root {
    Root([number; 32])
}

pub fn identity(genesis_validators_root: Root) -> ClusterIdentity {
    ClusterIdentity { cluster_id: ClusterId([7; 16]), network: "minimal".to_owned(), genesis_validators_root }
}

pub fn data_key(number: u8) -> DataKey {
    DataKey { id: [number; 16], sealer: "local".to_owned(), wrapped: vec![number; 40] }
}

pub fn sealed(public_key: PublicKey, data_key: u8) -> SealedKey {
    SealedKey { format: 1, public_key, data_key: [data_key; 16], nonce: [3; 12], ciphertext: vec![9; 48] }
}

pub fn intent(public_key: PublicKey, duty: AgreedDuty, signing_root: Root) -> SignIntent {
    let (request_id, peer) = (RequestId([5; 16]), "client".to_owned());
    SignIntent { request_id, public_key, duty, signing_root, peer, policy_version: POLICY }
}

pub fn batch(commands: Vec<Command>) -> CommandBatch {
    CommandBatch { proposed_at_ms: 0, checkpoint: None, commands }
}

/// Where the vectors lie, or `None` after saying plainly that the test is skipped.
pub fn vectors(name: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("CONSIGNER_VECTORS").map_or_else(beside, PathBuf::from).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no vectors at {} (set CONSIGNER_VECTORS)", folder.display());
    None
}

/// A state beside the store that a node would keep of it; checks every promise of `Applied` after every batch.
#[derive(Clone, Default)]
pub struct Checked {
    pub state: State,
    store: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Checked {
    /// A node that holds this state already.
    pub fn of(state: State) -> Self {
        let store = state.records().map(|Record { key, value }| (key, value)).collect();
        let checked = Self { state, store };
        checked.assert_store();
        checked
    }

    /// A cluster with one data key.
    pub fn initialised(genesis_validators_root: Root) -> Self {
        let mut checked = Self::default();
        let commands = vec![Command::Initialise(identity(genesis_validators_root)), Command::AddDataKey(data_key(1))];
        assert_eq!(checked.apply(&batch(commands)).outcomes, [Outcome::Initialised, Outcome::DataKeyHeld]);
        checked
    }

    pub fn import_key(&mut self, public_key: PublicKey) {
        let command = Command::ImportKey { sealed: sealed(public_key, 1), history: None, deletions_seen: u64::MAX };
        assert_eq!(self.one(command), Outcome::KeyImported { public_key, duplicate: false });
    }

    pub fn one(&mut self, command: Command) -> Outcome {
        let mut applied = self.apply(&batch(vec![command]));
        assert_eq!(applied.outcomes.len(), 1);
        applied.outcomes.remove(0)
    }

    /// Applies a batch and asserts S3, S8 and that the named records are exactly what changed.
    pub fn apply(&mut self, batch: &CommandBatch) -> Applied {
        let before = self.state.clone();
        let applied = self.state.apply(batch);
        assert_eq!(applied.outcomes.len(), batch.commands.len(), "one outcome per command");
        assert_watermarks_kept(&before, &self.state);
        assert_keys_follow(&before, batch, &applied, &self.state);
        for RecordWrite { key, value } in applied.records.clone() {
            match value {
                Some(value) => self.store.insert(key, value),
                None => self.store.remove(&key),
            };
        }
        self.assert_store();
        assert_same_on_another_node(before, batch, &applied, &self.state);
        applied
    }

    fn assert_store(&self) {
        let records: BTreeMap<_, _> = self.state.records().map(|Record { key, value }| (key, value)).collect();
        assert_eq!(records, self.store, "what the store was told is what the state holds");
        assert_eq!(self.state.digest(), self.state.recomputed_digest());
        let loaded = State::from_records(&self.store).expect("own records load");
        assert_eq!(loaded.digest(), self.state.digest());
        assert_eq!(loaded.cluster(), self.state.cluster());
        assert!(loaded.validators().eq(self.state.validators()));
        assert!(loaded.data_keys().eq(self.state.data_keys()));
        assert_eq!((loaded.policy(), loaded.policy_since()), (self.state.policy(), self.state.policy_since()));
        assert!(loaded.tokens().eq(self.state.tokens()));
        assert!(loaded.audit_anchors().eq(self.state.audit_anchors()));
        assert!(loaded.join_tokens().eq(self.state.join_tokens()) && loaded.nodes().eq(self.state.nodes()));
        assert_eq!(loaded.positions(), self.state.positions());
        assert_eq!(loaded.archive_mark(), self.state.archive_mark());
        assert_eq!((loaded.awaiting_floor(), loaded.floor()), (self.state.awaiting_floor(), self.state.floor()));
    }
}

/// S3: no command lowers or forgets a watermark or takes the policy back.
fn assert_watermarks_kept(before: &State, after: &State) {
    assert!(after.cluster().policy_version >= before.cluster().policy_version);
    assert!(after.rules_version() >= before.rules_version());
    assert_rights_kept(before, after);
    assert_ids_used_once(before, after);
    let archived = |state: &State| state.archive_mark().map_or(0, |mark| mark.index);
    assert!(archived(after) >= archived(before), "what is archived stays archived");
    assert!(archived(after) > archived(before) || before.archive_mark() == after.archive_mark());
    assert!(before.identity().is_none() || before.identity() == after.identity());
    for (public_key, old) in before.validators() {
        let new = after.validator(public_key).cloned().unwrap_or_default();
        if let Some(old) = old.history.block {
            assert!(new.history.block.expect("a block mark never vanishes").max_slot >= old.max_slot);
        }
        if let Some(old) = old.history.attestation {
            let new = new.history.attestation.expect("an attestation mark never vanishes");
            assert!(new.max_source >= old.max_source && new.max_target >= old.max_target);
        }
    }
}

/// Whoever loses a right loses it under a new policy version, so that nobody is admitted by the old one; and no audit
/// log goes back.
fn assert_rights_kept(before: &State, after: &State) {
    let revoked = before.tokens().any(|token| after.token(&token.id) != Some(token));
    if before.policy() != after.policy() || revoked {
        assert!(after.cluster().policy_version > before.cluster().policy_version);
    }
    for old in before.audit_anchors() {
        let new = after.audit_anchors().find(|new| new.public_key == old.public_key).expect("an anchor never vanishes");
        assert!(new == old || (new.node == old.node && new.sequence > old.sequence));
    }
}

/// A used id stays used, by the disk that had it first; what left does not come back; positions only rise.
fn assert_ids_used_once(before: &State, after: &State) {
    for (node, old) in before.nodes() {
        let new = after.node_record(node).expect("a used id stays used");
        assert!(new.incarnation == old.incarnation && new.retired >= old.retired);
    }
    for (node, old) in before.positions() {
        match after.position_of(*node) {
            Some(new) => assert!(new >= *old),
            None => assert!(after.node_record(*node).is_some_and(|record| record.retired)),
        }
    }
    assert!(after.nodes().all(|(node, record)| !record.retired || after.position_of(node).is_none()));
    assert!(after.join_tokens().all(|token| after.node_record(token.node).is_none()), "leave for an id that is used");
    assert!(before.floor().is_none() || before.floor() == after.floor());
    assert!(!after.awaiting_floor() || before.awaiting_floor(), "only a restore waits for a floor");
}

/// No key moves or goes unless a command says so, whoever holds keyrings is told, and no key lies under no data key.
fn assert_keys_follow(before: &State, batch: &CommandBatch, applied: &Applied, after: &State) {
    let sealed = |state: &State| -> BTreeMap<PublicKey, SealedKey> {
        state.keys().map(|sealed| (sealed.public_key, (**sealed).clone())).collect()
    };
    let (old, new) = (sealed(before), sealed(after));
    for public_key in old.keys().chain(new.keys()).filter(|public_key| old.get(public_key) != new.get(public_key)) {
        assert!(applied.touched.keys.contains(public_key), "the keyrings are told of {public_key}");
        let named = |command: &Command| match command {
            Command::DeleteKey { public_key: deleted, .. } => deleted == public_key,
            Command::Reseal(resealed) => resealed.iter().any(|resealed| resealed.sealed.public_key == *public_key),
            Command::ImportKey { sealed, .. } => sealed.public_key == *public_key && !old.contains_key(public_key),
            Command::Initialise(_)
            | Command::Sign(_)
            | Command::AddDataKey(_)
            | Command::ImportHistory(_)
            | Command::SetHighWatermark(_)
            | Command::RenewPolicy
            | Command::RemoveDataKey(_)
            | Command::SetPolicy { .. }
            | Command::AddToken { .. }
            | Command::RevokeToken { .. }
            | Command::AnchorAudit(_)
            | Command::RaiseRules { .. }
            | Command::AddJoinToken(_)
            | Command::RevokeJoinToken { .. }
            | Command::AdmitNode { .. }
            | Command::RetireNode { .. }
            | Command::NotePositions(_)
            | Command::Resume(_)
            | Command::AdvanceArchive { .. } => false,
        };
        assert!(batch.commands.iter().any(named), "{public_key} moved by itself");
    }
    for data_key in before.data_keys().filter(|data_key| after.data_key(&data_key.id).is_none()) {
        assert!(applied.touched.data_keys.contains(&data_key.id));
    }
    for data_key in after.data_keys().filter(|data_key| before.data_key(&data_key.id).is_none()) {
        assert!(applied.touched.data_keys.contains(&data_key.id));
    }
    assert!(new.values().all(|sealed| after.data_key(&sealed.data_key).is_some()), "a key that nobody can open");
    let counts = after.keys_by_data_key();
    assert!(counts.iter().all(|(id, keys)| after.keys_under(id) == *keys));
    assert_eq!(counts.values().sum::<u64>(), new.len() as u64);
}

/// S8: the same batch on a clone, and the same commands one by one, give the same answers and the same state.
fn assert_same_on_another_node(before: State, batch_applied: &CommandBatch, applied: &Applied, after: &State) {
    let (mut other, before_all) = (before.clone(), before.clone());
    assert_eq!(&other.apply(batch_applied), applied);
    assert_eq!(other.digest(), after.digest());

    let mut single = before;
    let mut outcomes = Vec::new();
    let mut changes: Vec<Change> = Vec::new();
    let mut records = BTreeMap::new();
    let mut touched = TouchedKeys::default();
    let mut admission_changed = false;
    for command in &batch_applied.commands {
        let mut step = single.apply(&batch(vec![command.clone()]));
        outcomes.append(&mut step.outcomes);
        changes.append(&mut step.changes);
        records.extend(step.records.into_iter().map(|record| (record.key, record.value)));
        admission_changed |= step.admission_changed;
        touched.keys.append(&mut step.touched.keys);
        touched.data_keys.append(&mut step.touched.data_keys);
    }
    assert_eq!(outcomes, applied.outcomes);
    assert_eq!(changes, applied.changes);
    assert!(records.into_iter().eq(applied.records.iter().map(|record| (record.key.clone(), record.value.clone()))));
    assert_eq!(touched, applied.touched);
    assert_eq!(admission_changed, applied.admission_changed);
    let version = |state: &State| (state.cluster().policy_version, state.tokens().cloned().collect::<Vec<_>>());
    assert!(applied.admission_changed || version(&before_all) == version(after), "whoever admits is told");
    assert_eq!(single.digest(), after.digest());
    assert!(single.records().eq(after.records()));
}
