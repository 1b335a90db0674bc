//! Fills a database again that lost what it had confirmed, and goes over holes that nobody can fill, if the operator
//! accepts it.
//!
//! In: facts, whether a gap is accepted. Out: rows again, gaps with what each validator had signed at most, and a mark that
//! follows the database's own chain. What is written again without a gap must lead to the mark that the cluster agreed on.
//! Deliberately absent: rows that only other members still have: below the mark each node has purged about the same.

use super::batch::Batch;
use super::exporter::{Exporter, leads, not_leader};
use super::facts::{Course, Facts};
use super::plan::{Committed, Event};
use super::trouble::Trouble;
use consigner_api::{ArchiveFault, Backfilled, MarkView};
use consigner_rules::archive::ArchiveMark;

/// A part of the log that is written next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Rows that are here, up to and with this log index.
    Rows(u64),
    /// Rows that nobody has, up to and with this log index.
    Gap(u64),
}

/// What the gap says.
const REASON: &str = "the database lost it, or no member kept it; accepted by an operator";

/// What is to be written behind the database's head so that it comes to the mark, and over a hole behind it.
pub(super) fn pieces(facts: &Facts) -> Vec<Piece> {
    let (mark, head, holes) = (facts.mark().index, facts.head().index, &facts.holes);
    let mut pieces = Vec::new();
    if head < mark {
        // What was removed on purpose is no hole; rows are whole only behind `since`.
        let lost = holes.since.min(mark);
        if lost > head {
            pieces.push(Piece::Gap(lost));
        }
        if lost.max(head) < mark {
            pieces.push(Piece::Rows(mark));
        }
    }
    match holes.first(mark) {
        // What the database has beyond the mark is no gap, whatever this node lacks.
        Some((after, upto)) if after <= mark && upto > head && holes.is_hopeless => pieces.push(Piece::Gap(upto)),
        Some(_) | None => {}
    }
    pieces
}

impl Exporter {
    pub(super) async fn backfill(&mut self, accept_gap: bool) -> Result<Backfilled, ArchiveFault> {
        if !leads(&self.cluster) {
            return Err(not_leader(&self.cluster));
        }
        let facts = self.look().await.map_err(away)?;
        let mut done = Backfilled { before: facts.head.as_ref().map(MarkView::from), ..Backfilled::nothing() };
        let pieces = pieces(&facts);
        let lost: Vec<(u64, u64)> = lost(facts.head().index, &pieces);
        if !accept_gap && !lost.is_empty() {
            let lost: Vec<String> = lost.iter().map(|(after, upto)| format!("({after}, {upto}]")).collect();
            let reason = format!(
                "the records of the log indexes {} are nowhere any more; with accept_gap (--accept-gap) the archive goes \
                 on without them, and says so for ever",
                lost.join(", ")
            );
            return Err(ArchiveFault::Refused(reason));
        }
        let is_strange = self.is_strange(&facts, &pieces).await.map_err(away)?;
        if is_strange {
            self.may_go_on(&facts, accept_gap).await?;
        }
        let mut at = facts.head();
        for piece in pieces {
            at = self.fill(at, piece, &mut done).await.map_err(away)?;
        }
        if is_strange || at != facts.mark() && facts.head() != at {
            at = self.confirm(&facts, at, &mut done).await.map_err(away)?;
        }
        done.after = (at.index > 0).then(|| MarkView::from(&at));
        Ok(done)
    }

    /// Whether the database is at or beyond the mark with other content, or would not come to it by its own rows.
    async fn is_strange(&self, facts: &Facts, pieces: &[Piece]) -> Result<bool, Trouble> {
        let (mark, head) = (facts.mark(), facts.head());
        if head.index < mark.index {
            if pieces.iter().any(|piece| matches!(piece, Piece::Gap(_))) {
                return Ok(false);
            }
            let mut reached = self.replay(head, mark.index).await?;
            reached.pass(mark.index);
            return if reached == mark { Ok(false) } else { Err(super::facts::forked(&mark, &reached)) };
        }
        match facts.course() {
            Course::Follow { mark, head } => {
                let (mut skipped, mut reached) = (mark, self.replay(mark, head.index).await?);
                skipped.skip(head.index);
                reached.pass(head.index);
                Ok(skipped != head && reached != head)
            }
            Course::Export { .. } | Course::FirstGap { .. } | Course::Stop(_) => {
                Ok(head.index == mark.index && head != mark)
            }
        }
    }

