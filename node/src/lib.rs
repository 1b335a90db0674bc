//! `consigner-node`: reads configuration, builds each part once, wires, drains.
//!
//! | module | what it owns |
//! |---|---|
//! | [`cli`] | the command line and its exit codes; the only place that prints |
//! | [`config`] | YAML, environment and flags to one checked value, with precise errors |
//! | [`serve`] | one node: parts, doors, key import, graceful stop |
//! | [`dev`] | a whole cluster of child processes on loopback |
//! | [`tour`] | what the cluster promises, shown step by step |
//! | [`archive`] | the exporter of the leader, and the archive in a database |
//! | [`connect`] | the sidecar: plain HTTP on loopback to mutual TLS |
//! | [`bench`] | mainnet-shaped slots against a cluster, measured |
//! | [`doctor`] | a configuration or a cluster beside the security guidelines, point by point |
//! | [`source`] | reads key sources, for nodes and for the command line |
//! | [`client`] | the way into a cluster for all of these |
//! | [`certs`] | certificates of a development cluster |
//!
//! In: files, flags, signals. Out: a process. Deliberately absent: rules, agreement, keys, HTTP semantics.

#[cfg(feature = "postgres")]
pub mod archive;
pub mod bench;
pub mod certs;
pub mod cli;
pub mod client;
pub mod config;
pub mod connect;
pub mod dev;
pub mod doctor;
pub mod files;
pub mod report;
pub mod serve;
pub mod source;
pub mod tour;
