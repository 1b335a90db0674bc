//! S6: after a deletion is acknowledged no node releases a signature of that key, and the returned interchange covers
//! every slashable signature that ever left.
//!
//! Until the key is imported again, that is. What "after" means between sockets is said in [`crate::oracle::custody`].
//! The one thing that no program can promise: a process that the system freezes between its last look at the key and
//! the write of the answer writes when it is thawed. So of a node that was frozen over the acknowledgement, as many
//! answers are let pass as it has threads that can stand at that place, and only to requests from before it was frozen.

use super::Violation;
use super::s2::marks_gap;
use crate::oracle::{Content, Deletion, Evidence, Fault, Promise, Release};
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

/// Name in reports.
pub const NAME: &str = "S6";

/// Name of the faults by which a process is stopped and goes on later.
pub const FREEZE: &str = "freeze";

/// What every node must have answered to a request about a deleted key.
const UNKNOWN_KEY: u16 = 404;

/// Complains about signatures after an acknowledged deletion, about signatures that the returned interchange does not
/// cover, and about a node that was not asked in vain.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let promised = evidence.deletions.iter().filter_map(|one| Some((one, one.promise.as_ref()?)));
    let mut violations: Vec<Violation> =
        promised.flat_map(|(deletion, promise)| of_deletion(evidence, deletion, promise)).collect();
    if !evidence.deletions.is_empty() && evidence.not_healed.is_none() {
        violations.extend(nothing_shown(evidence));
    }
    violations
}

fn of_deletion(evidence: &Evidence, deletion: &Deletion, promise: &Promise) -> Vec<Violation> {
    let end = deletion.ends_at(&evidence.imports).unwrap_or(Duration::MAX);
    let of_key = || evidence.genuine().filter(|one| one.validator == deletion.validator && one.at < end);
    let mut violations: Vec<Violation> = late(&evidence.faults, promise.at, of_key())
        .into_iter()
        .map(|release| {
            let what = "a signature of a deleted key was released";
            Violation::new(NAME, what, vec![release.to_string(), line(deletion, promise)])
        })
        .collect();
    let gaps = of_key().filter_map(|release| Some((release, marks_gap(release, &promise.marks, true)?)));
    violations.extend(gaps.map(|(release, gap)| {
        let shown = vec![release.to_string(), format!("{}: {gap}", line(deletion, promise))];
        Violation::new(NAME, "the returned interchange does not cover a signature", shown)
    }));
    if promise.at < end {
        violations.extend(not_asked(evidence, deletion, promise, end));
    }
    violations
}

/// Signatures that came after a promise and that no freeze explains.
pub(super) fn late<'e>(
    faults: &[Fault],
    promised_at: Duration,
    of_key: impl Iterator<Item = &'e Release>,
) -> Vec<&'e Release> {
    let mut late: Vec<&Release> = of_key.filter(|release| release.at > promised_at).collect();
    for fault in faults.iter().filter(|fault| fault.name == FREEZE && spans(fault, promised_at)) {
        let mut excused = available_parallelism().map_or(1, NonZero::get);
        late.retain(|release| {
            let may_be = fault.nodes.contains(&release.node) && release.sent_at <= fault.at && excused > 0;
            excused -= usize::from(may_be);
            !may_be
        });
    }
    late
}

fn spans(fault: &Fault, at: Duration) -> bool {
    fault.at <= at && fault.healed_at.is_none_or(|healed| at <= healed)
}

fn not_asked(evidence: &Evidence, deletion: &Deletion, promise: &Promise, end: Duration) -> Vec<Violation> {
    let in_vain = |node: u64| {
        evidence.exchanges.iter().any(|one| {
            one.node == node
                && one.message.validator == deletion.validator
                && one.sent_at >= promise.at
                && one.answered_at().is_some_and(|at| at < end)
                && one.status() == Some(UNKNOWN_KEY)
        })
    };
    let silent = evidence.nodes.iter().filter(|node| !in_vain(**node));
    silent
        .map(|node| {
            let what = format!("node {node} was not seen to answer {UNKNOWN_KEY} after the deletion");
            Violation::new(NAME, what, vec![line(deletion, promise)])
        })
        .collect()
}

/// Of a key that never signed, or never was promised to stop, nothing was shown.
fn nothing_shown(evidence: &Evidence) -> Option<Violation> {
    let is_shown = |deletion: &Deletion| {
        let of_key = || evidence.genuine().filter(|release| release.validator == deletion.validator);
        let slashable = |release: &Release| !matches!(release.content, Content::Unslashable { .. });
        deletion.promise.is_some() && of_key().any(slashable) && !of_key().all(slashable)
    };
    let text = "no deletion was acknowledged of a key that had signed messages of both kinds: nothing was shown";
    (!evidence.deletions.iter().any(is_shown)).then(|| Violation::new(NAME, text, Vec::new()))
}

fn line(deletion: &Deletion, promise: &Promise) -> String {
    let Deletion { node, sent_at, .. } = deletion;
    let (sent, at) = (sent_at.as_secs_f64(), promise.at.as_secs_f64());
    format!("DELETE through node {node} sent {sent:.3} s, acknowledged {at:.3} s with {:?}", promise.marks)
}

#[cfg(test)]
#[path = "s6_tests.rs"]
mod tests;
