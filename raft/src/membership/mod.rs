//! Who belongs to the cluster, changed while it signs (DESIGN 9).
//!
//! ```text
//! any node --change()--> leader --one at a time--> add:     identify, AdmitNode, learner, level, voter
//!                                                  remove:  hand over (if it leads), quorum, voters, RetireNode
//!                                                  replace: as add, then both in one joint step
//! ```
//! In: what an operator wants. Out: the membership afterwards with what is odd about it, or a refusal that names the way
//! out. Deliberately absent: elections ([`crate::lifecycle`]), and what a node is told when it must not come back
//! (`entry_gate`). openraft's own joint consensus makes each step safe; this module keeps it from steps that would leave
//! the cluster without a quorum, and from nodes that are not who they should be.

mod add;
mod change;
mod error;
mod finish;
mod founders;
mod identify;
mod join_token;
mod level;
mod quorum;
mod remove;
#[cfg(test)]
mod tests;
mod transfer;
mod view;

pub use change::{AddMember, Change, MembershipChange};
pub use error::{MembershipError, MembershipRefusal};
pub(crate) use finish::finish_joint_changes;
pub use join_token::{NewJoinToken, join_token_hash};

/// Most voters: above seven every signature waits for five disks (DESIGN 1).
pub const VOTERS_MAX: usize = 7;
