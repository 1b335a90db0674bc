//! The same without a database: what a node spilled into its segments is what an export reads, without a node.

use crate::support::CLUSTER;
use crate::{assert_nothing_is_lost, assert_same_verdicts, play, rows_of, vectors};
use consigner_rules::{ArchiveMark, ArchiveRow, Change, archive_rows, codec};
use consigner_storage::outbox::{Outbox, SpillLimits};
use consigner_storage::{Opened, SegmentReader, StateStore, verify_segments};
use std::path::Path;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_segments_hold_leads_to_the_same_verdicts_elsewhere() {
    let Some(vectors) = vectors::load() else { return };
    let mut played = play(&vectors).await;
    let (rows, applied) = (rows_of(played.cluster()), played.cluster().applied_index());
    played.lab.stop(1).await;
    let data_dir = played.lab.data_dir(1);
    spill(&data_dir, applied);
    let archived = read(&data_dir.join("archive"));
    assert_eq!(archived, rows);
    assert_chain(&data_dir.join("archive"), &rows);
    played.lab.start(1).await;

    assert_nothing_is_lost(&vectors, &played, &archived);
    assert_same_verdicts(&vectors, &played, &archived).await;
}

/// Everything that the stopped node holds; in more than one segment.
fn spill(data_dir: &Path, applied: u64) {
    let (store, opened) = StateStore::open(&data_dir.join("state")).unwrap();
    assert!(matches!(opened, Opened::Clean(_)));
    let store = Arc::new(store);
    let outbox = Outbox::open(store.clone(), &data_dir.join("archive"), CLUSTER).unwrap();
    // The older rows first, then the others.
    assert!(outbox.spill(SpillLimits { rows: outbox.rows() / 2, bytes: u64::MAX }, applied).unwrap().rows > 0);
    while outbox.spill(SpillLimits { rows: 0, bytes: 0 }, applied).unwrap().rows > 0 {}
    assert!(outbox.segments() > 1);
    drop(outbox);
    Arc::try_unwrap(store).ok().unwrap().close().unwrap();
}

fn read(segments: &Path) -> Vec<ArchiveRow> {
    let entries = SegmentReader::open(segments, &CLUSTER).unwrap().map(|entry| {
        let (index, row) = entry.unwrap();
        let (proposed_at_ms, changes): (u64, Vec<Change>) = codec::decode(&row).unwrap();
        archive_rows(index, proposed_at_ms, changes)
    });
    entries.flatten().collect()
}

/// The chain of the segments is the one over the rows that the node told.
fn assert_chain(segments: &Path, rows: &[ArchiveRow]) {
    let mut mark = ArchiveMark::begin(&CLUSTER);
    rows.iter().for_each(|row| mark.add(row));
    let report = verify_segments(segments, &CLUSTER, &mut |_| {}).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.mark.rows, report.mark.chain), (mark.rows, mark.chain), "{report:?}");
}
