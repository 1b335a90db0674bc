//! What in a policy is allowed but probably not meant.

use super::model::{KeyScope, Policy, Role};
use super::operation::{AdminVerb, Grant, Operation};
use crate::message::SigningType;
use std::collections::BTreeSet;

impl Policy {
    /// What in the policy is allowed but probably not meant: sentences for whoever applies it.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let given: BTreeSet<&String> = self.clients.iter().flat_map(|client| &client.roles).collect();
        for (name, role) in &self.roles {
            if !given.contains(name) {
                warnings.push(format!("role {name} is given to no client; only tokens can have it"));
            }
            warnings.extend(self.doubts_of_role(name, role));
        }
        let named: BTreeSet<&String> = self.roles.values().filter_map(tags).flatten().collect();
        let unused = self.tags.keys().filter(|tag| !named.contains(tag));
        warnings.extend(unused.map(|tag| format!("tag {tag} is named by no role")));
        if !self.can_be_changed() {
            warnings.push(format!(
                "no client has {}: only a token can change this policy again",
                Operation::Admin(AdminVerb::PolicyWrite)
            ));
        }
        warnings
    }

    fn doubts_of_role(&self, name: &str, role: &Role) -> Vec<String> {
        let mut doubts = Vec::new();
        let grants = |operation: Operation| role.operations.iter().any(|grant| grant.includes(operation));
        let registers = grants(Operation::Sign(SigningType::ValidatorRegistration));
        if registers && role.fee_recipients.is_none() {
            doubts.push(format!("role {name} may register any fee recipient; fee-recipients would bound them"));
        }
        if !registers && role.fee_recipients.is_some() && !grants(Operation::Sign(SigningType::ProposerPreferences)) {
            doubts.push(format!("role {name} has fee-recipients, but none of its operations names one"));
        }
        if grants(Operation::Sign(SigningType::VoluntaryExit)) && role.keys == Some(KeyScope::All) {
            doubts.push(format!("role {name} may exit every validator, which cannot be taken back"));
        }
        let empty = tags(role).into_iter().flatten().filter(|tag| self.tags.get(*tag).is_none_or(BTreeSet::is_empty));
        doubts.extend(empty.map(|tag| format!("role {name} names tag {tag}, which has no keys")));
        doubts
    }

    fn can_be_changed(&self) -> bool {
        let writes = |grant: &Grant| grant.includes(Operation::Admin(AdminVerb::PolicyWrite));
        let can = |role: &String| self.roles.get(role).is_some_and(|role| role.operations.iter().any(writes));
        self.clients.iter().any(|client| client.roles.iter().any(can))
    }
}

fn tags(role: &Role) -> Option<&BTreeSet<String>> {
    match &role.keys {
        Some(KeyScope::Tags(tags)) => Some(tags),
        Some(KeyScope::All | KeyScope::Keys(_)) | None => None,
    }
}
