//! Rows come back as they were written, by range and by question.

use consigner_rules::archive::ArchiveRow;
use consigner_rules::{AgreedDuty, Change};
use consigner_storage::archive::project::{Projection, Table};
use consigner_storage::archive::{Question, SHOWN_MAX, verify};
use std::collections::BTreeSet;

use crate::common::{Servers, begin, history, identity, key};
use crate::life::{ENTRIES, archived};
use crate::support::postgres::READER;

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_back_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let (_writer, lineage, rows, mark) = archived(&servers, "archive").await;
    let mut archive = servers.db(READER, "archive").connect().await.unwrap();
    assert_eq!(archive.lineages().await.unwrap(), std::slice::from_ref(&lineage));
    assert_eq!(archive.head(&lineage).await.unwrap(), Some(mark));
    for max in [1, 7, 100_000] {
        let (mut found, mut after) = (Vec::new(), 0);
        let upto = if max == 1 { 40 } else { mark.index };
        loop {
            let part = archive.rows_after(&lineage, after, upto, max).await.unwrap();
            let Some(last) = part.last() else { break };
            assert!(part.len() <= max || part.iter().all(|row| row.index == last.index), "{max}");
            after = last.index;
            found.extend(part);
        }
        let expected: Vec<ArchiveRow> = rows.iter().filter(|row| row.index <= upto).cloned().collect();
        assert_eq!(found, expected, "{max}");
    }
    let middle = archive.rows_after(&lineage, 700, 800, 100_000).await.unwrap();
    assert!(!middle.is_empty() && middle.iter().all(|row| (701..=800).contains(&row.index)));
    questions(&mut archive, &lineage, &rows).await;
    // Who reads cannot write; who asks for more than there is gets what there is.
    assert!(archive.rows_after(&lineage, ENTRIES, u64::MAX, 10).await.unwrap().iter().all(|row| row.index > ENTRIES));
    let before = archive.head(&lineage).await.unwrap().unwrap();
    let mut after = before;
    after.pass(before.index + 1);
    assert_eq!(archive.write(&lineage, &before, &[], &after, 1).await.unwrap_err().class(), "auth");
}

async fn questions(
    archive: &mut consigner_storage::archive::Archive,
    lineage: &consigner_storage::archive::Lineage,
    rows: &[ArchiveRow],
) {
    type Matches = Box<dyn Fn(&ArchiveRow) -> bool>;
    let all = || Question { max: SHOWN_MAX, ..Question::default() };
    let since = 1_700_000_000_000 + 1_400 * 40;
    let cases: Vec<(Question, Matches)> = vec![
        (all(), Box::new(|_| true)),
        (Question { since_ms: Some(since), ..all() }, Box::new(move |row| row.proposed_at_ms >= since)),
        (
            Question { public_key: Some(key(3)), ..all() },
            Box::new(|row| Projection::of(&row.change).public_key() == Some(&key(3))),
        ),
        (
            Question { tables: Some(BTreeSet::from([Table::PolicyEvents, Table::Exits])), ..all() },
            Box::new(|row| [Table::PolicyEvents, Table::Exits].contains(&Projection::of(&row.change).table())),
        ),
        (
            Question { client: Some("vc-1\\".to_owned()), node: Some(2), ..all() },
            Box::new(|row| {
                let asked = row.change.signed().map(|signed| (signed.peer, signed.node));
                let asked = asked.or_else(|| row.change.refused().map(|refused| (refused.peer, refused.node)));
                asked == Some(("vc-1\\", Some(2)))
            }),
        ),
        (
            Question { epochs: Some(100..=2_000), slots: Some(300..=900), ..all() },
            Box::new(|row| match duty(&row.change) {
                Some((AgreedDuty::Block { slot }, _)) => (300..=900).contains(&slot),
                Some((AgreedDuty::Attestation { target_epoch, .. }, _)) => (100..=2_000).contains(&target_epoch),
                // A refused exit has no number to be found by.
                Some((AgreedDuty::VoluntaryExit { epoch, .. }, signed)) => signed && (100..=2_000).contains(&epoch),
                None => false,
            }),
        ),
    ];
    for (question, matches) in cases {
        let expected: Vec<ArchiveRow> = rows.iter().filter(|row| matches(row)).cloned().collect();
        assert!(!expected.is_empty(), "{question:?}");
        assert_eq!(archive.show(lineage, &question).await.unwrap(), expected, "{question:?}");
        let newest = archive.show(lineage, &Question { max: 3, ..question }).await.unwrap();
        assert_eq!(newest, expected[expected.len() - 3..]);
    }
}

fn duty(change: &Change) -> Option<(AgreedDuty, bool)> {
    let signed = change.signed().map(|signed| (signed.duty, true));
    signed.or_else(|| change.refused().map(|refused| (refused.duty, false)))
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_are_listed_and_are_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    servers.migrated("gaps").await;
    let (mut archive, lineage) = servers.entered(crate::common::Door::Pooler, "gaps").await;
    let empty = verify(&mut archive, &lineage, Some(begin()), |_| ()).await.unwrap();
    assert!(empty.is_complete() && empty.head.is_none());
    let mut after = begin();
    after.skip(70);
    archive.write_gap(&lineage, &begin(), &after, &[history(3), history(4)], "the disks\0 are gone", 2).await.unwrap();
    let gaps = archive.gaps(&lineage).await.unwrap();
    let [gap] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert_eq!((gap.after, gap.upto, gap.node, gap.baseline), (0, 70, 2, 2));
    assert!(gap.reason.starts_with("the disks") && gap.written_at_ms > 1_600_000_000_000);
    let rows = crate::life::imports(71);
    let mark = crate::life::write(&mut archive, &lineage, after, &rows, 90, 3).await;
    let report = verify(&mut archive, &lineage, Some(mark), |_| ()).await.unwrap();
    assert!(report.is_complete(), "{:?}", report.faults);
    assert_eq!((report.head, report.gaps.as_slice()), (Some(mark), gaps.as_slice()));
    assert_eq!(report.lineage, identity(1).cluster_id);

    let sql = |text: &str| servers.postgres.sql("gaps", text);
    for (alter, repair, named) in [
        (
            "UPDATE consigner.baselines SET slot = 3",
            "UPDATE consigner.baselines SET slot = 18446744073709551615",
            "baselines, log index 70, batch (0, 70]: the baseline of validator number",
        ),
        (
            "UPDATE consigner.gaps SET after_index = 3",
            "UPDATE consigner.gaps SET after_index = 0",
            "batch (0, 70]: the batch is a gap, and the table gaps does not have it",
        ),
        (
            "UPDATE consigner.batches SET gap = false WHERE gap",
            "UPDATE consigner.batches SET gap = true WHERE last_index = 70",
            "batch (0, 70]: its rows give the chain",
        ),
    ] {
        sql(alter);
        let report = verify(&mut archive, &lineage, None, |_| ()).await.unwrap();
        let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
        assert!(faults.iter().any(|fault| fault.contains(named)), "{alter}: {faults:#?}");
        sql(repair);
        assert!(verify(&mut archive, &lineage, Some(mark), |_| ()).await.unwrap().is_complete(), "{repair}");
    }
}
