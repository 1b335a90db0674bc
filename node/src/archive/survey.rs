//! What the nodes still have of the rows that a database lost.
//!
//! In: where the database is, up to where this node let go of its rows. Out: pieces, each of rows that somebody has or of
//! rows that nobody has, and where the chain comes to by them. All pages are read before the first one is written: what is
//! missing, and whether the rest is what the cluster agreed on, is known before anything changes. Then they are asked for
//! again: only one page at a time is held.

use super::backfill::Piece;
use super::batch::Batch;
use super::exporter::Exporter;
use super::trouble::Trouble;
use consigner_api::{Backfilled, GivenRows};
use consigner_raft::{Cluster, Salvaged, Unheard};
use consigner_rules::archive::ArchiveMark;

/// What was found.
pub(super) struct Survey {
    /// In log order, up to where it was asked for.
    pub(super) pieces: Vec<Piece>,
    /// Where the chain is behind them.
    pub(super) reached: ArchiveMark,
    /// Nodes whose answers do not count, and why.
    pub(super) unheard: Unheard,
    /// The nodes that have some of it.
    pub(super) givers: Vec<u64>,
}

impl Survey {
    /// Nothing is asked for.
    pub(super) const fn nothing(at: ArchiveMark) -> Self {
        Self { pieces: Vec::new(), reached: at, unheard: Unheard::new(), givers: Vec::new() }
    }

    /// Asks everybody for what comes behind `head`, up to and with `upto`.
    pub(super) async fn of(cluster: &Cluster, head: ArchiveMark, upto: u64) -> Self {
        let mut survey = Self::nothing(head);
        while survey.reached.index < upto {
            let found = cluster.salvage(survey.reached.index, upto, &mut survey.unheard).await;
            survey.take(found, upto);
        }
        survey
    }

    fn take(&mut self, found: Option<Salvaged>, upto: u64) {
        let begin = found.as_ref().map_or(upto, |page| page.after);
        if begin > self.reached.index {
            self.pieces.push(Piece::Gap(begin));
            self.reached.skip(begin);
        }
        let Some(page) = found else { return };
        self.reached = batches(self.reached, &page, usize::MAX).last().map_or(self.reached, |batch| batch.after);
        match self.pieces.last_mut() {
            Some(Piece::Given(end)) => *end = page.upto,
            Some(Piece::Rows(_) | Piece::Gap(_)) | None => self.pieces.push(Piece::Given(page.upto)),
        }
        let more: Vec<u64> = page.nodes.into_iter().filter(|node| !self.givers.contains(node)).collect();
        self.givers.extend(more);
    }
}

impl Exporter {
    /// Writes rows that the nodes gave in a [`Survey`], up to and with `upto`.
    pub(super) async fn give(
        &mut self,
        mut at: ArchiveMark,
        upto: u64,
        done: &mut Backfilled,
    ) -> Result<ArchiveMark, Trouble> {
        while at.index < upto {
            let page = self.cluster.salvage(at.index, upto, &mut done.unheard).await;
            let Some(page) = page.filter(|page| page.after == at.index) else {
                let reason = format!("rows behind log index {} went away while they were copied; ask again", at.index);
                return Err(Trouble::new("hole", reason));
            };
            let before = done.rows;
            for batch in batches(at, &page, self.batch_rows) {
                self.write(&batch).await?;
                done.rows += batch.rows.len() as u64;
                at = batch.after;
            }
            note(&mut done.given, &page, done.rows - before);
        }
        Ok(at)
    }
}

/// The rows of a page in batches of about `rows`; the last one passes to its end.
fn batches(from: ArchiveMark, page: &Salvaged, rows: usize) -> Vec<Batch> {
    let (mut full, mut batch) = (Vec::new(), Batch::new(from));
    for entry in page.rows.iter().cloned() {
        if batch.is_full(rows) {
            let next = Batch::new(batch.after);
            full.push(std::mem::replace(&mut batch, next));
        }
        batch.take(entry);
    }
    batch.after.pass(page.upto);
    full.push(batch);
    full
}

/// Pages of the same nodes, one behind the other, are told as one.
fn note(given: &mut Vec<GivenRows>, page: &Salvaged, rows: u64) {
    match given.last_mut() {
        Some(last) if last.nodes == page.nodes && last.upto == page.after => {
            (last.upto, last.rows) = (page.upto, last.rows + rows);
        }
        Some(_) | None => {
            let Salvaged { nodes, after, upto, .. } = page;
            given.push(GivenRows { nodes: nodes.clone(), after: *after, upto: *upto, rows });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consigner_raft::Recorded;
    use consigner_rules::primitives::ClusterId;
    use consigner_rules::{Change, PublicKey};

    fn begin() -> ArchiveMark {
        ArchiveMark::begin(&ClusterId([7; 16]))
    }

    /// Entries with two changes each.
    fn page(nodes: &[u64], after: u64, upto: u64, entries: &[u64]) -> Salvaged {
        let changes = || (0..2).map(|number| Change::KeyAdded(PublicKey([number; 48]))).collect();
        let rows = entries.iter().map(|&index| Recorded { index, proposed_at_ms: 9, changes: changes() });
        Salvaged { nodes: nodes.to_vec(), after, upto, rows: rows.collect() }
    }

    #[test]
    fn what_somebody_has_and_what_nobody_has_are_pieces_of_one_chain() {
        let pages = [page(&[3], 10, 20, &[12, 20]), page(&[2, 3], 20, 30, &[]), page(&[2], 40, 50, &[41])];
        let mut survey = Survey::nothing(begin());
        pages.iter().for_each(|page| survey.take(Some(page.clone()), 60));
        survey.take(None, 60);
        let (gap, given) = (Piece::Gap, Piece::Given);
        assert_eq!(survey.pieces, [gap(10), given(30), gap(40), given(50), gap(60)]);
        assert_eq!(survey.givers, [3, 2]);
        let mut chain = begin();
        chain.skip(10);
        for (page, end) in pages.iter().zip([40, 40, 60]) {
            for batch in batches(chain, page, 2) {
                assert_eq!((batch.before, batch.rows.len() <= 2), (chain, true), "one entry each");
                chain = batch.after;
            }
            if page.upto >= 30 {
                chain.skip(end);
            }
        }
        assert_eq!((survey.reached, survey.reached.index, survey.reached.rows), (chain, 60, 6));
    }

    #[test]
    fn who_gave_what_is_told_in_ranges() {
        let mut given = Vec::new();
        note(&mut given, &page(&[3], 10, 20, &[]), 4);
        note(&mut given, &page(&[3], 20, 30, &[]), 1);
        note(&mut given, &page(&[3], 40, 50, &[]), 2);
        note(&mut given, &page(&[2, 3], 50, 60, &[]), 3);
        let told: Vec<_> = given.iter().map(|part| (part.nodes.len(), part.after, part.upto, part.rows)).collect();
        assert_eq!(told, [(1, 10, 30, 5), (1, 40, 50, 2), (2, 50, 60, 3)]);
    }
}
