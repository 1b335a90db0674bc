//! The keys that are held, and who is using them.
//!
//! In: secrets to hold. Out: [`Hold`]s, which keep a removal waiting. Deliberately absent: signing.

use super::Inserted;
use crate::bls::SecretKey;
use crate::locked::{Arena, Slot};
use consigner_rules::PublicKey;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Notify;

type Map = HashMap<PublicKey, Arc<Key>>;

/// A read takes tens of nanoseconds beside a signature of 200 us and a single insertion never copies the map, which
/// an import of 10,000 keys, one command each, would pay for with a copy-on-write map.
pub(super) struct Keys {
    map: RwLock<Map>,
    arena: Arena,
    /// Told when the last hold on a removed key ends.
    ended: Notify,
}

/// One secret and what is known about it.
pub(super) struct Key {
    secret: Slot,
    holds: AtomicU32,
    removed: AtomicBool,
    match_state: AtomicU8,
}

const UNCHECKED: u8 = 0;
const MATCHES: u8 = 1;
const MISMATCH: u8 = 2;

/// A use of a key, counted: a removal waits until it ends.
pub(super) struct Hold {
    key: Arc<Key>,
    keys: Arc<Keys>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { map: RwLock::default(), arena: Arena::new(), ended: Notify::new() }
    }

    /// Starts a use of the key, if it is held.
    pub(super) fn hold(self: &Arc<Self>, public_key: &PublicKey) -> Option<Hold> {
        let map = self.read();
        let key = Arc::clone(map.get(public_key)?);
        // Under the read lock, so before any `unlink` of this key: a removal sees every hold.
        Some(Hold::count(key, Arc::clone(self)))
    }

    pub(super) fn insert(&self, public_key: PublicKey, secret: &SecretKey) -> Inserted {
        match self.write().entry(public_key) {
            Entry::Occupied(held) if !held.get().is_mismatch() => Inserted::AlreadyHeld,
            Entry::Occupied(mut held) => {
                held.insert(Arc::new(Key::new(&self.arena, secret)));
                Inserted::Added
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Arc::new(Key::new(&self.arena, secret)));
                Inserted::Added
            }
        }
    }

    /// Takes the key out, so that nobody can start a use of it, and marks it for those under way.
    pub(super) fn unlink(&self, public_key: &PublicKey) -> Option<Arc<Key>> {
        let key = self.write().remove(public_key)?;
        key.removed.store(true, Ordering::SeqCst);
        Some(key)
    }

    /// Waits until no use of an unlinked key is under way.
    pub(super) async fn released(&self, key: Arc<Key>) {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Registered before the count is read: the last hold either shows in the count or wakes this wait.
            ended.as_mut().enable();
            if key.holds.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }

    pub(super) fn contains(&self, public_key: &PublicKey) -> bool {
        self.read().contains_key(public_key)
    }

    /// Held, and not known to be wrong.
    pub(super) fn is_sound(&self, public_key: &PublicKey) -> bool {
        self.read().get(public_key).is_some_and(|key| !key.is_mismatch())
    }

    pub(super) fn len(&self) -> usize {
        self.read().len()
    }

    pub(super) fn names(&self) -> Vec<PublicKey> {
        self.read().keys().copied().collect()
    }

    pub(super) fn is_memory_locked(&self) -> bool {
        self.arena.is_locked()
    }

    /// Uses of a held key that are under way.
    #[cfg(test)]
    pub(super) fn holds(&self, public_key: &PublicKey) -> u32 {
        self.read().get(public_key).map_or(0, |key| key.holds.load(Ordering::SeqCst))
    }

    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn new(arena: &Arena, secret: &SecretKey) -> Self {
        Self {
            secret: arena.store(secret.scalar()),
            holds: AtomicU32::new(0),
            removed: AtomicBool::new(false),
            match_state: AtomicU8::new(UNCHECKED),
        }
    }

    fn is_mismatch(&self) -> bool {
        self.match_state.load(Ordering::Acquire) == MISMATCH
    }

    /// Derives the public key at the first use and compares; two threads at once merely do it twice.
    fn check(&self, secret: &SecretKey, public_key: &PublicKey) -> bool {
        match self.match_state.load(Ordering::Acquire) {
            UNCHECKED => {}
            state => return state == MATCHES,
        }
        let derived = secret.public_key();
        let state = if derived == *public_key { MATCHES } else { MISMATCH };
        let first = self.match_state.swap(state, Ordering::AcqRel) == UNCHECKED;
        if state == MISMATCH && first {
            tracing::error!(
                %public_key, %derived,
                "the unsealed secret belongs to another public key: this key does not sign; import it again"
            );
        }
        state == MATCHES
    }
}

impl Hold {
    fn count(key: Arc<Key>, keys: Arc<Keys>) -> Self {
        key.holds.fetch_add(1, Ordering::SeqCst);
        Self { key, keys }
    }

    pub(super) fn is_removed(&self) -> bool {
        self.key.removed.load(Ordering::SeqCst)
    }

    /// The secret on the stack, if it is the public key's.
    pub(super) fn secret_of(&self, public_key: &PublicKey) -> Option<SecretKey> {
        let secret = SecretKey::from_scalar(&self.key.secret.read());
        self.key.check(&secret, public_key).then_some(secret)
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        Self::count(Arc::clone(&self.key), Arc::clone(&self.keys))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let last = self.key.holds.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.is_removed() {
            self.keys.ended.notify_waiters();
        }
    }
}
