//! The order of the exporter's steps, with a database and a cluster that fail at every place: nothing is lost, nothing is
//! doubled, and the mark never stands before its rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::batch::Batch;
use super::facts::{Facts, Holes};
use super::plan::{Committed, Event, Plan, Step};
use super::trouble::{Cure, Trouble};
use consigner_raft::Recorded;
use consigner_rules::archive::{ArchiveMark, ArchiveRow};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Change, PublicKey};

const LINEAGE: ClusterId = ClusterId([7; 16]);

fn begin() -> ArchiveMark {
    ArchiveMark::begin(&LINEAGE)
}

/// What the clocks of proposers say, which jump back and ahead: only the log index decides about order.
const CLOCKS: [u64; 5] = [1_700_000_000_000, 0, u64::MAX, 1_699_999_999_999, 1];

/// An entry with this many changes.
fn entry(index: u64, changes: u8) -> Recorded {
    let changes = (0..changes).map(|number| Change::KeyAdded(PublicKey([number; 48]))).collect();
    let clock = usize::try_from(index).unwrap() % CLOCKS.len();
    Recorded { index, proposed_at_ms: CLOCKS[clock], changes }
}

/// A database, a cluster's mark, and an outbox.
struct World {
    outbox: Vec<Recorded>,
    since: u64,
    holes: Vec<(u64, u64)>,
    is_hopeless: bool,
    applied: u64,
    mark: Option<ArchiveMark>,
    head: Option<ArchiveMark>,
    /// Every head that was ever durable.
    heads: Vec<ArchiveMark>,
    rows: Vec<ArchiveRow>,
    gaps: Vec<(u64, u64)>,
}

/// What becomes of a step that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Luck {
    Good,
    /// It fails, and did nothing.
    Nothing,
    /// It did what it should, but the answer is lost.
    Unknown,
}

