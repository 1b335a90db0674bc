//! Custody: brings the sealed keys of the replicated state into the keyring, and makes new sealed keys.
//!
//! ```text
//! apply --add, remove, replace--> books --run: Sealer::unwrap--> open data keys --unseal--> keyring
//! ```
//! In: data keys and sealed keys as the state has them, synchronously and in log order; secrets to seal. Out: keys in
//! the keyring; sealed keys; what waits and why. A sealer may be far away, so opening a data key never happens inside
//! `apply`: keys wait in the books meanwhile, and a key that is in the keyring stays there whatever happens to the
//! sealer (L2). Deliberately absent: proposing anything to the cluster, and any secret in an error.

mod books;
mod opening;
#[cfg(test)]
mod tests;

use crate::bls::SecretKey;
use crate::keyring::Keyring;
use crate::sealing::{PlainDataKey, SealError, SealerError, Sealers, UnsealError, seal, unseal};
use books::Books;
use consigner_rules::command::{DataKey, SealedKey};
use consigner_rules::primitives::{ClusterId, PublicKey};
use futures::FutureExt as _;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Why custody could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// This node's configuration has no sealer of that kind.
    #[error("no sealer of kind {kind:?} is configured on this node; set keys.sealer.{kind}")]
    NoSealer {
        /// The kind.
        kind: String,
    },
    /// The data key is unknown here or has not been opened.
    #[error("data key {} is not open on this node", hex::encode(data_key))]
    NotOpen {
        /// Its id.
        data_key: [u8; 16],
    },
    /// The sealer could not make or open a data key.
    #[error(transparent)]
    Sealer(#[from] SealerError),
    /// A secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A sealed key does not open.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
}

/// What custody has and what it waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustodyStatus {
    /// Every data key that the state holds, by id.
    pub data_keys: Vec<DataKeyStatus>,
    /// Keys that are not in the keyring because their data key is not open yet.
    pub waiting_keys: usize,
    /// Keys that are not in the keyring because their record does not open under its data key.
    pub failed_keys: usize,
    /// One of the failures, for people.
    pub failure: Option<String>,
}

/// One data key on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyStatus {
    /// Its id.
    pub id: [u8; 16],
    /// The kind of the sealer that wrapped it.
    pub sealer: String,
    /// Whether it is wrapped under the sealer's current master key, as far as this node is configured to know.
    pub current: bool,
    /// Whether it is open here.
    pub open: bool,
    /// Keys that wait for it.
    pub waiting_keys: usize,
    /// Why the last attempt to open it failed, if it did and none has succeeded.
    pub error: Option<String>,
}

impl CustodyStatus {
    /// Why this node does not hold every key of the cluster, naming the data key, its sealer and the reason.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let waits = self.data_keys.iter().find(|data_key| data_key.waiting_keys > 0);
        let waiting = waits.map(|data_key| {
            let (id, sealer) = (hex::encode(data_key.id), &data_key.sealer);
            let why = data_key.error.as_deref().unwrap_or("being opened");
            format!("{} keys wait for data key {id} of sealer {sealer}: {why}", self.waiting_keys)
        });
        let failed = || {
            let why = self.failure.as_deref().unwrap_or("the log says why");
            (self.failed_keys > 0).then(|| format!("{} keys of the cluster do not open here: {why}", self.failed_keys))
        };
        waiting.or_else(failed)
    }
}

/// The sealed keys of one node and the way from them to its keyring.
pub struct Custody {
    keyring: Arc<Keyring>,
    sealers: Sealers,
    cluster_id: ClusterId,
    books: Mutex<Books>,
    /// Told of every change that `run` or `settled` may wait for.
    turned: watch::Sender<()>,
}

