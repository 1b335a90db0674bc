//! S3: no restart, election or pause lowers a watermark, on any node.
//!
//! Exports are linearizable reads, so an export asked for after another one was answered, from whichever nodes, must
//! stand at least as high; at equal height it must name the same root.

use super::Violation;
use crate::oracle::{Evidence, ExportSample, Marks};
use consigner_rules::Root;

/// Name in reports.
pub const NAME: &str = "S3";

/// Complains about every mark that went down or changed its root, and about a node with fewer than two exports.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, earlier) in evidence.exports.iter().enumerate() {
        for later in evidence.exports.iter().skip(index + 1).filter(|later| later.asked_at >= earlier.answered_at) {
            violations.extend(lowered(earlier, later));
        }
    }
    let exports_of = |node: u64| evidence.exports.iter().filter(|export| export.node == node).count();
    if evidence.not_healed.is_none() {
        let silent = evidence.nodes.iter().filter(|node| exports_of(**node) < 2);
        violations.extend(silent.map(|node| {
            Violation::new(NAME, format!("fewer than two exports of node {node}: nothing was shown"), Vec::new())
        }));
    }
    violations
}

fn lowered(earlier: &ExportSample, later: &ExportSample) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (validator, before) in &earlier.marks {
        let after = later.marks.get(validator).copied().unwrap_or_default();
        if let Some(what) = sunk(before, &after) {
            let line = |export: &ExportSample, marks: &Marks| {
                format!("node {} at {:.3} s: {marks:?}", export.node, export.asked_at.as_secs_f64())
            };
            let shown = vec![line(earlier, before), line(later, &after)];
            violations.push(Violation::new(NAME, format!("the {what} of {validator} was lowered"), shown));
        }
    }
    violations
}

fn sunk(before: &Marks, after: &Marks) -> Option<&'static str> {
    if is_sunk(before.block, after.block) {
        return Some("slot");
    }
    if is_sunk(before.target, after.target) {
        return Some("target epoch");
    }
    (after.source < before.source).then_some("source epoch")
}

fn is_sunk(before: Option<(u64, Option<Root>)>, after: Option<(u64, Option<Root>)>) -> bool {
    match (before, after) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some((before, root)), Some((after, other))) => after < before || (after == before && root != other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::fixture::{export, marks, nothing};
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn with(exports: Vec<ExportSample>) -> Vec<Violation> {
        check(&Evidence { exports, nodes: vec![1], ..nothing() })
    }

    #[test]
    fn rising_and_equal_marks_pass() {
        let exports = vec![
            export(1, 1, marks(5, 1, 3, 4, 1)),
            export(1, 2, marks(5, 1, 3, 4, 1)),
            export(2, 3, marks(6, 2, 3, 5, 2)),
        ];
        assert_eq!(with(exports), []);
    }

    #[test]
    fn each_lowered_mark_is_caught_on_the_same_and_on_another_node() {
        let high = marks(5, 1, 3, 4, 1);
        let low = [
            marks(4, 1, 3, 4, 1),
            marks(5, 2, 3, 4, 1),
            marks(5, 1, 2, 4, 1),
            marks(5, 1, 3, 3, 1),
            marks(5, 1, 3, 4, 2),
            Marks { block: None, ..high },
            Marks { source: None, ..high },
            Marks { target: None, ..high },
        ];
        for sunk in low {
            for node in [1, 2] {
                let exports = vec![export(1, 1, high), export(1, 2, high), export(node, 3, sunk)];
                assert_eq!(with(exports).len(), 2, "{sunk:?} on node {node}");
            }
        }
    }

    #[test]
    fn a_validator_that_vanishes_is_caught() {
        let mut empty = export(1, 2, marks(5, 1, 3, 4, 1));
        empty.marks = BTreeMap::new();
        assert_eq!(with(vec![export(1, 1, marks(5, 1, 3, 4, 1)), empty]).len(), 1);
    }

    #[test]
    fn exports_that_overlapped_in_time_may_come_in_any_order() {
        let mut slow = export(1, 1, marks(6, 2, 4, 5, 2));
        slow.answered_at = Duration::from_secs(9);
        assert_eq!(with(vec![slow, export(1, 2, marks(5, 1, 3, 4, 1))]), []);
    }

    #[test]
    fn too_few_exports_prove_nothing() {
        assert_eq!(with(vec![export(1, 1, marks(5, 1, 3, 4, 1))]).len(), 1);
    }
}
