//! Every boundary of the rule, as tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::command::{ImportedAttestation, ImportedBlock};
use crate::primitives::PublicKey;

const A: Root = Root([0xaa; 32]);
const B: Root = Root([0xbb; 32]);

fn block(slot: Slot) -> AgreedDuty {
    AgreedDuty::Block { slot }
}

fn vote(source_epoch: Epoch, target_epoch: Epoch) -> AgreedDuty {
    AgreedDuty::Attestation { source_epoch, target_epoch }
}

/// A history that signed these here, each of which must have been safe.
fn signed(messages: &[(AgreedDuty, Root)]) -> History {
    let mut history = History::default();
    for (duty, root) in messages {
        assert_eq!(history.judge(duty, root, None), Ruling::Safe, "{duty:?}");
    }
    history
}

fn import_block(slot: Slot, signing_root: Option<Root>) -> HistoryImport {
    let block = Some(ImportedBlock { slot, signing_root });
    HistoryImport { public_key: PublicKey([1; 48]), block, attestation: None }
}

fn import_votes(
    max_source_epoch: Epoch,
    max_target_epoch: Epoch,
    at_max_target: Option<(Epoch, Root)>,
) -> HistoryImport {
    let attestation = Some(ImportedAttestation { max_source_epoch, max_target_epoch, at_max_target });
    HistoryImport { public_key: PublicKey([1; 48]), block: None, attestation }
}

fn judge(history: &History, duty: AgreedDuty, root: Root) -> Ruling {
    let mut after = *history;
    let ruling = after.judge(&duty, &root, None);
    assert_eq!(ruling == Ruling::Safe && !matches!(duty, AgreedDuty::VoluntaryExit { .. }), after != *history);
    ruling
}

#[test]
fn blocks() {
    let empty = History::default();
    let one = signed(&[(block(5), A)]);
    let genesis = signed(&[(block(0), A)]);
    let last = signed(&[(block(u64::MAX), A)]);
    let cases = [
        (empty, 0, A, Ruling::Safe),
        (empty, u64::MAX, A, Ruling::Safe),
        (one, 4, A, Ruling::Refused(Violation::BlockBelow { asked: 4, stored: 5 })),
        (one, 0, A, Ruling::Refused(Violation::BlockBelow { asked: 0, stored: 5 })),
        (one, 5, A, Ruling::Repeat),
        (one, 5, B, Ruling::Refused(Violation::DoubleBlock { slot: 5 })),
        (one, 6, A, Ruling::Safe),
        (one, 6, B, Ruling::Safe),
        (genesis, 0, A, Ruling::Repeat),
        (genesis, 0, B, Ruling::Refused(Violation::DoubleBlock { slot: 0 })),
        (genesis, 1, A, Ruling::Safe),
        (last, u64::MAX, A, Ruling::Repeat),
        (last, u64::MAX, B, Ruling::Refused(Violation::DoubleBlock { slot: u64::MAX })),
        (last, u64::MAX - 1, A, Ruling::Refused(Violation::BlockBelow { asked: u64::MAX - 1, stored: u64::MAX })),
    ];
    for (history, slot, root, expected) in cases {
        assert_eq!(judge(&history, block(slot), root), expected, "slot {slot} after {history:?}");
    }
}

#[test]
fn a_newer_block_ends_the_repeat_of_the_older() {
    let history = signed(&[(block(5), A), (block(6), B)]);
    assert_eq!(judge(&history, block(5), A), Ruling::Refused(Violation::BlockBelow { asked: 5, stored: 6 }));
    assert_eq!(judge(&history, block(6), B), Ruling::Repeat);
}

#[test]
fn attestations() {
    let empty = History::default();
    let one = signed(&[(vote(3, 5), A)]);
    let double = |source_epoch| Violation::DoubleVote { source_epoch, target_epoch: 5, stored_source: 3 };
    let source_below = |asked, target_epoch| Violation::SourceBelow { asked, target_epoch, stored: 3 };
    let target_below = |source_epoch, asked| Violation::TargetBelow { asked, source_epoch, stored: 5 };
    let reversed = |source_epoch, target_epoch| Violation::SourceAfterTarget { source_epoch, target_epoch };
    let cases = [
        (empty, (0, 0), A, Ruling::Safe),
        (empty, (0, 1), A, Ruling::Safe),
        (empty, (u64::MAX, u64::MAX), A, Ruling::Safe),
        (empty, (1, 0), A, Ruling::Refused(reversed(1, 0))),
        (one, (7, 6), A, Ruling::Refused(reversed(7, 6))),
        // Source at, below and above the greatest.
        (one, (2, 6), A, Ruling::Refused(source_below(2, 6))),
        (one, (3, 6), A, Ruling::Safe),
        (one, (4, 6), A, Ruling::Safe),
        (one, (6, 6), A, Ruling::Safe),
        // Target at, below and above the greatest.
        (one, (3, 4), A, Ruling::Refused(target_below(3, 4))),
        (one, (4, 4), A, Ruling::Refused(target_below(4, 4))),
        (one, (3, 5), A, Ruling::Repeat),
        (one, (3, 5), B, Ruling::Refused(double(3))),
        (one, (4, 5), A, Ruling::Refused(double(4))),
        (one, (5, 5), B, Ruling::Refused(double(5))),
        // Both below; surrounding; surrounded.
        (one, (2, 5), A, Ruling::Refused(source_below(2, 5))),
        (one, (2, 4), A, Ruling::Refused(source_below(2, 4))),
        (one, (0, u64::MAX), A, Ruling::Refused(source_below(0, u64::MAX))),
        (one, (u64::MAX, u64::MAX), A, Ruling::Safe),
    ];
    for (history, (source, target), root, expected) in cases {
        assert_eq!(judge(&history, vote(source, target), root), expected, "{source}->{target} after {history:?}");
    }
}

