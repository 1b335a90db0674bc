use super::*;
use crate::invariants::fixture::{KEY, at, block, exchange, fault, marks, nothing, release, vote};
use crate::oracle::{Import, Marks, Phase};
use consigner_rules::SigningType;

const RANDAO: Content = Content::Unslashable { kind: SigningType::RandaoReveal };

fn deletion(sent: u64, acknowledged: u64, marks: Marks) -> Deletion {
    let promise = Some(Promise { at: at(acknowledged), marks });
    Deletion { node: 1, validator: KEY, sent_at: at(sent), promise }
}

/// A key that signed block 5, vote 3->4 and a reveal, was deleted between 10 s and 11 s, and is asked for in vain later.
fn deleted() -> Evidence {
    Evidence {
        releases: vec![release(block(5), 1, 8), release(vote(3, 4), 2, 9), release(RANDAO, 3, 10)],
        deletions: vec![deletion(10, 11, marks(5, 1, 3, 4, 2))],
        exchanges: (1..=3).map(|node| exchange(node, Phase::Storm, block(6), 1, 12, 404)).collect(),
        ..nothing()
    }
}

fn with(more: Release) -> Vec<Violation> {
    let mut evidence = deleted();
    evidence.releases.push(more);
    check(&evidence)
}

#[test]
fn a_key_that_falls_silent_passes() {
    assert_eq!(check(&deleted()), []);
    assert_eq!(check(&nothing()), [], "nothing was deleted");
    let during = Release { at: at(11), sent_at: at(9), ..release(RANDAO, 4, 0) };
    assert_eq!(with(during), []);
}

#[test]
fn each_kind_of_signature_after_the_acknowledgement_is_caught() {
    for content in [RANDAO, block(5), vote(3, 4)] {
        let number = if content == vote(3, 4) { 2 } else { 1 };
        assert_eq!(with(release(content, number, 12)).len(), 1, "{content} asked for after it");
        let under_way = Release { at: at(12), sent_at: at(9), ..release(content, number, 0) };
        assert_eq!(with(under_way).len(), 1, "{content} asked for before it");
    }
}

#[test]
fn each_kind_of_missing_coverage_is_caught() {
    let lacking = [
        marks(4, 1, 3, 4, 2),
        marks(5, 9, 3, 4, 2),
        marks(5, 1, 2, 4, 2),
        marks(5, 1, 3, 3, 2),
        marks(5, 1, 3, 4, 9),
        Marks { block: None, ..marks(5, 1, 3, 4, 2) },
        Marks { target: None, ..marks(5, 1, 3, 4, 2) },
        Marks { source: None, ..marks(5, 1, 3, 4, 2) },
    ];
    for marks in lacking {
        let evidence = Evidence { deletions: vec![deletion(10, 11, marks)], ..deleted() };
        assert_eq!(check(&evidence).len(), 1, "{marks:?}");
    }
}

#[test]
fn an_import_ends_the_promise() {
    let import = Import { node: 3, validator: KEY, marks: None, sent_at: at(20), answered_at: Some(at(21)) };
    let mut evidence = Evidence { imports: vec![import], ..deleted() };
    evidence.releases.push(release(block(9), 4, 20));
    assert_eq!(check(&evidence), []);
    evidence.releases.push(release(RANDAO, 5, 19));
    assert_eq!(check(&evidence).len(), 1);
}

#[test]
fn a_second_deletion_promises_the_same_again() {
    let mut evidence = deleted();
    evidence.deletions.push(deletion(12, 12, marks(4, 1, 3, 4, 2)));
    assert_eq!(check(&evidence).len(), 1, "the second answer forgot a block");
}

#[test]
fn a_frozen_node_is_excused_for_what_its_threads_held_and_no_more() {
    let threads = available_parallelism().map_or(1, NonZero::get);
    let held = Release { at: at(16), sent_at: at(9), ..release(RANDAO, 4, 0) };
    let freeze = Fault { name: FREEZE, healed_at: Some(at(15)), ..fault(10, 10) };
    let mut evidence = Evidence { faults: vec![freeze.clone()], ..deleted() };
    evidence.releases.extend(vec![held.clone(); threads]);
    assert_eq!(check(&evidence), []);
    evidence.releases.push(held.clone());
    assert_eq!(check(&evidence).len(), 1, "one more than threads");
    for guilty in [Release { node: 2, ..held.clone() }, Release { sent_at: at(12), ..held.clone() }] {
        let mut evidence = Evidence { faults: vec![freeze.clone()], ..deleted() };
        evidence.releases.push(guilty);
        assert_eq!(check(&evidence).len(), 1, "of another node, or asked for while it was frozen");
    }
    let mut evidence = Evidence { faults: vec![Fault { name: "pause", ..freeze }], ..deleted() };
    evidence.releases.push(held);
    assert_eq!(check(&evidence).len(), 1, "another fault excuses nothing");
}

#[test]
fn a_node_that_was_not_asked_in_vain_is_named() {
    let mut evidence = deleted();
    evidence.exchanges.pop();
    assert_eq!(check(&evidence).len(), 1);
}

#[test]
fn a_deletion_of_a_silent_key_shows_nothing() {
    let mut evidence = deleted();
    evidence.releases.pop();
    assert_eq!(check(&evidence).len(), 1, "it signed nothing that is not slashable");
    let unanswered = Deletion { promise: None, ..deletion(10, 11, marks(5, 1, 3, 4, 2)) };
    let evidence = Evidence { deletions: vec![unanswered], ..deleted() };
    assert_eq!(check(&evidence).len(), 1, "nothing was promised");
}
