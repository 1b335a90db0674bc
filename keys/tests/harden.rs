//! Hardening, in a process of its own: what it forbids cannot be allowed again.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

#[test]
fn a_hardened_process_leaves_no_core() {
    let report = consigner_keys::harden_process();
    assert!(report.complete(), "{report}");
    assert_eq!(report.to_string(), "core dumps are off, the process cannot be dumped or traced");
    let limit = getrlimit(Resource::Core);
    assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
}
