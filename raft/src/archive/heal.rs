//! Gets rows that this node misses from the members that have them.
//!
//! In: the holes in this node's outbox, answers of members. Out: rows, page by page, each durable before the next is asked
//! for. Deliberately absent: holes below the mark (the archive has those rows; if it lost them, see [`super::salvage`]) and
//! what was removed on purpose.
//!
//! A member's answer counts for the entries that it says it has whole, and nowhere else: a member that misses rows itself
//! gives those between its holes. Rows are the same on every node: an answer that contradicts a row that lies here is not
//! used, and is an alarm.

use super::serve::ROWS_MAX;
use super::{Healing, KeepError, MemberRows, OutboxMode};
use crate::cluster::Cluster;
use crate::peer::wire::{self, AskRows, Row, Rows};
use crate::types::Member;
use consigner_rules::{Change, codec};
use consigner_storage::{Outbox, OutboxError, SegmentError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long one answer may take: it is read and sent in a fraction of it.
const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// Bytes of rows that are put into one segment; more come with the next page.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Pages per turn, so that purging and spilling come to their turn.
const PAGES_PER_TURN: usize = 8;

/// How long a turn may take, for the same reason: members that hang must not keep this node's own disk waiting.
const TURN: Duration = Duration::from_secs(10);

/// A range of entries: after the first, up to and with the second.
type Range = (u64, u64);

/// Why a page is not used.
#[derive(Debug)]
pub(super) enum Unused {
    /// The member gave no answer: it is not asked again in this turn.
    Unreached(String),
    /// See [`MemberRows::Silent`].
    Silent(String),
    /// See [`MemberRows::Contradicts`].
    Contradicts(u64),
}

/// What is left of a turn.
struct Turn {
    pages: usize,
    until: Instant,
    /// Members that gave no answer, and why.
    unreached: BTreeMap<u64, String>,
}

impl Turn {
    fn new() -> Self {
        Self { pages: PAGES_PER_TURN, until: Instant::now() + TURN, unreached: BTreeMap::new() }
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn is_over(&self) -> bool {
        self.pages == 0 || self.left().is_zero()
    }
}

impl Cluster {
    /// Asks for what is missing, if anything is: of entries that the archive does not have yet, and that nobody removed
    /// here on purpose. Each hole is asked for by itself: what one member lacks of the first it may have of the next.
    pub(super) async fn heal(&self, outbox: &Arc<Outbox>) {
        // What cannot be read is told by the keeper's own turn.
        let Ok(holes) = blocking(outbox, |outbox| Ok(outbox.holes()?)).await else { return };
        let (mut turn, mut first) = (Turn::new(), None);
        for hole in above(self.archived_upto(), &holes) {
            if turn.is_over() {
                break;
            }
            let left = self.heal_one(outbox, hole, first.is_none(), &mut turn).await;
            first = first.or(left);
        }
        self.inner.outbox.heals(first);
    }

    /// Rows up to here are in the archive, or are not wanted from others.
    fn archived_upto(&self) -> u64 {
        match self.inner.outbox.options.mode {
            OutboxMode::Archived => self.archive_mark().map_or(0, |mark| mark.index),
            OutboxMode::Embedded(_) => 0,
        }
    }

    /// Page by page from the begin of a hole on. What is left of it, and what the members said of that.
    async fn heal_one(&self, outbox: &Arc<Outbox>, hole: Range, is_first: bool, turn: &mut Turn) -> Option<Healing> {
        let (mut after, upto) = hole;
        loop {
            let mut asked = Healing { after, upto, members: self.ask_since((after, upto), turn).await };
            if is_first {
                // Who waits for the hole must not act on what was said before.
                self.inner.outbox.heals(Some(asked.clone()));
            }
            // On a disk that is nearly full the rows of others are not added; that they are there is told all the same.
            if turn.is_over() || !self.inner.disk.has_room_for_healing() {
                return Some(asked);
            }
            let filled = self.fill_one(outbox, &mut asked, turn).await;
            match filled {
                // Of a part in the middle the rest is asked for in the next turn, by the holes that there are then.
                Some((from, _)) if from > after => return Some(asked),
                Some((_, reached)) if reached >= upto => return None,
                Some((_, reached)) => after = reached,
                None => {
                    tracing::debug!(healing = ?asked, "nobody fills the hole in the outbox for now");
                    return Some(asked);
                }
            }
        }
    }

    /// One page for a hole; the range that it filled. `None`: nobody has any of it.
    async fn fill_one(&self, outbox: &Arc<Outbox>, healing: &mut Healing, turn: &mut Turn) -> Option<Range> {
        while let Some((node, since)) = best(&healing.members, healing.upto) {
            let wanted = (healing.after.max(since), healing.upto);
            let filled = match self.page_of(node, wanted, turn).await {
                Ok((range, rows)) => fill(outbox, range, rows).await.map(|()| range),
                Err(unused) => Err(unused),
            };
            let said = match filled {
                Ok(range) => {
                    turn.pages = turn.pages.saturating_sub(1);
                    return Some(range);
                }
                Err(Unused::Unreached(reason)) => {
                    turn.unreached.insert(node, reason.clone());
                    MemberRows::Silent(reason)
                }
                Err(Unused::Silent(reason)) => MemberRows::Silent(reason),
                Err(Unused::Contradicts(index)) => {
                    metrics::counter!("consigner_outbox_conflicts_total").increment(1);
                    tracing::error!(node, index, "a member has another outbox row than this node: it is not believed");
                    MemberRows::Contradicts(index)
                }
            };
            healing.members.insert(node, said);
        }
        None
    }
}

/// The parts of holes that lie above an index.
fn above(floor: u64, holes: &[Range]) -> Vec<Range> {
    let parts = holes.iter().map(|(after, upto)| (floor.max(*after), *upto));
    parts.filter(|(after, upto)| after < upto).collect()
}

/// Puts rows into a hole. Where a row lies here as well it must be the same.
async fn fill(outbox: &Arc<Outbox>, (after, upto): Range, rows: Vec<Row>) -> Result<(), Unused> {
    let count = rows.len() as u64;
    let rows = rows.into_iter().map(|row| (row.index, row.content)).collect();
    match blocking(outbox, move |outbox| Ok(outbox.fill(after, upto, rows)?)).await {
        Ok(()) => {
            metrics::counter!("consigner_outbox_healed_rows_total").increment(count);
            tracing::info!(after, upto, rows = count, "rows that were missing in the outbox came from a member");
            Ok(())
        }
        Err(KeepError::Outbox(OutboxError::Segment(SegmentError::Conflict(index)))) => Err(Unused::Contradicts(index)),
        Err(error) => {
            metrics::counter!("consigner_outbox_failures_total").increment(1);
            tracing::error!(error = crate::chain(&error), "rows of a member cannot be kept");
            Err(Unused::Silent(format!("its rows cannot be kept: {}", crate::chain(&error))))
        }
    }
}

/// The member whose rows begin first, if that is early enough to be of use.
fn best(members: &BTreeMap<u64, MemberRows>, upto: u64) -> Option<(u64, u64)> {
    let useful = members.iter().filter_map(|(node, said)| match said {
        MemberRows::Since(since) if *since < upto => Some((*node, *since)),
        MemberRows::Since(_) | MemberRows::Silent(_) | MemberRows::Contradicts(_) => None,
    });
    useful.min_by_key(|(_, since)| *since)
}

impl Cluster {
    pub(super) fn other_members(&self) -> Vec<(u64, Member)> {
        let me = self.node_id();
        self.inner.shared.read_standing(|_, standing| {
            let nodes = standing.membership.nodes().filter(|(id, _)| **id != me);
            nodes.map(|(id, member)| (*id, member.clone())).collect()
        })
    }

    /// From where on each other member has something of a hole.
    async fn ask_since(&self, (after, upto): Range, turn: &mut Turn) -> BTreeMap<u64, MemberRows> {
        let asked = self.other_members().into_iter().map(|(id, member)| {
            let known = turn.unreached.get(&id).cloned();
            let left = turn.left();
            async move {
                let question = AskRows { after, upto, max: 0 };
                match known {
                    Some(reason) => (id, Err(reason)),
                    None => (id, self.ask_rows((id, &member), question, left).await),
                }
            }
        });
        let answers = futures::future::join_all(asked).await;
        let said = answers.into_iter().map(|(id, answer)| {
            let said = match answer {
                Ok(rows) => began(&rows),
                Err(reason) => {
                    turn.unreached.insert(id, reason.clone());
                    MemberRows::Silent(reason)
                }
            };
            (id, said)
        });
        said.collect()
    }

    /// One question to one member, with the deadline of every one.
    pub(super) async fn ask_member(&self, to: (u64, &Member), question: AskRows) -> Result<Rows, String> {
        self.ask_rows(to, question, CALL_DEADLINE).await
    }

    async fn ask_rows(&self, to: (u64, &Member), question: AskRows, left: Duration) -> Result<Rows, String> {
        let called = self.inner.links.call(to, wire::RECORDED, &question, left.min(CALL_DEADLINE)).await;
        called.map_err(|error| crate::chain(&error))
    }

    /// The rows of a range from its begin on, as many as one page takes, the member has in a row and the turn leaves time
    /// for, and the range that they stand for.
    async fn page_of(&self, node: u64, (after, upto): Range, turn: &Turn) -> Result<(Range, Vec<Row>), Unused> {
        let members = self.other_members();
        let Some((_, member)) = members.iter().find(|(id, _)| *id == node) else {
            return Err(Unused::Silent("it is no member any more".to_owned()));
        };
        let (mut rows, mut bytes, mut reached) = (Vec::new(), 0, after);
        while reached < upto && bytes < PAGE_BYTES {
            let max = u32::try_from(ROWS_MAX).unwrap_or(u32::MAX);
            let question = AskRows { after: reached, upto, max };
            let answer = self.ask_rows((node, member), question, turn.left()).await.map_err(Unused::Unreached);
            match answer.and_then(|answer| Ok((usable(&answer, question)?, answer.rows))) {
                Ok((covered, some)) => {
                    reached = covered;
                    bytes += some.iter().map(|row| row.content.len()).sum::<usize>();
                    rows.extend(some);
                }
                // What came before is good.
                Err(_) if reached > after => break,
                Err(unused) => return Err(unused),
            }
        }
        Ok(((after, reached), rows))
    }
}

/// What a member has by its answer.
fn began(answer: &Rows) -> MemberRows {
    match answer.since {
        u64::MAX => MemberRows::Silent("it does not know which rows it has".to_owned()),
        since => MemberRows::Since(since),
    }
}

/// Up to which entry an answer tells everything after `asked.after`; more than that entry, or it is of no use.
pub(super) fn usable(answer: &Rows, asked: AskRows) -> Result<u64, Unused> {
    let silent = |reason: &str| Err(Unused::Silent(reason.to_owned()));
    let covered = answer.upto.min(answer.applied).min(asked.upto);
    if answer.since > asked.after {
        return silent("it has let go of these rows meanwhile");
    }
    if covered <= asked.after {
        return silent("it has not applied these entries yet");
    }
    let mut before = asked.after;
    for row in &answer.rows {
        if row.index <= before || row.index > covered {
            return silent("its rows are not in log order");
        }
        if codec::decode::<(u64, Vec<Change>)>(&row.content).is_err() {
            return silent("one of its rows cannot be read by this version");
        }
        before = row.index;
    }
    Ok(covered)
}

/// Off the async threads.
async fn blocking<T: Send + 'static>(
    outbox: &Arc<Outbox>,
    work: impl FnOnce(&Outbox) -> Result<T, KeepError> + Send + 'static,
) -> Result<T, KeepError> {
    let outbox = Arc::clone(outbox);
    super::off_the_runtime(move || work(&outbox)).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    fn row(index: u64) -> Row {
        Row { index, content: codec::encode(&(index, Vec::<Change>::new())) }
    }

    fn answer(since: u64, applied: u64, upto: u64, rows: &[u64]) -> Rows {
        Rows { since, applied, upto, rows: rows.iter().copied().map(row).collect() }
    }

    fn asked(after: u64, upto: u64) -> AskRows {
        AskRows { after, upto, max: 10 }
    }

    fn reason(unused: Result<u64, Unused>) -> String {
        let Err(Unused::Silent(reason)) = unused else { panic!("{unused:?}") };
        reason
    }

    #[test]
    fn an_answer_counts_only_after_its_since_and_up_to_what_was_applied() {
        assert_eq!(usable(&answer(0, 90, 50, &[20, 30]), asked(10, 50)).unwrap(), 50);
        assert_eq!(usable(&answer(10, 90, 50, &[]), asked(10, 50)).unwrap(), 50, "nothing was changed there");
        assert_eq!(usable(&answer(0, 90, 30, &[20, 30]), asked(10, 50)).unwrap(), 30, "the rest comes next");
        assert_eq!(usable(&answer(0, 40, 50, &[20, 30]), asked(10, 50)).unwrap(), 40);
        assert!(reason(usable(&answer(11, 90, 50, &[20]), asked(10, 50))).contains("let go"));
        assert!(reason(usable(&answer(0, 10, 50, &[]), asked(10, 50))).contains("not applied"));
        assert!(reason(usable(&answer(0, 90, 10, &[]), asked(10, 50))).contains("not applied"));
    }

    #[test]
    fn rows_that_do_not_belong_to_the_question_are_not_used() {
        for rows in [&[10][..], &[30, 20], &[20, 20], &[51]] {
            assert!(reason(usable(&answer(0, 90, 60, rows), asked(10, 50))).contains("order"), "{rows:?}");
        }
        let unreadable = Rows { rows: vec![Row { index: 20, content: vec![9] }], ..answer(0, 90, 50, &[]) };
        assert!(reason(usable(&unreadable, asked(10, 50))).contains("cannot be read"));
    }

    #[test]
    fn the_next_rows_of_a_member_with_holes_are_hope_and_no_knowledge_is_none() {
        assert_eq!(began(&answer(30, 90, 10, &[])), MemberRows::Since(30));
        assert!(matches!(began(&answer(u64::MAX, 90, 10, &[])), MemberRows::Silent(_)));
    }

    #[test]
    fn what_the_archive_has_is_not_asked_for() {
        let holes = [(10, 20), (30, 40)];
        assert_eq!(above(0, &holes), holes);
        assert_eq!(above(15, &holes), [(15, 20), (30, 40)]);
        assert_eq!(above(20, &holes), [(30, 40)]);
        assert_eq!(above(99, &holes), []);
    }

    #[test]
    fn the_member_that_has_the_most_is_asked_and_hope_ends_when_all_have_answered() {
        let healing =
            |members: &[(u64, MemberRows)]| Healing { after: 10, upto: 50, members: members.iter().cloned().collect() };
        let silent = MemberRows::Silent("down".to_owned());
        let some = healing(&[(1, MemberRows::Since(30)), (2, MemberRows::Since(5)), (3, silent.clone())]);
        assert_eq!((best(&some.members, 50), some.is_hopeless()), (Some((2, 5)), false));
        let none = healing(&[(1, MemberRows::Since(50)), (3, silent)]);
        assert_eq!((best(&none.members, 50), none.is_hopeless()), (None, false), "one may still have them");
        let all = healing(&[(1, MemberRows::Since(50)), (2, MemberRows::Since(70))]);
        assert_eq!((best(&all.members, 50), all.is_hopeless()), (None, true));
        let odd = healing(&[(1, MemberRows::Contradicts(20))]);
        assert_eq!((best(&odd.members, 50), odd.is_hopeless()), (None, false), "somebody has to look");
    }
}
