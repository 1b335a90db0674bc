//! A listening socket and everything between `accept` and the first line of the program that knows what a request is.
//!
//! ```text
//! accept -> cap -> TLS handshake (deadline) -> admit(peer) -> HTTP/1.1 or HTTP/2 -> service(request + Peer)
//!             \________ refused: closed, counted, one WARN line (at most 10 per second) ________/
//! ```
//!
//! In: a `tower` service and a cancellation token. Out: requests whose extensions hold the [`Peer`]. Deliberately
//! absent: body limits and request deadlines, which depend on the path and belong to `api`; IP allowlists.

mod connection;
mod counters;
mod counting;
mod handshake;
mod limits;
mod quiet;
mod supervision;

pub use counters::DoorCounters;
pub use limits::{
    CONNECTIONS_MAX, DRAIN_TIMEOUT, DoorLimits, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, HEAD_TIMEOUT, IDLE_TIMEOUT,
    STALL_TIMEOUT,
};

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::peer::Peer;
use crate::tls::ReloadableTls;
use connection::Slots;
use counters::Counted;
use handshake::Refused;
use quiet::LogBudget;

/// After an accept error that is not the caller's fault (no descriptors left) the door waits this long: trying again
/// at once would burn a core and fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the number of log lines not written is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// After connections were cut, how long to wait for their tasks to notice.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// Looks at a peer after its handshake: `Err` is the reason why it may not come in.
pub type Admit = Arc<dyn Fn(&Peer) -> Result<(), String> + Send + Sync>;

/// What a door is made of.
#[derive(Clone)]
pub struct DoorConfig {
    /// For logs: `api`, `peer`, `metrics`.
    pub name: String,
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Mutual TLS; `None` (plain) is for metrics only.
    pub tls: Option<Arc<ReloadableTls>>,
    /// A further check of the peer's certificate after the handshake.
    pub admit: Option<Admit>,
    /// See [`DoorLimits`].
    pub limits: DoorLimits,
}

/// Why a door cannot open.
#[derive(Debug, thiserror::Error)]
#[error("the {name} door cannot listen on {addr}")]
pub struct DoorError {
    /// The door's name.
    pub name: String,
    /// Where it should have listened.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A bound listening socket.
pub struct Door {
    listener: TcpListener,
    addr: SocketAddr,
    keeper: Arc<Gatekeeper>,
}

/// What all connections of a door share.
struct Gatekeeper {
    name: String,
    tls: Option<Arc<ReloadableTls>>,
    admit: Option<Admit>,
    limits: DoorLimits,
    counters: Arc<DoorCounters>,
    refusals: LogBudget,
    overflow: LogBudget,
}

/// `begun`: finish what is in flight. `cut`: end now.
#[derive(Clone)]
struct Shutdown {
    begun: CancellationToken,
    cut: CancellationToken,
}

impl Door {
    /// Binds the socket; connections queue in the kernel until [`Door::serve`].
    ///
    /// # Errors
    /// The address is taken, not ours, or not permitted.
    pub async fn bind(config: DoorConfig) -> Result<Self, DoorError> {
        let DoorConfig { name, addr, tls, admit, limits } = config;
        let bound = async {
            let listener = TcpListener::bind(addr).await?;
            let addr = listener.local_addr()?;
            Ok((listener, addr))
        };
        let (listener, addr) = bound.await.map_err(|source| DoorError { name: name.clone(), addr, source })?;
        let now = Instant::now();
        let counters = Arc::new(DoorCounters::default());
        let (refusals, overflow) = (LogBudget::new(now), LogBudget::new(now));
        let keeper = Arc::new(Gatekeeper { name, tls, admit, limits, counters, refusals, overflow });
        Ok(Self { listener, addr, keeper })
    }

    /// Where the door listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// For metrics; stays valid after [`Door::serve`] took the door.
    pub fn counters(&self) -> Arc<DoorCounters> {
        self.keeper.counters.clone()
    }

