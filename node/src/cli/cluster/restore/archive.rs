//! What the old cluster signed, from its archive in Postgres.
//!
//! In: a configuration file that says where the database is. Out: one history per validator, over all lineages of the
//! database (a cluster that was restored before knows what its predecessor signed). Rows raise watermarks and can never
//! lower one, so an altered archive cannot make anything be signed twice; what is missing in it, the floor stands for.
//! Deliberately absent: proof of the chain, which is `consigner archive verify`.

use super::super::super::run::load;
use super::error::RestoreError;
use consigner_raft::restore::Records;
use consigner_rules::command::ClusterIdentity;
use std::path::Path;

/// Reads the archive that the configuration names. Refused unless it holds the old cluster's records.
pub(super) async fn read(file: &Path, old: &ClusterIdentity) -> Result<Records, RestoreError> {
    let shown = file.display().to_string();
    let Ok(loaded) = load(file, &[]) else { return Err(RestoreError::ArchiveConfig(shown)) };
    let Some(config) = loaded.config.archive.postgres else { return Err(RestoreError::NoArchive(shown)) };
    records(config, old).await
}

#[cfg(not(feature = "postgres"))]
async fn records(_: crate::config::PostgresConfig, _: &ClusterIdentity) -> Result<Records, RestoreError> {
    Err(RestoreError::NoPostgres)
}

#[cfg(feature = "postgres")]
async fn records(config: crate::config::PostgresConfig, old: &ClusterIdentity) -> Result<Records, RestoreError> {
    let name = config.place();
    match histories(config, old).await {
        Ok(Some(histories)) => Ok(Records { name, kind: consigner_raft::restore::RecordsKind::Archive, histories }),
        Ok(None) => Err(RestoreError::NotInArchive { name, cluster: old.cluster_id }),
        Err(source) => Err(RestoreError::Archive { name, source }),
    }
}

/// For each question: every signed row is read, which takes longer than what a node asks.
#[cfg(feature = "postgres")]
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(600);

/// `None`: nothing of the old cluster is there.
#[cfg(feature = "postgres")]
async fn histories(
    config: crate::config::PostgresConfig,
    old: &ClusterIdentity,
) -> Result<Option<Vec<consigner_rules::HistoryImport>>, consigner_storage::archive::ArchiveError> {
    use consigner_storage::archive::ArchiveError;
    let config = crate::config::PostgresConfig { deadline: DEADLINE, ..config };
    let mut archive = config.database("consigner cluster restore").connect().await?;
    archive.check_schema().await?;
    let lineages = archive.lineages().await?;
    let own = old.genesis_validators_root;
    if let Some(other) = lineages.iter().find(|lineage| lineage.genesis_validators_root != own) {
        return Err(ArchiveError::OtherNetwork { found: other.genesis_validators_root, own });
    }
    if lineages.iter().all(|lineage| lineage.cluster_id != old.cluster_id) {
        return Ok(None);
    }
    archive.maxima(None).await.map(Some)
}
