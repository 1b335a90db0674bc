//! Fills a database again that lost what it had confirmed, and goes over holes that nobody can fill, if the operator
//! accepts it.
//!
//! In: facts, what the nodes still have, whether a gap is accepted. Out: rows again, gaps with what each validator had
//! signed at most, and a mark that follows the database's own chain. What is written again without a gap must lead to the
//! mark that the cluster agreed on. Deliberately absent: asking the nodes ([`super::survey`]).

use super::batch::Batch;
use super::exporter::{Exporter, leads, not_leader};
use super::facts::{Course, Facts, forked};
use super::plan::{Committed, Event};
use super::survey::Survey;
use super::trouble::Trouble;
use consigner_api::{ArchiveFault, Backfilled, MarkView};
use consigner_rules::archive::ArchiveMark;

/// A part of the log that is written next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Rows that are here, up to and with this log index.
    Rows(u64),
    /// Rows that this node let go of and that some node still has, up to and with this log index.
    Given(u64),
    /// Rows that nobody has, up to and with this log index.
    Gap(u64),
}

/// What a gap says. It names the mark that the cluster had agreed on: so a backfill that was cut off is told from any
/// other content that the cluster did not record.
fn reason(mark: &ArchiveMark) -> String {
    format!(
        "the database lost it, or no member kept it; accepted by an operator when the cluster had agreed on log index {} \
         with chain {}",
        mark.index, mark.chain
    )
}

/// Up to where this node let go of rows that the database needs; behind that its rows are whole.
pub(super) fn let_go(facts: &Facts) -> Option<u64> {
    let (mark, head) = (facts.mark().index, facts.head().index);
    // What was removed on purpose is no hole.
    let upto = facts.holes.since.min(mark);
    (head < mark && upto > head).then_some(upto)
}

