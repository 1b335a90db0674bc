//! Trap 5 of DESIGN 8: which log, snapshot and state fit together, as a table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use consigner_storage::{LogPosition, StartFacts, StartRefusal, check_start};

fn at(index: u64) -> Option<LogPosition> {
    Some(LogPosition { term: 3, node: 1, index })
}

fn other(index: u64) -> Option<LogPosition> {
    Some(LogPosition { term: 2, node: 2, index })
}

fn facts(
    first: Option<LogPosition>,
    last: Option<LogPosition>,
    purged: Option<LogPosition>,
    snapshot: Option<LogPosition>,
    state: Option<LogPosition>,
) -> StartFacts {
    StartFacts { log_first: first, log_last: last, purged, committed: None, snapshot, state }
}

#[test]
fn trap_5_what_fits_together_starts() {
    let fine = [
        ("a new node", StartFacts::default()),
        ("a log that was never purged", facts(at(0), at(9), None, None, None)),
        ("the state somewhere in the log", facts(at(0), at(9), None, None, at(7))),
        ("the state at the end of the log", facts(at(0), at(9), None, None, at(9))),
        ("purged up to the snapshot", facts(at(5), at(9), at(4), at(4), at(8))),
        ("purged below the snapshot", facts(at(5), at(9), at(4), at(7), None)),
        ("purged up to what the state covers", facts(at(5), at(9), at(4), None, at(4))),
        ("an older snapshot, a state that covers the purge", facts(at(5), at(9), at(4), at(2), at(6))),
        ("all purged", facts(None, at(4), at(4), at(4), at(4))),
        ("a snapshot was installed, its purge did not come yet", facts(at(0), at(9), None, at(50), None)),
        ("the same, the state is there too", facts(at(0), at(9), None, at(50), at(50))),
        ("the same, an entry that lost stands at its index", facts(at(0), other(9), None, at(9), at(9))),
    ];
    for (what, facts) in fine {
        assert_eq!(check_start(&facts), Ok(()), "{what}");
    }
    let committed = StartFacts { committed: at(9), ..facts(at(0), at(9), None, None, at(3)) };
    assert_eq!(check_start(&committed), Ok(()));
}

#[test]
fn trap_5_what_does_not_fit_is_refused_with_the_reason() {
    use StartRefusal::{GapAfterPurge, PurgedBeyondSnapshot, StateAheadOfLog};
    let refused = [
        ("no front", facts(at(1), at(9), None, None, None), GapAfterPurge { first: 1, purged: None }),
        ("a gap", facts(at(7), at(9), at(4), at(8), None), GapAfterPurge { first: 7, purged: Some(4) }),
        ("purged, yet there", facts(at(3), at(9), at(4), at(4), None), GapAfterPurge { first: 3, purged: Some(4) }),
        (
            "purged beyond everything",
            facts(at(5), at(9), at(4), at(3), at(2)),
            PurgedBeyondSnapshot { purged: 4, snapshot: Some(3), state: Some(2) },
        ),
        (
            "purged, nothing else left",
            facts(None, at(4), at(4), None, None),
            PurgedBeyondSnapshot { purged: 4, snapshot: None, state: None },
        ),
        (
            "the state ahead of the log",
            facts(at(0), at(9), None, None, at(10)),
            StateAheadOfLog { state: 10, log: Some(9), snapshot: None },
        ),
        (
            "the state ahead of an empty log",
            facts(None, None, None, None, at(0)),
            StateAheadOfLog { state: 0, log: None, snapshot: None },
        ),
        (
            "the state ahead of log and snapshot",
            facts(at(5), at(9), at(4), at(4), at(12)),
            StateAheadOfLog { state: 12, log: Some(9), snapshot: Some(4) },
        ),
    ];
    for (what, facts, refusal) in refused {
        assert_eq!(check_start(&facts), Err(refusal), "{what}");
    }
    let lost_end = StartFacts { committed: at(12), ..facts(at(0), at(9), None, None, at(3)) };
    let refusal = StartRefusal::CommittedAheadOfLog { committed: 12, log: Some(9), snapshot: None };
    assert_eq!(check_start(&lost_end), Err(refusal));
    for diverged in [
        facts(at(5), at(9), at(4), other(4), None),
        facts(at(0), at(9), None, at(7), other(7)),
        StartFacts { committed: other(4), ..facts(at(5), at(9), at(4), at(4), None) },
    ] {
        assert!(matches!(check_start(&diverged), Err(StartRefusal::Diverged { .. })), "{diverged:?}");
    }
}
