//! The exporter beside a cluster in this process and a real Postgres: what only such a place lets a test decide. Which node
//! leads, what each still has, when the database hangs or is full, when a node ends in the middle of a backfill.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../../../storage/tests/support/archive_db.rs"]
mod archive_db;
mod backfill;
#[path = "../../../storage/tests/support/postgres.rs"]
mod postgres;
mod site;
#[path = "../../../raft/tests/support/mod.rs"]
mod support;
mod trouble;

use postgres::Postgres;

/// One server for all: each has a database of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exporter_beside_a_real_database() {
    let dir = tempfile::tempdir().unwrap();
    let Some(postgres) = Postgres::start(dir.path()) else { return };
    backfill::what_a_single_member_still_has_comes_back(&postgres).await;
    backfill::a_backfill_that_was_cut_off_is_gone_on_with(&postgres).await;
    trouble::a_database_that_hangs_or_is_full_is_waited_for(&postgres).await;
}
