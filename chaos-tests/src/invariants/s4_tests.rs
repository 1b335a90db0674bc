//! Fabricated histories that the checker of S4 must tell apart.

use super::*;
use crate::invariants::fixture::{block, exchange, nothing, release, vote};
use consigner_rules::Signature;

/// A block that was signed, repeated by all nodes and whose rival was refused by all.
fn sound() -> Evidence {
    let mut evidence = nothing();
    evidence.releases = vec![release(block(5), 1, 1)];
    evidence.exchanges = vec![exchange(1, Phase::Storm, block(5), 1, 1, 200)];
    for node in 1..=3 {
        evidence.exchanges.push(exchange(node, Phase::Probe, block(5), 1, 9, 200));
        evidence.exchanges.push(exchange(node, Phase::Probe, block(5), 2, 9, 412));
    }
    evidence
}

fn what(evidence: &Evidence) -> Vec<String> {
    check(evidence).into_iter().map(|violation| violation.what).collect()
}

#[test]
fn a_sound_history_passes() {
    assert_eq!(what(&sound()), Vec::<String>::new());
}

#[test]
fn two_signatures_for_one_root_are_caught() {
    let mut evidence = sound();
    evidence.releases.push(Release { signature: Signature([9; 96]), ..release(block(5), 1, 2) });
    assert_eq!(what(&evidence), ["two signatures for one root"]);
}

#[test]
fn a_rival_that_was_signed_later_is_caught_for_blocks_and_votes() {
    let mut evidence = sound();
    evidence.exchanges.push(exchange(2, Phase::Storm, block(5), 7, 3, 200));
    assert_eq!(what(&evidence), ["a rival of an acknowledged message was not refused"]);

    let mut evidence = sound();
    evidence.not_healed = Some("no probes of votes here".to_owned());
    evidence.releases.push(release(vote(3, 4), 3, 1));
    evidence.exchanges.push(exchange(2, Phase::Storm, vote(2, 4), 7, 3, 200));
    assert_eq!(what(&evidence), ["a rival of an acknowledged message was not refused"]);
}

#[test]
fn a_rival_that_was_refused_or_lost_is_none() {
    let mut evidence = sound();
    evidence.exchanges.push(exchange(2, Phase::Storm, block(5), 7, 3, 412));
    evidence.exchanges.push(exchange(2, Phase::Storm, block(5), 7, 3, 503));
    evidence.exchanges.push(exchange(2, Phase::Storm, vote(4, 5), 7, 3, 200));
    assert_eq!(what(&evidence), Vec::<String>::new());
}

#[test]
fn nodes_that_disagree_at_the_end_are_caught() {
    let mut evidence = sound();
    evidence.exchanges.push(exchange(2, Phase::Probe, block(5), 1, 10, 412));
    assert_eq!(what(&evidence), ["two nodes disagree about one request"]);
}

#[test]
fn a_node_that_was_not_shown_to_repeat_or_to_refuse_is_named() {
    let mut evidence = sound();
    evidence.exchanges.pop();
    assert!(what(&evidence)[0].starts_with("node 3 was not seen to refuse"));
    let mut evidence = sound();
    evidence.exchanges.remove(1);
    assert!(what(&evidence)[0].starts_with("node 1 was not seen to repeat"));
}

#[test]
fn silence_is_no_proof() {
    assert_eq!(what(&nothing()).len(), 1);
}