impl World {
    fn new(outbox: Vec<Recorded>) -> Self {
        let applied = outbox.last().map_or(0, |entry| entry.index);
        let (holes, heads, rows, gaps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { outbox, since: 0, holes, is_hopeless: false, applied, mark: None, head: None, heads, rows, gaps }
    }

    fn facts(&self) -> Facts {
        let holes = Holes { since: self.since, known: self.holes.clone(), is_hopeless: self.is_hopeless };
        Facts { begin: begin(), mark: self.mark, head: self.head, applied: self.applied, holes }
    }

    fn chain(&self, from: ArchiveMark, upto: u64) -> ArchiveMark {
        let mut batch = Batch::new(from);
        let range = |entry: &&Recorded| entry.index > from.index && entry.index <= upto;
        self.outbox.iter().filter(range).cloned().for_each(|entry| batch.take(entry));
        batch.after
    }

    fn gather(&self, from: ArchiveMark, upto: u64) -> Event {
        let (mut batch, mut is_read) = (Batch::new(from), true);
        for entry in self.outbox.iter().filter(|entry| entry.index > from.index && entry.index <= upto) {
            if batch.is_full(4) {
                is_read = false;
                break;
            }
            batch.take(entry.clone());
        }
        let is_full = batch.is_full(4);
        assert!(batch.closes(Some(u64::MAX), upto, is_read));
        Event::Gathered { batch, is_full }
    }

    fn commit(&mut self, before: ArchiveMark, after: ArchiveMark) -> Result<(), Trouble> {
        if self.head.unwrap_or_else(begin) != before {
            return Err(Trouble { cure: Cure::LookAgain, ..Trouble::new("behind", "the head moved") });
        }
        self.head = Some(after);
        self.heads.push(after);
        Ok(())
    }

    fn advance(&mut self, committed: &Committed) -> Result<(), Trouble> {
        let to = committed.mark();
        assert!(self.heads.contains(&to), "the mark {to:?} moves before its rows are committed: {:?}", self.head);
        if self.mark == Some(to) {
            return Ok(());
        }
        if committed.after() != self.mark.map_or(0, |mark| mark.index) {
            return Err(Trouble { cure: Cure::LookAgain, ..Trouble::new("cluster", "moved") });
        }
        self.mark = Some(to);
        Ok(())
    }

    /// Carries out one step.
    fn perform(&mut self, step: Step, luck: Luck) -> Event {
        let failed = || Event::Failed(Trouble::new("address", "the connection is gone"));
        if luck == Luck::Nothing && !matches!(step, Step::Rest | Step::Pause(_)) {
            return failed();
        }
        let done = match step {
            Step::Look => return Event::Looked(self.facts()),
            Step::Replay { from, upto } => return Event::Replayed(self.chain(from, upto)),
            Step::Gather { from, upto } => return self.gather(from, upto),
            Step::Rest | Step::Pause(_) => return Event::Rested,
            Step::Write(batch) => self.commit(batch.before, batch.after).map(|()| {
                self.rows.extend(batch.rows);
                Event::Written
            }),
            Step::WriteGap { before, after } => self.commit(before, after).map(|()| {
                self.gaps.push((before.index, after.index));
                Event::Written
            }),
            Step::Advance(committed) => self.advance(&committed).map(|()| Event::Advanced),
        };
        if luck == Luck::Unknown { failed() } else { done.unwrap_or_else(Event::Failed) }
    }

    fn assert_complete(&self) {
        let mut whole = Batch::new(begin());
        self.outbox.iter().cloned().for_each(|entry| whole.take(entry));
        assert_eq!(self.rows, whole.rows, "each row once, in log order");
        assert_eq!((self.head, self.mark), (Some(whole.after), Some(whole.after)));
    }
}

/// Steps until the exporter rests or pauses; all of them.
fn steps(world: &mut World) -> Vec<Step> {
    let (mut plan, mut step) = Plan::begin();
    let mut seen = Vec::new();
    for _ in 0..200 {
        seen.push(step.clone());
        if matches!(step, Step::Rest | Step::Pause(_)) {
            return seen;
        }
        let event = world.perform(step, Luck::Good);
        step = plan.next(event);
    }
    panic!("no end: {seen:?}");
}

fn reason(world: &mut World) -> (&'static str, String) {
    match steps(world).pop() {
        Some(Step::Pause(trouble)) => (trouble.class, trouble.reason),
        other => panic!("it goes on: {other:?}"),
    }
}

fn some_log() -> Vec<Recorded> {
    [(3, 1), (4, 3), (7, 2), (8, 1), (12, 5), (13, 1), (20, 2)].map(|(index, changes)| entry(index, changes)).into()
}

/// The name under which docs/SAFETY.md has it.
#[test]
fn the_mark_moves_only_after_the_rows_are_committed() {
    let mut world = World::new(some_log());
    let seen = steps(&mut world);
    world.assert_complete();
    let order: Vec<&str> = seen
        .iter()
        .filter_map(|step| match step {
            Step::Write(_) | Step::WriteGap { .. } => Some("write"),
            Step::Advance(_) => Some("advance"),
            Step::Look | Step::Replay { .. } | Step::Gather { .. } | Step::Rest | Step::Pause(_) => None,
        })
        .collect();
    assert_eq!(
        order,
        ["write", "advance"].repeat(3),
        "batches end at 4 rows or a little more: entries are not divided"
    );
    // A write that failed moves nothing.
    let mut world = World::new(some_log());
    let (mut plan, mut step) = Plan::begin();
    while !matches!(step, Step::Write(_)) {
        let event = world.perform(step, Luck::Good);
        step = plan.next(event);
    }
    let event = world.perform(step, Luck::Nothing);
    assert!(matches!(plan.next(event), Step::Pause(trouble) if trouble.class == "address"));
    assert_eq!((world.mark, world.head), (None, None));
}

/// Two exporters (a deposed leader and its successor), faults before and after every effect, by a fixed course of chance.
#[test]
fn whatever_fails_and_whoever_leads_each_row_stands_once() {
    for seed in 1..300_u64 {
        let mut chance = seed;
        let mut dice = |sides: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % sides
        };
        let mut world = World::new(some_log());
        let mut exporters = [Plan::begin(), Plan::begin()];
        for _ in 0..120 {
            let exporter = usize::try_from(dice(2)).unwrap();
            let luck = [Luck::Good, Luck::Good, Luck::Nothing, Luck::Unknown][usize::try_from(dice(4)).unwrap()];
            if dice(20) == 0 {
                // Another leader, or the same one after a restart: it knows nothing.
                exporters[exporter] = Plan::begin();
            }
            let (plan, step) = &mut exporters[exporter];
            let event = world.perform(std::mem::replace(step, Step::Rest), luck);
            *step = plan.next(event);
        }
        let _last = steps(&mut world);
        world.assert_complete();
    }
}

