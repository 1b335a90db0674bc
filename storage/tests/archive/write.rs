//! Batches arrive whole, in order, once.

use consigner_rules::archive::ArchiveMark;
use consigner_storage::archive::{ArchiveError, Written};

use crate::common::{Door, Servers, batch, begin, history, identity, one_of_each, vote};
use crate::support::postgres::OWNER;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_lies_there_once_and_the_head_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    for (door, database) in servers.doors().into_iter().zip(["direct", "pooled"]) {
        servers.migrated(database).await;
        let (mut archive, lineage) = servers.entered(door, database).await;
        assert_eq!(archive.head(&lineage).await.unwrap(), None, "{door:?}");
        assert_eq!(archive.enter(&identity(1)).await.unwrap(), lineage);

        let (rows, first) = batch(&begin(), 5, vec![one_of_each(), vec![vote(1, 2, 3), vote(2, 2, 3)]]);
        let written = archive.write(&lineage, &begin(), &rows, &first, u64::MAX).await.unwrap();
        assert_eq!(written, Written { new: 11, known: 0 }, "{door:?}");
        assert_eq!(archive.head(&lineage).await.unwrap(), Some(first));
        greatest_numbers(&servers, database);

        // Known validators, another connection, and entries that changed nothing.
        let (rows, mut second) = batch(&first, 7, vec![vec![vote(1, 3, 4), vote(4, 3, 4)]]);
        second.pass(20);
        let (mut other, _) = servers.entered(door, database).await;
        other.write(&lineage, &first, &rows, &second, 2).await.unwrap();
        let mut third = second;
        third.pass(30);
        let none = archive.write(&lineage, &second, &[], &third, 1).await.unwrap();
        assert_eq!(none, Written { new: 0, known: 0 });
        let (rows, fourth) = batch(&third, 31, vec![vec![vote(4, 4, 5)]]);
        archive.write(&lineage, &third, &rows, &fourth, 1).await.unwrap();
        assert_eq!(archive.head(&lineage).await.unwrap(), Some(fourth));
        assert_eq!(servers.count(database, "signed_attestations"), 1 + 2 + 2 + 1);
        assert_eq!(servers.count(database, "validators"), 4, "each validator has one number");
        links(&servers, database, &[begin(), first, second, third, fourth]);
        // A gap, and what was signed by its end.
        let mut beyond = fourth;
        beyond.skip(100);
        archive.write_gap(&lineage, &fourth, &beyond, &[history(1), history(9)], "a lost\0 disk", 3).await.unwrap();
        assert_eq!(archive.head(&lineage).await.unwrap(), Some(beyond));
        let sql = "SELECT g.after_index, g.last_index, b.gap, count(l.*) FROM consigner.gaps g
            JOIN consigner.batches b USING (cluster, last_index) JOIN consigner.baselines l USING (cluster, last_index)
            WHERE l.slot = 18446744073709551615 GROUP BY 1, 2, 3";
        assert_eq!(servers.postgres.sql(database, sql).trim(), "31,100,t,2");
    }
}

fn greatest_numbers(servers: &Servers, database: &str) {
    let one = |sql: &str| servers.postgres.sql(database, sql).trim().to_owned();
    assert_eq!(one("SELECT max(slot) FROM consigner.signed_blocks"), "18446744073709551615");
    let greatest = "SELECT source_epoch, target_epoch, node FROM consigner.signed_attestations ORDER BY 1 DESC LIMIT 1";
    assert_eq!(one(greatest), "18446744073709551615,18446744073709551615,-1", "a node's id keeps its bits");
    assert_eq!(
        one("SELECT epoch, validator_index FROM consigner.signed_exits"),
        "18446744073709551615,18446744073709551615"
    );
    assert_eq!(one("SELECT peer FROM consigner.signed_exits"), "a\\0b\\\\c \u{1F980}");
    assert_eq!(one("SELECT slot FROM consigner.refusals WHERE duty = 'block'"), "1");
    assert_eq!(one("SELECT count(*) FROM consigner.signed_blocks WHERE node IS NULL AND slot = 0"), "1");
    assert_eq!(one("SELECT string_agg(kind, ' ' ORDER BY kind) FROM consigner.key_events"), "history_merged key_added");
    assert_eq!(one("SELECT subject FROM consigner.cluster_events"), "n\\0");
}

