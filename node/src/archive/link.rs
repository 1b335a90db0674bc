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

    /// For reading: nothing is written, also where this cluster never was.
    pub(super) async fn find(database: &ArchiveDb, identity: &ClusterIdentity) -> Result<Option<Self>, ArchiveError> {
        let mut archive = database.connect().await?;
        archive.check_schema().await?;
        let lineages = archive.lineages().await?;
        let own = lineages.into_iter().find(|lineage| lineage.cluster_id == identity.cluster_id);
        Ok(own.map(|lineage| Self { archive, lineage }))
    }
}
