//! From the replicated state to custody: every change of the keys and data keys that the cluster holds.
//!
//! In: [`KeyFeed`]s, called synchronously by `apply`, in log order. Out: the same, as custody takes it. Deliberately
//! absent: waiting and opening; custody does both elsewhere.

use consigner_keys::Custody;
use consigner_raft::KeyFeed;
use std::sync::Arc;

/// Takes one change.
pub fn feed(custody: &Arc<Custody>, feed: KeyFeed<'_>) {
    match feed {
        KeyFeed::Added { sealed, data_key } => custody.add(sealed, data_key),
        KeyFeed::Removed(public_key) => custody.remove(public_key),
        KeyFeed::DataKeyAdded(data_key) => custody.add_data_key(data_key),
        KeyFeed::DataKeyRemoved(id) => custody.remove_data_key(id),
        KeyFeed::Replaced(state) => {
            custody.replace(state.data_keys().cloned().collect(), state.keys().cloned().collect());
        }
    }
}
