//! Records of a snapshot or a state store: loaded whole, or refused whole.
#![no_main]

use consigner_rules::State;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|records: Vec<(Vec<u8>, Vec<u8>)>| {
    if let Ok(state) = State::from_records(records) {
        assert_eq!(state.digest(), state.recomputed_digest());
    }
});
