//! Elections (DESIGN 7a): when to stand, whom to believe, and how a leader without a quorum notices it.
//!
//! | module | what it owns |
//! |---|---|
//! | [`driver`] | the pure state machine |
//! | [`messages`] | its inputs, its actions, the pre-vote |
//! | [`run`] | the task that drives it with openraft, sockets and clocks |
//!
//! Timing here is liveness, never safety: votes, terms and logs are openraft's. With `raft.election: builtin` openraft's
//! own timers decide when to stand; the rest stays.

mod driver;
mod messages;
mod run;
#[cfg(test)]
mod simulation;

pub use messages::is_quorum;
pub use run::Elections;
