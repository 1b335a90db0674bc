//! The writer adds, the reader looks, and neither can do anything else: not to tables, not to partitions.

use consigner_storage::archive::ArchiveDb;

use crate::common::{Door, Servers, batch, begin, one_of_each};
use crate::support::postgres::{Postgres, READER, WRITER};

const PARENTS: [&str; 7] = [
    "signed_blocks",
    "signed_attestations",
    "signed_exits",
    "refusals",
    "key_events",
    "policy_events",
    "cluster_events",
];

/// Whether the server allows it to that role; everything is taken back.
fn allowed(postgres: &Postgres, database: &str, role: &str, statement: &str) -> Result<(), String> {
    postgres.try_sql(database, &format!("BEGIN; SET LOCAL ROLE {role}; {statement}; ROLLBACK")).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_only_adds_and_the_reader_only_looks() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let database = servers.migrated("archive").await;
    let postgres = &servers.postgres;
    let (mut archive, lineage) = servers.entered(Door::Direct, database).await;
    let (rows, after) = batch(&begin(), 1, vec![one_of_each()]);
    archive.write(&lineage, &begin(), &rows, &after, 1).await.unwrap();

    let others = ["clusters", "validators", "batches", "gaps", "baselines"];
    let partitions: Vec<String> = PARENTS.iter().map(|table| format!("{table}_p0")).collect();
    let partitions = partitions.iter().map(String::as_str);
    let tables: Vec<&str> = PARENTS.into_iter().chain(others).chain(["schema_version", "granted"]).collect();
    let denied = |role: &str, statement: &str| {
        let why = allowed(postgres, database, role, statement).expect_err(statement);
        assert!(why.contains("permission denied") || why.contains("must be owner"), "{statement}: {why}");
    };
    for table in tables.iter().copied().chain(partitions.clone()) {
        for role in [WRITER, READER] {
            denied(role, &format!("DELETE FROM consigner.{table}"));
            denied(role, &format!("TRUNCATE consigner.{table} CASCADE"));
            denied(role, &format!("DROP TABLE consigner.{table}"));
            denied(role, &format!("ALTER TABLE consigner.{table} ADD extra integer"));
            denied(role, &format!("SELECT * FROM consigner.{table} FOR UPDATE"));
        }
        denied(READER, &format!("INSERT INTO consigner.{table} DEFAULT VALUES"));
    }
    for role in [WRITER, READER] {
        for table in PARENTS.into_iter().chain(partitions.clone()) {
            denied(role, &format!("UPDATE consigner.{table} SET log_index = 7"));
        }
        denied(role, "UPDATE consigner.batches SET rows = 7");
        denied(role, "CREATE TABLE consigner.other ()");
        denied(role, "CREATE SCHEMA other");
        for table in &tables {
            allowed(postgres, database, role, &format!("SELECT * FROM consigner.{table}")).unwrap();
        }
    }
    for partition in partitions {
        denied(WRITER, &format!("INSERT INTO consigner.{partition} SELECT * FROM consigner.{partition}"));
    }
    denied(READER, "SELECT consigner.ensure_partitions(1)");
    allowed(postgres, database, WRITER, "SELECT consigner.ensure_partitions(1)").unwrap();
    reader(&servers, database, &rows, &after).await;
}

/// Through the program: the reader sees the head and may not write.
async fn reader(
    servers: &Servers,
    database: &str,
    rows: &[consigner_rules::archive::ArchiveRow],
    after: &consigner_rules::archive::ArchiveMark,
) {
    let db: ArchiveDb = servers.db(READER, database);
    let mut archive = db.connect().await.unwrap();
    archive.check_schema().await.unwrap();
    let lineages = archive.lineages().await.unwrap();
    assert_eq!(archive.head(&lineages[0]).await.unwrap(), Some(*after));
    servers.postgres.sql(database, "DELETE FROM consigner.batches");
    let refused = archive.write(&lineages[0], &begin(), rows, after, 1).await.unwrap_err();
    assert_eq!(refused.class(), "auth", "{refused}");
    assert!(refused.to_string().contains("archive migrate"), "{refused}");
}
