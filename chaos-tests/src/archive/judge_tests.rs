//! Each thing that an archive must not be, fabricated.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::invariants::fixture::{KEY, block, exchange, vote};
use crate::oracle::{Phase, Reply};
use consigner_rules::Root;

fn row(content: Content, root: u8, log_index: u64) -> Row {
    Row { claim: (KEY, content, Root([root; 32])), node: 1, log_index, ordinal: 0 }
}

fn asked(content: Content, root: u8, status: u16) -> Exchange {
    exchange(1, Phase::Storm, content, root, 1, status)
}

fn lost(content: Content, root: u8) -> Exchange {
    let reply = Some((Duration::ZERO, Reply::Lost("the connection broke".to_owned())));
    Exchange { reply, ..asked(content, root, 200) }
}

/// A vote and a block that were acknowledged, a rival that was refused, a vote whose reply was lost.
fn good() -> Proof {
    let marks =
        Marks { block: Some((9, Some(Root([3; 32])))), source: Some(2), target: Some((3, Some(Root([4; 32])))) };
    let signed = vec![row(vote(1, 2), 1, 5), row(block(9), 3, 6), row(vote(2, 3), 4, 8)];
    Proof {
        exchanges: vec![
            asked(vote(1, 2), 1, 200),
            asked(vote(1, 2), 2, 412),
            asked(block(9), 3, 503),
            asked(block(9), 3, 200),
            lost(vote(2, 3), 4),
        ],
        exported: signed.iter().map(|row| row.claim).collect(),
        signed,
        refused: vec![row(vote(1, 2), 2, 7)],
        live: (1..=3).map(|node| (node, BTreeMap::from([(KEY, marks)]))).collect(),
        outages: vec![Outage { what: "kill", signed: 7, lasts: true }],
    }
}

fn names(proof: &Proof) -> Vec<&'static str> {
    judge(proof).iter().map(|violation| violation.invariant).collect()
}

#[test]
fn an_archive_as_it_should_be_passes() {
    assert_eq!(judge(&good()), []);
    assert_eq!(untold(&good()), 1);
}

#[test]
fn a_lost_row_is_caught_although_the_export_lacks_it_too() {
    let mut proof = good();
    proof.signed.remove(0);
    proof.exported.remove(0);
    assert_eq!(names(&proof), [COMPLETE]);
    let mut proof = good();
    proof.refused.clear();
    assert_eq!(names(&proof), [COMPLETE]);
}

#[test]
fn a_doubled_row_is_caught_and_a_doubled_record_of_the_export() {
    let mut proof = good();
    proof.signed.push(Row { log_index: 77, ..proof.signed[0] });
    assert_eq!(names(&proof), [COMPLETE]);
    let mut proof = good();
    proof.exported.push(proof.exported[0]);
    assert_eq!(names(&proof), [EXPORT]);
}

#[test]
fn rows_out_of_thin_air_are_caught() {
    let mut proof = good();
    // Its reply was 412: no signature may stand for it.
    proof.exchanges.push(asked(vote(0, 1), 9, 412));
    proof.refused.push(row(vote(0, 1), 9, 9));
    proof.signed.push(row(vote(0, 1), 9, 10));
    proof.exported.push((KEY, vote(0, 1), Root([9; 32])));
    assert_eq!(names(&proof), [NOTHING_ELSE]);
    let mut proof = good();
    proof.refused.push(row(vote(1, 2), 8, 9));
    assert_eq!(names(&proof), [NOTHING_ELSE]);
    let mut proof = good();
    proof.signed[0].node = 3;
    assert_eq!(names(&proof), [NOTHING_ELSE]);
}

#[test]
fn a_slashable_pair_of_rows_is_caught_though_each_was_asked_for() {
    let mut proof = good();
    proof.exchanges.push(lost(vote(1, 2), 9));
    proof.signed.push(row(vote(1, 2), 9, 11));
    proof.exported.push((KEY, vote(1, 2), Root([9; 32])));
    assert_eq!(names(&proof), [SAFE]);
}

#[test]
fn watermarks_above_and_below_the_archive_are_caught() {
    for (node, slot) in [(1, 10), (3, 8)] {
        let mut proof = good();
        proof.live.get_mut(&node).unwrap().get_mut(&KEY).unwrap().block = Some((slot, Some(Root([3; 32]))));
        assert_eq!(names(&proof), [LIVE]);
    }
    let mut proof = good();
    proof.live.clear();
    assert_eq!(names(&proof), [LIVE]);
}

#[test]
fn an_export_with_less_or_more_is_caught() {
    let mut proof = good();
    proof.exported.remove(1);
    assert_eq!(names(&proof), [EXPORT]);
    let mut proof = good();
    proof.exported.push((KEY, block(8), Root([3; 32])));
    assert_eq!(names(&proof), [EXPORT]);
}

#[test]
fn silence_in_an_outage_is_caught_and_a_moment_is_none() {
    let mut proof = good();
    proof.outages.push(Outage { what: "sessions ended", signed: 0, lasts: false });
    assert_eq!(names(&proof), Vec::<&str>::new());
    proof.outages.push(Outage { what: "read only", signed: 0, lasts: true });
    assert_eq!(names(&proof), [L2]);
}
