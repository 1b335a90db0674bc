//! Who may ask: the policy, the tokens, and how far the audit logs have come.
//!
//! In: the commands about them. Out: outcomes, changes, records. What lowers anybody's rights raises the policy version,
//! so that an intent that was admitted before is stale. Deliberately absent: any look at the policy by a verdict, and
//! clocks (an expired token is held until it is revoked; whoever admits looks at the expiry).

use super::apply::Step;
use super::records;
use super::{Cluster, State};
use crate::codec;
use crate::command::{AuditAnchor, Change, Outcome, Rejection};
use crate::policy::{POLICY_BYTES_MAX, Policy, TOKENS_MAX, TokenRecord};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// Most audit logs that are anchored: every node has one, and a new one when it loses its disk.
pub const AUDIT_ANCHORS_MAX: usize = 1_024;

/// The policy that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeldPolicy {
    /// The policy version with which it came; later revocations raise the version and leave the document.
    pub(super) since: u64,
    pub(super) policy: Arc<Policy>,
}

impl State {
    /// The policy, if one was applied.
    #[must_use]
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        self.policy.as_ref().map(|held| &held.policy)
    }

    /// The policy version with which the policy came, if one was applied.
    #[must_use]
    pub fn policy_since(&self) -> Option<u64> {
        self.policy.as_ref().map(|held| held.since)
    }

    /// A token by its id, expired or not.
    #[must_use]
    pub fn token(&self, id: &[u8; 8]) -> Option<&Arc<TokenRecord>> {
        self.tokens.get(id)
    }

    /// All tokens, by id.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &Arc<TokenRecord>> {
        self.tokens.values()
    }

    /// How far the audit logs have come, by the key that signs them.
    pub fn audit_anchors(&self) -> impl ExactSizeIterator<Item = &AuditAnchor> {
        self.audit_anchors.values()
    }
}

impl Step<'_> {
    /// Makes every admission so far stale.
    pub(super) fn raise_policy_version(&mut self) -> u64 {
        let cluster = self.state.cluster.clone();
        let version = cluster.policy_version.saturating_add(1);
        self.replace_cluster(Cluster { policy_version: version, ..cluster });
        self.admission_changed = true;
        self.changes.push(Change::PolicyRenewed(version));
        version
    }

    pub(super) fn set_policy(&mut self, policy: &Policy, replaces: u64) -> Outcome {
        let version = self.state.cluster.policy_version;
        if let Some(held) = &self.state.policy
            && Some(held.since) == replaces.checked_add(1)
            && *held.policy == *policy
        {
            // The same proposal, sent again because its answer was lost.
            return Outcome::PolicyRenewed(held.since);
        }
        if replaces != version {
            return Outcome::Rejected(Rejection::PolicyChangedMeanwhile { version });
        }
        let bytes = codec::encode(policy).len();
        if bytes > POLICY_BYTES_MAX {
            return Outcome::Rejected(Rejection::PolicyTooLarge { bytes: bytes as u64 });
        }
        let since = self.raise_policy_version();
        let held = HeldPolicy { since, policy: Arc::new(policy.clone()) };
        let before = self.state.policy.as_ref().map(records::policy_record);
        self.write(before, records::policy_record(&held));
        self.state.policy = Some(held);
        Outcome::PolicyRenewed(since)
    }

    pub(super) fn add_token(&mut self, token: &TokenRecord, policy_version: u64) -> Outcome {
        if let Err(rejection) = self.check_token(token, policy_version) {
            return Outcome::Rejected(rejection);
        }
        if !self.state.tokens.contains_key(&token.id) {
            self.write(None, records::token_record(token));
            self.state.tokens.insert(token.id, Arc::new(token.clone()));
            self.admission_changed = true;
            self.changes.push(Change::TokenAdded { id: token.id, name: token.name.clone() });
        }
        Outcome::TokenHeld
    }

    fn check_token(&self, token: &TokenRecord, policy_version: u64) -> Result<(), Rejection> {
        match self.state.tokens.get(&token.id) {
            Some(held) if **held == *token => return Ok(()),
            Some(_) => return Err(Rejection::TokenConflict),
            None => {}
        }
        let version = self.state.cluster.policy_version;
        if policy_version != version {
            return Err(Rejection::PolicyChangedMeanwhile { version });
        }
        token.check().map_err(Rejection::BadToken)?;
        let known = |role: &&String| self.state.policy().is_some_and(|policy| policy.roles.contains_key(*role));
        if let Some(role) = token.roles.iter().find(|role| !known(role)) {
            return Err(Rejection::UnknownRole(role.clone()));
        }
        if self.state.tokens.len() >= TOKENS_MAX { Err(Rejection::TooManyTokens) } else { Ok(()) }
    }

    pub(super) fn revoke_token(&mut self, id: &[u8; 8]) -> Outcome {
        let Some(token) = self.state.tokens.remove(id) else {
            return Outcome::TokenRevoked { was_held: false, version: self.state.cluster.policy_version };
        };
        self.erase(records::token_record(&token));
        self.changes.push(Change::TokenRevoked { id: *id, name: token.name.clone() });
        Outcome::TokenRevoked { was_held: true, version: self.raise_policy_version() }
    }

    /// An anchor only ever moves on: a log that was shortened or rewritten cannot move it to where it is now.
    pub(super) fn anchor_audit(&mut self, anchor: &AuditAnchor) -> Outcome {
        let held = self.state.audit_anchors.get(&anchor.public_key);
        match held {
            Some(held) if held == anchor => return Outcome::AuditAnchored,
            Some(held) if held.node != anchor.node => {
                return Outcome::Rejected(Rejection::AuditKeyOfAnother { node: held.node });
            }
            Some(held) if held.sequence >= anchor.sequence => {
                return Outcome::Rejected(Rejection::AuditWentBack { sequence: held.sequence });
            }
            None if self.state.audit_anchors.len() >= AUDIT_ANCHORS_MAX => {
                return Outcome::Rejected(Rejection::TooManyAudits);
            }
            Some(_) | None => {}
        }
        let before = held.map(records::audit_anchor_record);
        self.write(before, records::audit_anchor_record(anchor));
        self.state.audit_anchors.insert(anchor.public_key, anchor.clone());
        self.changes.push(Change::AuditAnchored(anchor.clone()));
        Outcome::AuditAnchored
    }
}

impl Serialize for HeldPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.since, &*self.policy).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for HeldPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (since, policy) = <(u64, Policy)>::deserialize(deserializer)?;
        Ok(Self { since, policy: Arc::new(policy) })
    }
}
