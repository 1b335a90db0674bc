//! A server, two doors to it, and rows to write.

use consigner_rules::archive::{ArchiveMark, ArchiveRow, archive_rows};
use consigner_rules::command::{ClusterIdentity, HistoryImport, ImportedAttestation, ImportedBlock};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{AgreedDuty, Change, PublicKey, Root, Violation};
use consigner_storage::archive::{Archive, ArchiveDb, ArchiveError, ChannelBinding, Lineage, Roles, migrate};
use std::path::Path;
use std::time::Duration;

use crate::support::archive_db::archive_db;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{OWNER, Postgres, READER, WRITER};

/// Far more than any call takes.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The server, and the writer's way through the pooler where there is one.
pub struct Servers {
    pub pooler: Option<PgBouncer>,
    pub postgres: Postgres,
}

/// How the writer comes to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Direct,
    Pooler,
}

impl Servers {
    pub fn start(dir: &Path) -> Option<Self> {
        let postgres = Postgres::start(dir)?;
        postgres.archive("roles");
        let pooler = PgBouncer::start(&postgres, WRITER);
        Some(Self { pooler, postgres })
    }

    pub fn doors(&self) -> Vec<Door> {
        if self.pooler.is_some() { vec![Door::Direct, Door::Pooler] } else { vec![Door::Direct] }
    }

    /// A database as an operator leaves it: roles, tables, rights.
    pub async fn migrated(&self, database: &'static str) -> &'static str {
        self.postgres.archive(database);
        let mut owner = self.db(OWNER, database).connect().await.unwrap();
        let done = migrate::apply(&mut owner, &roles()).await.unwrap();
        assert_eq!(done.found, 0);
        database
    }

    /// Straight, with everything as it should be.
    pub fn db(&self, role: &str, database: &str) -> ArchiveDb {
        archive_db(&self.postgres, role, database, DEADLINE)
    }

    /// The writer's, through this door.
    pub fn writer(&self, door: Door, database: &str) -> ArchiveDb {
        let direct = self.db(WRITER, database);
        match (door, &self.pooler) {
            (Door::Pooler, Some(pooler)) => {
                ArchiveDb { url: pooler.url(database), channel_binding: ChannelBinding::Prefer, ..direct }
            }
            (Door::Direct | Door::Pooler, _) => direct,
        }
    }

    /// A writer that has entered.
    pub async fn entered(&self, door: Door, database: &str) -> (Archive, Lineage) {
        let mut archive = self.writer(door, database).connect().await.unwrap();
        archive.check_schema().await.unwrap();
        let lineage = archive.enter(&identity(1)).await.unwrap();
        (archive, lineage)
    }

    pub fn count(&self, database: &str, table: &str) -> u64 {
        self.postgres.sql(database, &format!("SELECT count(*) FROM consigner.{table}")).trim().parse().unwrap()
    }
}

pub fn roles() -> Roles {
    Roles { writer: Some(WRITER.to_owned()), reader: Some(READER.to_owned()) }
}

pub fn identity(byte: u8) -> ClusterIdentity {
    ClusterIdentity {
        cluster_id: ClusterId([byte; 16]),
        network: "mainnet".to_owned(),
        genesis_validators_root: Root([9; 32]),
    }
}

/// The class and the text of an error, with its causes.
pub fn told<T>(answer: Result<T, ArchiveError>) -> (&'static str, String) {
    let error = answer.err().expect("an error");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    (error.class(), text)
}

pub fn key(byte: u8) -> PublicKey {
    PublicKey([byte; 48])
}

pub fn vote(validator: u8, source_epoch: u64, target_epoch: u64) -> Change {
    Change::SignedVia {
        public_key: key(validator),
        duty: AgreedDuty::Attestation { source_epoch, target_epoch },
        signing_root: Root([validator; 32]),
        peer: "vc-1".to_owned(),
        node: 2,
    }
}

/// One of each table, with the greatest numbers there are and a name that Postgres could not hold as it is.
pub fn one_of_each() -> Vec<Change> {
    let (public_key, signing_root, peer) = (key(1), Root([7; 32]), "a\0b\\c \u{1F980}".to_owned());
    let max = u64::MAX;
    let signed = |duty| Change::SignedVia { public_key, duty, signing_root, peer: peer.clone(), node: max };
    let violation = Violation::BlockBelow { asked: 1, stored: max };
    vec![
        signed(AgreedDuty::Block { slot: max }),
        signed(AgreedDuty::Attestation { source_epoch: max, target_epoch: max }),
        signed(AgreedDuty::VoluntaryExit { epoch: max, validator_index: max }),
        Change::Signed { public_key, duty: AgreedDuty::Block { slot: 0 }, signing_root, peer: String::new() },
        Change::Refused { public_key, duty: AgreedDuty::Block { slot: 1 }, signing_root, peer, violation },
        Change::KeyAdded(key(2)),
        Change::HistoryMerged(history(3)),
        Change::PolicyRenewed(max),
        Change::NodeAdmitted { node: max, name: "n\0".to_owned(), incarnation: [1; 16] },
    ]
}

pub fn history(validator: u8) -> HistoryImport {
    let attestation = ImportedAttestation { max_source_epoch: 3, max_target_epoch: u64::MAX, at_max_target: None };
    let block = ImportedBlock { slot: u64::MAX, signing_root: None };
    HistoryImport { public_key: key(validator), block: Some(block), attestation: Some(attestation) }
}

/// The rows of entries that begin behind `before`, and the mark behind them.
pub fn batch(before: &ArchiveMark, first: u64, entries: Vec<Vec<Change>>) -> (Vec<ArchiveRow>, ArchiveMark) {
    let entries = (first..).zip(entries);
    let rows: Vec<ArchiveRow> =
        entries.flat_map(|(index, changes)| archive_rows(index, 1_700_000_000_000, changes)).collect();
    let mut after = *before;
    for row in &rows {
        after.add(row);
    }
    (rows, after)
}

pub fn begin() -> ArchiveMark {
    ArchiveMark::begin(&identity(1).cluster_id)
}