#[test]
fn a_batch_whose_mark_was_not_agreed_is_noted_by_the_next_leader() {
    let mut world = World::new(some_log());
    world.head = Some(world.chain(begin(), 8));
    world.heads.push(world.head.unwrap());
    let Event::Gathered { batch, .. } = world.gather(begin(), 4) else { panic!() };
    world.rows = batch.rows;
    let Event::Gathered { batch, .. } = world.gather(batch.after, 8) else { panic!() };
    world.rows.extend(batch.rows);
    let seen = steps(&mut world);
    assert!(matches!(seen[1], Step::Replay { upto: 8, .. }), "{seen:?}");
    assert!(matches!(&seen[2], Step::Advance(committed) if committed.mark().index == 8), "{seen:?}");
    world.assert_complete();
}

#[test]
fn a_database_with_other_content_is_not_gone_on_with() {
    let mut world = World::new(some_log());
    world.head = Some(ArchiveMark { index: 8, rows: 7, ..begin() });
    let (class, text) = reason(&mut world);
    assert!(class == "conflict" && text.contains("other content") || text.contains("another content"), "{text}");
    world.mark = Some(world.chain(begin(), 8));
    assert_eq!(reason(&mut world).0, "conflict", "at the mark, too");
    world.head = Some(ArchiveMark { index: 99, rows: 7, ..begin() });
    let (class, text) = reason(&mut world);
    assert!(class == "conflict" && text.contains("ahead of the cluster"), "{text}");
    assert!(world.rows.is_empty());
}

#[test]
fn a_database_that_lost_what_it_confirmed_is_named_and_waited_for() {
    let mut world = World::new(some_log());
    world.mark = Some(world.chain(begin(), 12));
    for head in [None, Some(world.chain(begin(), 7))] {
        world.head = head;
        let (class, text) = reason(&mut world);
        assert!(class == "behind" && text.contains("archive backfill"), "{text}");
    }
    // Somebody restored it.
    world.head = world.mark;
    assert!(matches!(steps(&mut world).last(), Some(Step::Rest)));
}

#[test]
fn what_lies_before_a_hole_is_written_and_the_hole_is_waited_for() {
    let mut world = World::new(some_log());
    (world.since, world.holes) = (19, vec![(10, 19)]);
    world.outbox.retain(|entry| entry.index <= 10 || entry.index > 19);
    let (class, text) = reason(&mut world);
    assert_eq!((class, world.mark.unwrap().index), ("hole", 10), "{text}");
    assert!(text.contains("members are asked"), "{text}");
    world.is_hopeless = true;
    assert!(reason(&mut world).1.contains("--accept-gap"), "rows were archived before: only an operator decides");
    // A member gave them back.
    (world.since, world.holes, world.outbox) = (0, Vec::new(), some_log());
    let _all = steps(&mut world);
    assert_eq!(world.mark.unwrap().index, 20);
    let places: Vec<u64> = world.rows.iter().map(|row| row.index).collect();
    assert!(places.is_sorted() && places.contains(&12), "{places:?}");
}

#[test]
fn the_first_export_says_once_what_nobody_recorded() {
    let mut world = World::new(some_log().split_off(3));
    (world.since, world.holes) = (7, vec![(0, 7)]);
    assert_eq!(reason(&mut world).0, "hole", "not before every member said that it has nothing");
    world.is_hopeless = true;
    let seen = steps(&mut world);
    assert!(matches!(seen[1], Step::WriteGap { .. }), "{seen:?}");
    assert_eq!(world.gaps, [(0, 7)]);
    assert_eq!((world.mark, world.mark.unwrap().index, world.mark.unwrap().rows), (world.head, 20, 9));
    // The same, if the answer to the gap was lost.
    let mut world = World::new(some_log().split_off(3));
    (world.since, world.holes, world.is_hopeless) = (7, vec![(0, 7)], true);
    let mut skipped = begin();
    skipped.skip(7);
    world.commit(begin(), skipped).unwrap();
    let seen = steps(&mut world);
    assert!(matches!(seen[1], Step::Advance(_)), "{seen:?}");
    assert_eq!((world.gaps.len(), world.mark.unwrap().index), (0, 20), "not a second gap");
}

#[test]
fn a_surprise_is_looked_at_once_and_then_with_a_pause() {
    let surprise = || Event::Failed(Trouble { cure: Cure::LookAgain, ..Trouble::new("behind", "moved") });
    let (mut plan, step) = Plan::begin();
    assert_eq!(step, Step::Look);
    assert_eq!(plan.next(surprise()), Step::Look);
    assert!(matches!(plan.next(surprise()), Step::Pause(_)), "two exporters must not chase each other");
    assert_eq!(plan.next(Event::Rested), Step::Look);
}