impl Custody {
    /// Nothing is opened before [`Self::run`].
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, sealers: Sealers, cluster_id: ClusterId) -> Arc<Self> {
        let (turned, _) = watch::channel(());
        Arc::new(Self { keyring, sealers, cluster_id, books: Mutex::default(), turned })
    }

    /// The whole state was replaced (start, snapshot): holds exactly these keys from here on.
    ///
    /// A key that is held already is not opened again: the same public key has the same secret.
    pub fn replace(self: &Arc<Self>, data_keys: Vec<DataKey>, keys: Vec<Arc<SealedKey>>) {
        let mut books = self.books();
        let wanted: HashSet<PublicKey> = keys.iter().map(|sealed| sealed.public_key).collect();
        for public_key in self.keyring.public_keys() {
            if !wanted.contains(&public_key) {
                self.release(&mut books, &public_key);
            }
        }
        books.replace_data_keys(data_keys);
        for sealed in keys {
            if !self.keyring.is_sound(&sealed.public_key) {
                self.take(&mut books, sealed);
            }
        }
        drop(books);
        self.turned.send_replace(());
    }

    /// A key was imported, or lies under another data key now.
    pub fn add(&self, sealed: &SealedKey, data_key: &DataKey) {
        let mut books = self.books();
        books.forget(&sealed.public_key);
        books.add_data_key(data_key, true);
        self.take(&mut books, Arc::new(sealed.clone()));
        drop(books);
        self.turned.send_replace(());
    }

    /// A key was deleted: no signature of it is handed out from here on.
    pub fn remove(self: &Arc<Self>, public_key: &PublicKey) {
        let mut books = self.books();
        books.forget(public_key);
        self.release(&mut books, public_key);
        drop(books);
        self.turned.send_replace(());
    }

    /// A data key was added to the state; [`Self::run`] opens it before anybody needs it.
    pub fn add_data_key(&self, data_key: &DataKey) {
        self.books().add_data_key(data_key, true);
        self.turned.send_replace(());
    }

    /// A data key was removed from the state; it is erased here.
    pub fn remove_data_key(&self, id: &[u8; 16]) {
        self.books().remove_data_key(id);
        self.turned.send_replace(());
    }

    /// Returns once every key is held that can be opened now, and every signing call of removed keys has ended.
    ///
    /// Keys whose data key did not open at the last attempt are not waited for: [`Self::status`] names them.
    pub async fn settled(&self) {
        let mut turned = self.turned.subscribe();
        while !self.books().is_settled() {
            if turned.changed().await.is_err() {
                return;
            }
        }
    }

    /// Makes a data key by the sealer of a kind, or by the one in use, and keeps it open. It counts for nothing before
    /// the state holds it.
    ///
    /// # Errors
    /// [`CustodyError::NoSealer`], or what the sealer said.
    pub async fn generate_data_key(&self, kind: Option<&str>) -> Result<DataKey, CustodyError> {
        let sealer = match kind {
            None => self.sealers.in_use(),
            Some(kind) => self.sealer(kind)?,
        };
        let (record, open) = sealer.generate(&self.cluster_id).await?;
        let mut books = self.books();
        books.add_data_key(&record, false);
        books.opened(&record.id, Arc::new(open));
        Ok(record)
    }

    /// Forgets a data key that was made here and did not get into the state.
    pub fn discard_data_key(&self, id: &[u8; 16]) {
        self.books().discard_data_key(id);
    }

    /// Opens a data key of the state now, if it is not open yet.
    ///
    /// # Errors
    /// [`CustodyError::NoSealer`], or what the sealer said.
    pub async fn open_data_key(&self, data_key: &DataKey) -> Result<(), CustodyError> {
        if self.books().open(&data_key.id).is_some() {
            return Ok(());
        }
        let open = self.sealer(&data_key.sealer)?.unwrap(data_key, &self.cluster_id).await?;
        // Not brought back if it was removed from the state meanwhile.
        self.books().opened(&data_key.id, Arc::new(open));
        // Keys may have been waiting for it.
        self.turned.send_replace(());
        Ok(())
    }

    /// Seals a secret under an open data key.
    ///
    /// # Errors
    /// [`CustodyError::NotOpen`], or [`CustodyError::Seal`].
    pub fn seal(&self, data_key: &[u8; 16], secret: &SecretKey) -> Result<SealedKey, CustodyError> {
        Ok(seal(&*self.open(data_key)?, &self.cluster_id, secret)?)
    }

    /// Seals keys under another data key. Computes for about 120 us per key: for a blocking thread.
    ///
    /// # Errors
    /// [`CustodyError::NotOpen`] for the new data key or the one of any key; [`CustodyError::Unseal`].
    pub fn reseal(&self, keys: &[Arc<SealedKey>], to: &[u8; 16]) -> Result<Vec<SealedKey>, CustodyError> {
        let to = self.open(to)?;
        let reseal = |sealed: &Arc<SealedKey>| -> Result<SealedKey, CustodyError> {
            let secret = unseal(&*self.open(&sealed.data_key)?, &self.cluster_id, sealed)?;
            let resealed = seal(&to, &self.cluster_id, &secret)?;
            // A record whose secret is another key's never signs; it must not become another key's record either.
            // And what was sealed must open: the record that it replaces is gone for ever.
            let opened = unseal(&to, &self.cluster_id, &resealed)?;
            if resealed.public_key != sealed.public_key || opened.to_bytes() != secret.to_bytes() {
                return Err(UnsealError::Altered { public_key: sealed.public_key }.into());
            }
            Ok(resealed)
        };
        keys.iter().map(reseal).collect()
    }

    /// Whether a data key is open here.
    #[must_use]
    pub fn is_open(&self, data_key: &[u8; 16]) -> bool {
        self.books().open(data_key).is_some()
    }

    /// The configured sealers.
    #[must_use]
    pub const fn sealers(&self) -> &Sealers {
        &self.sealers
    }

    /// The keyring that is kept.
    #[must_use]
    pub const fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// What is open and what waits.
    #[must_use]
    pub fn status(&self) -> CustodyStatus {
        let current =
            |data_key: &DataKey| self.sealers.get(&data_key.sealer).is_some_and(|sealer| sealer.is_current(data_key));
        self.books().status(current)
    }

    fn sealer(&self, kind: &str) -> Result<&Arc<dyn crate::sealing::Sealer>, CustodyError> {
        self.sealers.get(kind).ok_or_else(|| CustodyError::NoSealer { kind: kind.to_owned() })
    }

    fn open(&self, data_key: &[u8; 16]) -> Result<Arc<PlainDataKey>, CustodyError> {
        self.books().open(data_key).ok_or(CustodyError::NotOpen { data_key: *data_key })
    }

    /// Into the keyring if its data key is open, into the books if not.
    fn take(&self, books: &mut Books, sealed: Arc<SealedKey>) {
        match books.open(&sealed.data_key) {
            Some(data_key) => {
                let opened = unseal(&data_key, &self.cluster_id, &sealed);
                self.hold(books, &sealed, opened);
            }
            // Held already, so nothing waits for it: it was resealed.
            None if self.keyring.is_sound(&sealed.public_key) => {}
            None => books.wait(sealed),
        }
    }

    fn hold(&self, books: &mut Books, sealed: &SealedKey, opened: Result<SecretKey, UnsealError>) {
        match opened {
            Ok(secret) => {
                self.keyring.hold(sealed.public_key, &secret);
            }
            Err(error) => {
                metrics::counter!("consigner_keys_not_opened_total").increment(1);
                tracing::error!(validator = %sealed.public_key, %error, "a key of the cluster does not open here");
                if !self.keyring.is_sound(&sealed.public_key) {
                    books.failed(sealed.public_key, error);
                }
            }
        }
    }

    /// The first poll makes the key unusable; the rest waits for signing calls under way, whose result is dropped.
    fn release(self: &Arc<Self>, books: &mut Books, public_key: &PublicKey) {
        let (keyring, public_key) = (Arc::clone(&self.keyring), *public_key);
        let mut removal = async move { keyring.remove(&public_key).await }.boxed();
        if (&mut removal).now_or_never().is_some() {
            return;
        }
        books.releasing += 1;
        let custody = Arc::clone(self);
        tokio::spawn(async move {
            removal.await;
            custody.books().releasing -= 1;
            custody.turned.send_replace(());
        });
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Plain assignments under the lock: a panic leaves nothing half done that the next caller could trip over.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Custody({:?}, {:?})", self.keyring, self.sealers)
    }
}
