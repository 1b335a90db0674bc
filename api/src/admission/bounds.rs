//! What the policy says about hosts and addresses, ready to be asked for each request.
//!
//! In: the policy of the replicated state. Out: lists that narrow this node's own. Read again only when the policy is
//! another one. A list that this program does not understand allows nobody: `policy apply` refuses such a list, so only a
//! newer version can have let it in. Deliberately absent: this node's own lists (`host`, `gate`).

use crate::error::with_causes;
use consigner_gate::{HostAllowlist, IpAllowlist};
use consigner_raft::Cluster;
use consigner_rules::State;
use consigner_rules::policy::{Operation, Policy};
use std::sync::{Arc, Mutex, PoisonError};

/// The groups of endpoints that a policy has address lists for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressGroup {
    /// Signing, and listing what can be signed with.
    Sign,
    /// The key manager API.
    KeyManager,
    /// The administrators' API.
    Admin,
    /// Metrics.
    Metrics,
}

/// The addresses that the policy of this state lets through a door behind which these groups are served: the union of
/// their lists, everybody if one of them has none. For [`consigner_gate::AddressRules::set_policy`], before a handshake;
/// each request is then held against the list of its own group.
///
/// A list that this program does not understand lets nobody in.
#[must_use]
pub fn policy_addresses(state: &State, groups: &[AddressGroup]) -> IpAllowlist {
    let Some(policy) = state.policy() else { return IpAllowlist::default() };
    let mut entries: Vec<&str> = Vec::new();
    for group in groups {
        match entries_of(policy, *group) {
            Some(list) => entries.extend(list.iter().map(String::as_str)),
            None => return IpAllowlist::default(),
        }
    }
    IpAllowlist::parse(&entries).unwrap_or_else(|why| {
        tracing::error!(%why, "the addresses of the policy are not understood: nobody is let in");
        nobody()
    })
}

fn nobody() -> IpAllowlist {
    // An empty list is always understood.
    IpAllowlist::parse::<&str>(&[]).unwrap_or_default()
}

/// What a policy allows.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    hosts: Option<HostAllowlist>,
    sign: IpAllowlist,
    keymanager: IpAllowlist,
    admin: IpAllowlist,
}

impl Bounds {
    /// Reads the lists of a policy.
    ///
    /// # Errors
    /// Which list is not understood, and why.
    pub(crate) fn of(policy: &Policy) -> Result<Self, String> {
        let hosts = policy.hosts.as_deref().map(HostAllowlist::parse).transpose();
        let hosts = hosts.map_err(|why| format!("hosts: {}", with_causes(&why)))?;
        let list = |group: AddressGroup, name: &str| match entries_of(policy, group) {
            None => Ok(IpAllowlist::default()),
            Some(entries) => {
                IpAllowlist::parse(entries).map_err(|why| format!("addresses: {name}: {}", with_causes(&why)))
            }
        };
        list(AddressGroup::Metrics, "metrics")?;
        let (sign, keymanager, admin) = (
            list(AddressGroup::Sign, "sign")?,
            list(AddressGroup::KeyManager, "keymanager")?,
            list(AddressGroup::Admin, "admin")?,
        );
        Ok(Self { hosts, sign, keymanager, admin })
    }

    /// The hosts that requests may name; `None`: any that the node's own list has.
    pub(crate) const fn hosts(&self) -> Option<&HostAllowlist> {
        self.hosts.as_ref()
    }

    /// From where this may be asked.
    pub(crate) const fn addresses(&self, operation: Operation) -> &IpAllowlist {
        match operation {
            Operation::Sign(_) | Operation::ListKeys => &self.sign,
            Operation::KeyManager(_) => &self.keymanager,
            Operation::Admin(_) => &self.admin,
        }
    }

    /// What is left when a list is not understood.
    fn closed() -> Self {
        let hosts = HostAllowlist::parse::<&str>(&[]).ok();
        Self { hosts, sign: nobody(), keymanager: nobody(), admin: nobody() }
    }
}

fn entries_of(policy: &Policy, group: AddressGroup) -> Option<&[String]> {
    let addresses = &policy.addresses;
    let list = match group {
        AddressGroup::Sign => &addresses.sign,
        AddressGroup::KeyManager => &addresses.keymanager,
        AddressGroup::Admin => &addresses.admin,
        AddressGroup::Metrics => &addresses.metrics,
    };
    list.as_deref()
}

/// The bounds of the policy of a cluster, as they are now.
pub(crate) struct PolicyBounds {
    cluster: Cluster,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    policy: Option<Arc<Policy>>,
    bounds: Arc<Bounds>,
}

impl PolicyBounds {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, known: Mutex::default() }
    }

    /// Those of the newest policy that this node knows.
    pub(crate) fn now(&self) -> Arc<Bounds> {
        self.bounds_of(self.cluster.read(|state| state.policy().cloned()))
    }

    /// Those of a policy, which may be asked for under the lock of the state that has it.
    pub(crate) fn of(&self, policy: &Arc<Policy>) -> Arc<Bounds> {
        self.bounds_of(Some(Arc::clone(policy)))
    }

    fn bounds_of(&self, current: Option<Arc<Policy>>) -> Arc<Bounds> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = match (&known.policy, &current) {
            (Some(known), Some(current)) => Arc::ptr_eq(known, current),
            (known, current) => known.is_none() && current.is_none(),
        };
        if !is_known {
            let bounds = current.as_ref().map_or_else(|| Ok(Bounds::default()), |policy| Bounds::of(policy));
            let bounds = bounds.unwrap_or_else(|why| {
                tracing::error!(why, "the policy is not understood: nobody is let in");
                Bounds::closed()
            });
            *known = Known { policy: current, bounds: Arc::new(bounds) };
        }
        Arc::clone(&known.bounds)
    }
}
