//! CPU time of processes and of their children, from `/proc`.
//!
//! In: process ids. Out: microseconds. Deliberately absent: threads one by one; a process that ended is in its parent's
//! account once the parent has waited for it.

use std::collections::BTreeMap;

/// `USER_HZ` of Linux: what a tick in `/proc/PID/stat` is, in microseconds.
const TICK_US: u64 = 10_000;

/// Time of a process itself, user and system; `None`: it is gone.
#[must_use]
pub fn process_us(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.own)
}

/// Time of a process, of its living children, and of those that it has waited for.
#[must_use]
pub fn family_us(pid: u32) -> Option<u64> {
    let parent = stat(pid)?;
    let children: u64 = all().into_values().filter(|other| other.parent == pid).map(|child| child.own).sum();
    Some(parent.own + parent.waited_for + children)
}

struct Stat {
    parent: u32,
    own: u64,
    waited_for: u64,
}

fn all() -> BTreeMap<u32, Stat> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything; what follows begins with the third field.
    let rest: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| rest.get(field - 3)?.parse::<u64>().ok();
    let (own, waited_for) = (number(14)? + number(15)?, number(16)? + number(17)?);
    Some(Stat { parent: u32::try_from(number(4)?).ok()?, own: own * TICK_US, waited_for: waited_for * TICK_US })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_process_is_found_with_its_parent_and_a_stranger_is_not() {
        let own = stat(std::process::id()).unwrap();
        assert!(own.parent > 0);
        // Time goes on between two looks.
        let before = process_us(std::process::id()).unwrap();
        assert!(family_us(std::process::id()).unwrap() >= before);
        assert!(process_us(u32::MAX).is_none());
    }
}
