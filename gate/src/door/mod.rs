//! A listening socket and everything between `accept` and the first line of the program that knows what a request is.
//!
//! ```text
//! accept -> address -> first byte -> TLS handshake -> cap -> admit(peer) -> HTTP/1.1 or HTTP/2 -> service(request + Peer)
//!       (PROXY header)  (room, deadline)  (room, deadline)   \
//!             \________ refused: closed, counted, one WARN line (at most 10 per second) ________/
//! ```
//!
//! In: a `tower` service and a cancellation token. Out: requests whose extensions hold the [`Peer`]. Deliberately
//! absent: body limits and request deadlines, which depend on the path and belong to `api`.

mod addresses;
mod connection;
mod counters;
mod counting;
mod handshake;
mod limits;
mod lobby;
pub(crate) mod proxy;
mod quiet;
mod refusal;
mod standing;
mod supervision;

pub use addresses::{AddressRules, Balancers, IpAllowlist, IpAllowlistError};
pub use counters::DoorCounters;
pub use limits::{
    CONNECTIONS_MAX, DRAIN_TIMEOUT, DoorLimits, FIRST_BYTE_TIMEOUT, HANDSHAKE_GRACE, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX,
    HEAD_TIMEOUT, IDLE_TIMEOUT, STALL_TIMEOUT, WAITING_MAX,
};
pub use quiet::LogBudget;
pub use refusal::{OnRefusal, Refusal, RefusalKind};

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::peer::Peer;
use crate::tls::ReloadableTls;
use counters::Counted;
use handshake::Refused;
use lobby::Lobby;

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
    /// TLS, mutual unless loaded with an optional client certificate; `None` (plain) is for metrics only.
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
    keeper: Gatekeeper,
}

/// What all connections of a door share.
struct Gatekeeper {
    name: String,
    tls: Option<Arc<ReloadableTls>>,
    admit: Option<Admit>,
    addresses: Option<Arc<AddressRules>>,
    balancers: Option<Balancers>,
    on_refusal: Option<OnRefusal>,
    limits: DoorLimits,
    caps: Caps,
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
        let caps = Caps::new(&limits);
        let (addresses, balancers, on_refusal) = (None, None, None);
        #[rustfmt::skip]
        let keeper = Gatekeeper {
            name, tls, admit, addresses, balancers, on_refusal, limits, caps, counters, refusals, overflow,
        };
        Ok(Self { listener, addr, keeper })
    }

    /// Accepts connections from these addresses only; others are closed before a byte is read.
    #[must_use]
    pub fn with_addresses(mut self, addresses: Arc<AddressRules>) -> Self {
        self.keeper.addresses = Some(addresses);
        self
    }

    /// Requires a PROXY header (version 2) of each connection from these addresses, and takes the client in it for the
    /// caller: for [`Peer::addr`], for the address rules, for the fair share of room. A balancer that connects for
    /// itself must be an allowed address itself. Anybody else's header is refused.
    #[must_use]
    pub fn with_balancers(mut self, balancers: Balancers) -> Self {
        self.keeper.balancers = Some(balancers);
        self
    }

    /// Is told of every refusal, for the audit log. Called on the accepting thread and as often as callers wish: it
    /// must neither block nor grow.
    #[must_use]
    pub fn on_refusal(mut self, tell: OnRefusal) -> Self {
        self.keeper.on_refusal = Some(tell);
        self
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
        let keeper = Arc::new(keeper);
        let tasks = TaskTracker::new();
        let ends = Shutdown { begun: shutdown, cut: CancellationToken::new() };
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
                Ok((stream, addr)) => {
                    // An IPv4 client of an IPv6 socket is written as IPv4 everywhere: lists, log, audit.
                    let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
                    let counted = Counted::new(keeper.counters.clone());
                    if let Err(refused) = keeper.may_knock(addr) {
                        keeper.refused(addr, &refused);
                        continue;
                    }
                    // Without grace it does not wait.
                    let place = keeper.caps.waiting.enter(addr.ip()).await;
                    let serving = connection::serve(keeper.clone(), stream, addr, place, service.clone(), ends.clone());
                    tasks.spawn(async move {
                        serving.await;
                        drop(counted);
                    });
                }
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
    waiting: Arc<Lobby>,
    shaking: Arc<Lobby>,
    connections: Arc<Semaphore>,
}

impl Caps {
    /// A number beyond what can be counted means that number.
    fn new(limits: &DoorLimits) -> Self {
        Self {
            waiting: Lobby::new(limits.waiting_max, Duration::ZERO),
            shaking: Lobby::new(limits.handshakes_max, limits::HANDSHAKE_GRACE),
            connections: Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS))),
        }
    }

    fn connection(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let taken = self.connections.clone().try_acquire_owned();
        taken.map_err(|_| Refused::crowded("too many open connections"))
    }
}

impl Gatekeeper {
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
