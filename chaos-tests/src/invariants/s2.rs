//! S2: every signature that left is covered by every export asked for after it, from any node, for ever.
//!
//! An export waits until its node has applied what was committed when it was asked, so every node that answers is
//! caught up with all that was acknowledged before. Covered: slot, source and target not above the exported maxima, and
//! the same root where it is the newest.

use super::Violation;
use crate::oracle::{Content, Evidence, ExportSample, Marks, Release};
use consigner_rules::{PublicKey, Root};
use std::collections::BTreeSet;
use std::time::Duration;

/// Name in reports.
pub const NAME: &str = "S2";

/// Complains about every signature that an export does not cover, and about a node that was not asked at the end.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    for export in &evidence.exports {
        let gaps = evidence.genuine().filter_map(|release| Some((release, gap(release, export)?)));
        violations.extend(gaps.map(|(release, gap)| {
            let asked = export.asked_at.as_secs_f64();
            let shown = vec![release.to_string(), format!("node {} at {asked:.3} s: {gap}", export.node)];
            Violation::new(NAME, "a signature is not covered by an export", shown)
        }));
    }
    violations.extend(unknown_roots(evidence));
    if evidence.not_healed.is_none() {
        violations.extend(not_asked_at_the_end(evidence));
    }
    violations
}

/// A recorded root must be one that was asked for, at that slot or target: nothing is recorded out of thin air.
fn unknown_roots(evidence: &Evidence) -> Vec<Violation> {
    let asked: BTreeSet<(PublicKey, Root, u64)> = evidence
        .exchanges
        .iter()
        .map(|one| &one.message)
        .filter_map(|message| match message.content {
            Content::Block { slot } => Some((message.validator, message.root, slot)),
            Content::Attestation { target, .. } => Some((message.validator, message.root, target)),
            Content::Unslashable { .. } => None,
        })
        .collect();
    let mut violations = Vec::new();
    for export in &evidence.exports {
        for (validator, marks) in &export.marks {
            for (number, root) in [marks.block, marks.target].into_iter().flatten() {
                if root.is_some_and(|root| !asked.contains(&(*validator, root, number))) {
                    let text = format!("node {} exports a root that was never asked for", export.node);
                    violations.push(Violation::new(NAME, text, vec![format!("{validator}: {number} {root:?}")]));
                }
            }
        }
    }
    violations
}

fn not_asked_at_the_end(evidence: &Evidence) -> impl Iterator<Item = Violation> {
    let last = evidence.genuine().map(|release| release.at).max().unwrap_or(Duration::ZERO);
    let asked_after = move |node: u64| evidence.exports.iter().any(|one| one.node == node && one.asked_at >= last);
    let missing = evidence.nodes.iter().copied().filter(move |node| !asked_after(*node));
    missing.map(|node| Violation::new(NAME, format!("no export of node {node} after the last signature"), Vec::new()))
}

/// What the export lacks of the signature, if anything.
fn gap(release: &Release, export: &ExportSample) -> Option<String> {
    let must_cover = release.at <= export.asked_at;
    match export.marks.get(&release.validator) {
        Some(marks) => marks_gap(release, marks, must_cover),
        None if matches!(release.content, Content::Unslashable { .. }) => None,
        None => must_cover.then(|| "the validator is missing".to_owned()),
    }
}

/// What the marks lack of the signature, if anything; if they need not cover it, whether they contradict it.
pub(super) fn marks_gap(release: &Release, marks: &Marks, must_cover: bool) -> Option<String> {
    let Marks { block, source, target } = *marks;
    match release.content {
        Content::Unslashable { .. } => None,
        Content::Block { slot } => mark_gap("slot", slot, release, block, must_cover),
        Content::Attestation { source: signed_source, target: signed_target } => {
            if must_cover && source.is_none_or(|exported| exported < signed_source) {
                return Some(format!("exported source {source:?} is below {signed_source}"));
            }
            mark_gap("target", signed_target, release, target, must_cover)
        }
    }
}

