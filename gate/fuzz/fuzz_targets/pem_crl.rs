//! Certificates, CA bundles and revocation lists from a file that somebody else wrote.
#![no_main]

use consigner_gate::fuzzing::pem_and_crl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| pem_and_crl(text));
