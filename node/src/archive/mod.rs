//! The exporter: copies what the cluster recorded into a Postgres database, on the leader, in log order.
//!
//! ```text
//! outbox -> gather -> [plan] -> write (rows and chain, one transaction) -> committed -> AdvanceArchive -> all purge
//!                        ^-- mark, head, holes, troubles
//! ```
//! In: the cluster's outbox and mark, the database. Out: rows exactly once, a mark that never runs ahead of them, and a
//! precise reason when nothing moves. Deliberately absent: anything that a signature would wait for. The exporter has a
//! task and a connection of its own, holds one batch at a time, and reads the disk off the async threads.
//!
//! | module | what it owns |
//! |---|---|
//! | `plan` | what to do next, given what happened: pure |
//! | `facts` | where mark and database stand to each other: pure |
//! | `batch` | rows of whole entries, bounded |
//! | `backoff` | how long to wait after a trouble: pure |
//! | `trouble` | what goes wrong, by class |
//! | `exporter` | the task: carries the steps out while this node leads |
//! | `link` | the connection, and what is asked through it |
//! | `backfill` | what to do with a database that lost something |
//! | `survey` | what the nodes still have of it |
//! | `shown` | what is told about it: status, metrics |
//! | `access` | the same for the HTTP surface |

mod access;
mod backfill;
mod backoff;
mod batch;
mod exporter;
mod facts;
mod link;
mod plan;
#[cfg(test)]
mod plan_tests;
mod shown;
mod survey;
mod trouble;

pub use access::{DatabaseArchive, start};
