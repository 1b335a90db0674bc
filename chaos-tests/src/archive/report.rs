//! What a run of the archive found, for people and for scripts.

use super::database::Way;
use super::judge::Outage;
use crate::invariants::Violation;
use serde::Serialize;
use std::fmt;

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct ArchiveReport {
    /// Does it again.
    pub command: String,
    /// How the nodes came to the database.
    pub way: Way,
    /// Length, seconds.
    pub seconds: f64,
    /// Requests that were sent.
    pub requests: usize,
    /// Signatures that clients got.
    pub signed: u64,
    /// Refusals that clients got.
    pub refused: u64,
    /// Rows of signatures.
    pub signed_rows: usize,
    /// Rows of refusals.
    pub refused_rows: usize,
    /// Rows of signatures of which no client was told: their replies were lost.
    pub untold_rows: usize,
    /// Transactions of the exporters.
    pub batches: u64,
    /// How often the leader was killed.
    pub leader_kills: usize,
    /// What happened to the database, and how many signatures were made meanwhile.
    pub outages: Vec<Outage>,
    /// What `consigner archive verify` said, and its exit code.
    pub verify: (Option<i32>, String),
    /// What must never be.
    pub violations: Vec<Violation>,
}

impl ArchiveReport {
    /// Whether everything held.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for ArchiveReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} ({:.0} s)", self.command, self.seconds)?;
        writeln!(
            formatter,
            "clients: {} signatures, {} refusals, {} requests",
            self.signed, self.refused, self.requests
        )?;
        let (rows, refused, untold) = (self.signed_rows, self.refused_rows, self.untold_rows);
        writeln!(
            formatter,
            "archive: {rows} signatures ({untold} with a lost reply), {refused} refusals, {} batches",
            self.batches
        )?;
        writeln!(formatter, "the leader was killed {} times", self.leader_kills)?;
        for Outage { what, signed, lasts } in &self.outages {
            let length = if *lasts { "meanwhile" } else { "at that moment" };
            writeln!(formatter, "  {what}: {signed} signatures {length}")?;
        }
        writeln!(formatter, "archive verify: exit {:?}: {}", self.verify.0, self.verify.1.trim())?;
        for violation in &self.violations {
            writeln!(formatter, "VIOLATED {violation}")?;
        }
        write!(formatter, "{}", if self.is_good() { "the archive is complete" } else { "NOT as it must be" })
    }
}
