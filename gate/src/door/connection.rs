//! One connection from handshake to its end.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tower::{Service, ServiceExt as _};

use super::counting::{InFlight, Tracked, Watched};
use super::handshake::{Refused, RefusedAs, first_byte, shake_hands};
use super::limits::DoorLimits;
use super::lobby::Place;
use super::refusal::described;
use super::standing::{Caller, Standing};
use super::supervision::{Activity, Verdict, Watch};
use super::{Gatekeeper, Shutdown, proxy};
use crate::causes::with_causes;
use crate::peer::Peer;

/// After an orderly close was begun, a connection without a request in flight gets this long to write out what hyper
/// still buffers and to say goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// Serves one accepted connection until it ends or the door is cut off.
pub(super) async fn serve<S, B>(
    keeper: Arc<Gatekeeper>,
    stream: TcpStream,
    mut addr: SocketAddr,
    place: Place,
    service: S,
    shutdown: Shutdown,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Fails only on a socket that is already gone, which the wait for a byte will notice.
    let _gone = stream.set_nodelay(true);
    let entered = tokio::select! {
        () = shutdown.begun.cancelled() => return,
        entered = keeper.let_in(stream, &mut addr, place) => entered,
    };
    match entered {
        Err(refused) => keeper.refused(addr, &refused),
        Ok(Entered { io: Transport::Plain(plain), caller, cap, standing }) => {
            supervise(&keeper, plain, (caller, standing), false, service, shutdown).await;
            drop(cap);
        }
        Ok(Entered { io: Transport::Tls(tls), caller, cap, standing }) => {
            let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            supervise(&keeper, tls, (caller, standing), http2, service, shutdown).await;
            drop(cap);
        }
    }
}

/// Plain is for metrics only.
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A caller that may ask.
struct Entered {
    io: Transport,
    caller: Caller,
    cap: OwnedSemaphorePermit,
    standing: Standing,
}

async fn supervise<I, S, B>(
    keeper: &Gatekeeper,
    io: I,
    (caller, mut standing): (Caller, Standing),
    http2: bool,
    service: S,
    shutdown: Shutdown,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let activity = Arc::new(Activity::default());
    if http2 {
        activity.is_http2();
    }
    let io = TokioIo::new(Watched::new(io, activity.clone()));
    let answer = hyper::service::service_fn({
        let (activity, caller) = (activity.clone(), caller.clone());
        move |request| answer(request, service.clone(), caller.now(), activity.clone())
    });
    let protocol = protocol(&keeper.limits);
    let mut connection = pin!(protocol.serve_connection(io, answer));
    let mut watch = Watch::new(Instant::now());
    let mut tick = tokio::time::interval(Watch::tick(&keeper.limits));
    let mut leaving = false;
    let why = loop {
        tokio::select! {
            result = connection.as_mut() => break result.err().map(|error| with_causes(error.as_ref())),
            () = shutdown.cut.cancelled() => break Some("cut at shutdown".to_owned()),
            reason = standing.lost() => break Some(keeper.expelled(&caller.now(), reason)),
            () = shutdown.begun.cancelled(), if !leaving => leaving = true,
            _ = tick.tick() => match watch.look(Instant::now(), &activity, &keeper.limits) {
                Verdict::Keep if is_expired(&caller.now()) => leaving = true,
                Verdict::Keep => continue,
                Verdict::Close => leaving = true,
                Verdict::Cut(reason) => {
                    keeper.counters.cut.fetch_add(1, Ordering::Relaxed);
                    break Some(reason.to_owned());
                }
            },
        }
        if leaving {
            connection.as_mut().graceful_shutdown();
            let leaving = leave(connection, &activity, &shutdown, &mut watch, keeper);
            break tokio::select! {
                why = leaving => why,
                reason = standing.lost() => Some(keeper.expelled(&caller.now(), reason)),
            };
        }
    };
    if let Some(why) = why {
        let peer = caller.now();
        tracing::debug!(door = %keeper.name, peer = %peer.addr, name = peer.name(), why, "connection ended");
    }
}

/// Waits for an orderly end: requests in flight finish, then a short farewell.
async fn leave<C: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    shutdown: &Shutdown,
    watch: &mut Watch,
    keeper: &Gatekeeper,
) -> Option<String> {
    let mut tick = tokio::time::interval(FAREWELL / 10);
    let mut quiet_since = None;
    loop {
        tokio::select! {
            result = connection.as_mut() => return result.err().map(|error| with_causes(error.as_ref())),
            () = shutdown.cut.cancelled() => return Some("cut at shutdown".to_owned()),
            _ = tick.tick() => {}
        }
        let now = Instant::now();
        if activity.in_flight() > 0 {
            quiet_since = None;
            if let Verdict::Cut(reason) = watch.look(now, activity, &keeper.limits) {
                return Some(reason.to_owned());
            }
        } else if now.duration_since(*quiet_since.get_or_insert(now)) >= FAREWELL {
            return None;
        }
    }
}