    /// Serves until `shutdown` is cancelled, then stops listening, lets requests in flight finish within
    /// [`DoorLimits::drain_timeout`], cuts the rest, and returns how many connections were cut.
    pub async fn serve<S, B>(self, service: S, shutdown: CancellationToken) -> usize
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { listener, keeper, .. } = self;
        let tasks = TaskTracker::new();
        let ends = Shutdown { begun: shutdown, cut: CancellationToken::new() };
        let caps = Caps::new(&keeper.limits);
        let mut report = tokio::time::interval(REPORT_INTERVAL);
        loop {
            let accepted = tokio::select! {
                biased;
                () = ends.begun.cancelled() => break,
                _ = report.tick() => {
                    keeper.report_suppressed();
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, addr)) => match caps.take() {
                    Some(slots) => {
                        let counted = Counted::new(keeper.counters.clone());
                        let serving =
                            connection::serve(keeper.clone(), stream, addr, slots, service.clone(), ends.clone());
                        tasks.spawn(async move {
                            serving.await;
                            drop(counted);
                        });
                    }
                    None => keeper.turn_away(stream, addr),
                },
                Err(error) => keeper.accept_failed(&error, &ends.begun).await,
            }
        }
        drop(listener);
        drain(&tasks, &ends, &keeper).await
    }
}

async fn drain(tasks: &TaskTracker, ends: &Shutdown, keeper: &Gatekeeper) -> usize {
    tasks.close();
    if tokio::time::timeout(keeper.limits.drain_timeout, tasks.wait()).await.is_ok() {
        return 0;
    }
    let cut = tasks.len();
    tracing::warn!(door = %keeper.name, connections = cut, "cutting connections that did not finish in time");
    ends.cut.cancel();
    let _stuck = tokio::time::timeout(CUT_GRACE, tasks.wait()).await;
    cut
}

struct Caps {
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
}

impl Caps {
    fn new(limits: &DoorLimits) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
        }
    }

    fn take(&self) -> Option<Slots> {
        let connection = self.connections.clone().try_acquire_owned().ok()?;
        let handshake = self.handshakes.clone().try_acquire_owned().ok()?;
        Some(Slots { handshake, connection })
    }
}

impl Gatekeeper {
    fn turn_away(&self, stream: TcpStream, addr: SocketAddr) {
        drop(stream);
        self.counters.refused_full.fetch_add(1, Ordering::Relaxed);
        if self.overflow.may_write(Instant::now()) {
            let DoorLimits { connections_max, handshakes_max, .. } = self.limits;
            tracing::warn!(door = %self.name, peer = %addr, connections_max, handshakes_max,
                "connection refused: too many open connections or handshakes");
        }
    }

    fn refused(&self, addr: SocketAddr, refused: &Refused) {
        let Refused { reason, certificate, probe } = refused;
        if *probe {
            tracing::debug!(door = %self.name, peer = %addr, reason, "connection closed by the caller");
        } else if self.refusals.may_write(Instant::now()) {
            let certificate = certificate.as_deref().unwrap_or("none");
            tracing::warn!(door = %self.name, peer = %addr, reason, certificate, "connection refused");
        }
    }

    fn report_suppressed(&self) {
        for (what, budget) in [("refused", &self.refusals), ("over the cap", &self.overflow)] {
            let count = budget.take_suppressed();
            if count > 0 {
                tracing::warn!(door = %self.name, count, what, "further connections refused, not logged one by one");
            }
        }
    }

    async fn accept_failed(&self, error: &io::Error, shutdown: &CancellationToken) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            return; // that caller's trouble; the next one may be fine
        }
        self.counters.accept_errors.fetch_add(1, Ordering::Relaxed);
        if self.overflow.may_write(Instant::now()) {
            tracing::warn!(door = %self.name, %error, "cannot accept connections; trying again");
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(ACCEPT_PAUSE) => {}
        }
    }
}