/// What is to be written behind the database's head so that it comes to the mark, and over a hole behind it; `found` is
/// up to where this node let go of its rows.
pub(super) fn pieces(facts: &Facts, found: Vec<Piece>) -> Vec<Piece> {
    let (mark, head, holes) = (facts.mark().index, facts.head().index, &facts.holes);
    let mut pieces = found;
    if head < mark && let_go(facts).unwrap_or(head) < mark {
        pieces.push(Piece::Rows(mark));
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
        let survey = match let_go(&facts) {
            Some(upto) => Survey::of(&self.cluster, facts.head(), upto).await,
            None => Survey::nothing(facts.head()),
        };
        let pieces = pieces(&facts, survey.pieces.clone());
        let lost = lost(facts.head().index, &pieces);
        if !accept_gap && !lost.is_empty() {
            return Err(ArchiveFault::Refused(lost_text(&lost, &survey)));
        }
        let is_strange = self.is_strange(&facts, &survey, lost.is_empty()).await.map_err(away)?;
        if is_strange {
            self.may_go_on(&facts, &survey, accept_gap).await?;
        }
        let before = facts.head.as_ref().map(MarkView::from);
        let mut done = Backfilled { before, unheard: survey.unheard, ..Backfilled::nothing() };
        let mut at = facts.head();
        for piece in pieces {
            at = self.fill(&facts, at, piece, &mut done).await.map_err(away)?;
        }
        if !is_strange && lost.is_empty() && facts.head().index < facts.mark().index && at != facts.mark() {
            // Somebody gave other rows than before.
            return Err(away(forked(&facts.mark(), &at)));
        }
        if is_strange || at != facts.mark() && facts.head() != at {
            at = self.confirm(&facts, at, &mut done).await.map_err(away)?;
        }
        done.after = (at.index > 0).then(|| MarkView::from(&at));
        Ok(done)
    }

    /// Whether the database is at or beyond the mark with other content, or would not come to it by all rows that there
    /// are (`is_whole`).
    async fn is_strange(&self, facts: &Facts, survey: &Survey, is_whole: bool) -> Result<bool, Trouble> {
        let (mark, head) = (facts.mark(), facts.head());
        if head.index < mark.index {
            if !is_whole {
                return Ok(false);
            }
            let mut reached = survey.reached;
            if reached.index < mark.index {
                reached = self.replay(reached, mark.index).await?;
                reached.pass(mark.index);
            }
            return Ok(reached != mark);
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
    async fn may_go_on(&mut self, facts: &Facts, survey: &Survey, accept_gap: bool) -> Result<(), ArchiveFault> {
        let gaps = match &mut self.link {
            Some(link) => link.archive.gaps(&link.lineage).await.map_err(|error| away(error.into()))?,
            None => Vec::new(),
        };
        // Of a gap that the cluster agreed on the mark has moved on since.
        let explains = reason(&facts.mark());
        let is_explained = gaps.iter().any(|gap| gap.reason == explains);
        if accept_gap && is_explained {
            return Ok(());
        }
        let mut reason = if is_explained {
            "the archive goes on behind a gap that the cluster has not agreed on yet; accept_gap (--accept-gap) says that \
             it may"
                .to_owned()
        } else {
            "the archive has another content than the cluster recorded, and no gap that would explain it: it was altered, \
             or is another one; see `consigner archive verify`"
                .to_owned()
        };
        if !is_explained && !survey.givers.is_empty() {
            let givers: Vec<String> = survey.givers.iter().map(ToString::to_string).collect();
            reason +=
                &format!("; or the rows that nodes still have are not those that were recorded: {}", givers.join(", "));
        }
        Err(ArchiveFault::Refused(reason))
    }

    async fn fill(
        &mut self,
        facts: &Facts,
        mut at: ArchiveMark,
        piece: Piece,
        done: &mut Backfilled,
    ) -> Result<ArchiveMark, Trouble> {
        match piece {
            Piece::Gap(upto) => {
                let mut after = at;
                after.skip(upto);
                done.baseline = self.write_gap(&at, &after, &reason(&facts.mark())).await?;
                done.gaps.push((at.index, upto));
                Ok(after)
            }
            Piece::Given(upto) => self.give(at, upto, done).await,
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
            Piece::Rows(upto) | Piece::Given(upto) => at = upto,
        }
    }
    lost
}

/// Why nothing is written without leave: what nobody has, and who was not heard.
fn lost_text(lost: &[(u64, u64)], survey: &Survey) -> String {
    let lost: Vec<String> = lost.iter().map(|(after, upto)| format!("({after}, {upto}]")).collect();
    let unheard = survey.unheard.iter().map(|(node, why)| format!("; node {node} may have some: {why}"));
    format!(
        "the records of the log indexes {} are nowhere any more; with accept_gap (--accept-gap) the archive goes on \
         without them, and says so for ever{}",
        lost.join(", "),
        unheard.collect::<String>()
    )
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

    /// Of which no node has anything.
    fn all_lost(facts: &Facts) -> Vec<Piece> {
        pieces(facts, let_go(facts).map(Piece::Gap).into_iter().collect())
    }

    #[test]
    fn what_is_here_is_written_again_and_what_is_not_becomes_a_gap() {
        use Piece::{Gap, Given, Rows};
        // head, mark, since, holes, hopeless
        assert_eq!(all_lost(&facts(0, 100, 100, &[], false)), [Gap(100)], "a lost database, all purged");
        assert_eq!(all_lost(&facts(0, 100, 60, &[], false)), [Gap(60), Rows(100)]);
        assert_eq!(all_lost(&facts(40, 100, 30, &[], false)), [Rows(100)], "a backup, and segments that reach back");
        assert_eq!(all_lost(&facts(40, 100, 40, &[], false)), [Rows(100)]);
        assert_eq!(all_lost(&facts(100, 100, 100, &[], false)), [], "nothing is wrong");
        assert_eq!(all_lost(&facts(100, 100, 150, &[(100, 150)], false)), [], "the members are being asked");
        assert_eq!(all_lost(&facts(100, 100, 150, &[(100, 150)], true)), [Gap(150)]);
        assert_eq!(all_lost(&facts(0, 100, 150, &[(100, 150)], true)), [Gap(100), Gap(150)]);
        assert_eq!(all_lost(&facts(100, 100, 150, &[(120, 150)], true)), [], "first what lies before the hole");
        let found = vec![Gap(20), Given(60)];
        assert_eq!(pieces(&facts(0, 100, 60, &[], false), found), [Gap(20), Given(60), Rows(100)]);
        assert_eq!(lost(40, &[Gap(60), Rows(100), Gap(120), Given(130)]), [(40, 60), (100, 120)]);
    }

    #[test]
    fn the_refusal_names_what_is_lost_and_who_may_have_it() {
        let mut survey = Survey::nothing(facts(0, 100, 60, &[], false).head());
        survey.unheard.insert(3, "connection refused".to_owned());
        let text = lost_text(&[(0, 40), (50, 60)], &survey);
        assert!(text.contains("(0, 40], (50, 60]") && text.contains("--accept-gap"), "{text}");
        assert!(text.contains("node 3 may have some: connection refused"), "{text}");
    }
}
