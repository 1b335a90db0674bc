//! Networks: fork schedule, preset, genesis.

/// A network (under construction).
#[derive(Debug, Clone)]
pub struct Network;
