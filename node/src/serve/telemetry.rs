//! Prometheus metrics: the recorder of the process and the plain door on which they are read.

use bytes::Bytes;
use consigner_gate::{DoorCounters, HostAllowlist};
use consigner_keys::Keyring;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::Service;

/// How often the recorder folds what was recorded; without it an unscraped histogram grows.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The recorder is one per process, also when tests run several nodes in one.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the recorder, or finds the one that is installed.
pub fn recorder() -> PrometheusHandle {
    let install = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed already; metrics of this node are not served");
        }
        handle
    };
    RECORDER.get_or_init(install).clone()
}

const CONNECTIONS_OPEN: &str = "consigner_door_connections_open";
const CONNECTIONS: &str = "consigner_door_connections_total";
const HANDSHAKES_FAILED: &str = "consigner_door_handshakes_failed_total";
const REFUSED_FULL: &str = "consigner_door_refused_full_total";
const CUT: &str = "consigner_door_connections_cut_total";
const SIGNING_QUEUE: &str = "consigner_signing_queue";
const MEMORY_LOCKED: &str = "consigner_key_memory_locked";

/// Registers the help texts of what this crate counts.
pub fn describe() {
    describe_gauge!(CONNECTIONS_OPEN, "Connections open now, those in a handshake included, by door");
    describe_counter!(CONNECTIONS, "Connections let past the cap, by door");
    describe_counter!(HANDSHAKES_FAILED, "Callers turned away during the handshake, by door");
    describe_counter!(REFUSED_FULL, "Connections closed at once because a cap was reached, by door");
    describe_counter!(CUT, "Connections cut because they were slow or stuck, by door");
    describe_gauge!(SIGNING_QUEUE, "Permits that wait for a signing thread");
    describe_gauge!(MEMORY_LOCKED, "1 while all secrets lie in locked memory");
    describe_counter!("consigner_keys_not_opened_total", "Sealed keys of the cluster that this node cannot open");
    describe_counter!("consigner_source_keys_total", "Keys of this node's sources, by what became of them");
}

/// What a door has seen.
#[expect(clippy::cast_precision_loss, reason = "connections at one time are far fewer than 2^52")]
pub fn record_door(door: &'static str, counters: &DoorCounters) {
    gauge!(CONNECTIONS_OPEN, "door" => door).set(counters.open() as f64);
    counter!(CONNECTIONS, "door" => door).absolute(counters.accepted());
    counter!(HANDSHAKES_FAILED, "door" => door).absolute(counters.handshakes_failed());
    counter!(REFUSED_FULL, "door" => door).absolute(counters.refused_full());
    counter!(CUT, "door" => door).absolute(counters.cut());
}

/// How the keyring stands.
#[expect(clippy::cast_precision_loss, reason = "the queue is bounded far below 2^52")]
pub fn record_keyring(keyring: &Keyring) {
    gauge!(SIGNING_QUEUE).set(keyring.queued() as f64);
    gauge!(MEMORY_LOCKED).set(f64::from(u8::from(keyring.is_memory_locked())));
}

/// Sets gauges before a scrape.
pub type BeforeScrape = Arc<dyn Fn() + Send + Sync>;

/// Answers `GET /metrics`.
#[derive(Clone)]
pub struct MetricsService {
    handle: PrometheusHandle,
    hosts: HostAllowlist,
    before: BeforeScrape,
}

impl MetricsService {
    /// Serves what the handle holds, to the allowed hosts.
    pub const fn new(handle: PrometheusHandle, hosts: HostAllowlist, before: BeforeScrape) -> Self {
        Self { handle, hosts, before }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str)).unwrap_or_default();
        if !self.hosts.allows(host) {
            return text(StatusCode::FORBIDDEN, "Host not authorized.\n".to_owned());
        }
        if request.uri().path() != "/metrics" {
            return text(StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        (self.before)();
        text(StatusCode::OK, self.handle.render())
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

impl Service<Request<Incoming>> for MetricsService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        ready(Ok(self.answer(&request)))
    }
}
