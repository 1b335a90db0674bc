//! What custody knows: data keys, open or not, and the keys that wait for them.
//!
//! In: what the state holds, attempts to open. Out: what is due, what is settled, the status. Deliberately absent:
//! the keyring, sealers, waiting. Everything here happens under one short lock.

use super::{CustodyStatus, DataKeyStatus};
use crate::sealing::{PlainDataKey, UnsealError};
use consigner_rules::command::{DataKey, SealedKey};
use consigner_rules::primitives::PublicKey;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Pause before the second attempt to open a data key; each further pause is twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Books {
    data_keys: BTreeMap<[u8; 16], Entry>,
    failed: HashMap<PublicKey, UnsealError>,
    /// Removed keys whose signing calls have not all ended.
    pub(super) releasing: usize,
}

struct Entry {
    record: DataKey,
    open: Option<Arc<PlainDataKey>>,
    /// Whether the state holds it; one that was made here may be on its way there.
    in_state: bool,
    waiting: HashMap<PublicKey, Arc<SealedKey>>,
    attempt: Attempt,
}

/// Where the opening of a data key stands.
enum Attempt {
    Due,
    UnderWay { failures: u32, last: Option<String> },
    Failed { failures: u32, why: String, next: Option<Instant> },
}

impl Books {
    pub(super) fn add_data_key(&mut self, record: &DataKey, in_state: bool) {
        let entry = self.data_keys.entry(record.id).or_insert_with(|| Entry {
            record: record.clone(),
            open: None,
            in_state: false,
            waiting: HashMap::new(),
            attempt: Attempt::Due,
        });
        entry.in_state |= in_state;
    }

    pub(super) fn remove_data_key(&mut self, id: &[u8; 16]) {
        self.data_keys.remove(id);
    }

    pub(super) fn discard_data_key(&mut self, id: &[u8; 16]) {
        if self.data_keys.get(id).is_some_and(|entry| !entry.in_state) {
            self.data_keys.remove(id);
        }
    }

    /// Keeps what is open, and what was made here and is on its way into the state; nothing waits afterwards.
    pub(super) fn replace_data_keys(&mut self, records: Vec<DataKey>) {
        let mut before = std::mem::take(&mut self.data_keys);
        self.failed.clear();
        for record in records {
            if let Some(mut entry) = before.remove(&record.id).filter(|entry| entry.record == record) {
                entry.waiting.clear();
                self.data_keys.insert(record.id, entry);
            }
            self.add_data_key(&record, true);
        }
        self.data_keys.extend(before.into_iter().filter(|(_, entry)| !entry.in_state));
    }

    pub(super) fn open(&self, id: &[u8; 16]) -> Option<Arc<PlainDataKey>> {
        self.data_keys.get(id)?.open.clone()
    }

    pub(super) fn wait(&mut self, sealed: Arc<SealedKey>) {
        if let Some(entry) = self.data_keys.get_mut(&sealed.data_key) {
            entry.waiting.insert(sealed.public_key, sealed);
        } else {
            // The state never holds a key without its data key; said rather than assumed.
            let (public_key, data_key) = (sealed.public_key, sealed.data_key);
            self.failed(public_key, UnsealError::OtherDataKey { public_key, data_key });
        }
    }

    /// Nothing is known of this key any more.
    pub(super) fn forget(&mut self, public_key: &PublicKey) {
        self.failed.remove(public_key);
        for entry in self.data_keys.values_mut() {
            entry.waiting.remove(public_key);
        }
    }

    pub(super) fn failed(&mut self, public_key: PublicKey, error: UnsealError) {
        self.failed.insert(public_key, error);
    }

    /// Some of the keys that wait for an open data key, taken out.
    pub(super) fn take_waiting(&mut self, id: &[u8; 16], count: usize) -> Vec<Arc<SealedKey>> {
        let Some(entry) = self.data_keys.get_mut(id).filter(|entry| entry.open.is_some()) else { return Vec::new() };
        let names: Vec<PublicKey> = entry.waiting.keys().take(count).copied().collect();
        names.iter().filter_map(|name| entry.waiting.remove(name)).collect()
    }

