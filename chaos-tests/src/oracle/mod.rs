//! What was asked, what was answered, and what follows from it: the only source of every verdict.
//!
//! | module | what it owns |
//! |---|---|
//! | [`message`] | a request: validator, slot or epochs, signing root computed here |
//! | [`history`] | every request and every byte of every answer, with times of one clock |
//! | [`custody`] | keys that were imported and deleted, and what was promised |
//! | [`courier`] | sends over keep-alive mTLS, follows redirects, writes everything down |
//! | [`release`] | the signatures that left any node, verified |
//! | [`observation`] | exports and states of the nodes, asked during the run |
//! | [`watch`] | asks for these all the time |
//! | [`evidence`] | all of it, as the invariants read it |
//!
//! Deliberately absent: logs, metrics and anything else that a node says about what it believes to have done.

pub mod courier;
pub mod custody;
pub mod evidence;
pub mod history;
pub mod message;
pub mod observation;
pub mod release;
pub mod watch;

pub use courier::Courier;
pub use custody::{Deletion, Import, Promise};
pub use evidence::{Evidence, Fault};
pub use history::{Exchange, History, Phase, Reply};
pub use message::{Content, Message};
pub use observation::{ExportSample, Marks, StatusSample};
pub use release::Release;
pub use watch::Watch;
