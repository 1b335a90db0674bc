//! A PKCS#12 file that somebody else packed.
#![no_main]

use consigner_gate::fuzzing::pkcs12;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pkcs12(bytes));
