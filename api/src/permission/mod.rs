//! Whether a caller may do what it asks for.
//!
//! ```text
//! route -> endpoints: operation -\
//! Caller (proved) ---------------> permitted: policy of the State, narrowed by this node -> Permission, or why not
//! SignRequest, clock ------------/
//! ```
//! Without a policy document the configured names decide, as they did before there was one: `api.admins` everything,
//! `api.clients` signing and listing. With one it alone grants; `api.clients` and the administrators' CA of this node
//! only take away. Addresses and hosts of the policy are part of every judgement: they are those of the same state as the
//! roles. Deliberately absent: what a caller proves ([`crate::admission::Caller`]), rates, status codes.

mod endpoints;
#[cfg(test)]
mod endpoints_tests;

pub(crate) use endpoints::{Needs, needs};

use crate::admission::{Bounds, Caller, Door, PolicyBounds};
use crate::app::{App, Shared};
use consigner_rules::policy::{self, Operation, Permission, Policy};
use consigner_rules::{PublicKey, SignRequest, Slot, State};
use std::time::{SystemTime, UNIX_EPOCH};

/// Why somebody else is turned away from an operator's endpoint, without a policy.
const NO_ADMIN: &str = "this client certificate is not an administrator's (api.admins)";

/// Why somebody else may not sign, without a policy.
const NO_CLIENT: &str = "this client certificate may not sign (api.clients)";

/// What `api.clients` takes away from whom the policy knows.
const FOREIGN_CLIENT: &str = "api.clients of this node does not name this client";

/// Why an administrators' CA was configured.
const FOREIGN_CA: &str = "this client certificate was not issued by the administrators' CA";

/// Who asks, and where.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) app: &'a App,
    pub(crate) door: Door,
    /// What was read of the policy's hosts and addresses. Has a lock of its own, which takes no other.
    pub(crate) bounds: &'a PolicyBounds,
    pub(crate) caller: &'a Caller,
}

impl<'a> Asking<'a> {
    /// A caller at the door of this router.
    pub(crate) fn of(shared: &'a Shared, caller: &'a Caller) -> Self {
        Self { app: &shared.app, door: shared.door, bounds: &shared.bounds, caller }
    }

    /// Whether the caller may do this, with a certain key if one is named; by the policy of this state.
    ///
    /// # Errors
    /// Why not, in a sentence that names the identity that was seen.
    pub(crate) fn may(
        &self,
        state: &State,
        operation: Operation,
        key: Option<&PublicKey>,
    ) -> Result<Permission, String> {
        match state.policy() {
            None => self.named(operation),
            Some(policy) => {
                self.bounded(&self.bounds.of(policy), operation)?;
                self.may_under(policy, state, operation, key)
            }
        }
    }

    /// Whether the caller is known, so that its request to sign is read and judged.
    ///
    /// # Errors
    /// As [`Self::may`].
    pub(crate) fn may_ask(&self, state: &State) -> Result<Permission, String> {
        let Some(policy) = state.policy() else { return self.named(Operation::ListKeys) };
        self.bounded(&self.bounds.of(policy), Operation::ListKeys)?;
        self.narrowed(Operation::ListKeys)?;
        let proofs = self.proofs(state, Operation::ListKeys)?;
        let rights = policy.rights(&proofs).map_err(|denial| Self::denied(&denial, &proofs))?;
        Ok(Permission { client: rights.client().to_owned(), role: String::new(), rate: rights.rate() })
    }

    /// [`Self::may`] under another policy than the state's, from wherever; tokens are those of the state.
    pub(crate) fn may_under(
        &self,
        policy: &Policy,
        state: &State,
        operation: Operation,
        key: Option<&PublicKey>,
    ) -> Result<Permission, String> {
        self.narrowed(operation)?;
        let proofs = self.proofs(state, operation)?;
        policy.decide(&proofs, operation, key).map_err(|denial| Self::denied(&denial, &proofs))
    }

    /// Whether this may be signed for the caller. `now` is the slot of the clock when the request was admitted.
    pub(crate) fn may_sign(
        &self,
        state: &State,
        request: &SignRequest,
        now: Option<Slot>,
    ) -> Result<Permission, String> {
        let operation = Operation::Sign(request.signing_type);
        let Some(policy) = state.policy() else { return self.named(operation) };
        self.bounded(&self.bounds.of(policy), operation)?;
        self.narrowed(operation)?;
        let proofs = self.proofs(state, operation)?;
        policy.admit(&proofs, request, now).map_err(|denial| Self::denied(&denial, &proofs))
    }

    /// Those of `keys` that the caller may list: of the roles that sign, theirs, and of those that only list, theirs. The
    /// policy is the one under which the caller was admitted; takes a while for 100,000 keys.
    pub(crate) fn listable(&self, policy: &Policy, mut keys: Vec<PublicKey>) -> Vec<PublicKey> {
        let proofs = self.caller.shown_proofs();
        match policy.rights(&proofs) {
            Ok(rights) => keys.retain(|key| rights.decide(Operation::ListKeys, Some(key)).is_ok()),
            Err(_unknown) => keys.clear(),
        }
        keys
    }