    /// A backfill that was cut off leaves a head that the cluster has not agreed on, behind a gap. Anything else is not
    /// gone on with.
    async fn may_go_on(&mut self, facts: &Facts, accept_gap: bool) -> Result<(), ArchiveFault> {
        let gaps = match &mut self.link {
            Some(link) => link.archive.gaps(&link.lineage).await.map_err(|error| away(error.into()))?,
            None => Vec::new(),
        };
        // It wrote a gap up to where this outbox begins; older gaps explain nothing.
        let begin = facts.holes.since.min(facts.mark().index);
        let is_explained = gaps.iter().any(|gap| gap.upto >= begin);
        if accept_gap && is_explained {
            return Ok(());
        }
        let reason = if !is_explained {
            "the archive has another content than the cluster recorded, and no gap that would explain it: it was altered, \
             or is another one; see `consigner archive verify`"
        } else {
            "the archive goes on behind a gap that the cluster has not agreed on yet; accept_gap (--accept-gap) says that \
             it may"
        };
        Err(ArchiveFault::Refused(reason.to_owned()))
    }

    async fn fill(&mut self, mut at: ArchiveMark, piece: Piece, done: &mut Backfilled) -> Result<ArchiveMark, Trouble> {
        match piece {
            Piece::Gap(upto) => {
                let mut after = at;
                after.skip(upto);
                done.baseline = self.write_gap(&at, &after, REASON).await?;
                done.gaps.push((at.index, upto));
                Ok(after)
            }
            Piece::Rows(upto) => {
                while at.index < upto {
                    let batch = self.batch(at, upto).await?;
                    self.write(&batch).await?;
                    done.rows += batch.rows.len() as u64;
                    at = batch.after;
                }
                Ok(at)
            }
        }
    }

    /// Moves the mark to the database's own chain: to a place behind the mark, where a mark may move.
    async fn confirm(
        &mut self,
        facts: &Facts,
        mut at: ArchiveMark,
        done: &mut Backfilled,
    ) -> Result<ArchiveMark, Trouble> {
        let mark = facts.mark();
        if at.index <= mark.index {
            // The entry that moved the mark lies behind it, so there is always one; up to a hole at most.
            let batch = self.batch(at, facts.applied).await?;
            self.write(&batch).await?;
            done.rows += batch.rows.len() as u64;
            at = batch.after;
        }
        self.advance(&Committed::between(mark, at)).await?;
        Ok(at)
    }

    async fn batch(&self, from: ArchiveMark, upto: u64) -> Result<Batch, Trouble> {
        match self.gather(from, upto).await? {
            Event::Gathered { batch, .. } => Ok(batch),
            Event::Looked(_)
            | Event::Replayed(_)
            | Event::Written
            | Event::Advanced
            | Event::Rested
            | Event::Failed(_) => Ok(Batch::new(from)),
        }
    }
}

/// The gaps among the pieces.
fn lost(head: u64, pieces: &[Piece]) -> Vec<(u64, u64)> {
    let (mut at, mut lost) = (head, Vec::new());
    for piece in pieces {
        match *piece {
            Piece::Gap(upto) => {
                lost.push((at, upto));
                at = upto;
            }
            Piece::Rows(upto) => at = upto,
        }
    }
    lost
}

fn away(trouble: Trouble) -> ArchiveFault {
    match trouble.class {
        "conflict" | "foreign" | "schema" => ArchiveFault::Refused(trouble.reason),
        _other => ArchiveFault::Away(trouble.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Holes;
    use super::*;
    use consigner_rules::primitives::ClusterId;

    fn facts(head: u64, mark: u64, since: u64, known: &[(u64, u64)], is_hopeless: bool) -> Facts {
        let begin = ArchiveMark::begin(&ClusterId([1; 16]));
        let at = |index| (index > 0).then_some(ArchiveMark { index, ..begin });
        let holes = Holes { since, known: known.to_vec(), is_hopeless };
        Facts { begin, mark: at(mark), head: at(head), applied: 1000, holes }
    }

    #[test]
    fn what_is_here_is_written_again_and_what_is_not_becomes_a_gap() {
        use Piece::{Gap, Rows};
        // head, mark, since, holes, hopeless
        assert_eq!(pieces(&facts(0, 100, 100, &[], false)), [Gap(100)], "a lost database, all purged");
        assert_eq!(pieces(&facts(0, 100, 60, &[], false)), [Gap(60), Rows(100)]);
        assert_eq!(pieces(&facts(40, 100, 30, &[], false)), [Rows(100)], "a backup, and segments that reach back");
        assert_eq!(pieces(&facts(40, 100, 40, &[], false)), [Rows(100)]);
        assert_eq!(pieces(&facts(100, 100, 100, &[], false)), [], "nothing is wrong");
        assert_eq!(pieces(&facts(100, 100, 150, &[(100, 150)], false)), [], "the members are being asked");
        assert_eq!(pieces(&facts(100, 100, 150, &[(100, 150)], true)), [Gap(150)]);
        assert_eq!(pieces(&facts(0, 100, 150, &[(100, 150)], true)), [Gap(100), Gap(150)]);
        assert_eq!(pieces(&facts(100, 100, 150, &[(120, 150)], true)), [], "first what lies before the hole");
        assert_eq!(lost(40, &[Gap(60), Rows(100), Gap(120)]), [(40, 60), (100, 120)]);
    }
}