    /// Open data keys for which keys still wait.
    pub(super) fn to_drain(&self) -> Vec<[u8; 16]> {
        let drains = |entry: &Entry| entry.open.is_some() && !entry.waiting.is_empty();
        self.data_keys.iter().filter(|(_, entry)| drains(entry)).map(|(id, _)| *id).collect()
    }

    /// Data keys to open now; they count as under way from here on.
    pub(super) fn due(&mut self, now: Instant) -> Vec<DataKey> {
        let mut due = Vec::new();
        for entry in self.data_keys.values_mut().filter(|entry| entry.open.is_none()) {
            let (failures, last) = match &entry.attempt {
                Attempt::Due => (0, None),
                Attempt::Failed { failures, why, next: Some(next) } if *next <= now => (*failures, Some(why.clone())),
                Attempt::UnderWay { .. } | Attempt::Failed { .. } => continue,
            };
            entry.attempt = Attempt::UnderWay { failures, last };
            due.push(entry.record.clone());
        }
        due
    }

    /// When [`Self::due`] has something again, if nothing else happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let next = |entry: &Entry| match &entry.attempt {
            Attempt::Failed { next, .. } if entry.open.is_none() => *next,
            Attempt::Due | Attempt::UnderWay { .. } | Attempt::Failed { .. } => None,
        };
        self.data_keys.values().filter_map(next).min()
    }

    pub(super) fn opened(&mut self, id: &[u8; 16], open: Arc<PlainDataKey>) {
        if let Some(entry) = self.data_keys.get_mut(id) {
            entry.open.get_or_insert(open);
        }
    }

    /// Notes a failed attempt, and up to which pause it is worth another one; whether it is news.
    pub(super) fn not_opened(&mut self, id: &[u8; 16], why: String, again: Option<Duration>, now: Instant) -> bool {
        let Some(entry) = self.data_keys.get_mut(id) else { return false };
        let (before, last) = match &entry.attempt {
            Attempt::UnderWay { failures, last } => (*failures, last.clone()),
            Attempt::Due | Attempt::Failed { .. } => (0, None),
        };
        let pause = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(before));
        let next = again.map(|longest| now + pause.min(longest));
        let is_news = last.as_ref() != Some(&why);
        entry.attempt = Attempt::Failed { failures: before.saturating_add(1), why, next };
        is_news
    }

    pub(super) fn is_settled(&self) -> bool {
        // A key whose data key has failed is known not to open now; nobody waits for what may take for ever.
        let can_open = |entry: &Entry| match &entry.attempt {
            Attempt::Failed { .. } => entry.open.is_some(),
            Attempt::UnderWay { last, .. } => entry.open.is_some() || last.is_none(),
            Attempt::Due => true,
        };
        self.releasing == 0 && !self.data_keys.values().any(|entry| !entry.waiting.is_empty() && can_open(entry))
    }

    pub(super) fn status(&self, current: impl Fn(&DataKey) -> bool) -> CustodyStatus {
        let one = |entry: &Entry| DataKeyStatus {
            id: entry.record.id,
            sealer: entry.record.sealer.clone(),
            current: current(&entry.record),
            open: entry.open.is_some(),
            waiting_keys: entry.waiting.len(),
            error: match &entry.attempt {
                _ if entry.open.is_some() => None,
                Attempt::Due => None,
                Attempt::UnderWay { last, .. } => last.clone(),
                Attempt::Failed { why, .. } => Some(why.clone()),
            },
        };
        let data_keys: Vec<_> = self.data_keys.values().filter(|entry| entry.in_state).map(one).collect();
        CustodyStatus {
            waiting_keys: self.data_keys.values().map(|entry| entry.waiting.len()).sum(),
            data_keys,
            failed_keys: self.failed.len(),
            failure: self.failed.values().next().map(ToString::to_string),
        }
    }
}