fn links(servers: &Servers, database: &str, marks: &[ArchiveMark]) {
    let sql = "SELECT after_index, last_index, rows_after, encode(chain_before, 'hex'), encode(chain_after, 'hex')
        FROM consigner.batches ORDER BY last_index";
    let found = servers.postgres.sql(database, sql);
    let text = |mark: &ArchiveMark| mark.chain.to_string().trim_start_matches("0x").to_owned();
    let expected = marks.windows(2).map(|pair| {
        format!("{},{},{},{},{}", pair[0].index, pair[1].index, pair[1].rows, text(&pair[0]), text(&pair[1]))
    });
    assert_eq!(found.lines().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_one_finds_that_the_head_moved() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let database = servers.migrated("archive").await;
    let last = servers.doors().last().copied().unwrap_or(Door::Direct);
    let (mut one, lineage) = servers.entered(Door::Direct, database).await;
    let (mut two, _) = servers.entered(last, database).await;
    let mut before = begin();
    for round in 0..10_u64 {
        let (own, after) = batch(&before, before.index + 1, vec![vec![vote(1, round, round + 1), vote(2, 0, round)]]);
        let (left, right) =
            tokio::join!(one.write(&lineage, &before, &own, &after, 1), two.write(&lineage, &before, &own, &after, 2));
        let moved = match (left, right) {
            (Ok(written), Err(error)) | (Err(error), Ok(written)) => {
                assert_eq!(written, Written { new: 2, known: 0 });
                error
            }
            (left, right) => panic!("{left:?} {right:?}"),
        };
        assert!(matches!(moved, ArchiveError::HeadMoved { head: Some(head) } if head == after), "{moved}");
        assert_eq!(moved.class(), "behind");
        before = after;
    }
    assert_eq!(servers.count(database, "signed_attestations"), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_makes_the_partitions_that_its_rows_need() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    for (door, database) in servers.doors().into_iter().zip(["direct", "pooled"]) {
        servers.migrated(database).await;
        let (mut archive, lineage) = servers.entered(door, database).await;
        let mut before = begin();
        before.pass(9_999_998);
        archive.write(&lineage, &begin(), &[], &before, 1).await.unwrap();
        // The last of the first partition, the first of the second, and one far away.
        let near = vec![vec![vote(1, 1, 2)], vec![vote(1, 2, 3)]];
        let (mut rows, after) = batch(&before, 9_999_999, near);
        let (far, after) = batch(&after, 55_000_000, vec![vec![vote(1, 3, 4)]]);
        rows.extend(far);
        archive.write(&lineage, &before, &rows, &after, 1).await.unwrap();
        let parts = |table: &str| {
            let sql = format!(
                "SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text) FROM pg_inherits
                 WHERE inhparent = 'consigner.{table}'::regclass"
            );
            servers.postgres.sql(database, &sql).trim().to_owned()
        };
        let named = |table: &str| ["0", "1", "5"].map(|part| format!("consigner.{table}_p{part}")).join(" ");
        for table in ["signed_attestations", "cluster_events"] {
            assert_eq!(parts(table), named(table), "{door:?}");
        }
        assert_eq!(servers.count(database, "signed_attestations"), 3);
        let owned =
            format!("SELECT count(*) FROM pg_tables WHERE schemaname = 'consigner' AND tableowner <> '{OWNER}'");
        assert_eq!(servers.postgres.sql(database, &owned).trim(), "0", "partitions are the owner's");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_does_not_follow_from_its_marks_is_never_sent() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let database = servers.migrated("archive").await;
    let (mut archive, lineage) = servers.entered(Door::Direct, database).await;
    let (rows, after) = batch(&begin(), 1, vec![vec![vote(1, 1, 2), vote(2, 1, 2)]]);
    let swapped: Vec<_> = rows.iter().rev().cloned().collect();
    let other = ArchiveMark { rows: 3, ..after };
    let beyond = ArchiveMark { index: u64::MAX, ..after };
    for (what, rows, after) in [
        ("swapped", swapped.as_slice(), after),
        ("one is missing", &rows[..1], after),
        ("miscounted", &rows, other),
        ("nothing", &[], begin()),
        ("too far", &rows, beyond),
    ] {
        let refused = archive.write(&lineage, &begin(), rows, &after, 1).await.unwrap_err();
        assert!(matches!(refused, ArchiveError::Batch(_)), "{what}: {refused}");
    }
    let refused = archive.write_gap(&lineage, &begin(), &after, &[], "", 1).await.unwrap_err();
    assert!(matches!(refused, ArchiveError::Batch(_)), "{refused}");
    // From another head: said before anything is written.
    let (rows, far) = batch(&after, 9, vec![vec![vote(3, 1, 2)]]);
    let moved = archive.write(&lineage, &after, &rows, &far, 1).await.unwrap_err();
    assert!(matches!(moved, ArchiveError::HeadMoved { head: None }), "{moved}");
    assert_eq!(servers.count(database, "validators") + servers.count(database, "batches"), 0);
}
