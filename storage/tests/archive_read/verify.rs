//! A sound archive is found sound: by the reader, through the pooler, and while the exporter goes on.

use consigner_rules::Root;
use consigner_rules::archive::{ArchiveMark, archive_rows};
use consigner_storage::archive::{ArchiveDb, ChannelBinding, FaultKind, verify};

use crate::common::{Door, Servers, begin, vote};
use crate::life::archived;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::READER;

#[tokio::test(flavor = "multi_thread")]
async fn some_thousand_rows_are_proven_while_more_come() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let (mut writer, lineage, rows, mark) = archived(&servers, "archive").await;
    let mut readers = vec![servers.db(READER, "archive")];
    let pooler = PgBouncer::start(&servers.postgres, READER);
    if let Some(pooler) = &pooler {
        let url = pooler.url("archive");
        readers.push(ArchiveDb { url, channel_binding: ChannelBinding::Prefer, ..servers.db(READER, "archive") });
    }
    for db in &readers {
        let mut reader = db.connect().await.unwrap();
        let mut told = Vec::new();
        let report = verify(&mut reader, &lineage, Some(mark), |progress| told.push(progress)).await.unwrap();
        assert!(report.is_complete(), "{:?}", report.faults);
        assert_eq!((report.head, report.rows), (Some(mark), rows.len() as u64));
        assert_eq!(report.tables.iter().map(|(_, rows)| rows).sum::<u64>(), report.rows);
        assert!(report.tables.iter().all(|(_, rows)| *rows > 0), "a row of every table: {:?}", report.tables);
        let last = told.last().unwrap();
        assert_eq!((last.rows, last.total, last.index), (report.rows, report.rows, mark.index));
        assert!(told.len() >= 5 && told.is_sorted_by_key(|progress| progress.rows));
    }
    // The exporter writes in the middle of a verification: it is told at its first batch, and waits until it is written.
    let mut head = mark;
    let runtime = tokio::runtime::Handle::current();
    for db in &readers {
        let mut reader = db.connect().await.unwrap();
        let (before, mut written) = (head, false);
        let report = verify(&mut reader, &lineage, Some(before), |_| {
            if !written {
                written = true;
                let rows: Vec<_> = archive_rows(before.index + 1, 5, vec![vote(1, 1 << 40, 1 << 41)]).collect();
                head.add(&rows[0]);
                let write = writer.write(&lineage, &before, &rows, &head, 1);
                tokio::task::block_in_place(|| runtime.block_on(write)).unwrap();
            }
        })
        .await
        .unwrap();
        assert!(written && report.is_complete(), "{:?}", report.faults);
        assert_eq!(report.head, Some(before), "what came meanwhile is not looked at");
    }
    let report = verify(&mut writer, &lineage, Some(head), |_| ()).await.unwrap();
    assert!(report.is_complete() && report.head == Some(head));
    marks(&servers, mark, rows.len() as u64).await;
}

/// What the cluster knows: a mark at any entry, another chain, an end that is not there.
async fn marks(servers: &Servers, mark: ArchiveMark, rows: u64) {
    let (mut archive, lineage) = servers.entered(Door::Direct, "archive").await;
    let own = archive.rows_after(&lineage, 0, 777, 100_000).await.unwrap();
    let mut within = begin();
    own.iter().for_each(|row| within.add(row));
    for known in [begin(), within, ArchiveMark { index: 777, ..within }, mark] {
        let report = verify(&mut archive, &lineage, Some(known), |_| ()).await.unwrap();
        assert!(report.is_complete(), "{known:?}: {:?}", report.faults);
    }
    let other = ArchiveMark { chain: Root([1; 32]), ..within };
    let more = ArchiveMark { rows: rows + 1, ..mark };
    for known in [other, more] {
        let report = verify(&mut archive, &lineage, Some(known), |_| ()).await.unwrap();
        let named = |kind: &FaultKind| matches!(kind, FaultKind::OtherMark { mark, .. } if *mark == known);
        assert!(
            report.faults.len() == 1 && report.faults.iter().all(|fault| named(&fault.kind)),
            "{:?}",
            report.faults
        );
    }
    let ahead = ArchiveMark { index: 1 << 40, ..mark };
    let report = verify(&mut archive, &lineage, Some(ahead), |_| ()).await.unwrap();
    let behind = |kind: &FaultKind| matches!(kind, FaultKind::Behind { mark, .. } if *mark == 1 << 40);
    assert!(report.faults.len() == 1 && behind(&report.faults[0].kind), "{:?}", report.faults);
}
