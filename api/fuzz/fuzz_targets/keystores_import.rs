//! The body of an import of keystores: understood or refused, never a panic.
#![no_main]

use consigner_api::fuzzing::keystores_import;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _is_understood = keystores_import(bytes);
});
