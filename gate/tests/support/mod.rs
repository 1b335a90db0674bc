//! Real certificates, real doors, and the log lines they write.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

pub mod crl;
pub mod h2;
pub mod jwt;
pub mod logs;
pub mod pki;
#[path = "../../../raft/tests/support/ports.rs"]
mod ports;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consigner_gate::{Door, DoorConfig, DoorCounters, DoorLimits, Peer, ReloadableTls};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A door that serves in the background.
pub struct Open {
    pub name: String,
    pub addr: SocketAddr,
    pub counters: Arc<DoorCounters>,
    pub shutdown: CancellationToken,
    pub served: JoinHandle<usize>,
}

impl Open {
    pub async fn close(self) -> usize {
        self.shutdown.cancel();
        self.served.await.unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.addr.port())
    }

    pub fn host_port(&self) -> String {
        self.addr.to_string()
    }
}

pub fn config(name: &str, tls: Option<Arc<ReloadableTls>>) -> DoorConfig {
    logs::capture();
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    DoorConfig { name: name.to_owned(), addr, tls, admit: None, limits: DoorLimits::default() }
}

/// An address to which a door can come back.
pub fn lasting() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], ports::free_port()))
}

/// Opens a door with a service of its own.
pub async fn open_with<F, R>(config: DoorConfig, service: F) -> Open
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    open_built(config, |door| door, service).await
}

/// Opens a door with more than its configuration says.
pub async fn open_built<F, R>(config: DoorConfig, build: impl FnOnce(Door) -> Door, service: F) -> Open
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let name = config.name.clone();
    let door = build(Door::bind(config).await.unwrap());
    let (addr, counters, shutdown) = (door.local_addr(), door.counters(), CancellationToken::new());
    let service = tower::service_fn(move |request| {
        let answer = service(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let served = tokio::spawn(door.serve(service, shutdown.clone()));
    Open { name, addr, counters, shutdown, served }
}

/// Opens a door that echoes bodies, and says who called in the header `peer`.
pub async fn open(config: DoorConfig) -> Open {
    open_with(config, echo).await
}

pub async fn echo(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let peer = request.extensions().get::<Peer>().expect("every request carries its peer").clone();
    let (host, path) = (request.headers().get("host").cloned(), request.uri().path().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert("peer", peer.name().parse().unwrap());
    response.headers_mut().insert("address", peer.addr.to_string().parse().unwrap());
    response.headers_mut().insert("path", path.parse().unwrap());
    if let Some(host) = host {
        response.headers_mut().insert("host-seen", host);
    }
    response
}

pub fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// Waits until `condition` holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One whole request over a connection of its own: what the server said, protocol version, kind of handshake.
pub async fn visit(
    addr: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<(String, Option<ProtocolVersion>, Option<HandshakeKind>)> {
    visit_over(TcpStream::connect(addr).await?, config).await
}

/// The same over a connection that stands.
pub async fn visit_over(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> io::Result<(String, Option<ProtocolVersion>, Option<HandshakeKind>)> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let session = stream.get_ref().1;
    Ok((answer, session.protocol_version(), session.handshake_kind()))
}

/// Memory of this process that is in use, in MiB.
pub fn resident_mib() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    resident * 4096 / (1 << 20)
}
