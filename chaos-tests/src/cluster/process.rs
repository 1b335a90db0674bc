//! Signals to processes of the cluster under test, and to no others.
//!
//! In: a process id from `cluster.json` and the cluster's directory. Out: a signal delivered, or the reason why not. A
//! process id may have been given to a stranger meanwhile, so the process must name the directory on its command line.

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Why a signal was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// There is no such process of this cluster.
    #[error("process {pid} is no process of the cluster in {dir}")]
    Foreign {
        /// The process.
        pid: u32,
        /// The cluster.
        dir: String,
    },
    /// The system refused.
    #[error("process {pid} cannot be signalled")]
    System {
        /// The process.
        pid: u32,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Sends a signal to a process whose command line names a path in `dir`.
///
/// # Errors
/// See [`SignalError`].
pub fn signal(pid: u32, dir: &Path, signal: Signal) -> Result<(), SignalError> {
    let foreign = || SignalError::Foreign { pid, dir: dir.display().to_string() };
    if !is_of(pid, dir) {
        return Err(foreign());
    }
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(foreign)?;
    kill_process(id, signal).map_err(|error| SignalError::System { pid, source: error.into() })
}

/// Whether the process runs and names the directory on its command line.
#[must_use]
pub fn is_of(pid: u32, dir: &Path) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let dir = dir.as_os_str().as_bytes();
    line.split(|byte| *byte == 0)
        .any(|argument| argument.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_stranger_is_never_signalled() {
        let own = std::process::id();
        assert!(!is_of(own, Path::new("/no/such/cluster")));
        assert!(matches!(signal(own, Path::new("/no/such/cluster"), Signal::KILL), Err(SignalError::Foreign { .. })));
    }

    #[test]
    fn a_process_that_names_the_directory_is_known_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("fifo-that-never-ends");
        let mut child =
            std::process::Command::new("tail").arg("-q").arg("-f").arg("/dev/null").arg(&file).spawn().unwrap();
        // Between fork and exec the child still has this program's command line.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_of(child.id(), dir.path()) && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        signal(child.id(), dir.path(), Signal::KILL).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(!is_of(child.id(), dir.path()));
    }
}
