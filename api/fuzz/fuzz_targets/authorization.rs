//! The `Authorization` headers of a request from anybody.
#![no_main]

use consigner_api::fuzzing::authorization;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _is_understood = authorization(bytes);
});
