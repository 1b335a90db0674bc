//! consigner-rules
