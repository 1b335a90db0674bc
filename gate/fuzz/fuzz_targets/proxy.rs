//! The first bytes of a connection from a balancer.
#![no_main]

use consigner_gate::fuzzing::proxy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if proxy(bytes) {
        assert!(bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n"), "believed without the signature");
    }
});
