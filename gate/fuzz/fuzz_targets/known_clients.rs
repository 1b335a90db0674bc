//! A known-clients file, and a certificate from anybody that is looked up in it.
#![no_main]

use consigner_gate::fuzzing::known_clients;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| known_clients(bytes));
