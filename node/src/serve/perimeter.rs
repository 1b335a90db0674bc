//! From which addresses each door is reached: the node's own lists, and the policy's.
//!
//! In: configuration; the replicated state whenever the policy changes. Out: [`AddressRules`] per door, which exist
//! before the cluster does, because it tells of the policy while it starts. Deliberately absent: what a policy says about
//! single requests (`api`), and the doors themselves.

use crate::config::{Config, OwnDoor};
use consigner_api::{AddressGroup, policy_addresses};
use consigner_gate::{AddressRules, IpAllowlist};
use consigner_rules::State;
use std::sync::Arc;

/// The address rules of all doors.
pub(super) struct Perimeter {
    pub(super) api: Guarded,
    pub(super) keymanager: Guarded,
    pub(super) admin: Guarded,
    pub(super) token_door: Guarded,
    pub(super) metrics: Guarded,
    /// No policy narrows these: the nodes must find each other whatever it says.
    pub(super) peer: Arc<AddressRules>,
}

/// The rules of a door, and what is served there.
pub(super) struct Guarded {
    pub(super) rules: Arc<AddressRules>,
    groups: Vec<AddressGroup>,
}

impl Perimeter {
    pub(super) fn new(config: &Config) -> Arc<Self> {
        use AddressGroup::{Admin, KeyManager, Metrics, Sign};
        let keymanager = config.keymanager.as_ref().map(|keymanager| keymanager.door.as_ref());
        let mut served = vec![Sign];
        // Whoever may reach one of the groups that a port serves is let in there; requests are told apart later.
        served.extend(matches!(keymanager, Some(None)).then_some(KeyManager));
        served.extend(config.admin.is_none().then_some(Admin));
        let own = |door: Option<&OwnDoor>| door.map(|door| door.ip_allowlist.clone()).unwrap_or_default();
        let metrics = config.metrics.as_ref().map(|metrics| metrics.ip_allowlist.clone()).unwrap_or_default();
        Arc::new(Self {
            api: Guarded::new(config.api.ip_allowlist.clone(), served),
            keymanager: Guarded::new(own(keymanager.flatten()), vec![KeyManager]),
            admin: Guarded::new(own(config.admin.as_ref()), vec![Admin]),
            token_door: Guarded::new(own(config.token_door.as_ref()), vec![Sign]),
            metrics: Guarded::new(metrics, vec![Metrics]),
            peer: AddressRules::new(config.peer.ip_allowlist.clone()),
        })
    }

    /// Takes the lists of the policy of this state. Open connections from elsewhere are cut. Called under the lock of the
    /// state: it only reads a few lists.
    pub(super) fn follow(&self, state: &State) {
        for guarded in [&self.api, &self.keymanager, &self.admin, &self.token_door, &self.metrics] {
            guarded.rules.set_policy(policy_addresses(state, &guarded.groups));
        }
    }
}

impl Guarded {
    fn new(own: IpAllowlist, groups: Vec<AddressGroup>) -> Self {
        Self { rules: AddressRules::new(own), groups }
    }
}
