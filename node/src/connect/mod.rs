//! `consigner connect`: the sidecar beside a validator client that has no client certificate.
//!
//! ```text
//! validator client --plain HTTP, loopback--> door | unix -> service -> dispatch --mutual TLS--> nodes
//!                                                              |          |  ^
//!                                                           surface     plan nodes <- ping
//! ```
//!
//! | module | what it owns |
//! |---|---|
//! | [`listen`] | where the plain side may listen |
//! | `surface` | what passes, and what never does |
//! | `service` | HTTP towards the client, limits |
//! | `plan` | whom to ask next and when: retries, hedges, redirects; pure |
//! | `dispatch` | asking, and what answers mean |
//! | `nodes`, `ping` | who answers and who leads |
//! | `unix`, `telemetry` | the socket file, the counters |
//!
//! Repeating a request is safe: the cluster repeats the signature of a root that it has signed, and refuses another.
//! Deliberately absent: keys, signatures, any judgement of a message; slashing protection is the cluster's alone.

mod dispatch;
pub mod listen;
mod nodes;
mod ping;
mod plan;
mod service;
mod surface;
mod telemetry;
#[cfg(test)]
mod tests;
mod unix;

pub use listen::Listen;

use crate::serve::telemetry::{self as exporter, MetricsService};
use consigner_gate::door::{Door, DoorConfig, DoorLimits};
use consigner_gate::{ClientTls, DoorError, HostAllowlist, TlsError};
use dispatch::Dispatcher;
use nodes::Nodes;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Nimbus gives up after 3 s in all.
pub const DEADLINE: Duration = Duration::from_millis(2_800);

/// A signature takes a few milliseconds. Who is silent for so long is frozen, cut off, or waits for an election; then the
/// second one costs nothing, because both wait for the same leader.
pub const TRY_TIMEOUT: Duration = Duration::from_millis(400);

/// Beyond a request's own deadline, for its answer to be written at a stop.
const DRAIN_MARGIN: Duration = Duration::from_secs(1);

/// A scraper or two.
const METRICS_CONNECTIONS_MAX: usize = 16;

/// What a sidecar is made of.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The plain side.
    pub listen: Listen,
    /// Where metrics are read, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// May the two be reached from other machines.
    pub allow_non_loopback: bool,
    /// Which `Host` a client may name.
    pub hosts: HostAllowlist,
    /// `https://HOST[:PORT]` of each node.
    pub endpoints: Vec<String>,
    /// Towards the nodes.
    pub tls: ClientTls,
    /// From the head of a request to its answer.
    pub deadline: Duration,
    /// After which silence another node is asked, too.
    pub try_timeout: Duration,
    /// Follow redirects to nodes that are not among the endpoints.
    pub follow_any: bool,
}

/// Why a sidecar does not run.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Whoever reaches the plain side signs with the sidecar's certificate.
    #[error(
        "{0} can be reached from other machines, and whoever reaches it signs with this certificate; listen on \
         127.0.0.1, or say --allow-non-loopback if a firewall or the container's network keeps others out"
    )]
    NotLoopback(String),
    /// No endpoint, or one that is no URL of a node.
    #[error("endpoint \"{0}\" is not https://HOST[:PORT]")]
    Endpoint(String),
    /// The deadlines contradict each other.
    #[error("--try-timeout must be shorter than --deadline")]
    Deadlines,
    /// The certificates cannot be used.
    #[error("cannot use the client certificate")]
    Tls(#[from] TlsError),
    /// The address is taken or not ours.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The socket file cannot be made.
    #[error("cannot listen on unix:{}", path.display())]
    Unix {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Signals cannot be caught.
    #[error("cannot catch signals")]
    Signals(#[source] std::io::Error),
    /// A part ended by itself.
    #[error("a part of the sidecar ended unexpectedly")]
    Ended,
}

impl ConnectError {
    /// Whether the command line is to blame.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        match self {
            Self::NotLoopback(_) | Self::Endpoint(_) | Self::Deadlines => true,
            Self::Tls(_) | Self::Door(_) | Self::Unix { .. } | Self::Signals(_) | Self::Ended => false,
        }
    }
}

/// A sidecar that serves.
pub struct Sidecar {
    dispatcher: Arc<Dispatcher>,
    listen: Listen,
    metrics: Option<SocketAddr>,
    stop: CancellationToken,
    /// Doors, which end after `stop`.
    doors: JoinSet<usize>,
    /// Loops without an end; cut when dropped.
    _loops: JoinSet<()>,
}

