//! consigner-node
