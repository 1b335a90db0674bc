//! Floods and malformed frames over HTTP/2, from a caller with a valid certificate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use consigner_gate::{DoorLimits, HttpsClient};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, End, GET, GOAWAY, HEADERS, Hostile, PING, POST, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, goaway, header, remembered,
};
use support::pki::{LONG, Pki};
use support::{Open, config, open_with, resident_mib, until};
use tokio::io::AsyncWriteExt as _;

/// What an attack may cost: buffers of one connection are far below, a flood that is kept is far above.
const MEMORY_MIB: usize = 128;

/// A door whose program counts.
struct Counting {
    pki: Pki,
    door: Open,
    served: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    running_max: Arc<AtomicUsize>,
    memory: usize,
}

/// Counts a request as running until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(running: &Arc<AtomicUsize>, max: &AtomicUsize) -> Self {
        max.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Self(running.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Counting {
    /// `GET` never ends for a hostile caller; everybody else is answered with 1 KiB.
    async fn open(name: &str, change: impl FnOnce(&mut DoorLimits)) -> Self {
        let pki = Pki::new();
        let mut config = config(name, pki.server());
        change(&mut config.limits);
        let [served, running, running_max] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let counts = (served.clone(), running.clone(), running_max.clone());
        let door = open_with(config, move |request| {
            let (served, running, running_max) = counts.clone();
            async move {
                let _running = Running::begin(&running, &running_max);
                let is_hostile = request.version() == http::Version::HTTP_2;
                if is_hostile && request.method() == Method::GET && !request.headers().contains_key("answer-me") {
                    std::future::pending::<()>().await;
                }
                let _whole_or_broken = request.into_body().collect().await;
                served.fetch_add(1, Ordering::SeqCst);
                Response::new(Full::new(Bytes::from(vec![b'x'; 1024])))
            }
        })
        .await;
        Self { pki, door, served, running, running_max, memory: resident_mib() }
    }

    async fn hostile(&self) -> Hostile {
        Hostile::greeted(&self.pki, &self.door, &[]).await
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// Others are served while the attacker is still connected, and memory is where it was.
    async fn is_unaffected(&self) {
        let honest = HttpsClient::new(self.pki.client_tls("honest"), 0);
        let answer = honest.request(Method::GET, &self.door.url("/"), &[], Bytes::new(), LONG).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        let grown = resident_mib().saturating_sub(self.memory);
        assert!(grown < MEMORY_MIB, "{grown} MiB more");
    }
}

#[tokio::test]
async fn rapid_resets_never_run_more_than_the_streams_allowed() {
    let door = Counting::open("rapid-reset", |_| {}).await;
    let mut hostile = door.hostile().await;
    let end = hostile
        .flood(50_000, |number| {
            let stream = 2 * number + 1;
            let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
            [request, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .await;
    door.is_unaffected().await;
    let most = door.running_max.load(Ordering::SeqCst);
    assert!(most <= DoorLimits::default().http2_streams_max as usize + 1, "{most} at one time ({end:?})");
    drop(hostile);
    until("all of them to be dropped", || door.running.load(Ordering::SeqCst) == 0).await;
    until("the connection to be gone", || door.door.counters.open() == 0).await;
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let door = Counting::open("many-streams", |_| {}).await;
    let mut hostile = door.hostile().await;
    hostile.flood(5000, |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, GET)).await;
    door.is_unaffected().await;
    let most = door.running_max.load(Ordering::SeqCst);
    assert!(most <= DoorLimits::default().http2_streams_max as usize + 1, "{most} at one time");
}

#[tokio::test]
async fn a_head_without_an_end_closes_the_connection() {
    let filled = header("x", &"y".repeat(8000));
    for (name, payload) in
        [("continuation", filled.as_slice()), ("continuation-empty", &[]), ("continuation-tiny", &GET[..1])]
    {
        let door = Counting::open(name, |_| {}).await;
        let mut hostile = door.hostile().await;
        hostile.writer.write_all(&frame(HEADERS, END_STREAM, 1, GET)).await.unwrap();
        let end = hostile.flood(200_000, |_| frame(CONTINUATION, 0, 1, payload)).await;
        assert_eq!(end, End::Closed, "{name}");
        door.is_unaffected().await;
        assert_eq!(door.served(), 1, "the honest one only");
    }
}

#[tokio::test]
async fn floods_of_control_frames_meet_back_pressure_or_an_end() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let update = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
    let unknown = frame(0x42, 0, 0, &[0; 100]);
    for (name, one) in [("pings", ping), ("settings", settings), ("window-updates", update), ("unknown", unknown)] {
        let door = Counting::open(name, |limits| limits.idle_timeout = Duration::from_secs(3)).await;
        let mut hostile = door.hostile().await;
        let hundred = one.repeat(100);
        // Nothing is read: whatever the door answers piles up.
        let end = hostile.flood(20_000, |_| hundred.clone()).await;
        door.is_unaffected().await;
        // Such frames are no requests: the connection is idle all the while.
        until("the connection to be gone", || door.door.counters.open() == 0).await;
        assert_eq!(door.served(), 1, "{name}: {end:?}");
    }
}

#[tokio::test]
async fn a_header_list_over_the_limit_reaches_nobody() {
    let door = Counting::open("header-list", |_| {}).await;
    let many: Vec<u8> = (0..12).flat_map(|number| header(&format!("x-{number}"), &"y".repeat(4000))).collect();
    // Each reference to a remembered header takes one byte and means four thousand.
    let bomb = [remembered("x", &"y".repeat(3900)), vec![0xbe; 4000]].concat();
    for (what, headers) in [("many", many), ("bomb", bomb)] {
        let mut hostile = door.hostile().await;
        let block = [GET, &header("answer-me", "")[..], &headers].concat();
        let mut parts = block.chunks(16 << 10).peekable();
        let mut request = frame(HEADERS, END_STREAM, 1, parts.next().unwrap());
        while let Some(part) = parts.next() {
            request.extend(frame(CONTINUATION, if parts.peek().is_none() { END_HEADERS } else { 0 }, 1, part));
        }
        hostile.writer.write_all(&request).await.unwrap();
        let refused = loop {
            let Ok(frame) = hostile.frame().await else { break true };
            match frame.kind {
                // An answer (431) or the end of stream or connection.
                HEADERS | RST_STREAM | GOAWAY => break true,
                DATA => break false,
                _other => {}
            }
        };
        assert!(refused, "{what}");
        assert_eq!(door.served(), 0, "{what}");
    }
    door.is_unaffected().await;
}

#[tokio::test]
async fn a_closed_window_does_not_hold_a_connection_open_for_ever() {
    let door = Counting::open("zero-window", |limits| limits.stall_timeout = Duration::from_secs(3)).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0: no byte of any answer may be sent.
    let mut hostile = Hostile::greeted(&door.pki, &door.door, &[(4, 0)]).await;
    let ask = |number: u32| {
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &[GET, &header("answer-me", "")].concat())
    };
    assert_eq!(hostile.flood(100, ask).await, End::Taken);
    until("all to be answered", || door.served() == 100).await;
    // It looks alive all the while.
    let pinging = async {
        while hostile.writer.write_all(&frame(PING, 0, 0, &[0; 8])).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(support::PATIENCE, pinging).await.expect("the door should have cut it");
    until("the cut", || door.door.counters.cut() == 1 && door.door.counters.open() == 0).await;
    door.is_unaffected().await;
}

#[tokio::test]
async fn empty_data_frames_do_not_pile_up() {
    let door = Counting::open("empty-data", |_| {}).await;
    let mut hostile = door.hostile().await;
    hostile.writer.write_all(&frame(HEADERS, END_HEADERS, 1, POST)).await.unwrap();
    let hundred = frame(DATA, 0, 1, &[]).repeat(100);
    let end = hostile.flood(20_000, |_| hundred.clone()).await;
    door.is_unaffected().await;
    drop(hostile);
    until("it to be gone", || door.door.counters.open() == 0).await;
    assert!(matches!(end, End::Closed | End::Taken | End::Blocked));
    assert_eq!(door.running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn malformed_frames_end_the_connection_with_a_reason() {
    let door = Counting::open("malformed-frames", |_| {}).await;
    let get = |stream: u32| frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
    for (what, bytes) in [
        ("a frame longer than allowed", [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &[0; 70_000]].concat()),
        ("data on no stream", frame(DATA, 0, 0, b"x")),
        ("data on an idle stream", frame(DATA, 0, 7, b"x")),
        ("a request on a server's stream", get(2)),
        ("a request on stream 0", get(0)),
        ("settings of half an entry", frame(SETTINGS, 0, 0, &[0, 3, 0])),
        ("settings on a stream", frame(SETTINGS, 0, 1, &[])),
        ("a window of 2^31", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
        ("a ping of three bytes", frame(PING, 0, 0, b"abc")),
        ("a window update of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, GET)),
        ("another frame within a head", [frame(HEADERS, END_STREAM, 1, GET), frame(PING, 0, 0, &[0; 8])].concat()),
        ("a header index that does not exist", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0x7f])),
        ("padding longer than the frame", frame(HEADERS, END_HEADERS | END_STREAM | 8, 1, &[200, 0x82])),
    ] {
        let mut hostile = door.hostile().await;
        // May be cut in the middle.
        let _closed = hostile.writer.write_all(&bytes).await;
        let frames = hostile.frames().await;
        assert!(goaway(&frames).is_some_and(|code| code != 0), "{what}");
    }
    for what in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[0; 100]] {
        let mut hostile = Hostile::connect(&door.pki, &door.door).await;
        let _closed = hostile.writer.write_all(what).await;
        let _closed = hostile.writer.shutdown().await;
        hostile.frames().await;
    }
    door.is_unaffected().await;
    assert_eq!(door.served(), 1, "the honest one only");
}
