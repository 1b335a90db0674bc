//! A door that has run out of file descriptors waits and goes on. In a binary of its own: the limit is per process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use bytes::Bytes;
use http::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::pki::{LONG, Pki};
use support::{config, logs, open, until};
use tokio::net::TcpStream;

#[tokio::test]
async fn no_descriptors_left_neither_kills_nor_spins_the_door() {
    let pki = Pki::new();
    let door = open(config("descriptors", None)).await;
    let client = pki.https("client");
    let url = format!("http://{}/", door.addr);
    client.request(Method::GET, &url, &[], Bytes::new(), LONG).await.unwrap();

    let open_now = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(open_now + 20), ..before }).unwrap();
    // Each caller takes one descriptor, and one more at the door: the door runs out while callers still connect.
    let (began, mut callers) = (std::time::Instant::now(), Vec::new());
    while let Ok(stream) = TcpStream::connect(door.addr).await {
        callers.push(stream);
    }
    until("the door to notice", || !logs::warnings("descriptors").is_empty()).await;
    let lines = logs::warnings("descriptors");
    assert!(lines[0].contains("cannot accept connections") && lines[0].contains("Too many open files"), "{lines:?}");

    until("the door to try again", || door.counters.accept_errors() >= 5).await;
    // Ten tries a second, not as many as a core can make.
    let (tries, tenths) = (u128::from(door.counters.accept_errors()), began.elapsed().as_millis() / 100);
    assert!(tries <= tenths + 2, "{tries} tries in {tenths} tenths of a second: the door spins");

    drop(callers);
    setrlimit(Resource::Nofile, before).unwrap();
    let late = pki.https("late");
    late.request(Method::GET, &url, &[], Bytes::new(), LONG).await.unwrap();
}
