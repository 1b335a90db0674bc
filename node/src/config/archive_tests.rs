//! What every mistake in the section `archive` is answered, and what a right one becomes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::tests::{MINIMAL, loaded};
use super::{Config, ConfigError, PostgresPassword, PostgresServer};
use std::path::Path;
use std::time::Duration;

fn with(archive: &str) -> Result<Config, ConfigError> {
    loaded(&format!("{MINIMAL}archive: {{{archive}}}\n"), &[], &[])
}

#[test]
fn without_a_database_records_stay_on_the_node() {
    let archive = loaded(MINIMAL, &[], &[]).unwrap().archive;
    assert_eq!((archive.outbox_share_percent, archive.retention, archive.retention_bytes), (20, None, None));
    assert_eq!(archive.postgres, None);
    let archive = with("outbox-share-percent: 5, retention-days: 2, retention-bytes: 1GiB").unwrap().archive;
    assert_eq!(archive.outbox_share_percent, 5);
    assert_eq!((archive.retention, archive.retention_bytes), (Some(Duration::from_secs(172_800)), Some(1 << 30)));
}

#[cfg(feature = "postgres")]
#[test]
fn a_database_is_verified_and_its_password_bound_unless_said_otherwise() {
    let postgres = |more: &str| with(&format!("postgres: {{{more}}}")).unwrap().archive.postgres.unwrap();
    let url = "url: \"postgres://writer@db.example:5433/archive\"";
    let direct = postgres(&format!("{url}, ca: ca.pem, cert: c.pem, key: k.pem, password-file: pw"));
    let PostgresServer::Verified { ca, identity: Some((_, key)) } = &direct.server else { panic!("{direct:?}") };
    assert!(ca.ends_with("ca.pem") && ca.is_absolute() && key.ends_with("k.pem"), "beside the configuration");
    assert!(
        matches!(&direct.password, PostgresPassword::File(file) if file.file_name() == Path::new("pw").file_name())
    );
    assert!(direct.binds_channel);
    assert_eq!((direct.batch_rows, direct.flush_interval), (5000, Duration::from_secs(2)));
    assert_eq!(direct.place(), "db.example:5433/archive");
    let pooled = postgres(&format!("{url}, ca: ca.pem, password-env: ARCHIVE_PASSWORD, channel-binding: prefer"));
    assert!(!pooled.binds_channel);
    assert_eq!(pooled.password, PostgresPassword::Variable("ARCHIVE_PASSWORD".to_owned()));
    assert!(!postgres(&format!("{url}, ca: ca.pem")).binds_channel, "nothing to bind");
    let clear = postgres(&format!("{url}, insecure-no-tls: true, password-file: pw"));
    assert_eq!((clear.server, clear.binds_channel), (PostgresServer::InTheClear, false));
}

const URL: &str = "url: \"postgres://writer@db/archive\"";

/// The section, the key that is complained about, and a part of what is said; `%` stands for a right URL.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("outbox-share-percent: 81", "archive.outbox-share-percent", "at most 80"),
    ("retention-days: 0", "archive.retention-days", "from 1 up"),
    ("retention-bytes: 5", "archive.retention-bytes", "an amount of memory"),
    ("postgres: {ca: ca.pem}", "archive.postgres.ca", "without archive.postgres.url"),
    ("postgres: {insecure-no-tls: true}", "archive.postgres.insecure-no-tls", "without archive.postgres.url"),
    #[cfg(feature = "postgres")]
    ("postgres: {%}", "archive.postgres.ca", "missing"),
    #[cfg(feature = "postgres")]
    ("retention-days: 1, postgres: {%, ca: c}", "archive.retention-days", "beside archive.postgres.url"),
    #[cfg(feature = "postgres")]
    ("postgres: {url: \"postgres://w:pw@db/archive\", ca: c}", "archive.postgres.url", "holds a password"),
    #[cfg(feature = "postgres")]
    ("postgres: {url: \"postgres://w@db/archive?sslmode=require-nothing\", ca: c}", "archive.postgres.url", "sslmode"),
    #[cfg(feature = "postgres")]
    ("postgres: {url: \"jdbc:postgresql://db/archive\", ca: c}", "archive.postgres.url", "JDBC"),
    ("postgres: {%, ca: c, cert: d}", "archive.postgres.key", "both belong together"),
    ("postgres: {%, ca: c, insecure-no-tls: true}", "archive.postgres.ca", "no certificate is looked at"),
    ("postgres: {%, ca: c, password-file: p, password-env: P}", "archive.postgres.password-env", "together"),
    ("postgres: {%, ca: c, password-env: \"a b\"}", "archive.postgres.password-env", "does not fit"),
    ("postgres: {%, ca: c, channel-binding: require}", "archive.postgres.channel-binding", "nothing to bind"),
    ("postgres: {%, ca: c, batch-rows: 50001}", "archive.postgres.batch-rows", "at most 50000"),
    ("postgres: {%, ca: c, deadline: 5min}", "archive.postgres.deadline", "must lie between"),
];

#[test]
fn every_mistake_names_its_key_and_the_cure() {
    for (archive, key, said) in MISTAKES {
        let error = with(&archive.replace('%', URL)).expect_err(archive);
        let problem = error.0.iter().find(|problem| problem.key == *key);
        let problem = problem.unwrap_or_else(|| panic!("{archive}: {error}"));
        assert!(problem.what.contains(said), "{archive}: {error}");
        assert!(!error.to_string().contains("w:pw"), "{error}");
    }
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_program_without_postgres_says_so() {
    let error = with(&format!("postgres: {{{URL}, ca: c}}")).unwrap_err();
    assert_eq!(error.0[0].key, "archive.postgres.url");
    assert!(error.0[0].what.contains("built without `postgres`"), "{error}");
}
