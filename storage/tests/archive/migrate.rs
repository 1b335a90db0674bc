//! Tables of every age, and clusters that are not alone.

use consigner_storage::archive::{ArchiveError, Roles, SchemaFault, migrate};

use crate::common::{Door, Servers, identity, roles};
use crate::support::postgres::{OWNER, READER, WRITER};

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_says_what_it_would_do_and_does_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let postgres = &servers.postgres;
    let database = postgres.archive("archive");
    let mut owner = servers.db(OWNER, database).connect().await.unwrap();
    let schemas = || postgres.sql(database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'consigner'");

    let plan = migrate::plan(&mut owner, &roles()).await.unwrap();
    assert_eq!((plan.found, plan.steps.len()), (0, usize::try_from(plan.needed).unwrap()));
    assert!(plan.grants.iter().any(|grant| grant.starts_with("GRANT INSERT") && grant.contains(WRITER)));
    assert_eq!(schemas().trim(), "0", "a plan changes nothing");
    for (roles, named) in [
        (Roles { writer: Some("no\"body".to_owned()), reader: None }, "CREATE ROLE \"no\"\"body\" LOGIN"),
        (Roles { writer: None, reader: Some("nobody".to_owned()) }, "CREATE ROLE \"nobody\" LOGIN"),
        (Roles { writer: Some(OWNER.to_owned()), reader: None }, "owns the archive's tables"),
        (Roles { writer: Some("postgres".to_owned()), reader: None }, "superuser"),
    ] {
        let refused = migrate::apply(&mut owner, &roles).await.unwrap_err();
        assert!(refused.class() == "schema" && refused.to_string().contains(named), "{refused}");
    }
    postgres.sql(database, &format!("GRANT pg_write_all_data TO {READER}"));
    let refused = migrate::apply(&mut owner, &roles()).await.unwrap_err();
    assert!(matches!(&refused, ArchiveError::OwnRole { role } if role == READER), "{refused}");
    postgres.sql(database, &format!("REVOKE pg_write_all_data FROM {READER}"));
    assert_eq!(schemas().trim(), "0");
    let refused = migrate::apply(&mut servers.db(WRITER, database).connect().await.unwrap(), &Roles::default()).await;
    assert!(matches!(refused, Err(ArchiveError::Denied { .. })), "{refused:?}");

    // Two at once are as one.
    let mut other = servers.db(OWNER, database).connect().await.unwrap();
    let all = roles();
    let (one, two) = tokio::join!(migrate::apply(&mut owner, &all), migrate::apply(&mut other, &all));
    let mut steps = [one.unwrap().steps.len(), two.unwrap().steps.len()];
    steps.sort_unstable();
    assert_eq!(steps, [0, plan.steps.len()]);
    // Who was given rights keeps them, unasked; who changes sides loses what is too much.
    postgres.sql(database, &format!("GRANT CREATE ON SCHEMA consigner, web3signer TO {READER}"));
    let again = migrate::apply(&mut owner, &Roles::default()).await.unwrap();
    assert!(again.steps.is_empty());
    let once = |what: &str| postgres.sql(database, &format!("SELECT {what}")).trim().to_owned();
    assert_eq!(once(&format!("has_schema_privilege('{READER}', 'consigner', 'CREATE')")), "f");
    assert_eq!(again.roles, [(READER.to_owned(), false), (WRITER.to_owned(), true)]);
    let (mut writer, _) = servers.entered(Door::Direct, database).await;
    migrate::apply(&mut owner, &Roles { writer: None, reader: Some(WRITER.to_owned()) }).await.unwrap();
    let rights = format!("SELECT has_table_privilege('{WRITER}', 'consigner.batches', 'INSERT')");
    assert_eq!(postgres.sql(database, &rights).trim(), "f");
    versions(&servers, database, &mut writer).await;
}

async fn versions(servers: &Servers, database: &str, archive: &mut consigner_storage::archive::Archive) {
    let sql = |text: &str| servers.postgres.sql(database, text);
    archive.check_schema().await.unwrap();
    let version: i32 = sql("SELECT max(version) FROM consigner.schema_version").trim().parse().unwrap();
    sql("INSERT INTO consigner.schema_version VALUES (1000, 'of the future', 'x')");
    let fault = SchemaFault::Newer { found: 1000, known: version };
    let newer = archive.check_schema().await.unwrap_err();
    assert!(matches!(&newer, ArchiveError::Schema(found) if *found == fault), "{newer}");
    let refused = migrate::plan(archive, &Roles::default()).await.unwrap_err();
    assert!(matches!(&refused, ArchiveError::Schema(found) if *found == fault), "{refused}");
    sql("DELETE FROM consigner.schema_version WHERE version = 1000");
    sql("UPDATE consigner.schema_version SET checksum = 'x' WHERE version = 1");
    let altered = archive.check_schema().await.unwrap_err();
    assert!(matches!(altered, ArchiveError::Schema(SchemaFault::Altered { version: 1 })), "{altered}");
    sql("DELETE FROM consigner.schema_version");
    let missing = archive.check_schema().await.unwrap_err();
    assert!(matches!(missing, ArchiveError::Schema(SchemaFault::Missing)), "{missing}");
    assert_eq!(missing.class(), "schema");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_comes_in_only_by_an_operators_word() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    for (door, database) in servers.doors().into_iter().zip(["direct", "pooled"]) {
        servers.migrated(database).await;
        let mut owner = servers.db(OWNER, database).connect().await.unwrap();
        let empty = migrate::adopt(&mut owner, &identity(2).cluster_id).await.unwrap_err();
        assert!(matches!(empty, ArchiveError::Adopt(_)), "{empty}");
        // Two at once into an empty archive: one is the first.
        let mut one = servers.writer(door, database).connect().await.unwrap();
        let mut two = servers.writer(door, database).connect().await.unwrap();
        let (own, foreign) = (identity(1), identity(2));
        let (left, right) = tokio::join!(one.enter(&own), two.enter(&foreign));
        let (first, late, refused) = match (left, right) {
            (Ok(first), Err(refused)) => (first, foreign, refused),
            (Err(refused), Ok(first)) => (first, own, refused),
            (left, right) => panic!("{left:?} {right:?}"),
        };
        assert!(matches!(&refused, ArchiveError::Foreign { .. }) && refused.class() == "foreign", "{refused}");
        let text = refused.to_string();
        assert!(text.contains(&first.cluster_id.to_string()), "{text}");
        assert!(text.contains(&format!("--adopt {}", late.cluster_id)), "{text}");
        let adopted = migrate::adopt(&mut owner, &late.cluster_id).await.unwrap();
        assert!(adopted.adopted && !first.adopted);
        assert_eq!(two.enter(&late).await.unwrap(), adopted);
        assert_eq!(two.lineages().await.unwrap(), [first.clone(), adopted.clone()]);
        assert_eq!(migrate::adopt(&mut owner, &late.cluster_id).await.unwrap(), adopted, "again");
        // Another chain never does, adopted or not.
        let mut other = late.clone();
        other.genesis_validators_root = consigner_rules::Root([1; 32]);
        let refused = one.enter(&other).await.unwrap_err();
        assert!(matches!(refused, ArchiveError::OtherNetwork { .. }) && refused.class() == "foreign", "{refused}");
    }
}
