//! consigner-gate
