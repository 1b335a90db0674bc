//! Every limit of a door, each with its reason.

use std::time::Duration;

/// A handshake is two or three round trips and a millisecond of work; 5 s covers a lost packet on a far link.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// From the first byte of an HTTP/1.1 request head to its last. Heads are small; who drips holds a slot.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Validator clients keep idle connections for up to 90 s (reqwest, Go): closing earlier would race their next POST.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(100);

/// A connection with a request in flight on which no byte moves in either direction for this long is dead or stuck.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(120);

/// How long requests in flight may finish after a shutdown began. The whole process has 10 s to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Open connections of one door: a few hundred validator clients with a small pool each. Costs at most about 64 KiB
/// of buffers each while busy, and one file descriptor.
pub const CONNECTIONS_MAX: usize = 1024;

/// Handshakes at one time: about 20 KiB each, and more would only slow each other down.
pub const HANDSHAKES_MAX: usize = 256;

/// A handshake is left alone for this long, two round trips between continents; after that it is given up when
/// somebody else needs its place.
pub const HANDSHAKE_GRACE: Duration = Duration::from_millis(500);

/// Callers that have not sent a byte yet, at one time: each costs a descriptor and about 2 KiB. The more there are, the
/// longer a flood of silent callers takes to push an honest one out before its first byte, which follows within a
/// millisecond.
pub const WAITING_MAX: usize = 1024;

/// A client sends its first byte right after it connected; 1 s covers one that was lost and sent again.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(1);

/// Limits of one door. `Default` suits validator clients and operators, [`DoorLimits::peer`] other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorLimits {
    /// Open connections of callers that were let in; further ones are closed at once.
    pub connections_max: usize,
    /// Connections in a TLS handshake at one time, a quarter of them from one source; further ones wait until one is
    /// over, or older than [`HANDSHAKE_GRACE`] and so cut.
    pub handshakes_max: usize,
    /// Connections without a first byte at one time, a quarter of them from one source; a further one cuts the oldest.
    pub waiting_max: usize,
    /// From accept to the first byte.
    pub first_byte_timeout: Duration,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of an HTTP/1.1 request head to its last.
    pub head_timeout: Duration,
    /// Without any request, after which the connection is closed in an orderly way.
    pub idle_timeout: Duration,
    /// With a request in flight but no byte moved in either direction, after which the connection is cut.
    pub stall_timeout: Duration,
    /// For requests in flight at shutdown, after which their connections are cut.
    pub drain_timeout: Duration,
    /// HTTP/1.1: bytes of a request head, and of the read buffer.
    pub http1_buffer_bytes: usize,
    /// HTTP/2: requests at one time on one connection.
    pub http2_streams_max: u32,
    /// HTTP/2: bytes of a decoded header list.
    pub http2_header_bytes: u32,
    /// HTTP/2: bytes of one body that a caller may send before we have read any.
    pub http2_stream_window: u32,
    /// HTTP/2: bytes of all bodies together that a caller may send on one connection before we have read any.
    pub http2_connection_window: u32,
    /// HTTP/2: how often an idle caller is pinged; one that does not answer within the same time is gone.
    pub http2_ping_interval: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            handshakes_max: HANDSHAKES_MAX,
            waiting_max: WAITING_MAX,
            first_byte_timeout: FIRST_BYTE_TIMEOUT,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            head_timeout: HEAD_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
            // Room for every header a proxy may add; hyper's own default of about 400 KiB is far more than needed.
            http1_buffer_bytes: 64 << 10,
            // A client that signs for thousands of validators over one connection; more wait in its own queue.
            http2_streams_max: 256,
            http2_header_bytes: 32 << 10,
            // Most bodies are below 2 KiB, a full block 1 MiB or more.
            http2_stream_window: 1 << 20,
            http2_connection_window: 2 << 20,
            http2_ping_interval: Duration::from_secs(20),
        }
    }
}

impl DoorLimits {
    /// Between nodes: few connections, many requests at one time on each, bodies of 1 MiB.
    pub fn peer() -> Self {
        Self {
            // At most 7 nodes with one connection each, plus those not yet noticed to be dead.
            connections_max: 64,
            handshakes_max: 32,
            waiting_max: 512,
            http2_streams_max: 1024,
            http2_stream_window: 2 << 20,
            http2_connection_window: 16 << 20,
            http2_ping_interval: Duration::from_secs(5),
            ..Self::default()
        }
    }
}
