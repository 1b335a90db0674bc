//! The servers of these tests do what the tests need: start, die, come back, show other certificates.

use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Postgres, ServerCertificate, WRITER};

#[test]
fn a_server_dies_comes_back_and_shows_another_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let Some(postgres) = Postgres::start(dir.path()) else { return };
    let database = postgres.archive("archive");
    let select = || postgres.sql(database, "SELECT 1").trim().to_owned();
    postgres.kill();
    assert!(postgres.try_sql(database, "SELECT 1").is_err());
    postgres.go();
    assert_eq!(select(), "1");
    postgres.restart();
    assert_eq!(select(), "1");
    postgres.read_only(database, true);
    let shown = "SELECT setconfig FROM pg_db_role_setting";
    assert!(postgres.sql(database, shown).contains("default_transaction_read_only=on"));
    postgres.read_only(database, false);
    postgres.show(ServerCertificate::Expired);
    postgres.show(ServerCertificate::Right);
    assert!(PgBouncer::start(&postgres, WRITER).is_none_or(|pooler| pooler.port != postgres.port));
}
