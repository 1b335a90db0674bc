//! Rows that lie beyond the head: harmless if they are the same, a conflict if they are not.

use consigner_rules::archive::ArchiveMark;
use consigner_storage::archive::{ArchiveError, Written};

use crate::common::{Servers, batch, begin, one_of_each, vote};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rows_again_change_nothing_and_others_are_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    for (door, database) in servers.doors().into_iter().zip(["direct", "pooled"]) {
        servers.migrated(database).await;
        let sql = |text: &str| servers.postgres.sql(database, text);
        let (mut archive, lineage) = servers.entered(door, database).await;
        let (rows, after) = batch(&begin(), 5, vec![one_of_each(), vec![vote(1, 2, 3)]]);
        archive.write(&lineage, &begin(), &rows, &after, 1).await.unwrap();
        // The link is lost, its rows are not.
        sql("DELETE FROM consigner.batches");
        let written = archive.write(&lineage, &begin(), &rows, &after, 1).await.unwrap();
        assert_eq!(written, Written { new: 0, known: 10 }, "{door:?}");
        // Some rows are lost, too.
        sql("DELETE FROM consigner.batches; DELETE FROM consigner.signed_blocks WHERE ordinal = 0");
        let written = archive.write(&lineage, &begin(), &rows, &after, 1).await.unwrap();
        assert_eq!(written, Written { new: 1, known: 9 }, "{door:?}");

        let before = everything(&servers, database);
        for (alter, repair, place) in [
            ("UPDATE consigner.signed_attestations SET target_epoch = 4 WHERE log_index = 6",
             "UPDATE consigner.signed_attestations SET target_epoch = 3 WHERE log_index = 6", (6, 0)),
            ("UPDATE consigner.signed_exits SET peer = 'x'",
             "UPDATE consigner.signed_exits SET peer = e'a\\\\0b\\\\\\\\c \u{1F980}'", (5, 2)),
            ("UPDATE consigner.key_events SET content = content || '\\x00' WHERE ordinal = 5",
             "UPDATE consigner.key_events SET content = substr(content, 1, length(content) - 1) WHERE ordinal = 5", (5, 5)),
            ("UPDATE consigner.signed_blocks SET node = NULL WHERE ordinal = 0",
             "UPDATE consigner.signed_blocks SET node = -1 WHERE ordinal = 0", (5, 0)),
            ("INSERT INTO consigner.policy_events SELECT cluster, log_index, 77, proposed_at_ms, kind, validator, node,
              subject, slot, source_epoch, target_epoch, content FROM consigner.policy_events",
             "DELETE FROM consigner.policy_events WHERE ordinal = 77", (5, 77)),
        ] {
            sql("DELETE FROM consigner.batches");
            sql(alter);
            let refused = archive.write(&lineage, &begin(), &rows, &after, 1).await.unwrap_err();
            let at = matches!(refused, ArchiveError::Conflict { index, ordinal } if (index, ordinal) == place);
            assert!(at && refused.class() == "conflict", "{door:?} {alter}: {refused}");
            assert_eq!(archive.head(&lineage).await.unwrap(), None, "nothing was written");
            let mut gap = begin();
            gap.skip(after.index);
            let refused = archive.write_gap(&lineage, &begin(), &gap, &[], "lost", 1).await.unwrap_err();
            assert!(matches!(refused, ArchiveError::Conflict { .. }), "what lies there is not lost: {refused}");
            sql(repair);
            archive.write(&lineage, &begin(), &rows, &after, 1).await.unwrap();
        }
        assert_eq!(everything(&servers, database), before);
        renumbered(&servers, database, &mut archive, &lineage, &after).await;
    }
}

fn everything(servers: &Servers, database: &str) -> Vec<u64> {
    let tables = ["signed_blocks", "signed_attestations", "signed_exits", "refusals", "key_events", "policy_events"];
    tables.iter().map(|table| servers.count(database, table)).collect()
}

/// A restored database may know validators under other numbers; a connection that remembers the old ones must notice.
async fn renumbered(
    servers: &Servers,
    database: &str,
    archive: &mut consigner_storage::archive::Archive,
    lineage: &consigner_storage::archive::Lineage,
    head: &ArchiveMark,
) {
    servers.postgres.sql(
        database,
        "UPDATE consigner.validators SET public_key = sha256(public_key) || substr(sha256(public_key), 1, 16);
         UPDATE consigner.batches SET written_at = written_at + interval '1 second'",
    );
    let (rows, after) = batch(head, head.index + 1, vec![vec![vote(1, 8, 9)]]);
    archive.write(lineage, head, &rows, &after, 1).await.unwrap();
    let own = "SELECT encode(substr(public_key, 1, 2), 'hex') FROM consigner.validators v
        JOIN consigner.signed_attestations a ON a.validator = v.id WHERE a.target_epoch = 9";
    assert_eq!(servers.postgres.sql(database, own).trim(), "0101");
}
