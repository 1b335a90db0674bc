//! Applying committed commands, in log order: the only place where the state changes.

use super::digest::Digest;
use super::keys::TouchedKeys;
use super::records::{self, Record, RecordWrite};
use super::{Applied, Cluster, State};
use crate::command::{
    Change, ClusterIdentity, Command, CommandBatch, HighWatermark, HistoryImport, Outcome, Rejection, SignIntent,
    Verdict,
};
use crate::primitives::PublicKey;
use crate::slashing::{History, Ruling};
use std::collections::BTreeMap;

/// The rules since which a record says through which node the request came.
const RULES_OF_NODES: u32 = 3;

impl State {
    /// Applies one committed batch. Commands are judged in order, each against the state that the former left.
    pub fn apply(&mut self, batch: &CommandBatch) -> Applied {
        let mut step = Step {
            state: self,
            changes: Vec::new(),
            touched: TouchedKeys::default(),
            admission_changed: false,
            records: BTreeMap::new(),
        };
        let outcomes = batch.commands.iter().map(|command| step.command(command)).collect();
        let Step { changes, touched, admission_changed, records, .. } = step;
        let records = records.into_iter().map(|(key, value)| RecordWrite { key, value }).collect();
        Applied { outcomes, changes, touched, admission_changed, records }
    }
}