    /// The rule of a cluster without a policy: names of certificates, from the configuration.
    fn named(&self, operation: Operation) -> Result<Permission, String> {
        let Self { app, caller, .. } = self;
        let name = caller.certificate().and_then(|certificate| certificate.common_name.as_deref());
        let is_admin = name.is_some_and(|name| app.admins.iter().any(|admin| admin == name));
        let role = match operation {
            Operation::Sign(_) | Operation::ListKeys if is_admin => "api.admins",
            Operation::Sign(_) | Operation::ListKeys => {
                if caller.certificate().is_none() || !app.clients.allows(name) {
                    return Err(self.seen(NO_CLIENT));
                }
                "api.clients"
            }
            Operation::KeyManager(_) | Operation::Admin(_) => {
                if !is_admin {
                    return Err(self.seen(NO_ADMIN));
                }
                if app.admin_ca_required && !self.is_of_admin_ca() {
                    return Err(self.seen(FOREIGN_CA));
                }
                "api.admins"
            }
        };
        Ok(Permission { client: caller.name(), role: role.to_owned(), rate: None })
    }

    /// What the policy says about addresses and hosts.
    fn bounded(&self, bounds: &Bounds, operation: Operation) -> Result<(), String> {
        let address = self.caller.peer().addr.ip();
        if !bounds.addresses(operation).allows(address) {
            return Err(format!("the policy does not let this be asked from the address {address}"));
        }
        match bounds.hosts() {
            Some(hosts) if !self.caller.hosts().iter().all(|host| hosts.allows(host)) => {
                Err("the policy does not let this be asked by this name of the host".to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What this node's own configuration takes away, whatever the policy says.
    fn narrowed(&self, operation: Operation) -> Result<(), String> {
        let Self { app, door, .. } = self;
        match operation {
            Operation::Sign(_) | Operation::ListKeys => {
                // Where no certificate is asked for, one that is not named is as good as none: see `proofs`.
                if *door == Door::Api && !self.is_named_client() {
                    return Err(self.seen(FOREIGN_CLIENT));
                }
                Ok(())
            }
            Operation::KeyManager(_) | Operation::Admin(_) => {
                // Where no certificate is asked for, one of another CA is as good as none: see `proofs`.
                if app.admin_ca_required && door.requires_certificate() && !self.is_of_admin_ca() {
                    return Err(self.seen(FOREIGN_CA));
                }
                Ok(())
            }
        }
    }

    /// What counts of what the caller has shown, now.
    fn proofs<'s>(&'s self, state: &'s State, operation: Operation) -> Result<policy::Caller<'s>, String> {
        let mut proofs = self.caller.proofs(state)?;
        let counts = match operation {
            Operation::Sign(_) | Operation::ListKeys => self.is_named_client(),
            Operation::KeyManager(_) | Operation::Admin(_) => !self.app.admin_ca_required || self.is_of_admin_ca(),
        };
        proofs.certificate = proofs.certificate.filter(|_| counts);
        Ok(proofs)
    }

    /// Whether `api.clients` of this node names the certificate.
    fn is_named_client(&self) -> bool {
        let certificate = self.caller.certificate();
        self.app.clients.allows(certificate.and_then(|certificate| certificate.common_name.as_deref()))
    }

    fn is_of_admin_ca(&self) -> bool {
        self.caller.certificate().is_some_and(|certificate| certificate.from_admin_ca)
    }

    fn denied(denial: &policy::Denial, proofs: &policy::Caller<'_>) -> String {
        match denial {
            policy::Denial::UnknownCaller { .. } => denial.to_string(),
            policy::Denial::NotGranted { .. }
            | policy::Denial::KeyNotGranted { .. }
            | policy::Denial::FeeRecipient { .. }
            | policy::Denial::TooFarAhead { .. }
            | policy::Denial::NoClock => format!("{denial}; seen: {}", proofs.describe()),
        }
    }

    fn seen(&self, why: &str) -> String {
        format!("{why}; seen: {}", self.caller.describe())
    }
}

/// The slot of the clock, if the network says when its chain began. For admission alone: no safety rests on it.
pub(crate) fn slot_of_clock(network: &consigner_rules::Network) -> Option<Slot> {
    slot_at(network, SystemTime::now())
}

fn slot_at(network: &consigner_rules::Network, time: SystemTime) -> Option<Slot> {
    let genesis_ms = u128::from(network.genesis_time()?) * 1000;
    let now_ms = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let slots = now_ms.saturating_sub(genesis_ms) / u128::from(network.slot_duration_ms().max(1));
    Some(Slot::try_from(slots).unwrap_or(Slot::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use consigner_rules::Network;
    use std::time::Duration;

    #[test]
    fn the_clock_says_which_slot_it_is() {
        let network = Network::by_name("mainnet").unwrap();
        let genesis = network.genesis_time().unwrap();
        let at = |seconds: u64| slot_at(&network, UNIX_EPOCH + Duration::from_secs(seconds));
        for (seconds, slot) in [(0, 0), (genesis - 1, 0), (genesis, 0), (genesis + 11, 0), (genesis + 12, 1)] {
            assert_eq!(at(seconds), Some(slot), "{seconds}");
        }
        assert_eq!(at(genesis + 12 * 1_000_000), Some(1_000_000));
        let unknown =
            Network::from_yaml("PRESET_BASE: minimal\nGENESIS_FORK_VERSION: 0x00000001\nSECONDS_PER_SLOT: 6\n", "x");
        assert_eq!(slot_at(&unknown.unwrap(), UNIX_EPOCH + Duration::from_secs(genesis)), None);
    }
}
