//! consigner-keys
