//! The walk of a verification: batch by batch, row by row, with the chain that the rows give.
//!
//! In: links and rows in log order. Out: the report. Deliberately absent: the database.

use std::collections::BTreeMap;

use consigner_rules::archive::ArchiveMark;
use consigner_rules::command::ClusterIdentity;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Change, Root};

use super::Lineage;
use super::project::Table;
use super::read::Gap;
use super::rows::Stored;
use super::verify::Link;
use super::verify_report::{FaultKind, Place, VerifyReport};

/// Where the walk is.
pub(super) struct Walk {
    report: VerifyReport,
    /// As the table `clusters` has it.
    lineage: Lineage,
    /// What the rows so far give; at the begin of each batch, what that one was written with.
    mark: ArchiveMark,
    /// Where the batch before ended, by its own words.
    last: ArchiveMark,
    /// What the cluster knows, until the walk has passed it.
    known: Option<ArchiveMark>,
    /// The last row: its place and time.
    row: Option<(i64, i32, i64)>,
    /// Rows of this batch.
    in_batch: u64,
    tables: BTreeMap<Table, u64>,
    gaps: Vec<(u64, u64)>,
}

impl Walk {
    pub(super) fn new(lineage: &Lineage, known: Option<ArchiveMark>) -> Self {
        let begin = ArchiveMark::begin(&lineage.cluster_id);
        let mut walk = Self {
            report: VerifyReport::new(lineage.cluster_id),
            lineage: lineage.clone(),
            mark: begin,
            last: begin,
            known,
            row: None,
            in_batch: 0,
            tables: Table::ALL.into_iter().map(|table| (table, 0)).collect(),
            gaps: Vec::new(),
        };
        walk.pass_known(0);
        walk
    }

    /// Rows that were read.
    pub(super) const fn rows(&self) -> u64 {
        self.report.rows
    }

    /// A batch begins.
    pub(super) fn begin(&mut self, link: &Link) {
        self.report.batches += 1;
        self.in_batch = 0;
        let last = self.last;
        if link.after > last.index {
            self.fault(link, FaultKind::Hole { after: last.index, upto: link.after });
        } else if link.after < last.index {
            self.fault(link, FaultKind::Overlap { after: link.after, upto: last.index });
        } else if link.chain_before != last.chain {
            self.fault(link, FaultKind::Broken);
        }
        let before = link.rows_after.saturating_sub(link.rows);
        if link.after == last.index && last.rows.saturating_add(link.rows) != link.rows_after {
            let found = last.rows.saturating_add(link.rows);
            self.fault(link, FaultKind::Count { written: link.rows_after, found });
        }
        self.mark = ArchiveMark { index: link.after, rows: before, chain: link.chain_before };
    }

    /// A row that lies before the end of this batch.
    pub(super) fn row(&mut self, link: &Link, row: Stored) {
        let place = place(&row, Some(link));
        if row.index <= link.after.cast_signed() {
            self.outside(&row);
            return;
        }
        self.count(&row);
        if link.gap {
            self.report.add(place, FaultKind::InGap);
            return;
        }
        self.in_batch += 1;
        if !self.follows(&row, place) {
            return;
        }
        match row.archived() {
            Ok(row) => {
                self.pass_known(row.index.saturating_sub(1));
                self.mark.add(&row);
                if let Change::ClusterInitialised(began) = &row.change {
                    self.began(place, began);
                }
            }
            Err(fault) => self.report.add(place, fault.into()),
        }
    }

    /// The chain covers how the cluster began, so it proves what the table `clusters` says of that. The network's name is
    /// for people: a lineage that was adopted has it from the first one, by whatever name that called it.
    fn began(&mut self, place: Place, began: &ClusterIdentity) {
        let Lineage { cluster_id, network, genesis_validators_root, adopted, .. } = &self.lineage;
        let listed = told(cluster_id, network, genesis_validators_root);
        let own = if *adopted { network } else { &began.network };
        let began = told(&began.cluster_id, own, &began.genesis_validators_root);
        if listed != began {
            self.report.add(place, FaultKind::OtherCluster { listed, began });
        }
    }

