//! How keyrings follow the state: what `apply` tells them, and in which order.
//!
//! In: the keys that a batch touched, and the state after it. Out: calls of [`OnKeys`], synchronous, before the index that
//! brought them is reported as applied: a node never says that it has applied a deletion while its keyring still signs.
//! Deliberately absent: opening keys, and waiting for it ([`crate::settle`]).

use consigner_rules::command::DataKey;
use consigner_rules::state::TouchedKeys;
use consigner_rules::{PublicKey, SealedKey, State};
use std::sync::Arc;

/// See [`crate::ClusterOptions::on_keys`].
pub type OnKeys = Arc<dyn Fn(KeyFeed<'_>) + Send + Sync>;

/// How the set of keys changed.
pub enum KeyFeed<'a> {
    /// One key was added, or sealed anew.
    Added {
        /// The key.
        sealed: &'a SealedKey,
        /// The data key that encrypts it.
        data_key: &'a DataKey,
    },
    /// One key was removed: nothing may be signed with it from this call on.
    Removed(&'a PublicKey),
    /// A data key was added; no key need be sealed under it yet.
    DataKeyAdded(&'a DataKey),
    /// A data key was removed; no key is sealed under it any more.
    DataKeyRemoved(&'a [u8; 16]),
    /// The whole state was replaced (start, snapshot): rebuild from it. What it does not hold is removed.
    Replaced(&'a State),
}

/// Tells of what became of the keys that a batch touched, each once: what counts is the state after the batch.
///
/// Data keys come before the keys under them and go after them.
pub fn feed(on_keys: &dyn Fn(KeyFeed<'_>), state: &State, touched: &TouchedKeys) {
    for data_key in touched.data_keys.iter().filter_map(|id| state.data_key(id)) {
        on_keys(KeyFeed::DataKeyAdded(data_key));
    }
    for public_key in &touched.keys {
        let sealed = state.validator(public_key).and_then(|validator| validator.key.as_deref());
        match sealed.and_then(|sealed| Some((sealed, state.data_key(&sealed.data_key)?))) {
            Some((sealed, data_key)) => on_keys(KeyFeed::Added { sealed, data_key }),
            None => on_keys(KeyFeed::Removed(public_key)),
        }
    }
    for id in touched.data_keys.iter().filter(|id| state.data_key(id).is_none()) {
        on_keys(KeyFeed::DataKeyRemoved(id));
    }
}

#[cfg(test)]
#[path = "key_feed_tests.rs"]
mod tests;
