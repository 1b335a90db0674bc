//! The connection to the archive: opened with what certificates and password are now, checked, entered.

use consigner_rules::command::ClusterIdentity;
use consigner_storage::archive::{Archive, ArchiveDb, ArchiveError, Lineage};

/// A connection to an archive of this cluster, whose tables are known.
pub(super) struct Link {
    pub(super) archive: Archive,
    pub(super) lineage: Lineage,
}

impl Link {
    pub(super) async fn open(database: &ArchiveDb, identity: &ClusterIdentity) -> Result<Self, ArchiveError> {
        let mut archive = database.connect().await?;
        archive.check_schema().await?;
        let lineage = archive.enter(identity).await?;
        Ok(Self { archive, lineage })
    }
}
