//! `consigner-chaos-tests`: breaks a real cluster and judges it from outside.
//!
//! ```text
//! scenario -> cluster  (consigner dev: three processes)        faults  kill -9, SIGSTOP, all at once
//!          -> storm    (conflicting requests to all nodes) --> oracle  every request, every byte of every answer
//!                                                          <-- oracle  signatures, exports, states  -> invariants
//! ```
//!
//! | module | what it owns |
//! |---|---|
//! | [`archive`] | decisions in a Postgres that is broken meanwhile |
//! | [`binary`] | finding and building the `consigner` that is tested |
//! | [`cli`] | commands of that binary, as an operator types them |
//! | [`cluster`] | a cluster of `consigner dev`, its processes by exact id |
//! | [`fleet`] | nodes with configuration files of their own, their disks and processes |
//! | [`storm`] | seeded requests: conflicting, surrounding, identical, stale |
//! | [`keymanager`] | keys brought in and taken away through the key manager API |
//! | [`failover`] | how long signing pauses when leaders die, stop or freeze |
//! | [`faults`] | one file per fault |
//! | [`perimeter`] | callers of every kind: certificates, addresses, balancers |
//! | [`oracle`] | what was asked and answered, and what is computed from it; never a log line |
//! | [`invariants`] | one file per invariant of the design: evidence in, violations out |
//! | [`scenario`] | the runs that have a name |
//! | [`services`] | a KMS and a Vault of their own, for the sealers |
//! | [`secrecy`] | looks for secrets where none may be |
//! | [`report`] | what a run found, for people and for scripts |
//! | [`weather`] | how badly the machine starved this program |
//!
//! In: a seed and the name of a scenario. Out: a report. Deliberately absent: any trust in what the cluster says about
//! itself, and any import of the crates that make up a node but the rules (for signing roots) and BLS verification.

pub mod archive;
pub mod binary;
pub mod cli;
pub mod cluster;
pub mod failover;
pub mod faults;
pub mod fleet;
pub mod invariants;
pub mod keymanager;
pub mod oracle;
pub mod perimeter;
pub mod report;
pub mod rng;
pub mod scenario;
pub mod secrecy;
pub mod services;
pub mod storm;
pub mod weather;
