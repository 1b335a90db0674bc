//! What a node's admission would know, kept by the calls of `on_policy` alone.

use super::KEY;
use consigner_rules::{Policy, State, TokenRecord};
use std::sync::{Arc, Mutex};

/// Every call, in order.
#[derive(Default)]
pub struct Rights(Mutex<Vec<Told>>);

/// What one call showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    pub version: u64,
    pub policy: Option<Arc<Policy>>,
    pub tokens: Vec<Arc<TokenRecord>>,
    /// The target of the newest attestation of [`KEY`] that was recorded before this index.
    pub target: Option<u64>,
}

impl Rights {
    pub fn take(&self, state: &State) {
        self.0.lock().unwrap().push(Told::of(state));
    }

    pub fn all(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }

    pub fn last(&self) -> Told {
        self.all().pop().unwrap()
    }
}

impl Told {
    /// What the state asks for.
    pub fn of(state: &State) -> Self {
        let history = state.validator(&KEY).map(|known| known.history);
        Self {
            version: state.cluster().policy_version,
            policy: state.policy().cloned(),
            tokens: state.tokens().cloned().collect(),
            target: history.and_then(|history| history.attestation).map(|mark| mark.max_target),
        }
    }
}
