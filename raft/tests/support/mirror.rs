//! What a node's keyring would hold, kept by the feed alone.

use consigner_raft::KeyFeed;
use consigner_rules::{PublicKey, SealedKey, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

pub struct Mirror {
    held: Mutex<Held>,
    settled: watch::Sender<bool>,
}

#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Keys, and the data key that each is sealed under.
    pub keys: BTreeMap<PublicKey, [u8; 16]>,
    pub data_keys: BTreeSet<[u8; 16]>,
    /// How often all of it was replaced.
    pub replaced: usize,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { held: Mutex::default(), settled: watch::channel(true).0 }
    }
}

impl Mirror {
    pub fn take(&self, feed: KeyFeed<'_>) {
        let mut held = self.held.lock().unwrap();
        match feed {
            KeyFeed::Added { sealed, data_key } => {
                assert_eq!(sealed.data_key, data_key.id);
                assert!(held.data_keys.contains(&data_key.id), "a data key comes before the keys under it");
                held.keys.insert(sealed.public_key, sealed.data_key);
            }
            KeyFeed::Removed(public_key) => drop(held.keys.remove(public_key)),
            KeyFeed::DataKeyAdded(data_key) => drop(held.data_keys.insert(data_key.id)),
            KeyFeed::DataKeyRemoved(id) => {
                assert!(held.keys.values().all(|under| under != id), "a data key goes after the keys under it");
                held.data_keys.remove(id);
            }
            KeyFeed::Replaced(state) => *held = Held { replaced: held.replaced + 1, ..Held::of(state) },
        }
    }

    pub fn held(&self) -> Held {
        self.held.lock().unwrap().clone()
    }

    pub fn holds(&self, public_key: &PublicKey) -> bool {
        self.held.lock().unwrap().keys.contains_key(public_key)
    }

    /// From here on the node has not settled, until it is released.
    pub fn hold(&self) {
        self.settled.send_replace(false);
    }

    pub fn release(&self) {
        self.settled.send_replace(true);
    }

    pub async fn settled(self: Arc<Self>) {
        self.settled.subscribe().wait_for(|settled| *settled).await.unwrap();
    }
}

impl Held {
    /// What the state asks for.
    pub fn of(state: &State) -> Self {
        let under = |sealed: &Arc<SealedKey>| (sealed.public_key, sealed.data_key);
        Self {
            keys: state.keys().map(under).collect(),
            data_keys: state.data_keys().map(|data_key| data_key.id).collect(),
            replaced: 0,
        }
    }
}
