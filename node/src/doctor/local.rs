//! Examines the machine that a node runs on, or shall run on, and the node's process.

use super::checks::{machine, process};
use super::finding::{Finding, Verdict};
use super::host::Host;
use super::points;
use std::path::Path;

/// Scope of what is about the machine.
pub const MACHINE: &str = "machine";

/// Swap and clock: the same for all nodes of a machine.
pub async fn machine_of(host: &Host) -> Vec<Finding> {
    vec![
        machine::swap(host.swaps().as_deref(), |area| host.is_encrypted(area)).on(&points::SWAP, MACHINE),
        machine::clock(&host.clock().await).on(&points::CLOCK, MACHINE),
    ]
}

/// What the data directory lies on.
#[must_use]
pub fn volume_of(host: &Host, node: &str, data_dir: Option<&Path>) -> Finding {
    let verdict = match data_dir {
        Some(dir) => machine::volume(&dir.display().to_string(), host.volume(dir).as_ref()),
        None => Verdict::skip("node.data-dir is not set"),
    };
    verdict.on(&points::VOLUME, node)
}

/// The running process of a node, or what one started from here would have.
#[must_use]
pub fn process_of(host: &Host, node: &str, pid: Option<u32>) -> Vec<Finding> {
    let running = pid.filter(|pid| host.command(*pid).is_some_and(|name| name.starts_with("consigner")));
    let seen = running.and_then(|pid| host.process(pid));
    let pattern = host.core_pattern();
    match (seen, pid) {
        (Some(seen), _) => vec![
            process::core_dumps(seen, pattern.as_deref()).on(&points::CORE_DUMPS, node),
            process::memory_lock(seen, true).on(&points::MEMORY_LOCK, node),
        ],
        (None, Some(pid)) => {
            let why = format!("process {pid} of {node} is not running");
            [&points::CORE_DUMPS, &points::MEMORY_LOCK].map(|point| Verdict::skip(why.clone()).on(point, node)).into()
        }
        (None, None) => {
            let why = "no process is named; a node sets its core limit to 0 and makes itself undumpable at its start";
            vec![
                Verdict::skip(why).on(&points::CORE_DUMPS, node),
                process::memory_lock(host.own_limits(), false).on(&points::MEMORY_LOCK, node),
            ]
        }
    }
}
