//! The same through a database: what the exporter writes, batch by batch, each confirmed by the cluster's mark, is what
//! an export reads back.

use crate::postgres::{OWNER, PASSWORD, Postgres, READER, WRITER};
use crate::support::DEADLINE;
use crate::{assert_nothing_is_lost, assert_same_verdicts, play, rows_of, vectors};
use consigner_raft::Cluster;
use consigner_rules::{ArchiveMark, ArchiveRow, Command, Outcome, State};
use consigner_storage::archive::{
    Archive, ArchiveDb, ChannelBinding, PasswordSource, Roles, ServerProof, Written, migrate,
};

/// Entries per batch, and rows read at a time: few, so that there are many batches and many readings.
const AT_ONCE: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgres_holds_leads_to_the_same_verdicts_elsewhere() {
    let Some(vectors) = vectors::load() else { return };
    let dir = tempfile::tempdir().unwrap();
    let Some(postgres) = Postgres::start(dir.path()) else { return };
    let database = postgres.archive("vectors");
    let played = play(&vectors).await;
    let rows = rows_of(played.cluster());

    let roles = Roles { writer: Some(WRITER.to_owned()), reader: Some(READER.to_owned()) };
    migrate::apply(&mut connect(&postgres, OWNER, database).await, &roles).await.unwrap();
    write(&mut connect(&postgres, WRITER, database).await, played.cluster(), &rows).await;
    let archived = read(&mut connect(&postgres, READER, database).await, played.cluster()).await;
    assert_eq!(archived, rows);

    assert_nothing_is_lost(&vectors, &played, &archived);
    assert_same_verdicts(&vectors, &played, &archived).await;
}

async fn connect(postgres: &Postgres, role: &str, database: &str) -> Archive {
    let password = postgres.path("archive-password");
    std::fs::copy(postgres.path("password"), &password).unwrap();
    assert_eq!(std::fs::read_to_string(&password).unwrap(), PASSWORD);
    let identity = Some((postgres.path(&format!("{role}.pem")), postgres.path(&format!("{role}-key.pem"))));
    let archive = ArchiveDb {
        url: postgres.url(role, database),
        password: PasswordSource::File(password),
        server: ServerProof::Tls { ca: postgres.path("ca.pem"), identity },
        channel_binding: ChannelBinding::Require,
        deadline: DEADLINE,
        application: "consigner archive vectors",
    };
    archive.connect().await.unwrap()
}

/// As the exporter does: rows and link are durable in the database before the cluster's mark moves.
async fn write(archive: &mut Archive, cluster: &Cluster, rows: &[ArchiveRow]) {
    archive.check_schema().await.unwrap();
    let identity = cluster.read(|state| state.identity().cloned()).unwrap();
    let lineage = archive.enter(&identity).await.unwrap();
    assert_eq!(archive.head(&lineage).await.unwrap(), None);
    let mut mark = ArchiveMark::begin(&identity.cluster_id);
    let entries: Vec<&[ArchiveRow]> = rows.chunk_by(|left, right| left.index == right.index).collect();
    for entries in entries.chunks(AT_ONCE) {
        let (batch, before) = (entries.concat(), mark);
        batch.iter().for_each(|row| mark.add(row));
        let written = archive.write(&lineage, &before, &batch, &mark, cluster.node_id()).await.unwrap();
        assert_eq!(written, Written { new: batch.len() as u64, known: 0 });
        let advance = Command::AdvanceArchive { after: before.index, mark };
        assert_eq!(cluster.propose(vec![advance], DEADLINE).await.unwrap(), [Outcome::ArchiveAdvanced]);
    }
    assert_eq!(archive.head(&lineage).await.unwrap(), Some(mark));
    assert_eq!(cluster.read(|state: &State| state.archive_mark().copied()), Some(mark));
    assert_eq!(mark.rows, rows.len() as u64);
}

/// Everything up to the cluster's mark.
async fn read(archive: &mut Archive, cluster: &Cluster) -> Vec<ArchiveRow> {
    let (cluster_id, mark) =
        cluster.read(|state| (state.identity().unwrap().cluster_id, *state.archive_mark().unwrap()));
    let lineages = archive.lineages().await.unwrap();
    let lineage = lineages.into_iter().find(|lineage| lineage.cluster_id == cluster_id).unwrap();
    let (mut rows, mut after): (Vec<ArchiveRow>, u64) = (Vec::new(), 0);
    loop {
        let page = archive.rows_after(&lineage, after, mark.index, AT_ONCE).await.unwrap();
        let Some(last) = page.last() else { return rows };
        after = last.index;
        rows.extend(page);
    }
}
