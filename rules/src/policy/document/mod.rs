//! The YAML text of a policy, strictly: what is not understood is refused, with its place.
//!
//! In: text. Out: a [`Policy`] in which every name that is used is known, or a [`PolicyError`] with line and column. And
//! back: a canonical text. Deliberately absent: anchors, aliases, tags of YAML, several documents, defaults that grant.
//!
//! ```text
//! text -> tree (places kept) -> fields: known names only -> sections: values, names looked up -> Policy
//! ```

mod clients;
mod fields;
mod nearest;
mod network;
#[cfg(test)]
mod round_trip_tests;
mod sections;
#[cfg(test)]
mod tests;
mod tree;
mod write;

use super::model::{POLICY_BYTES_MAX, Policy};
use crate::codec;
use fields::Fields;
use tree::{At, Node};

/// Longest text of a policy, in bytes: what it holds must fit into one command of the log.
pub const POLICY_TEXT_BYTES_MAX: usize = 192 * 1024;

/// The version of the document that this binary reads.
const VERSION: u64 = 1;

/// Why a text is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

impl Policy {
    /// Reads a policy. Every name in it is looked up, so that what is accepted means what it says.
    ///
    /// # Errors
    /// [`PolicyError`] with the place of the first thing that is wrong.
    pub fn parse(yaml: &str) -> Result<Self, PolicyError> {
        if yaml.len() > POLICY_TEXT_BYTES_MAX {
            let bytes = yaml.len();
            return Err(At::TOP.error(format!("the policy has {bytes} bytes, more than {POLICY_TEXT_BYTES_MAX}")));
        }
        let root = Node::parse(yaml)?;
        let policy = read(&root)?;
        let (bytes, written) = (codec::encode(&policy).len(), policy.to_yaml().len());
        if bytes > POLICY_BYTES_MAX {
            let problem = format!("the policy takes {bytes} bytes in the log, more than {POLICY_BYTES_MAX}");
            return Err(At::TOP.error(problem));
        }
        // What is shown can be edited and applied again.
        if written > POLICY_TEXT_BYTES_MAX {
            let problem = format!("written out, the policy has {written} bytes, more than {POLICY_TEXT_BYTES_MAX}");
            return Err(At::TOP.error(problem));
        }
        Ok(policy)
    }

    /// The policy as a document that [`Policy::parse`] reads to the same policy; comments of the original are lost.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        write::document(self)
    }
}

fn read(root: &Node) -> Result<Policy, PolicyError> {
    let known = ["version", "hosts", "addresses", "future-slots", "tags", "roles", "clients"];
    let fields = Fields::of(root, "a policy", &known)?;
    let version = fields.require("version")?;
    let found = version.number("version", u64::MAX)?;
    if found != VERSION {
        return Err(version.at.error(format!("version {found} is not known; this binary reads version {VERSION}")));
    }
    let tags = fields.get("tags").map_or_else(|| Ok(Default::default()), sections::tags)?;
    let roles = fields.get("roles").map_or_else(|| Ok(Default::default()), |node| sections::roles(node, &tags))?;
    Ok(Policy {
        hosts: fields.get("hosts").map(sections::hosts).transpose()?,
        addresses: fields.get("addresses").map_or_else(|| Ok(Default::default()), sections::addresses)?,
        future_slots: fields.get("future-slots").map(sections::future_slots).transpose()?,
        clients: fields.get("clients").map_or_else(|| Ok(Vec::new()), |node| clients::clients(node, &roles))?,
        tags,
        roles,
    })
}
