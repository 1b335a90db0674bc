//! A database that lost everything gets back what any node still has, and says what none has.

use crate::postgres::Postgres;
use crate::site::Site;
use crate::support::{DEADLINE, until};
use consigner_api::GivenRows;
use consigner_raft::{OutboxMode, OutboxOptions, Recorded, Retention, SpillLimits};
use std::collections::BTreeMap;

/// Of a node whose rows go to the database, or stay.
fn options(mode: OutboxMode) -> OutboxOptions {
    OutboxOptions { mode, spill: SpillLimits { rows: 4, bytes: 1 << 20 }, ..OutboxOptions::default() }
}

/// Two nodes with the database, and a third one that keeps its rows for as long as this.
fn two_and_one(retention: Retention) -> BTreeMap<u64, OutboxOptions> {
    let archived = || options(OutboxMode::Archived);
    [(1, archived()), (2, archived()), (3, options(OutboxMode::Embedded(retention)))].into()
}

/// What a node has, row by row.
fn changes(recorded: &[Recorded], upto: u64) -> u64 {
    recorded.iter().filter(|entry| entry.index <= upto).map(|entry| entry.changes.len() as u64).sum()
}

/// The leader let go of all of it; only a node that is configured otherwise has it still.
pub async fn what_a_single_member_still_has_comes_back(postgres: &Postgres) {
    let mut site = Site::start(postgres, "given", two_and_one(Retention::default()), &[1, 2], None).await;
    site.attest(1, 20).await;
    site.archived(1, &[1, 2]).await;
    site.lab.cluster(3).barrier(DEADLINE).await.unwrap();
    let mark = site.cluster(1).archive_mark().unwrap();
    site.lose();
    site.attest(2, 1).await;
    assert!(site.troubled(1, "behind").await.reason.contains("archive backfill"));

    // It cannot be asked: who has the rows is not known, and nothing is written.
    site.lab.stop(3).await;
    let refused = site.backfill(1, false).await.unwrap_err();
    assert!(refused.contains(&format!("(0, {}]", mark.index)) && refused.contains("--accept-gap"), "{refused}");
    assert!(refused.contains("node 3 may have some"), "{refused}");
    assert_eq!(site.sql("SELECT count(*) FROM consigner.batches"), "0");

    site.lab.start(3).await;
    site.lab.cluster(3).barrier(DEADLINE).await.unwrap();
    let done = site.filled_by_all(1).await;
    assert_eq!((done.gaps.as_slice(), &done.before), (&[][..], &None), "{done:?}");
    let rows = changes(&site.cluster(3).recorded_after(0, 1_000).unwrap(), mark.index);
    assert_eq!(done.given, [GivenRows { nodes: vec![3], after: 0, upto: mark.index, rows }]);
    assert_eq!((done.rows, done.unheard.len()), (rows, 0));
    assert_eq!(done.after.unwrap().chain, mark.chain.to_string(), "as the cluster agreed");
    site.attest(1, 2).await;
    site.archived(1, &[1, 2]).await;
    let report = site.verified(1).await;
    assert!(report.gaps.is_empty(), "{report:?}");
    assert_eq!(site.targets(), site.newest());
}

/// The leader ends between the gap and the rows behind it.
pub async fn a_backfill_that_was_cut_off_is_gone_on_with(postgres: &Postgres) {
    let retention = Retention { age: None, bytes: Some(1) };
    let mut site = Site::start(postgres, "cut_off", two_and_one(retention), &[1, 2], None).await;
    site.attest(1, 40).await;
    site.archived(1, &[1, 2]).await;
    until("retention", || site.cluster(3).outbox_status().since > 0).await;
    // From now on it keeps what it has: some of what is archived, not all.
    site.lab.stop(3).await;
    site.lab.outboxes = two_and_one(Retention::default());
    site.lab.start(3).await;
    site.lab.cluster(3).barrier(DEADLINE).await.unwrap();
    let (begin, mark) = (site.cluster(3).recorded_since().unwrap(), site.cluster(1).archive_mark().unwrap());
    let kept = changes(&site.cluster(3).recorded_after(0, 1_000).unwrap(), mark.index);
    assert!(begin > 0 && begin < mark.index && kept > 0, "{begin} {mark:?} {kept}");
    site.lose();
    site.attest(1, 1).await;
    site.troubled(1, "behind").await;

    // The gap is written; then the first rows hang in the database, and the node ends.
    site.sql(
        "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END';
         CREATE TRIGGER hang BEFORE INSERT ON consigner.signed_attestations FOR EACH ROW EXECUTE FUNCTION hang()",
    );
    let running = site.exporters.remove(&1).unwrap();
    let filling = tokio::spawn({
        let archive = std::sync::Arc::clone(&running.archive);
        async move { consigner_api::ArchiveAccess::backfill(&*archive, true).await }
    });
    let hangs = || site.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") != "0";
    // On a machine that is slow enough it has given up already.
    until("rows that hang", || filling.is_finished() || hangs()).await;
    assert_eq!(site.sql("SELECT after_index, last_index FROM consigner.gaps"), format!("0,{begin}"));
    drop(running);
    assert!(filling.await.unwrap().is_err(), "it ended in the middle");
    site.lab.stop(1).await;
    postgres.end_sessions();
    site.sql("DROP TRIGGER hang ON consigner.signed_attestations");

    site.lead(2).await;
    let refused = site.backfill(2, false).await.unwrap_err();
    assert!(refused.contains("not agreed on yet"), "{refused}");
    let done = site.backfill(2, true).await.unwrap();
    assert_eq!(done.gaps, [], "the one that there is already is not written twice");
    assert_eq!(done.given, [GivenRows { nodes: vec![3], after: begin, upto: mark.index, rows: kept }]);
    site.attest(2, 2).await;
    site.archived(2, &[2]).await;
    let report = site.verified(2).await;
    assert_eq!(report.gaps.iter().map(|gap| (gap.after, gap.upto)).collect::<Vec<_>>(), [(0, begin)]);
    // Nothing is doubled, and nothing is missing behind the gap.
    site.lab.cluster(3).barrier(DEADLINE).await.unwrap();
    let recorded = site.cluster(3).recorded_after(0, 1_000).unwrap();
    assert_eq!(report.rows, changes(&recorded, report.head.unwrap().index));

    // The same again changes nothing.
    let again = site.backfill(2, true).await.unwrap();
    assert_eq!((again.rows, again.gaps.len(), again.given.len()), (0, 0, 0), "{again:?}");
    site.verified(2).await;
}
