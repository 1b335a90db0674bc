//! consigner-raft
