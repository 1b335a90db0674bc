//! Callers without a certificate cannot keep those with one out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use consigner_gate::DoorLimits;
use http::{Method, StatusCode};
use support::pki::{LONG, Pki};
use support::{Open, config, logs, open, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// Honest callers that come one after another while the flood goes on.
const HONEST: usize = 10;

/// On a machine that is busy with other work the flood may come round before an honest caller's first byte; not again
/// and again.
const TRIES: usize = 10;

/// Sockets that are opened again as soon as they are closed.
struct Flood {
    opened: Arc<AtomicU64>,
    _callers: Vec<AbortOnDropHandle<()>>,
}

impl Flood {
    fn new(addr: SocketAddr, callers: usize, says: &'static [u8]) -> Self {
        let opened = Arc::new(AtomicU64::new(0));
        let caller = |_| {
            let opened = opened.clone();
            AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    let Ok(mut stream) = TcpStream::connect(addr).await else { continue };
                    opened.fetch_add(1, Ordering::Relaxed);
                    let _closed = stream.write_all(says).await;
                    let _closed = stream.read_to_end(&mut Vec::new()).await;
                }
            }))
        };
        Self { _callers: (0..callers).map(caller).collect(), opened }
    }

    fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

async fn serves(door: &Open, pki: &Pki) {
    for round in 0..HONEST {
        let mut refusals = Vec::new();
        while refusals.len() < TRIES {
            let honest = pki.https("honest");
            match honest.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await {
                Ok(answer) => {
                    assert_eq!(answer.status, StatusCode::OK);
                    break;
                }
                Err(why) => refusals.push(why),
            }
        }
        assert!(refusals.len() < TRIES, "honest caller {round} was kept out: {refusals:?}");
    }
}

/// From one source, so that the honest share its part.
async fn silent_flood(name: &str, limits: DoorLimits) {
    let pki = Pki::new();
    let mut config = config(name, pki.server());
    let callers = limits.waiting_max / 4 + 30;
    config.limits = limits;
    let door = open(config).await;
    let flood = Flood::new(door.addr, callers, b"");
    until("the flood to be displaced", || door.counters.refused_full() > 0).await;
    let before = flood.opened();
    serves(&door, &pki).await;
    until("the flood to come again", || flood.opened() > before + callers as u64).await;
    let open = door.counters.open() as usize;
    assert!(open < callers + HONEST, "{open} are open");
    // Those that nobody displaced met their deadline.
    let lines = logs::warnings(name);
    assert!(lines.iter().any(|line| line.contains("silent, and others waited")), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_callers_do_not_stop_the_door_between_nodes() {
    silent_flood("silent-peer", DoorLimits::peer()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_callers_do_not_stop_the_door_of_clients() {
    silent_flood("silent-api", DoorLimits::default()).await;
}

#[tokio::test]
async fn silent_callers_below_the_cap_hold_no_handshake() {
    let pki = Pki::new();
    let mut config = config("below", pki.server());
    // None of them ends by itself before an honest caller gives up.
    (config.limits.handshakes_max, config.limits.first_byte_timeout) = (1, 4 * LONG);
    config.limits.handshake_timeout = 4 * LONG;
    let door = open(config).await;
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(TcpStream::connect(door.addr).await.unwrap());
    }
    until("all of them to be in", || door.counters.open() == 60).await;
    serves(&door, &pki).await;
    assert_eq!(door.counters.refused_full(), 0);
}

#[tokio::test]
async fn who_stops_in_its_handshake_makes_room() {
    const HALF_A_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1];
    let pki = Pki::new();
    let mut config = config("halfway", pki.server());
    (config.limits.handshakes_max, config.limits.handshake_timeout) = (4, 4 * LONG);
    let door = open(config).await;
    let mut halfway = TcpStream::connect(door.addr).await.unwrap();
    halfway.write_all(HALF_A_HELLO).await.unwrap();
    until("it to be in", || door.counters.open() == 1).await;
    // One source has one of the four places.
    let honest = pki.https("honest");
    let answer = honest.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await;
    assert_eq!(answer.unwrap().status, StatusCode::OK);
    assert_eq!(door.counters.refused_full(), 1);
    assert!(logs::warnings("halfway")[0].contains("slow in its handshake"), "{:?}", logs::warnings("halfway"));
}
