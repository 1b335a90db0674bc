//! The running process: what the kernel says of it below `/proc/PID`.

use super::super::finding::Verdict;

/// Locked pages of a node with one key; a node that locks nothing has none.
const LOCKED_KIB_MIN: u64 = 1;

/// What a node needs beside its keys: 1.7 KiB for each of 100,000 validators lies far below it.
const MEMLOCK_BYTES: u64 = 64 << 20;

/// What `/proc/PID/{limits,status}` say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// Soft limit of core files in bytes; `u64::MAX`: unlimited.
    pub core_max: Option<u64>,
    /// Soft limit of locked memory in bytes.
    pub memlock_max: Option<u64>,
    /// Locked memory in KiB.
    pub locked_kib: Option<u64>,
    /// Memory that was swapped out, in KiB.
    pub swapped_kib: Option<u64>,
    /// Effective user.
    pub uid: Option<u32>,
    /// Whether the kernel refuses dumps and tracing by equals: `/proc/PID` then belongs to root.
    pub undumpable: Option<bool>,
}

/// Reads the two texts.
#[must_use]
pub fn parse(limits: &str, status: &str) -> Process {
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        match line.split_whitespace().next()? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    };
    let field = |name: &str| {
        let mut lines = status.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.next().map(|rest| rest.split_whitespace().collect::<Vec<_>>())
    };
    let kib = |name: &str| field(name)?.first()?.parse().ok();
    Process {
        core_max: limit("Max core file size"),
        memlock_max: limit("Max locked memory"),
        locked_kib: kib("VmLck"),
        swapped_kib: kib("VmSwap"),
        // Real, effective, saved, file system.
        uid: field("Uid").and_then(|ids| ids.get(1)?.parse().ok()),
        undumpable: None,
    }
}

/// Core dumps: the limit, the flag of the process, and where the kernel sends dumps.
#[must_use]
pub fn core_dumps(process: Process, core_pattern: Option<&str>) -> Verdict {
    let fix = "LimitCORE=0 (systemd), ulimit -c 0; a node also sets both itself at its start";
    match (process.core_max, process.undumpable) {
        (Some(0), Some(true)) => Verdict::pass("the limit is 0 and the process is not dumpable"),
        (_, Some(true)) => Verdict::pass("the process is not dumpable: no core, whatever the limit"),
        // A program behind a pipe gets the core even where the limit is 0... unless the process is not dumpable.
        (Some(0), _) if core_pattern.is_some_and(|pattern| pattern.starts_with('|')) => Verdict::warn(
            "the limit is 0, but kernel.core_pattern hands cores to a program, which may not look at limits",
            fix,
        ),
        (Some(0), _) => Verdict::pass("the limit is 0"),
        (Some(_), _) => Verdict::fail("a crash would write keys into a core file", fix),
        (None, _) => Verdict::skip("/proc/PID/limits is not to be read"),
    }
}

/// Locked memory of a process that has keys.
#[must_use]
pub fn memory_lock(process: Process, holds_keys: bool) -> Verdict {
    let fix = "LimitMEMLOCK=infinity (systemd), ulimit -l unlimited, or CAP_IPC_LOCK";
    let Some(limit) = process.memlock_max else { return Verdict::skip("/proc/PID/limits is not to be read") };
    match process.locked_kib {
        Some(locked) if locked >= LOCKED_KIB_MIN => Verdict::pass(format!("{locked} KiB are locked")),
        Some(_) if holds_keys => Verdict::fail("no memory is locked: keys may be written to swap", fix),
        _ if limit < MEMLOCK_BYTES => Verdict::warn(format!("only {} KiB may be locked", limit >> 10), fix),
        _ => Verdict::pass("enough memory may be locked"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::super::finding::Status::{Fail, Pass, Skip, Warn};
    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units
Max core file size        0                    unlimited            bytes
Max locked memory         unlimited            8388608              bytes
";
    const STATUS: &str = "Name:\tconsigner\nUid:\t1000\t1001\t1000\t1000\nVmLck:\t     128 kB\nVmSwap:\t       4 kB\n";

    #[test]
    fn the_texts_of_the_kernel() {
        let process = parse(LIMITS, STATUS);
        let expected = Process {
            core_max: Some(0),
            memlock_max: Some(u64::MAX),
            locked_kib: Some(128),
            swapped_kib: Some(4),
            uid: Some(1001),
            undumpable: None,
        };
        assert_eq!(process, expected);
        assert_eq!(parse("", ""), Process::default());
    }

    #[test]
    fn cores() {
        let pipe = Some("|/usr/share/apport/apport %p");
        for (core_max, undumpable, pattern, status) in [
            (Some(0), Some(true), pipe, Pass),
            (Some(u64::MAX), Some(true), pipe, Pass),
            (Some(0), Some(false), None, Pass),
            (Some(0), None, pipe, Warn),
            (Some(u64::MAX), Some(false), None, Fail),
            (None, None, None, Skip),
        ] {
            let process = Process { core_max, undumpable, ..Process::default() };
            assert_eq!(core_dumps(process, pattern).status, status, "{process:?} {pattern:?}");
        }
    }

    #[test]
    fn locks() {
        for (memlock_max, locked_kib, keys, status) in [
            (Some(u64::MAX), Some(128), true, Pass),
            (Some(0), Some(128), true, Pass),
            (Some(u64::MAX), Some(0), true, Fail),
            (Some(u64::MAX), Some(0), false, Pass),
            (Some(8 << 20), None, false, Warn),
            (None, None, false, Skip),
        ] {
            let process = Process { memlock_max, locked_kib, ..Process::default() };
            assert_eq!(memory_lock(process, keys).status, status, "{process:?}");
        }
    }
}
