//! Keeps secrets from leaving the process by way of the operating system: no core dumps, no tracing by equals.
//!
//! In: nothing. Out: a report of what worked, for one line in the log and for `doctor`. Deliberately absent: locking
//! (each arena of secrets locks itself, see `locked.rs`) and any decision to stop when hardening fails.

use rustix::process::{Resource, Rlimit};
use std::fmt;
use std::io;

/// What [`harden_process`] achieved; `Display` makes one line of it.
#[derive(Debug)]
#[must_use = "a process that is not hardened should say so"]
pub struct Hardening {
    /// Core dumps limited to zero bytes, soft and hard (`RLIMIT_CORE`).
    pub core_limit: io::Result<()>,
    /// Process marked as not dumpable (`PR_SET_DUMPABLE`): no core, no `ptrace`, no `/proc/PID/mem` for equals.
    pub not_dumpable: io::Result<()>,
}

impl Hardening {
    /// Whether everything worked.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.core_limit.is_ok() && self.not_dumpable.is_ok()
    }
}

impl fmt::Display for Hardening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.core_limit {
            Ok(()) => formatter.write_str("core dumps are off")?,
            Err(error) => write!(formatter, "core dumps could not be limited ({error})")?,
        }
        match &self.not_dumpable {
            Ok(()) => formatter.write_str(", the process cannot be dumped or traced"),
            Err(error) => write!(formatter, ", the process could not be made undumpable ({error})"),
        }
    }
}

/// Turns core dumps off and forbids tracing. Call once, before the first secret is read. Undone by `execve`.
pub fn harden_process() -> Hardening {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    Hardening {
        core_limit: rustix::process::setrlimit(Resource::Core, none).map_err(io::Error::from),
        not_dumpable: forbid_dumps(),
    }
}

#[cfg(target_os = "linux")]
fn forbid_dumps() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn forbid_dumps() -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
