//! An interchange file from another signer: what is taken survives writing and reading again.
#![no_main]

use consigner_rules::interchange::Interchange;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    if let Ok(parsed) = Interchange::parse(file) {
        let _doubts = parsed.report();
        let minimal = Interchange::minimal(*parsed.genesis_validators_root(), parsed.reduce());
        let again = Interchange::parse(minimal.to_json()).expect("what is written can be read");
        assert_eq!(minimal, again);
    }
});
