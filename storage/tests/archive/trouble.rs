//! What happens to a database that is used: it turns read-only, fills up, hangs, dies. Nothing is half written, the reason
//! is precise, and the next attempt succeeds by itself.

use consigner_rules::archive::{ArchiveMark, ArchiveRow};
use consigner_storage::archive::{Archive, ArchiveDb, ArchiveError, Lineage};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

use crate::common::{Door, Servers, batch, begin, one_of_each, vote};
use crate::support::postgres::Postgres;

/// A session of the superuser that holds a lock until it is dropped.
struct Hold {
    client: tokio_postgres::Client,
    driver: tokio::task::JoinHandle<()>,
}

impl Hold {
    async fn lock(postgres: &Postgres, database: &str) -> Self {
        let text = format!(
            "host={} port={} user=postgres dbname={database}",
            postgres.dir.join("data").display(),
            postgres.port
        );
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) });
        client.batch_execute("BEGIN; LOCK TABLE consigner.batches IN EXCLUSIVE MODE").await.unwrap();
        Self { client, driver }
    }

    async fn release(self) {
        self.client.batch_execute("ROLLBACK").await.unwrap();
        self.driver.abort();
    }
}

/// Waits until the writer waits for a lock, in the middle of its transaction.
async fn blocked(postgres: &Postgres, database: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND usename = 'archive_writer'
         AND wait_event_type = 'Lock'"
    );
    let until = Instant::now() + Duration::from_secs(60);
    while postgres.sql("postgres", &sql).trim() != "1" {
        assert!(Instant::now() < until, "nobody waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Case<'a> {
    servers: &'a Servers,
    database: &'static str,
    db: ArchiveDb,
    rows: Vec<ArchiveRow>,
    after: ArchiveMark,
}

impl Case<'_> {
    async fn write(&self, archive: &mut Archive, lineage: &Lineage) -> Result<u64, ArchiveError> {
        let before = begin();
        archive.write(lineage, &before, &self.rows, &self.after, 1).await.map(|written| written.new)
    }

    fn nothing(&self) {
        let tables = ["signed_blocks", "signed_attestations", "key_events", "validators", "batches"];
        let found: u64 = tables.iter().map(|table| self.servers.count(self.database, table)).sum();
        assert_eq!(found, 0, "nothing is half written");
    }

    /// On a connection of its own.
    async fn fresh(&self) -> (Archive, Lineage) {
        let mut archive = self.db.connect().await.unwrap();
        let lineage = archive.enter(&crate::common::identity(1)).await.unwrap();
        (archive, lineage)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_trouble_keeps_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    for (door, database) in servers.doors().into_iter().zip(["direct", "pooled"]) {
        servers.migrated(database).await;
        let (rows, after) = batch(&begin(), 1, vec![one_of_each(), vec![vote(1, 2, 3)]]);
        let case = Case { servers: &servers, database, db: servers.writer(door, database), rows, after };
        let _entered = case.fresh().await;
        full(&case).await;
        cut(&case).await;
        late(&case).await;
        read_only(&case).await;
        killed(&case).await;
        let (mut archive, lineage) = case.fresh().await;
        assert_eq!(case.write(&mut archive, &lineage).await.unwrap(), 10, "{door:?}");
        assert_eq!(archive.head(&lineage).await.unwrap(), Some(case.after));
    }
}

/// The server's own error of a full disk, raised where the last statement of a batch writes.
async fn full(case: &Case<'_>) {
    let sql = |text: &str| case.servers.postgres.sql(case.database, text);
    sql("CREATE FUNCTION public.no_room() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
         CREATE TRIGGER no_room BEFORE INSERT ON consigner.batches EXECUTE FUNCTION public.no_room()");
    let (mut archive, lineage) = case.fresh().await;
    let refused = case.write(&mut archive, &lineage).await.unwrap_err();
    assert!(matches!(refused, ArchiveError::Full(_)) && refused.class() == "full", "{refused}");
    case.nothing();
    sql("DROP TRIGGER no_room ON consigner.batches; DROP FUNCTION public.no_room()");
    // The same connection goes on.
    assert_eq!(archive.head(&lineage).await.unwrap(), None);
}

/// The connection is lost when all rows are written, and not yet the link.
async fn cut(case: &Case<'_>) {
    let postgres = &case.servers.postgres;
    let hold = Hold::lock(postgres, case.database).await;
    let (mut archive, lineage) = case.fresh().await;
    let end = async {
        blocked(postgres, case.database).await;
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'archive_writer'
            AND wait_event_type = 'Lock'";
        assert_eq!(postgres.sql("postgres", ended).trim(), "1");
    };
    let (answer, ()) = tokio::join!(case.write(&mut archive, &lineage), end);
    let refused = answer.unwrap_err();
    assert!(matches!(refused, ArchiveError::Unreachable(_)) && refused.class() == "address", "{refused}");
    hold.release().await;
    case.nothing();
}

/// Somebody holds what the writer needs: it gives up in time, and the server with it.
async fn late(case: &Case<'_>) {
    let postgres = &case.servers.postgres;
    let hold = Hold::lock(postgres, case.database).await;
    let db = ArchiveDb { deadline: Duration::from_secs(3), ..case.db.clone() };
    let (mut archive, lineage) = known(&db).await;
    let refused = case.write(&mut archive, &lineage).await.unwrap_err();
    assert!(matches!(refused, ArchiveError::Deadline { .. }) && refused.class() == "deadline", "{refused}");
    hold.release().await;
    // The lineage's lock is free again, whether the server or this side gave up first.
    let (mut archive, lineage) = case.fresh().await;
    assert_eq!(archive.head(&lineage).await.unwrap(), None);
    case.nothing();
}

/// A connection with so short a deadline that a loaded machine may need another try.
async fn known(db: &ArchiveDb) -> (Archive, Lineage) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let refused = match db.connect().await {
            Ok(mut archive) => match archive.lineages().await {
                Ok(mut lineages) => return (archive, lineages.remove(0)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        assert!(refused.class() == "deadline" && Instant::now() < until, "{refused}");
    }
}

async fn read_only(case: &Case<'_>) {
    let postgres = &case.servers.postgres;
    postgres.read_only(case.database, true);
    // A pooler may still hand out a session that was ended under it; the next one is new.
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (mut archive, lineage) = reached(case).await;
        let refused = case.write(&mut archive, &lineage).await.expect_err(case.database);
        if refused.class() == "address" && Instant::now() < until {
            continue;
        }
        assert!(matches!(refused, ArchiveError::ReadOnly(_)) && refused.class() == "read_only", "{refused}");
        break;
    }
    postgres.read_only(case.database, false);
    case.nothing();
}

/// `kill -9` of the server under an open connection.
async fn killed(case: &Case<'_>) {
    let postgres = &case.servers.postgres;
    let (mut archive, lineage) = reached(case).await;
    postgres.kill();
    let refused = case.write(&mut archive, &lineage).await.unwrap_err();
    assert!(matches!(refused, ArchiveError::Unreachable(_)) && refused.class() == "address", "{refused}");
    postgres.go();
    let (mut archive, lineage) = reached(case).await;
    assert_eq!(archive.head(&lineage).await.unwrap(), None);
    case.nothing();
}

/// A connection that works, as soon as there is one.
async fn reached(case: &Case<'_>) -> (Archive, Lineage) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let refused = match case.db.connect().await {
            Ok(mut archive) => match archive.enter(&crate::common::identity(1)).await {
                Ok(lineage) => return (archive, lineage),
                Err(error) => error,
            },
            Err(error) => error,
        };
        assert!(refused.class() == "address" && Instant::now() < until, "{refused}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_on_the_disk_before_it_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let database = servers.migrated("archive").await;
    // An operator's default must not make the cluster forget rows that a power cut would take.
    let sql = |text: &str| servers.postgres.sql(database, text);
    sql("ALTER DATABASE archive SET synchronous_commit = off");
    sql("CREATE TABLE public.seen (setting text); GRANT INSERT ON public.seen TO archive_writer;
         CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
         CREATE TRIGGER look BEFORE INSERT ON consigner.batches FOR EACH ROW EXECUTE FUNCTION public.look()");
    let (mut archive, lineage) = servers.entered(Door::Direct, database).await;
    let (rows, after) = batch(&begin(), 1, vec![vec![vote(1, 2, 3)]]);
    // A spawned task, as the exporter is one.
    let task = tokio::spawn(async move { archive.write(&lineage, &begin(), &rows, &after, 1).await });
    task.await.unwrap().unwrap();
    assert_eq!(sql("SELECT setting FROM public.seen").trim(), "on");
}
