//! A policy document from anybody: read or refused with a place, never a panic; what is read survives being written, the
//! codec and a state; and nobody whom it does not name is admitted by it.
#![no_main]

use consigner_rules::policy::{Caller, Denial, Operation, diff};
use consigner_rules::{Policy, codec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Policy::parse(text) {
        Ok(policy) => {
            let written = policy.to_yaml();
            assert_eq!(Policy::parse(&written).as_ref(), Ok(&policy), "{written}");
            assert_eq!(codec::decode::<Policy>(&codec::encode(&policy)).ok().as_ref(), Some(&policy));
            assert!(diff(Some(&policy), &policy).is_empty());
            let _warnings = policy.warnings();
            for operation in Operation::all() {
                let decided = policy.decide(&Caller::default(), operation, None);
                assert!(matches!(decided, Err(Denial::UnknownCaller { .. })));
            }
        }
        Err(error) => assert!(error.line >= 1 && error.column >= 1 && !error.what.is_empty()),
    }
});