async fn answer<S, B>(
    mut request: Request<Incoming>,
    service: S,
    peer: Peer,
    activity: Arc<Activity>,
) -> Result<Response<Tracked<B>>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    if request.version() == Version::HTTP_2 {
        activity.is_http2();
    }
    let in_flight = InFlight::begin(activity);
    request.extensions_mut().insert(peer);
    let response = service.oneshot(request).await?;
    Ok(response.map(|body| Tracked::new(body, in_flight)))
}

fn protocol(limits: &DoorLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // See `supervision`: hyper's timeout would also close idle connections.
        .header_read_timeout(None)
        .max_buf_size(limits.http1_buffer_bytes)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.http2_ping_interval)
        .keep_alive_timeout(limits.http2_ping_interval)
        .max_concurrent_streams(limits.http2_streams_max)
        // A caller whose deadlines all end at once resets all its requests at once; that is no attack.
        .max_pending_accept_reset_streams(limits.http2_streams_max as usize)
        .max_header_list_size(limits.http2_header_bytes)
        .initial_stream_window_size(limits.http2_stream_window)
        .initial_connection_window_size(limits.http2_connection_window);
    builder
}

fn is_expired(peer: &Peer) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    peer.certificate.as_ref().is_some_and(|certificate| certificate.not_after_unix < now)
}

impl Gatekeeper {
    /// From accept to an open connection. Each step takes its place only when the step before is over. `addr` becomes
    /// that of the client once a balancer named it.
    async fn let_in(&self, mut stream: TcpStream, addr: &mut SocketAddr, waiting: Place) -> Result<Entered, Refused> {
        let DoorLimits { first_byte_timeout, handshake_timeout, .. } = self.limits;
        let until = tokio::time::Instant::now() + handshake_timeout;
        let arriving = async {
            let standing = self.arrive(&mut stream, addr).await?;
            first_byte(&stream, first_byte_timeout.min(handshake_timeout)).await?;
            Ok(standing)
        };
        let mut standing = tokio::select! {
            arrived = arriving => arrived?,
            () = waiting.evicted() => return Err(Refused::crowded("silent, and others waited")),
        };
        let addr = *addr;
        waiting.has_spoken();
        let Some(tls) = &self.tls else {
            let peer = Peer { addr, certificate: None };
            self.admit(&peer)?;
            let caller = Caller::new(peer);
            return Ok(Entered { io: Transport::Plain(stream), caller, cap: self.caps.connection()?, standing });
        };
        let shaking = tokio::select! {
            shaking = self.caps.shaking.enter(addr.ip()) => shaking,
            () = waiting.evicted() => return Err(Refused::crowded("waited for a handshake, and others did, too")),
            () = tokio::time::sleep_until(until) => return Err(Refused::crowded("too many handshakes")),
        };
        drop(waiting);
        let renewals = tls.renewals();
        let (stream, peer) = tokio::select! {
            shaken = shake_hands(stream, addr, tls, until, handshake_timeout) => shaken?,
            () = shaking.evicted() => return Err(Refused::crowded("slow in its handshake, and others waited")),
        };
        self.admit(&peer)?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let caller = Caller::new(peer);
        standing.prove(tls.clone(), renewals, chain, caller.clone());
        Ok(Entered { io: Transport::Tls(Box::new(stream)), caller, cap: self.caps.connection()?, standing })
    }

    /// Whether a connection from there is looked at at all. A balancer's are: it is its client who counts.
    pub(super) fn may_knock(&self, addr: SocketAddr) -> Result<(), Refused> {
        if self.is_balancer(addr) { Ok(()) } else { self.check_address(addr) }
    }

    /// Finds out who calls, and that it may from there.
    async fn arrive(&self, stream: &mut TcpStream, addr: &mut SocketAddr) -> Result<Standing, Refused> {
        // Taken before the check, so that no change after it is missed.
        let changes = self.addresses.as_ref().map(|rules| (rules.clone(), rules.changes()));
        if self.is_balancer(*addr) {
            let timeout = proxy::HEADER_TIMEOUT.min(self.limits.handshake_timeout);
            *addr = proxy::client_of(stream, *addr, timeout).await?;
        }
        self.check_address(*addr)?;
        Ok(Standing::at(addr.ip(), changes))
    }

    fn is_balancer(&self, addr: SocketAddr) -> bool {
        self.balancers.as_ref().is_some_and(|balancers| balancers.contains(addr.ip()))
    }

    fn check_address(&self, addr: SocketAddr) -> Result<(), Refused> {
        if self.addresses.as_ref().is_none_or(|rules| rules.allows(addr.ip())) {
            return Ok(());
        }
        Err(Refused { kind: RefusedAs::Address, ..Refused::because("address not allowed") })
    }

    fn admit(&self, peer: &Peer) -> Result<(), Refused> {
        let Some(admit) = &self.admit else { return Ok(()) };
        admit(peer).map_err(|reason| Refused { certificate: described(peer), ..Refused::because(reason) })
    }
}
