//! From the replicated state to the keyring: every sealed key that the cluster holds is opened on this node.
//!
//! In: [`KeyFeed`]s, called synchronously by `apply`. Out: keys in the keyring. Deliberately absent: waiting; opening
//! one key takes microseconds. A key that does not open is said, counted, and missing in `/ready`.

use consigner_keys::{Keyring, LocalSealer, PlainDataKey};
use consigner_raft::KeyFeed;
use consigner_rules::command::{DataKey, SealedKey};
use consigner_rules::primitives::{ClusterId, PublicKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps the keyring in step with the state.
#[derive(Debug)]
pub struct KeyFeeder {
    keyring: Arc<Keyring>,
    sealer: Arc<LocalSealer>,
    cluster_id: ClusterId,
    open: Mutex<BTreeMap<[u8; 16], Arc<PlainDataKey>>>,
}

impl KeyFeeder {
    /// A feeder without data keys yet.
    #[must_use]
    pub const fn new(keyring: Arc<Keyring>, sealer: Arc<LocalSealer>, cluster_id: ClusterId) -> Self {
        Self { keyring, sealer, cluster_id, open: Mutex::new(BTreeMap::new()) }
    }

    /// Takes one change of the set of keys.
    pub fn feed(&self, feed: KeyFeed<'_>) {
        match feed {
            KeyFeed::Added { sealed, data_key } => self.add(sealed, Some(data_key)),
            KeyFeed::Replaced(state) => {
                let wanted: BTreeSet<PublicKey> = state.keys().map(|sealed| sealed.public_key).collect();
                self.remove_unwanted(&wanted);
                for sealed in state.keys() {
                    self.add(sealed, state.data_key(&sealed.data_key));
                }
            }
        }
    }

    /// The data key, opened once.
    ///
    /// # Errors
    /// As [`LocalSealer::unwrap_data_key`].
    pub fn data_key(&self, data_key: &DataKey) -> Result<Arc<PlainDataKey>, consigner_keys::sealing::UnwrapError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(&data_key.id) {
            return Ok(known.clone());
        }
        let opened = Arc::new(self.sealer.unwrap_data_key(data_key, &self.cluster_id)?);
        open.insert(data_key.id, opened.clone());
        Ok(opened)
    }

    fn add(&self, sealed: &SealedKey, data_key: Option<&DataKey>) {
        let inserted = match data_key.map(|data_key| self.data_key(data_key)) {
            None => Err("its data key is not in the state".to_owned()),
            Some(Err(error)) => Err(crate::report::one_line(&error)),
            Some(Ok(data_key)) => self
                .keyring
                .insert(sealed, &data_key, &self.cluster_id)
                .map(|_| ())
                .map_err(|error| crate::report::one_line(&error)),
        };
        if let Err(reason) = inserted {
            metrics::counter!("consigner_keys_not_opened_total").increment(1);
            tracing::error!(validator = %sealed.public_key, reason, "a key of the cluster cannot be opened here");
        }
    }

    fn remove_unwanted(&self, wanted: &BTreeSet<PublicKey>) {
        for public_key in self.keyring.public_keys() {
            if wanted.contains(&public_key) {
                continue;
            }
            // The first poll makes the key unusable; the rest waits for signatures under way, which are dropped.
            let keyring = self.keyring.clone();
            let mut removal = Box::pin(async move { keyring.remove(&public_key).await });
            if futures::FutureExt::now_or_never(&mut removal).is_none() {
                tokio::spawn(removal);
            }
        }
    }
}