fn mark_gap(
    what: &str,
    signed: u64,
    release: &Release,
    mark: Option<(u64, Option<consigner_rules::Root>)>,
    must_cover: bool,
) -> Option<String> {
    match mark {
        // Whether asked before or after: one number has one root.
        Some((exported, root)) if exported == signed && root != Some(release.root) => {
            Some(format!("exported {what} {exported} has root {root:?}"))
        }
        Some((exported, _)) if must_cover && exported < signed => {
            Some(format!("exported {what} {exported} is below {signed}"))
        }
        None if must_cover => Some(format!("no {what} is exported")),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::fixture::{block, exchange, export, marks, nothing, release, vote};
    use crate::oracle::Phase;
    use std::collections::BTreeMap;

    /// Every message was asked for that an export of these tests may name.
    fn with(releases: Vec<Release>, exports: Vec<ExportSample>) -> Evidence {
        let contents = (4..=6).map(block).chain((3..=5).map(|target| vote(target - 1, target)));
        let asked = contents
            .flat_map(|content| [1, 2, 7, 8, 9].map(|number| exchange(1, Phase::Storm, content, number, 0, 503)));
        Evidence { releases, exports, exchanges: asked.collect(), ..nothing() }
    }

    #[test]
    fn a_root_out_of_thin_air_is_caught() {
        let signed = vec![release(block(5), 1, 1)];
        let mut exports = all_nodes(2, marks(5, 1, 3, 4, 2));
        exports.push(export(1, 3, marks(6, 77, 3, 4, 2)));
        exports.push(export(1, 3, marks(5, 1, 4, 5, 77)));
        assert_eq!(check(&with(signed, exports)).len(), 2);
    }

    fn all_nodes(seconds: u64, marks: Marks) -> Vec<ExportSample> {
        (1..=3).map(|node| export(node, seconds, marks)).collect()
    }

    #[test]
    fn covering_exports_of_all_nodes_pass() {
        let signed = vec![release(block(4), 9, 1), release(block(5), 1, 1), release(vote(3, 4), 2, 1)];
        assert_eq!(check(&with(signed.clone(), all_nodes(2, marks(5, 1, 3, 4, 2)))), []);
        assert_eq!(check(&with(signed, all_nodes(2, marks(6, 7, 4, 5, 8)))), []);
    }

    #[test]
    fn each_kind_of_missing_coverage_is_caught() {
        let signed = || vec![release(block(5), 1, 1), release(vote(3, 4), 2, 1)];
        let lacking = [
            marks(4, 1, 3, 4, 2),
            marks(5, 9, 3, 4, 2),
            marks(5, 1, 2, 4, 2),
            marks(5, 1, 3, 3, 2),
            marks(5, 1, 3, 4, 9),
            Marks { block: None, ..marks(5, 1, 3, 4, 2) },
            Marks { target: None, ..marks(5, 1, 3, 4, 2) },
            Marks { source: None, ..marks(5, 1, 3, 4, 2) },
            Marks { block: Some((5, None)), ..marks(5, 1, 3, 4, 2) },
        ];
        for marks_of_two in lacking {
            let mut exports = all_nodes(2, marks(5, 1, 3, 4, 2));
            exports[1].marks.insert(crate::invariants::fixture::KEY, marks_of_two);
            assert_eq!(check(&with(signed(), exports)).len(), 1, "{marks_of_two:?}");
        }
        let mut exports = all_nodes(2, marks(5, 1, 3, 4, 2));
        exports[2].marks = BTreeMap::new();
        assert_eq!(check(&with(signed(), exports)).len(), 2);
    }

    #[test]
    fn an_export_need_not_know_what_came_after_it_but_must_not_contradict_it() {
        let mut exports = all_nodes(9, marks(5, 1, 3, 4, 2));
        exports.push(export(1, 0, marks(4, 7, 2, 3, 7)));
        assert_eq!(check(&with(vec![release(block(5), 1, 1)], exports.clone())), []);
        exports.push(export(1, 0, marks(5, 7, 2, 3, 7)));
        assert_eq!(check(&with(vec![release(block(5), 1, 1)], exports)).len(), 1);
    }

    #[test]
    fn a_node_that_was_not_asked_at_the_end_is_named() {
        let signed = vec![release(block(5), 1, 1)];
        let exports = all_nodes(2, marks(5, 1, 3, 4, 2));
        assert_eq!(check(&with(signed, exports[..2].to_vec())).len(), 1);
    }
}
