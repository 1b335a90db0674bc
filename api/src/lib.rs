//! consigner-api
