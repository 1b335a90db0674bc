//! Keys come, move and go: validator keys and the data keys that they are sealed under.
//!
//! In: the commands about keys. Out: outcomes, changes, records. History is only ever merged here, never removed: a key
//! that was deleted and comes back finds what it signed. Deliberately absent: anything that opens a key.

use super::State;
use super::apply::Step;
use super::records;
use crate::command::{Change, DataKey, HistoryImport, KeyDeletion, Outcome, Rejection, ResealedKey, SealedKey};
use crate::primitives::PublicKey;
use crate::slashing::History;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The keys that a batch added, replaced or removed; what became of them stands in the state after the batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TouchedKeys {
    /// Validators whose sealed key changed.
    pub keys: BTreeSet<PublicKey>,
    /// Data keys that changed.
    pub data_keys: BTreeSet<[u8; 16]>,
}

impl State {
    /// How many validator keys are sealed under a data key. Walks all keys.
    #[must_use]
    pub fn keys_under(&self, data_key: &[u8; 16]) -> u64 {
        self.keys().filter(|sealed| sealed.data_key == *data_key).count() as u64
    }

    /// How many validator keys are sealed under each data key, by id; zero for those without. Walks all keys once.
    #[must_use]
    pub fn keys_by_data_key(&self) -> BTreeMap<[u8; 16], u64> {
        let mut counts: BTreeMap<_, _> = self.data_keys().map(|data_key| (data_key.id, 0)).collect();
        for sealed in self.keys() {
            *counts.entry(sealed.data_key).or_default() += 1;
        }
        counts
    }
}

impl Step<'_> {
    pub(super) fn add_data_key(&mut self, data_key: &DataKey) -> Outcome {
        match self.state.data_keys.get(&data_key.id) {
            Some(present) if present == data_key => Outcome::DataKeyHeld,
            Some(_) => Outcome::Rejected(Rejection::DataKeyConflict),
            None => {
                self.write(None, records::data_key_record(data_key));
                self.state.data_keys.insert(data_key.id, data_key.clone());
                self.touched.data_keys.insert(data_key.id);
                self.changes.push(Change::DataKeyAdded(data_key.id));
                Outcome::DataKeyHeld
            }
        }
    }

    /// A key without its data key could never be opened again.
    pub(super) fn remove_data_key(&mut self, id: &[u8; 16]) -> Outcome {
        // Before the walk over all keys: a list of ids that nobody holds must not hold up the others.
        if !self.state.data_keys.contains_key(id) {
            return Outcome::DataKeyRemoved { was_held: false };
        }
        let keys = self.state.keys_under(id);
        if keys > 0 {
            return Outcome::Rejected(Rejection::DataKeyInUse { keys });
        }
        let removed = self.state.data_keys.remove(id);
        if let Some(data_key) = &removed {
            self.erase(records::data_key_record(data_key));
            self.touched.data_keys.insert(*id);
            self.changes.push(Change::DataKeyRemoved(*id));
        }
        Outcome::DataKeyRemoved { was_held: removed.is_some() }
    }

    /// Merges the history first and enables the key after it, in one step: at no index is the key enabled without.
    pub(super) fn import_key(
        &mut self,
        sealed: &SealedKey,
        history: Option<&HistoryImport>,
        deletions_seen: u64,
    ) -> Outcome {
        if let Some(history) = history.filter(|history| history.public_key != sealed.public_key) {
            let (key, history) = (sealed.public_key, history.public_key);
            return Outcome::Rejected(Rejection::ForeignHistory { key, history });
        }
        if !self.state.data_keys.contains_key(&sealed.data_key) {
            return Outcome::Rejected(Rejection::UnknownDataKey);
        }
        let public_key = sealed.public_key;
        let deletions = self.state.deletions(&public_key);
        if deletions > deletions_seen {
            return Outcome::Rejected(Rejection::DeletedMeanwhile { deletions });
        }
        if let Some(history) = history {
            self.merge_history(history);
        }
        let duplicate = self.state.holds(&public_key);
        if !duplicate {
            self.raise_to_floor(&public_key);
            self.write(None, records::key_record(sealed));
            self.state.validators.entry(public_key).or_default().key = Some(Arc::new(sealed.clone()));
            self.touched.keys.insert(public_key);
            self.changes.push(Change::KeyAdded(public_key));
        }
        Outcome::KeyImported { public_key, duplicate }
    }

    /// Removes the key and keeps the history, and that there was a deletion, for ever.
    pub(super) fn delete_key(&mut self, public_key: &PublicKey, deletions_seen: u64) -> Outcome {
        let public_key = *public_key;
        let Some(validator) = self.state.validators.get_mut(&public_key) else {
            return Outcome::KeyDeleted { public_key, status: KeyDeletion::NotFound };
        };
        let deletions = validator.deletions;
        let status = match (&validator.key, validator.history == History::default()) {
            (Some(_), _) if deletions > deletions_seen => {
                return Outcome::Rejected(Rejection::DeletedMeanwhile { deletions });
            }
            (Some(_), _) => KeyDeletion::Deleted,
            (None, false) => KeyDeletion::NotActive,
            (None, true) => KeyDeletion::NotFound,
        };
        if let Some(sealed) = validator.key.take() {
            validator.deletions = deletions.saturating_add(1);
            let before = (deletions > 0).then(|| records::deletions_record(&public_key, deletions));
            let after = records::deletions_record(&public_key, validator.deletions);
            self.write(before, after);
            self.erase(records::key_record(&sealed));
            self.touched.keys.insert(public_key);
            self.changes.push(Change::KeyRemoved(public_key));
        }
        Outcome::KeyDeleted { public_key, status }
    }

    pub(super) fn reseal(&mut self, resealed: &[ResealedKey]) -> Outcome {
        let mut moved: BTreeMap<[u8; 16], u64> = BTreeMap::new();
        for ResealedKey { from, sealed } in resealed {
            if self.replace_sealing(from, sealed) {
                *moved.entry(sealed.data_key).or_default() += 1;
            }
        }
        let replaced: u64 = moved.values().sum();
        self.changes.extend(moved.into_iter().map(|(data_key, keys)| Change::KeysResealed { data_key, keys }));
        Outcome::Resealed { replaced, skipped: resealed.len() as u64 - replaced }
    }

    /// Answers whether the key was replaced.
    fn replace_sealing(&mut self, from: &[u8; 16], sealed: &SealedKey) -> bool {
        if !self.state.data_keys.contains_key(&sealed.data_key) {
            return false;
        }
        let Some(validator) = self.state.validators.get_mut(&sealed.public_key) else { return false };
        let Some(present) = validator.key.as_mut().filter(|present| present.data_key == *from) else { return false };
        let before = std::mem::replace(present, Arc::new(sealed.clone()));
        self.touched.keys.insert(sealed.public_key);
        self.write(Some(records::key_record(&before)), records::key_record(sealed));
        true
    }
}
