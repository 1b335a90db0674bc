//! The archive of a live cluster in a real Postgres: rows arrive once each, whatever happens to the database, its
//! certificates, its tables or the leader; and signing never waits for it.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../../../storage/tests/support/archive_db.rs"]
mod archive_db;
#[path = "../common/mod.rs"]
mod common;
#[path = "../../../storage/tests/support/pgbouncer.rs"]
mod pgbouncer;
#[path = "../../../storage/tests/support/postgres.rs"]
mod postgres;
mod site;

use common::output;
use consigner_node::client::membership;
use pgbouncer::PgBouncer;
use postgres::{Postgres, ServerCertificate, WRITER};
use serde_json::Value;
use site::Site;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_stand_once_whatever_happens_to_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let Some(postgres) = Postgres::start(dir.path()) else { return };
    let mut site = Site::start(&postgres, &postgres.url(WRITER, postgres.archive("archive")), "require").await;

    // Before there are tables, and while they are another cluster's.
    site.sign(1).await;
    site.paused("schema", "run `consigner archive migrate`").await;
    site.migrate().await;
    site.archived().await;
    assert_eq!(site.status().await["insecure"], false);

    // Signing goes on without the database.
    postgres.kill();
    site.sign(3).await;
    site.paused("address", "cannot be reached").await;
    assert!(site.view().await["outbox"]["rows"].is_u64());
    postgres.go();
    site.archived().await;

    certificates(&mut site, &postgres).await;
    rights_and_tables(&mut site, &postgres).await;
    leaders(&mut site).await;
    whole_export(&site);
    lost_database(&mut site, &postgres).await;

    let Some(pooler) = PgBouncer::start(&postgres, WRITER) else { return };
    site.restart_with(&pooler.url("archive"), "prefer").await;
    site.sign(2).await;
    site.archived().await;
    site.verified().await;
}

/// The server's certificate, then the node's: what is wrong is named, and a new file needs no restart.
async fn certificates(site: &mut Site<'_>, postgres: &Postgres) {
    for (shown, reason) in [
        (ServerCertificate::OtherName, "another name"),
        (ServerCertificate::Expired, "has expired"),
        (ServerCertificate::UnknownCa, "no CA that is given"),
    ] {
        postgres.show(shown);
        postgres.end_sessions();
        site.sign(1).await;
        site.paused("tls", reason).await;
        postgres.show(ServerCertificate::Right);
        site.archived().await;
    }
    postgres.issue_foreign(WRITER, WRITER);
    postgres.end_sessions();
    site.sign(1).await;
    site.paused("tls", "does not accept this node's certificate").await;
    postgres.issue(WRITER, WRITER);
    site.archived().await;
}

async fn rights_and_tables(site: &mut Site<'_>, postgres: &Postgres) {
    site.password("another one");
    postgres.end_sessions();
    site.sign(1).await;
    site.paused("auth", "password").await;
    site.password(postgres::PASSWORD);
    site.archived().await;

    postgres.read_only("archive", true);
    site.sign(1).await;
    site.paused("read_only", "read-only").await;
    postgres.read_only("archive", false);
    site.archived().await;

    let newer = "INSERT INTO consigner.schema_version (version, name, checksum) VALUES (999, 'later', '')";
    postgres.sql("archive", newer);
    postgres.end_sessions();
    site.sign(1).await;
    site.paused("schema", "run a newer binary").await;
    postgres.sql("archive", "DELETE FROM consigner.schema_version WHERE version = 999");
    site.archived().await;

    // The records of another cluster in the place of ours.
    postgres.sql("archive", "UPDATE consigner.clusters SET cluster_id = decode(repeat('ab', 16), 'hex')");
    postgres.end_sessions();
    site.sign(1).await;
    site.paused("foreign", "another cluster").await;
    let own = site.lineage().await;
    postgres.sql("archive", &format!("UPDATE consigner.clusters SET cluster_id = decode('{own}', 'hex')"));
    site.archived().await;
}

/// Whoever leads goes on where the one before stopped.
async fn leaders(site: &mut Site<'_>) {
    for _ in 0..2 {
        let before = site.leader().await;
        let moved = membership::transfer_leader(&site.admin(), None).await.unwrap();
        assert_ne!(moved.leader, before);
        site.sign(2).await;
        site.archived().await;
    }
    site.verified().await;
}

/// What the nodes have purged is read out of the database.
fn whole_export(site: &Site<'_>) {
    let to = site.dir().join("complete.json");
    let arguments = ["history", "export", "--complete", "--dir", site.text(), "--to", to.to_str().unwrap()];
    let (code, stdout, stderr) = output(&arguments);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let file: Value = serde_json::from_slice(&std::fs::read(&to).unwrap()).unwrap();
    let validators = file["data"].as_array().unwrap();
    let votes = validators.iter().flat_map(|one| one["signed_attestations"].as_array().unwrap());
    let targets: BTreeSet<&str> = votes.map(|vote| vote["target_epoch"].as_str().unwrap()).collect();
    assert_eq!(targets.len() as u64, site.signed(), "{stderr}");
}

/// All tables are emptied: that is named, and not gone over before somebody accepts it.
async fn lost_database(site: &mut Site<'_>, postgres: &Postgres) {
    postgres.sql(
        "archive",
        "TRUNCATE consigner.batches, consigner.gaps, consigner.baselines, consigner.signed_blocks,
         consigner.signed_attestations, consigner.signed_exits, consigner.refusals, consigner.key_events,
         consigner.policy_events, consigner.cluster_events",
    );
    postgres.end_sessions();
    site.sign(2).await;
    site.paused("behind", "archive backfill").await;
    let (status, text) = site.backfill(false).await;
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("--accept-gap"), "{text}");
    let (status, text) = site.backfill(true).await;
    assert_eq!(status, 200, "{text}");
    let done: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(done["gaps"].as_array().unwrap().len(), 1, "{text}");
    assert_eq!(done["baseline"], 1, "one validator has signed: {text}");
    site.forget_the_lost();
    site.sign(1).await;
    site.archived().await;
    site.verified().await;
}
