//! S4: same request, same root: same signature. Same slot or target and another root: refused, for ever, on every node.
//!
//! The second half is watched during the whole run, and then shown once more: when all is healed, every node is asked
//! to repeat the newest message of every validator and to sign a rival of it.

use super::Violation;
use crate::oracle::{Content, Evidence, Exchange, Phase, Release};
use consigner_rules::{PublicKey, Root};
use std::collections::{BTreeMap, BTreeSet};

/// Name in reports.
pub const NAME: &str = "S4";

/// Status of a refusal.
const REFUSED: u16 = 412;

/// Complains about two signatures for one root, about a rival that was not refused, and about nodes that were not shown
/// to repeat and to refuse.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = two_signatures(evidence);
    violations.extend(rivals_not_refused(evidence));
    violations.extend(disagreement(evidence));
    if evidence.not_healed.is_none() {
        violations.extend(not_shown(evidence));
    }
    violations
}

fn two_signatures(evidence: &Evidence) -> Vec<Violation> {
    let mut first: BTreeMap<(PublicKey, Root), &Release> = BTreeMap::new();
    let mut violations = Vec::new();
    for release in &evidence.releases {
        let known = *first.entry((release.validator, release.root)).or_insert(release);
        if known.signature != release.signature {
            let shown = vec![known.to_string(), release.to_string()];
            violations.push(Violation::new(NAME, "two signatures for one root", shown));
        }
    }
    violations
}

/// What a message is a rival for: one slot of blocks, one target of votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Seat {
    Slot(u64),
    Target(u64),
}

const fn seat(content: Content) -> Option<Seat> {
    match content {
        Content::Block { slot } => Some(Seat::Slot(slot)),
        Content::Attestation { target, .. } => Some(Seat::Target(target)),
        Content::Unslashable { .. } => None,
    }
}

fn rivals_not_refused(evidence: &Evidence) -> Vec<Violation> {
    let mut taken: BTreeMap<(PublicKey, Seat), Vec<&Release>> = BTreeMap::new();
    for release in evidence.genuine() {
        if let Some(seat) = seat(release.content) {
            taken.entry((release.validator, seat)).or_default().push(release);
        }
    }
    let mut violations = Vec::new();
    for exchange in evidence.exchanges.iter().filter(|exchange| exchange.is_ok()) {
        let message = &exchange.message;
        let Some(seat) = seat(message.content) else { continue };
        let owners = taken.get(&(message.validator, seat)).map(Vec::as_slice).unwrap_or_default();
        let before = owners.iter().find(|owner| owner.root != message.root && owner.at <= exchange.sent_at);
        violations.extend(before.map(|owner| {
            let shown = vec![owner.to_string(), exchange.to_string()];
            Violation::new(NAME, "a rival of an acknowledged message was not refused", shown)
        }));
    }
    violations
}

fn probes(evidence: &Evidence) -> impl Iterator<Item = &Exchange> {
    evidence.exchanges.iter().filter(|exchange| exchange.phase == Phase::Probe)
}

/// When all is healed, one request gets one verdict, whoever is asked.
fn disagreement(evidence: &Evidence) -> Vec<Violation> {
    let mut verdicts: BTreeMap<(PublicKey, Root), BTreeMap<u16, &Exchange>> = BTreeMap::new();
    for probe in probes(evidence) {
        if let Some(status @ (200 | REFUSED)) = probe.status() {
            verdicts.entry((probe.message.validator, probe.message.root)).or_default().entry(status).or_insert(probe);
        }
    }
    let split = verdicts.into_values().filter(|verdicts| verdicts.len() > 1);
    split
        .map(|verdicts| {
            let shown = verdicts.values().map(ToString::to_string).collect();
            Violation::new(NAME, "two nodes disagree about one request", shown)
        })
        .collect()
}

/// Per validator and kind of message that was ever signed, every node must have repeated the newest message and refused
/// a rival of it. A key that was deleted signs no repeats, not even after it came back: then it is enough to refuse.
fn not_shown(evidence: &Evidence) -> Vec<Violation> {
    let slashable = evidence.genuine().filter(|release| seat(release.content).is_some());
    let signed: BTreeSet<(PublicKey, bool)> =
        slashable.map(|release| (release.validator, is_block(release.content))).collect();
    if signed.is_empty() {
        return vec![Violation::new(NAME, "not one signature came: nothing was shown", Vec::new())];
    }
    let shown: BTreeSet<(PublicKey, bool, u64, u16)> = probes(evidence)
        .filter_map(|probe| {
            Some((probe.message.validator, is_block(probe.message.content), probe.node, probe.status()?))
        })
        .collect();
    let mut violations = Vec::new();
    for (validator, is_block) in signed {
        for node in &evidence.nodes {
            for (status, what) in [(200, "repeat the newest"), (REFUSED, "refuse a rival of the newest")] {
                if status == 200 && evidence.was_to_be_deleted(&validator) {
                    continue;
                }
                if !shown.contains(&(validator, is_block, *node, status)) {
                    let kind = if is_block { "block" } else { "attestation" };
                    let text = format!("node {node} was not seen to {what} {kind} of {validator}");
                    let answers = probes(evidence).filter(|probe| {
                        probe.node == *node
                            && probe.message.validator == validator
                            && self::is_block(probe.message.content) == is_block
                    });
                    violations.push(Violation::new(NAME, text, answers.map(ToString::to_string).collect()));
                }
            }
        }
    }
    violations
}

const fn is_block(content: Content) -> bool {
    matches!(content, Content::Block { .. })
}

#[cfg(test)]
#[path = "s4_tests.rs"]
mod tests;