    /// A row that lies in no batch.
    pub(super) fn outside(&mut self, row: &Stored) {
        self.count(row);
        self.report.add(place(row, None), FaultKind::Outside);
    }

    /// A batch ends.
    pub(super) fn end(&mut self, link: &Link) {
        if link.gap {
            self.gaps.push((link.after, link.upto));
            self.mark.skip(link.upto);
        } else {
            self.mark.pass(link.upto);
        }
        if self.in_batch != link.rows {
            self.fault(link, FaultKind::Rows { written: link.rows, found: self.in_batch });
        }
        if self.mark.chain != link.chain_after {
            let found = self.mark.chain;
            self.fault(link, FaultKind::Chain { written: link.chain_after, found });
        }
        self.pass_known(link.upto);
        self.last = ArchiveMark { index: link.upto, rows: link.rows_after, chain: link.chain_after };
        self.report.head = Some(self.last);
    }

    /// Nothing is left.
    pub(super) fn over(mut self, explained: Vec<Gap>) -> VerifyReport {
        if let Some(mark) = self.known.take() {
            let head = self.last.index;
            self.report.add(Place::default(), FaultKind::Behind { head, mark: mark.index });
        }
        for gap in &self.gaps {
            if !explained.iter().any(|found| (found.after, found.upto) == *gap) {
                self.report.add(Place { batch: Some(*gap), ..Place::default() }, FaultKind::Unexplained);
            }
        }
        for gap in explained.iter().map(|gap| (gap.after, gap.upto)) {
            if !self.gaps.contains(&gap) {
                let place = Place { table: Some("gaps"), batch: Some(gap), ..Place::default() };
                self.report.add(place, FaultKind::NoGap);
            }
        }
        self.report.gaps = explained;
        self.report.tables = self.tables.into_iter().map(|(table, rows)| (table.name(), rows)).collect();
        self.report
    }

    fn fault(&mut self, link: &Link, kind: FaultKind) {
        self.report.add(Place { batch: Some((link.after, link.upto)), ..Place::default() }, kind);
    }

    fn count(&mut self, row: &Stored) {
        self.report.rows += 1;
        *self.tables.entry(row.table).or_default() += 1;
    }

    /// Whether the row follows the one before it; what is missing in between is named.
    fn follows(&mut self, row: &Stored, place: Place) -> bool {
        let (index, ordinal) = row.place();
        let before = self.row.replace((index, ordinal, row.proposed_at_ms));
        let same = before.filter(|(before, _, _)| *before == index);
        if same.is_some_and(|(_, before, _)| before == ordinal) {
            self.report.add(place, FaultKind::Doubled);
            return false;
        }
        let from = same.map_or(0, |(_, before, _)| i64::from(before) + 1);
        if from != i64::from(ordinal) {
            self.report.add(place, FaultKind::Missing { from });
        }
        if same.is_some_and(|(_, _, time)| time != row.proposed_at_ms) {
            self.report.add(place, FaultKind::TwoTimes);
        }
        true
    }

    /// Compares with what the cluster knows, once everything up to there was passed.
    fn pass_known(&mut self, passed: u64) {
        if let Some(mark) = self.known.take_if(|mark| mark.index <= passed) {
            let ArchiveMark { rows, chain, .. } = self.mark;
            if (rows, chain) != (mark.rows, mark.chain) {
                self.report.add(Place::default(), FaultKind::OtherMark { mark, rows, chain });
            }
        }
    }
}

fn told(cluster: &ClusterId, network: &str, genesis: &Root) -> String {
    format!("cluster {cluster} on {network} with the genesis validators root {genesis}")
}

fn place(row: &Stored, link: Option<&Link>) -> Place {
    let (index, ordinal) = row.place();
    let batch = link.map(|link| (link.after, link.upto));
    Place { table: Some(row.table.name()), index: Some(index), ordinal: Some(ordinal), batch }
}
