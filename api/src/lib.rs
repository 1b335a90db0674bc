//! Translates HTTP to the handful of calls of the cluster, and back.
//!
//! ```text
//! gate/door -> admission: path, Host, deadline, panic -> route -> admission: who, body -> rules, raft, keys
//!           <- accept / error: content type, status  <---------------------------------------------/
//! ```
//!
//! | module | what it owns |
//! |---|---|
//! | `admission` | what every request passes: path normalisation, Host allowlist, identity, body limits, deadlines |
//! | `eth2` | the Web3Signer-compatible endpoints below `/api/v1/eth2` |
//! | `health` | `/upcheck`, `/healthcheck`, `/leader`, `/ready` |
//! | `admin` | `/admin/v1`: status, initialisation, history, for the operator's certificate only |
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
mod error;
mod eth2;
mod follow;
mod health;
mod json;
mod metrics;
mod quiet;
mod router;

pub use app::{App, ClientPolicy, FollowerRequests, Limits, NodeReadiness};
pub use metrics::{describe as describe_metrics, record_gauges};
pub use router::{router, router_with_readiness};