/// One batch being applied: the state, and what has happened so far.
pub(super) struct Step<'a> {
    pub(super) state: &'a mut State,
    pub(super) changes: Vec<Change>,
    pub(super) touched: TouchedKeys,
    pub(super) admission_changed: bool,
    /// What the store must hold after the batch; `None` where it must hold nothing.
    records: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Step<'_> {
    fn command(&mut self, command: &Command) -> Outcome {
        if let Command::Initialise(identity) = command {
            return self.initialise(identity);
        }
        if self.state.cluster.identity.is_none() {
            return Outcome::Rejected(Rejection::NotInitialised);
        }
        let needed = command.rules_needed();
        if needed > self.state.rules_version() {
            return Outcome::Rejected(Rejection::NeedsRules { needed });
        }
        match command {
            Command::Initialise(identity) => self.initialise(identity),
            Command::Sign(intent) => Outcome::Judged(self.sign(intent)),
            Command::AddDataKey(data_key) => self.add_data_key(data_key),
            Command::ImportKey { sealed, history, deletions_seen } => {
                self.import_key(sealed, history.as_ref(), *deletions_seen)
            }
            Command::ImportHistory(history) => {
                let raised = self.merge_history(history);
                Outcome::HistoryMerged { public_key: history.public_key, raised }
            }
            Command::SetHighWatermark(limit) => self.set_high_watermark(*limit),
            Command::RenewPolicy => Outcome::PolicyRenewed(self.raise_policy_version()),
            Command::DeleteKey { public_key, deletions_seen } => self.delete_key(public_key, *deletions_seen),
            Command::Reseal(resealed) => self.reseal(resealed),
            Command::RemoveDataKey(id) => self.remove_data_key(id),
            Command::SetPolicy { policy, replaces } => self.set_policy(policy, *replaces),
            Command::AddToken { token, policy_version } => self.add_token(token, *policy_version),
            Command::RevokeToken { id } => self.revoke_token(id),
            Command::AnchorAudit(anchor) => self.anchor_audit(anchor),
            Command::RaiseRules { version } => self.raise_rules(*version),
            Command::AddJoinToken(token) => self.add_join_token(token),
            Command::RevokeJoinToken { id } => self.revoke_join_token(id),
            Command::AdmitNode { node, name, incarnation, token } => self.admit_node(*node, name, incarnation, token),
            Command::RetireNode { node } => self.retire_node(*node),
            Command::NotePositions(positions) => self.note_positions(positions),
            Command::Resume(floor) => self.resume(floor),
            Command::AdvanceArchive { after, mark } => self.advance_archive(*after, mark),
        }
    }

    fn initialise(&mut self, identity: &ClusterIdentity) -> Outcome {
        if let Some(present) = &self.state.cluster.identity {
            return Outcome::Rejected(Rejection::AlreadyInitialised(present.cluster_id));
        }
        self.replace_cluster(Cluster { identity: Some(identity.clone()), ..self.state.cluster.clone() });
        self.changes.push(Change::ClusterInitialised(identity.clone()));
        Outcome::Initialised
    }

    /// Judges an intent and records it if it is safe: the check and the record are this one step.
    fn sign(&mut self, intent: &SignIntent) -> Verdict {
        let ruling = self.judge(intent);
        self.changes.extend(recorded(intent, &ruling, self.state.rules_version()));
        Verdict {
            request_id: intent.request_id,
            public_key: intent.public_key,
            duty: intent.duty,
            signing_root: intent.signing_root,
            ruling,
        }
    }

    fn judge(&mut self, intent: &SignIntent) -> Ruling {
        if self.state.awaiting_floor() {
            return Ruling::AwaitingFloor;
        }
        let cluster = &self.state.cluster;
        if intent.policy_version != cluster.policy_version {
            return Ruling::Stale { policy_version: cluster.policy_version };
        }
        let limit = cluster.high_watermark;
        let Some(validator) = self.state.validators.get(&intent.public_key).filter(|known| known.key.is_some()) else {
            return Ruling::UnknownKey;
        };
        let mut history = validator.history;
        let ruling = history.judge(&intent.duty, &intent.signing_root, limit.as_ref());
        self.replace_history(&intent.public_key, history);
        ruling
    }

    pub(super) fn merge_history(&mut self, import: &HistoryImport) -> bool {
        let mut history = self.state.validator(&import.public_key).map_or_else(History::default, |known| known.history);
        let raised = history.merge(import);
        if raised {
            self.replace_history(&import.public_key, history);
            self.changes.push(Change::HistoryMerged(import.clone()));
        }
        raised
    }

    fn set_high_watermark(&mut self, limit: Option<HighWatermark>) -> Outcome {
        if let Some(limit) = &limit {
            let covered = |history: &History| {
                history.block.is_none_or(|mark| mark.max_slot < limit.slot)
                    && history.attestation.is_none_or(|mark| mark.max_target.max(mark.max_source) < limit.epoch)
            };
            if let Some((key, _)) = self.state.validators.iter().find(|(_, known)| !covered(&known.history)) {
                return Outcome::Rejected(Rejection::HighWatermarkBelowHistory(*key));
            }
        }
        self.replace_cluster(Cluster { high_watermark: limit, ..self.state.cluster.clone() });
        self.changes.push(Change::HighWatermarkSet(limit));
        Outcome::HighWatermarkSet
    }

    pub(super) fn replace_cluster(&mut self, cluster: Cluster) {
        let before = (self.state.cluster != Cluster::default()).then(|| records::cluster_record(&self.state.cluster));
        self.write(before, records::cluster_record(&cluster));
        self.state.cluster = cluster;
    }

    pub(super) fn replace_history(&mut self, public_key: &PublicKey, history: History) {
        let validator = self.state.validators.entry(*public_key).or_default();
        if validator.history == history {
            return;
        }
        let before =
            (validator.history != History::default()).then(|| records::history_record(public_key, &validator.history));
        validator.history = history;
        self.write(before, records::history_record(public_key, &history));
    }

    /// Notes a record for the store and moves the digest from its old to its new content.
    pub(super) fn write(&mut self, before: Option<Record>, after: Record) {
        let digest: &mut Digest = &mut self.state.digest;
        if let Some(before) = &before {
            digest.remove(before);
        }
        digest.add(&after);
        self.records.insert(after.key, Some(after.value));
    }

    /// Notes that the store must not hold a record any more, and takes it out of the digest.
    pub(super) fn erase(&mut self, before: Record) {
        self.state.digest.remove(&before);
        self.records.insert(before.key, None);
    }
}

/// What a ruling leaves in the outbox, in the form that the rules ask for. Nothing if it recorded nothing.
fn recorded(intent: &SignIntent, ruling: &Ruling, rules: u32) -> Option<Change> {
    let SignIntent { request_id, public_key, duty, signing_root, .. } = *intent;
    let (node, peer) = (request_id.node(), intent.peer.clone());
    match *ruling {
        Ruling::Safe if rules < RULES_OF_NODES => Some(Change::Signed { public_key, duty, signing_root, peer }),
        Ruling::Safe => Some(Change::SignedVia { public_key, duty, signing_root, peer, node }),
        Ruling::Refused(violation) if rules < RULES_OF_NODES => {
            Some(Change::Refused { public_key, duty, signing_root, peer, violation })
        }
        Ruling::Refused(violation) => {
            Some(Change::RefusedVia { public_key, duty, signing_root, peer, violation, node })
        }
        Ruling::Repeat | Ruling::Stale { .. } | Ruling::UnknownKey | Ruling::AwaitingFloor => None,
    }
}
