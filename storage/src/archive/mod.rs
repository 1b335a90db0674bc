//! The archive: every decision of the cluster in a Postgres database, exactly once, chained in log order.
//!
//! In: rows of applied entries with the marks before and after them. Out: the same rows, durable, or the precise reason
//! why not. The tables are the operator's to query; the chain in `batches` proves that nothing in them is missing,
//! altered or doubled. Deliberately absent: who decides when to write (the exporter, in `node`), retries, and any state
//! of a session on the server: each call is one transaction, so a pooler may give each to another server process.
//!
//! Every call has a deadline. A call that missed it leaves a closed connection behind: connect anew. What it did is then
//! unknown and harmless: the next look at the head tells, and writing the same rows again changes nothing.

mod columns;
mod connect;
mod error;
mod gap;
mod lineage;
mod link;
mod maxima;
pub mod migrate;
mod migrations;
mod numeric;
mod place;
pub mod project;
mod read;
mod rows;
mod session;
mod show;
mod text;
mod verify;
mod verify_report;
mod verify_walk;
mod write;

use std::path::PathBuf;
use std::time::Duration;

pub use crate::postgres::ServerProof;
pub use error::{ArchiveError, SchemaFault, ServerFault};
pub use lineage::Lineage;
pub use migrate::{Plan, Roles};
pub use read::Gap;
pub use rows::RowFault;
pub use show::{Question, SHOWN_MAX};
pub use verify::verify;
pub use verify_report::{FAULTS_NAMED, Fault, FaultKind, Place, Progress, VerifyReport};
pub use write::{BATCH_ROWS_MAX, Written};

use crate::postgres::Session;

/// Where the archive's database is, and how both sides prove who they are. Nothing of it is read before
/// [`ArchiveDb::connect`], and everything is read again by each call of it.
#[derive(Debug, Clone)]
pub struct ArchiveDb {
    /// `postgres://USER@HOST:PORT/DATABASE`, without a password: it would be seen in the list of processes.
    pub url: String,
    /// Where the password comes from.
    pub password: PasswordSource,
    /// What the server must show, and what this side shows.
    pub server: ServerProof,
    /// Whether the password exchange must be bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// For each call, from its begin to its end; the server gets the same limit.
    pub deadline: Duration,
    /// What `pg_stat_activity` shows.
    pub application: &'static str,
}

/// Where the password comes from, at each connect anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// There is none: the certificate is enough.
    None,
    /// The content of a file, without the line's end. Nobody but its owner and group may read it.
    File(PathBuf),
    /// The value of this variable of the environment.
    Env(String),
}

/// Whether the password exchange (SCRAM) must be bound to the TLS channel, so that nobody in between with a certificate
/// of a trusted CA could pass it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    /// It must: for a direct connection. Refused if the server does not offer it, or asks for no password.
    Require,
    /// If the server offers it. `PgBouncer` does not.
    Prefer,
}

/// A connection to the archive.
pub struct Archive {
    session: Session,
    deadline: Duration,
    validators: place::ValidatorIds,
}
