//! Bodies of administration: policies, questions about them, tokens, members, secrets.
#![no_main]

use consigner_api::fuzzing::admin_bodies;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _is_understood = admin_bodies(bytes);
});