#[test]
fn the_genesis_vote_repeats_and_is_not_doubled() {
    let history = signed(&[(vote(0, 0), A)]);
    assert_eq!(judge(&history, vote(0, 0), A), Ruling::Repeat);
    let double = Violation::DoubleVote { source_epoch: 0, target_epoch: 0, stored_source: 0 };
    assert_eq!(judge(&history, vote(0, 0), B), Ruling::Refused(double));
    assert_eq!(judge(&history, vote(0, 1), A), Ruling::Safe);
}

#[test]
fn a_refused_message_names_what_is_stored_and_what_was_asked_but_no_root() {
    let mut history = signed(&[(block(5), A), (vote(3, 5), A)]);
    for (duty, parts) in [
        (block(4), vec!["block slot 4", "newest signed slot 5"]),
        (block(5), vec!["asked slot 5", "stored slot 5"]),
        (vote(2, 6), vec!["source epoch 2", "target 6", "source epoch 3"]),
        (vote(3, 4), vec!["target epoch 4", "target epoch 5"]),
        (vote(4, 5), vec!["asked 4->5", "stored 3->5"]),
        (vote(6, 5), vec!["source epoch 6", "target epoch 5"]),
    ] {
        let Ruling::Refused(violation) = history.judge(&duty, &B, None) else { panic!("{duty:?}") };
        let text = violation.to_string();
        assert!(text.starts_with("slashing protection: "), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(!text.contains("aaaa") && !text.contains("bbbb"), "{text}");
    }
}

#[test]
fn blocks_and_attestations_do_not_concern_each_other() {
    let history = signed(&[(block(100), A)]);
    assert_eq!(judge(&history, vote(0, 0), A), Ruling::Safe);
    let history = signed(&[(vote(100, 200), A)]);
    assert_eq!(judge(&history, block(0), A), Ruling::Safe);
}

#[test]
fn exits_are_always_safe_and_leave_no_mark() {
    let mut history = signed(&[(block(5), A), (vote(3, 5), A)]);
    let before = history;
    let limit = HighWatermark { epoch: 0, slot: 0 };
    for epoch in [0, 5, u64::MAX, 0] {
        let exit = AgreedDuty::VoluntaryExit { epoch, validator_index: 1 };
        assert_eq!(history.judge(&exit, &A, Some(&limit)), Ruling::Safe);
    }
    assert_eq!(history, before);
}

#[test]
fn the_high_watermark_stops_everything_at_or_above_it_and_records_nothing() {
    let limit = HighWatermark { epoch: 10, slot: 20 };
    let epoch = |source_epoch, target_epoch| {
        Ruling::Refused(Violation::HighWatermarkEpoch { source_epoch, target_epoch, limit: 10 })
    };
    let slot = |asked| Ruling::Refused(Violation::HighWatermarkSlot { asked, limit: 20 });
    let cases = [
        (block(19), Ruling::Safe),
        (block(20), slot(20)),
        (block(21), slot(21)),
        (vote(9, 9), Ruling::Safe),
        (vote(8, 9), Ruling::Safe),
        (vote(9, 10), epoch(9, 10)),
        (vote(9, 11), epoch(9, 11)),
        (vote(10, 10), epoch(10, 10)),
        (vote(10, 11), epoch(10, 11)),
    ];
    for (duty, expected) in cases {
        let mut history = History::default();
        assert_eq!(history.judge(&duty, &A, Some(&limit)), expected, "{duty:?}");
        assert_eq!(history == History::default(), expected != Ruling::Safe);
    }
}

#[test]
fn the_high_watermark_stops_a_repeat_too() {
    let limit = HighWatermark { epoch: 5, slot: 5 };
    let mut history = signed(&[(block(5), A), (vote(3, 5), A)]);
    assert!(matches!(history.judge(&block(5), &A, Some(&limit)), Ruling::Refused(Violation::HighWatermarkSlot { .. })));
    let ruling = history.judge(&vote(3, 5), &A, Some(&limit));
    assert!(matches!(ruling, Ruling::Refused(Violation::HighWatermarkEpoch { .. })));
}

#[test]
fn an_imported_block_is_never_repeatable_by_itself() {
    for named in [Some(A), Some(B), None] {
        let mut history = History::default();
        assert!(history.merge(&import_block(5, named)));
        for root in [A, B] {
            let double = Ruling::Refused(Violation::DoubleBlock { slot: 5 });
            assert_eq!(judge(&history, block(5), root), double, "{named:?}");
        }
        assert_eq!(judge(&history, block(6), A), Ruling::Safe);
        assert!(!history.merge(&import_block(5, named)), "the same import again changes nothing");
    }
}

#[test]
fn an_imported_block_over_a_signed_one() {
    let cases = [
        // slot and root of the import; newest slot after it; whether the signed block 5 still repeats; whether anything rose
        (4, Some(B), 5, true, false),
        (4, None, 5, true, false),
        (5, Some(A), 5, true, false),
        (5, Some(B), 5, false, true),
        (5, None, 5, false, true),
        (6, Some(A), 6, false, true),
        (6, None, 6, false, true),
    ];
    for (slot, root, newest, repeats, raised) in cases {
        let mut history = signed(&[(block(5), A)]);
        assert_eq!(history.merge(&import_block(slot, root)), raised, "{slot} {root:?}");
        assert_eq!(history.block.unwrap().max_slot, newest);
        assert_eq!(judge(&history, block(5), A) == Ruling::Repeat, repeats, "{slot} {root:?}");
        assert_ne!(judge(&history, block(5), B), Ruling::Repeat);
        assert_eq!(judge(&history, block(newest + 1), B), Ruling::Safe);
    }
}

#[test]
fn what_one_import_made_unrepeatable_no_later_import_makes_repeatable() {
    let mut history = signed(&[(block(5), A), (vote(3, 5), A)]);
    history.merge(&import_block(5, Some(B)));
    history.merge(&import_block(5, Some(A)));
    assert_eq!(judge(&history, block(5), A), Ruling::Refused(Violation::DoubleBlock { slot: 5 }));
    history.merge(&import_votes(3, 5, Some((3, B))));
    history.merge(&import_votes(3, 5, Some((3, A))));
    let double = Violation::DoubleVote { source_epoch: 3, target_epoch: 5, stored_source: 3 };
    assert_eq!(judge(&history, vote(3, 5), A), Ruling::Refused(double));
}

#[test]
fn imported_attestations_are_never_repeatable_by_themselves() {
    for named in [Some((3, A)), Some((3, B)), None] {
        let mut history = History::default();
        assert!(history.merge(&import_votes(3, 5, named)));
        for root in [A, B] {
            let double = Violation::DoubleVote { source_epoch: 3, target_epoch: 5, stored_source: 3 };
            assert_eq!(judge(&history, vote(3, 5), root), Ruling::Refused(double), "{named:?}");
        }
        assert_eq!(judge(&history, vote(3, 6), A), Ruling::Safe);
    }
}

#[test]
fn imported_attestations_over_a_signed_one() {
    // maxima and newest of the import; maxima after it; whether the signed 3->5 still repeats; whether anything rose
    let cases = [
        ((2, 4, Some((2, B))), (3, 5), true, false),
        ((3, 4, None), (3, 5), true, false),
        ((4, 4, None), (4, 5), false, true),
        ((3, 5, Some((3, A))), (3, 5), true, false),
        ((2, 5, Some((3, A))), (3, 5), true, false),
        ((3, 5, Some((3, B))), (3, 5), false, true),
        ((3, 5, Some((2, A))), (3, 5), false, true),
        ((3, 5, None), (3, 5), false, true),
        ((4, 5, Some((3, A))), (4, 5), false, true),
        ((3, 6, Some((3, A))), (3, 6), false, true),
        ((0, 6, None), (3, 6), false, true),
        ((9, 2, None), (9, 5), false, true),
    ];
    for ((source, target, newest), (max_source, max_target), repeats, raised) in cases {
        let mut history = signed(&[(vote(3, 5), A)]);
        assert_eq!(history.merge(&import_votes(source, target, newest)), raised, "{source}->{target} {newest:?}");
        let mark = history.attestation.unwrap();
        assert_eq!((mark.max_source, mark.max_target), (max_source, max_target), "{source}->{target} {newest:?}");
        assert_eq!(judge(&history, vote(3, 5), A) == Ruling::Repeat, repeats, "{source}->{target} {newest:?}");
        let next = max_source.max(max_target + 1);
        assert_eq!(judge(&history, vote(max_source, next), B), Ruling::Safe);
    }
}

#[test]
fn an_empty_import_changes_nothing() {
    let mut history = signed(&[(block(5), A), (vote(3, 5), A)]);
    let empty = HistoryImport { public_key: PublicKey([1; 48]), block: None, attestation: None };
    assert!(!history.merge(&empty));
    assert!(!History::default().merge(&empty));
}
