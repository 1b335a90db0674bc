//! consigner-storage
