//! Ports for servers of a test; other crates' tests include this file.

use std::sync::atomic::{AtomicU32, Ordering};

/// A port that stays free while its server is down: below those that the system gives to outgoing connections, of which
/// the tests beside this one make many.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id().wrapping_mul(101);
    loop {
        let number = process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let port = 10_000 + u16::try_from(number).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
