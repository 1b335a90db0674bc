//! The rules of Consigner: what a request means, whether it may be signed, and how the replicated state changes.
//!
//! In: request bodies and committed commands, as values. Out: signing roots, outcomes, changes, permits, as values.
//! Deliberately absent: I/O, clocks, randomness, logging, async, unordered maps. Two nodes that apply the same
//! commands in the same order hold the same bytes, and every test of this crate is a table of values.

pub mod archive;
pub mod codec;
pub mod command;
pub mod interchange;
pub mod message;
pub mod network;
pub mod permit;
pub mod policy;
pub mod primitives;
pub mod slashing;
pub mod state;

pub use archive::{ArchiveMark, ArchiveRow, archive_rows};
pub use command::{Change, Command, CommandBatch, HistoryImport, Outcome, SealedKey, SignIntent, Verdict};
pub use message::{Moment, ParseError, Particulars, SignRequest, SigningType};
pub use network::Network;
pub use permit::{SignPermit, Unslashable};
pub use policy::{Policy, TokenRecord};
pub use primitives::{Address, Epoch, PublicKey, Root, Signature, Slot};
pub use slashing::{AgreedDuty, Ruling, Violation};
pub use state::{Applied, RULES_VERSION, State};
