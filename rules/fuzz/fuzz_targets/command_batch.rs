//! The payload of an entry from a damaged disk or a broken peer: decoded or refused; applied without a panic, and the
//! digest that is kept is the digest of what is held.
#![no_main]

use consigner_rules::{CommandBatch, State, codec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(batch) = codec::decode::<CommandBatch>(bytes) {
        let mut state = State::default();
        let applied = state.apply(&batch);
        assert_eq!(applied.outcomes.len(), batch.commands.len());
        assert_eq!(state.digest(), state.recomputed_digest());
    }
});
