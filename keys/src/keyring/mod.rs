//! The keyring: holds unsealed keys in locked memory and signs for whoever brings a permit.
//!
//! ```text
//! SealedKey --insert--> locked memory
//! SignPermit --sign--> bounded queue, urgent first --> signing threads --> Signature
//! ```
//! In: sealed keys with their open data keys; permits. Out: signatures. Deliberately absent: any other way to a
//! signature than [`Keyring::sign`], any way to read a secret, and any question whether something may be signed.

mod held;
mod pool;
#[cfg(test)]
mod tests;

use crate::bls::SecretKey;
use crate::root_cache::{HASHED_ROOTS_DEFAULT, RootCache};
use crate::sealing::{PlainDataKey, UnsealError, unseal};
use consigner_rules::SignPermit;
use consigner_rules::command::SealedKey;
use consigner_rules::primitives::{ClusterId, PublicKey, Signature};
use held::Keys;
use pool::{Pool, Work};

pub use pool::Urgency;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use tokio::sync::oneshot;

/// Permits that wait for a signing thread at most, by default.
///
/// A slot of 100,000 validators brings 3,125 attestations and as many selection proofs at once; at 205 us each, two
/// cores work 0.8 s on a full queue, and who comes later is better served by a clear refusal.
pub const QUEUE_DEFAULT: usize = 8192;

/// How a keyring is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringOptions {
    /// Signing threads; by default one per core, since signing is computation only.
    pub threads: usize,
    /// Permits that wait for a signing thread at most; beyond, [`SignError::Overloaded`].
    pub queue: usize,
    /// Signing roots whose curve points are remembered.
    pub hashed_roots: usize,
}

impl Default for KeyringOptions {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, Into::into);
        Self { threads, queue: QUEUE_DEFAULT, hashed_roots: HASHED_ROOTS_DEFAULT }
    }
}

/// Why there is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key is not held here, or was removed while the call was under way.
    #[error("this node does not hold the key")]
    UnknownKey,
    /// The unsealed secret is not the public key's: it never signs; the log has an ERROR with the key.
    #[error("the unsealed secret does not belong to the public key; import the key again")]
    Mismatch,
    /// The queue is full.
    #[error("too many signatures are waiting; try again")]
    Overloaded,
    /// The keyring was stopped.
    #[error("the keyring has stopped")]
    Stopped,
}

/// What [`Keyring::insert`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The key is held now.
    Added,
    /// It was held already and goes on unchanged.
    AlreadyHeld,
}

/// The keys of one node.
pub struct Keyring {
    keys: Arc<Keys>,
    pool: Pool,
}

impl Keyring {
    /// Starts the signing threads. Dropping the keyring ends them after the signature at hand.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(options: &KeyringOptions) -> io::Result<Self> {
        let roots = RootCache::new(options.hashed_roots);
        Ok(Self { keys: Arc::new(Keys::new()), pool: Pool::start(options.threads, options.queue, roots)? })
    }

    /// Signs what the permit allows, with the permit's key: the one way to a signature.
    ///
    /// Waits for a signing thread without blocking. Dropping the future withdraws the work. The future keeps
    /// [`Self::remove`] of its key waiting, so poll it or drop it.
    ///
    /// # Errors
    /// [`SignError`]; the same permit's request may be authorised and tried again after `Overloaded`.
    pub async fn sign(&self, permit: SignPermit) -> Result<Signature, SignError> {
        self.sign_with(permit, Urgency::default()).await
    }

    /// [`Self::sign`], before what waits and is less urgent.
    ///
    /// # Errors
    /// As there.
    pub async fn sign_with(&self, permit: SignPermit, urgency: Urgency) -> Result<Signature, SignError> {
        let hold = self.keys.hold(permit.public_key()).ok_or(SignError::UnknownKey)?;
        let (reply, answer) = oneshot::channel();
        self.pool.submit(Work { permit, hold: hold.clone(), reply }, urgency)?;
        let answer = answer.await;
        // S6: a signature of a key that was removed meanwhile is dropped here, not handed out. `remove` waits for
        // `hold`, which lives until this call has ended.
        if hold.is_removed() {
            return Err(SignError::UnknownKey);
        }
        answer.unwrap_or(Err(SignError::Stopped))
    }

    /// Opens a sealed key and holds it. Its public key is compared before its first signature, not here: 113 us saved.
    ///
    /// A key that is held already stays as it is, except one whose secret proved wrong: that one is replaced.
    ///
    /// # Errors
    /// [`UnsealError`] when the record does not open.
    pub fn insert(
        &self,
        sealed: &SealedKey,
        data_key: &PlainDataKey,
        cluster_id: &ClusterId,
    ) -> Result<Inserted, UnsealError> {
        let secret = unseal(data_key, cluster_id, sealed)?;
        Ok(self.hold(sealed.public_key, &secret))
    }

    /// Holds a secret that custody has opened; as [`Self::insert`].
    pub(crate) fn hold(&self, public_key: PublicKey, secret: &SecretKey) -> Inserted {
        self.keys.insert(public_key, secret)
    }

    /// Whether the key is held and its secret is not known to be another key's.
    pub(crate) fn is_sound(&self, public_key: &PublicKey) -> bool {
        self.keys.is_sound(public_key)
    }

    /// Removes a key; whether it was held. Returns when every signing call that held it has ended.
    ///
    /// No signature of the key is handed out afterwards: calls under way end with [`SignError::UnknownKey`], and the
    /// secret is erased. The key is gone from the first poll on, also if this future is dropped while it waits.
    pub async fn remove(&self, public_key: &PublicKey) -> bool {
        let Some(key) = self.keys.unlink(public_key) else { return false };
        self.keys.released(key).await;
        true
    }

    /// A use of a key as a signing call has one, for tests of removals.
    #[cfg(test)]
    pub(crate) fn use_of(&self, public_key: &PublicKey) -> Option<impl Sized + use<>> {
        self.keys.hold(public_key)
    }

    /// Whether the key is held.
    #[must_use]
    pub fn contains(&self, public_key: &PublicKey) -> bool {
        self.keys.contains(public_key)
    }

    /// Number of keys held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The public keys held, in no order.
    #[must_use]
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.keys.names()
    }

    /// Permits that wait for a signing thread now, for metrics.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.pool.queued()
    }

    /// Whether all secrets so far lie in locked memory; if not, the log has a warning with the cure.
    #[must_use]
    pub fn is_memory_locked(&self) -> bool {
        self.keys.is_memory_locked()
    }

    /// Refuses new permits; those that wait already are signed. For a graceful stop.
    pub fn stop(&self) {
        self.pool.close();
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keyring({} keys)", self.len())
    }
}
