//! Translates HTTP to the handful of calls of the cluster, and back.
//!
//! ```text
//! gate/door -> admission: path, Host, deadline, panic -> route -> admission: who, body -> rules, raft, keys
//!           <- accept / error: content type, status  <---------------------------------------------/
//! ```
//!
//! | module | what it owns |
//! |---|---|
//! | `admission` | what every request passes: path normalisation, hosts, addresses, who it is, body limits, deadlines |
//! | `permission` | what each endpoint needs, and whether a caller has it |
//! | `eth2` | the Web3Signer-compatible endpoints below `/api/v1/eth2` |
//! | `health` | `/upcheck`, `/healthcheck`, `/leader`, `/ready` |
//! | `keymanager` | `/eth/v1/keystores` and `/eth/v1/remotekeys`: who may call, how often, and each call |
//! | `key_import`, `key_delete` | what both APIs do with keys: seal and propose; disable, settle, export |
//! | `reload` | `/reload` |
//! | `admin` | `/admin/v1`: status, initialisation, history, keys, policy and tokens, for operators |
//! | `archive` | what this crate knows of an archive in a database |
//! | `audit` | the one place through which changes, decisions and refused attempts are recorded |
//! | `secrets` | bodies that hold secrets, erased after use |
//! | `limits` | rates, back-off after failed credentials, places of sign requests |
//! | `accept` | content negotiation |
//! | `follow` | which clients follow a redirect |
//! | `json` | the one content type of JSON bodies |
//! | `quiet` | how many log lines callers can cause |
//! | `error` | every status code that is not 200 |
//! | `metrics` | the names of what is counted |
//!
//! In: requests whose extensions hold the [`consigner_gate::Peer`]. Out: answers; no error text holds a secret.
//! Deliberately absent: sockets and TLS (`gate`), verdicts (`rules`, `raft`), keys (`keys`), configuration (`node`).
//! This crate alone names axum.

mod accept;
mod admin;
mod admission;
mod app;
mod archive;
pub mod audit;
mod data_key;
mod error;
mod eth2;
mod follow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod json;
mod key_delete;
mod key_import;
mod keymanager;
mod limits;
mod metrics;
mod offload;
mod permission;
mod quiet;
mod reload;
mod router;
mod secrets;

pub use admin::{ArchiveView, TOKEN_LIFE_MAX};
pub use admission::{AddressGroup, policy_addresses};
pub use app::{App, ClientPolicy, FollowerRequests, NodeReadiness};
pub use archive::{
    ArchiveAccess, ArchiveCall, ArchiveFault, ArchiveTrouble, Backfilled, ExporterState, ExporterStatus, GivenRows,
    MarkView,
};
pub use key_import::{Deletions, ImportResult, ImportStatus, Origin, Wish, import_secrets};
pub use keymanager::{
    KeyManagerDoor, KeyManagerPolicy, KeyManagerProof, TOKEN_BYTES_MAX, TOKEN_CHARS_MIN, TokenError, TokenHash,
};
pub use limits::{BackOff, DoorRates, Limits, RateLimit};
pub use metrics::{describe as describe_metrics, record_gauges};
pub use reload::{AlreadyRunning, ReloadState, ReloadStatus, Reloader};
pub use router::{
    AdminDoor, AdminProof, TokenDoor, admin_router, keymanager_router, router, router_with_readiness, token_router,
};
