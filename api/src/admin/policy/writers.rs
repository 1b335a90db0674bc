//! Who could change the policy after a change: the cluster must never be left without anybody.
//!
//! In: a policy, the tokens beside it. Out: the best way there is. A client entry counts as a way whether or not somebody
//! has its proofs; that the caller has them is for [`super::apply`] to find out.

use consigner_rules::policy::{AdminVerb, Grant, Operation, Policy, TokenRecord};
use std::collections::BTreeSet;

/// A way to `admin.policy-write`, the worse ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// There is none.
    None,
    /// Tokens that end by themselves.
    Expiring,
    /// A client of the policy, or a token that does not end.
    Lasting,
}

/// The best way to change `policy` again. Tokens that have ended are no way.
pub(super) fn way<'a>(policy: &Policy, tokens: impl Iterator<Item = &'a TokenRecord>, now_ms: u64) -> Way {
    let clients = policy.clients.iter().filter(|client| writes(policy, &client.roles)).map(|_| Way::Lasting);
    let tokens = tokens.filter(|token| !token.is_expired(now_ms) && writes(policy, &token.roles));
    let tokens = tokens.map(|token| if token.expires_ms.is_none() { Way::Lasting } else { Way::Expiring });
    clients.chain(tokens).max().unwrap_or(Way::None)
}

fn writes(policy: &Policy, roles: &BTreeSet<String>) -> bool {
    let grants = |grant: &Grant| grant.includes(Operation::Admin(AdminVerb::PolicyWrite));
    let mut roles = roles.iter().filter_map(|role| policy.roles.get(role));
    roles.any(|role| role.operations.iter().any(grants))
}