impl Sidecar {
    /// Binds, then serves.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn start(options: ConnectOptions) -> Result<Self, ConnectError> {
        let nodes = check(&options)?;
        let ConnectOptions { listen, metrics, hosts, tls, deadline, try_timeout, follow_any, .. } = options;
        let dispatcher = Dispatcher::new(nodes, tls, try_timeout, follow_any)?;
        let stop = CancellationToken::new();
        let (mut doors, mut loops) = (JoinSet::new(), JoinSet::new());
        let drain = deadline + DRAIN_MARGIN;
        let service = |hosts| service::Sidecar::new(dispatcher.clone(), hosts, deadline);
        // Both are bound before the first one serves.
        let metrics_door = match metrics {
            Some(addr) => Some(bind("metrics", addr, METRICS_CONNECTIONS_MAX, drain).await?),
            None => None,
        };
        let listen = match listen {
            Listen::Tcp(addr) => {
                let door = bind("connect", addr, consigner_gate::door::CONNECTIONS_MAX, drain).await?;
                let addr = door.local_addr();
                doors.spawn(door.serve(service(Some(hosts.clone())), stop.clone()));
                Listen::Tcp(addr)
            }
            Listen::Unix(path) => {
                let unix = |source| ConnectError::Unix { path: path.clone(), source };
                let socket = unix::Socket::bind(&path).map_err(unix)?;
                doors.spawn(socket.serve(service(None), stop.clone(), drain));
                Listen::Unix(path)
            }
        };
        let metrics = metrics_door.as_ref().map(Door::local_addr);
        if let Some(door) = metrics_door {
            doors.spawn(door.serve(metrics_service(hosts, dispatcher.clone(), &mut loops), stop.clone()));
        }
        for node in 0..dispatcher.nodes().len() {
            loops.spawn(ping::keep_warm(dispatcher.clone(), node));
        }
        Ok(Self { dispatcher, listen, metrics, stop, doors, _loops: loops })
    }

    /// Where it listens, with the port that was taken.
    #[must_use]
    pub const fn listen(&self) -> &Listen {
        &self.listen
    }

    /// Where metrics are read, with the port that was taken.
    #[must_use]
    pub const fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// How many nodes it knows.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.dispatcher.nodes().len()
    }

    /// Reads the certificate files again. Requests under way keep their connections, later ones use new ones.
    ///
    /// # Errors
    /// A bad file; the old certificates stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let reloaded = self.dispatcher.reload();
        telemetry::reloaded(reloaded.is_ok());
        reloaded
    }

    /// Stops listening and lets requests under way finish within their deadline.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.doors.join_next().await {
            match ended {
                Ok(0) => {}
                Ok(cut) => tracing::warn!(cut, "connections were cut"),
                Err(error) => tracing::error!(%error, "a door ended badly"),
            }
        }
    }
}

/// Serves until SIGTERM or SIGINT, then drains; reads certificates again on SIGHUP. `announce` is called once it
/// serves.
///
/// # Errors
/// See [`ConnectError`].
pub async fn until_stopped(options: ConnectOptions, announce: impl FnOnce(&Sidecar)) -> Result<(), ConnectError> {
    let caught = |kind: SignalKind| -> Result<Signal, ConnectError> { signal(kind).map_err(ConnectError::Signals) };
    let mut terminate = caught(SignalKind::terminate())?;
    let mut interrupt = caught(SignalKind::interrupt())?;
    let mut hang_up = caught(SignalKind::hangup())?;
    exporter::recorder();
    let mut sidecar = Sidecar::start(options).await?;
    announce(&sidecar);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => match sidecar.reload() {
                Ok(()) => tracing::info!("certificates read again"),
                Err(error) => {
                    let error = crate::report::one_line(&error);
                    tracing::error!(error, "certificates not read again; the old ones stay in use");
                }
            },
            // No door ends before it is told to.
            _ = sidecar.doors.join_next() => return Err(ConnectError::Ended),
        }
    }
    tracing::info!("stopping");
    sidecar.stop().await;
    Ok(())
}

fn check(options: &ConnectOptions) -> Result<Nodes, ConnectError> {
    let metrics = options.metrics.map(Listen::Tcp);
    let exposed = [Some(&options.listen), metrics.as_ref()].into_iter().flatten().find(|listen| !listen.is_private());
    if let Some(listen) = exposed.filter(|_| !options.allow_non_loopback) {
        return Err(ConnectError::NotLoopback(listen.to_string()));
    }
    if options.try_timeout >= options.deadline {
        return Err(ConnectError::Deadlines);
    }
    if options.endpoints.is_empty() {
        return Err(ConnectError::Endpoint(String::new()));
    }
    Nodes::new(&options.endpoints).map_err(ConnectError::Endpoint)
}

async fn bind(name: &str, addr: SocketAddr, connections_max: usize, drain: Duration) -> Result<Door, DoorError> {
    let limits = DoorLimits { connections_max, drain_timeout: drain, ..DoorLimits::default() };
    Door::bind(DoorConfig { name: name.to_owned(), addr, tls: None, admit: None, limits }).await
}

fn metrics_service(hosts: HostAllowlist, dispatcher: Arc<Dispatcher>, loops: &mut JoinSet<()>) -> MetricsService {
    let recorder = exporter::recorder();
    telemetry::describe();
    let upkeep = recorder.clone();
    loops.spawn(async move {
        loop {
            tokio::time::sleep(exporter::UPKEEP_INTERVAL).await;
            upkeep.run_upkeep();
        }
    });
    MetricsService::new(recorder, hosts, Arc::new(move || telemetry::record(dispatcher.nodes())))
}
