//! The one place through which everything that the audit hears goes: actions on keys, changes of the cluster, decisions
//! on signatures that matter, and every refused attempt at one.
//!
//! ```text
//! Event -> Auditor -> a count, a log line with the target `audit`, an AuditLine to the AuditSink (the chain on disk)
//! ```
//! | what happened | how it is told | what waits for the disk |
//! |---|---|---|
//! | a change (keys, policy, tokens, history, cluster) | [`Auditor::begin`], then [`Auditor::conclude`] | it, its answer |
//! | a decision (a block signed, slashing protection refused) | [`Auditor::record`] | nothing |
//! | what a stranger can cause at will (a foreign host, a wrong token) | [`Auditor::record_within`] a [`Flood`] | nothing |
//! | a duty (an attestation) | one in N, [`Auditor::is_sampled`] | nothing |
//!
//! A change can never be unrecorded: its line `begun` is on disk before anything is proposed, and if it cannot be, the
//! change is refused with 503 and nothing has happened. The line with its outcome follows; if that one cannot be written,
//! or the process dies between the two, the line `begun` stands alone in the chain and says that the outcome is to be
//! looked for in the cluster. The answer is then 503, too: the call may be repeated, and says "duplicate" or "not active".
//!
//! Deliberately absent: secrets, tokens and bodies, which no field can hold; files and their chain (`storage`, `node`).

mod auditor;
mod event;
mod flood;
mod line;

pub use auditor::{AuditError, Auditor, Kept};
pub use event::{Actor, Event, Operation, Outcome, Proof};
pub use flood::Flood;
pub use line::{AuditLine, AuditSink};

use auditor::Sending;

/// The target of audit lines in the log, for filters.
pub const TARGET: &str = "audit";
