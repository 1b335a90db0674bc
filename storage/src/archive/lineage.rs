//! Which cluster's records a database holds: a lineage is the life of one cluster id.
//!
//! The first cluster that comes enters by itself. Another one is refused until an operator says that it may write beside
//! the first (after a restore, which gives a cluster a new id), and for ever if it belongs to another chain.

use std::time::Duration;

use consigner_rules::Root;
use consigner_rules::command::ClusterIdentity;
use consigner_rules::primitives::ClusterId;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::session::{Parameter, ask, begin, column, ended, failed, fixed};
use super::{Archive, ArchiveError};

/// A lineage that the archive knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Its number in this database (`consigner.clusters.id`).
    pub(super) id: i32,
    /// The cluster's id.
    pub cluster_id: ClusterId,
    /// Name of its network, for people.
    pub network: String,
    /// The chain's genesis validators root.
    pub genesis_validators_root: Root,
    /// Whether an operator let it in beside other lineages.
    pub adopted: bool,
}

const ALL: &str =
    "SELECT id, cluster_id, network, genesis_validators_root, adopted FROM consigner.clusters ORDER BY id";

/// Nobody enters twice, or beside somebody who enters.
pub(super) const LOCK: &str = "SELECT pg_advisory_xact_lock(1129206599, -1)";

const ENTER: &str = "INSERT INTO consigner.clusters (cluster_id, network, genesis_validators_root, adopted)
    VALUES ($1, $2, $3, $4)";

const WHAT: &str = "enter its lineage";

impl Archive {
    /// Finds this cluster's lineage; enters it, if the archive is empty.
    ///
    /// # Errors
    /// [`ArchiveError::Foreign`], [`ArchiveError::OtherNetwork`], and those of every call.
    pub async fn enter(&mut self, identity: &ClusterIdentity) -> Result<Lineage, ArchiveError> {
        let limit = self.deadline;
        let client = &mut self.session.client;
        let work = async {
            let transaction = begin(client, limit).await?;
            let known = all(&transaction, limit).await?;
            if let Some(lineage) = admitted(&known, identity)? {
                return Ok(lineage);
            }
            ask(&transaction, WHAT, limit, LOCK, &[]).await?;
            let known = all(&transaction, limit).await?;
            if let Some(lineage) = admitted(&known, identity)? {
                return Ok(lineage);
            }
            let lineage = insert(&transaction, limit, identity, false).await?;
            transaction.commit().await.map_err(|error| failed(WHAT, limit, error))?;
            Ok(lineage)
        };
        let answer = timeout(limit, work).await;
        ended(&self.session, WHAT, limit, answer)
    }

    /// All lineages, in the order in which they came.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn lineages(&mut self) -> Result<Vec<Lineage>, ArchiveError> {
        let limit = self.deadline;
        let client = &mut self.session.client;
        let answer = timeout(limit, async { all(&begin(client, limit).await?, limit).await }).await;
        ended(&self.session, "list its lineages", limit, answer)
    }
}

/// Whether the cluster is known; an error if it may not come in.
fn admitted(known: &[Lineage], identity: &ClusterIdentity) -> Result<Option<Lineage>, ArchiveError> {
    let own = identity.genesis_validators_root;
    if let Some(other) = known.iter().find(|lineage| lineage.genesis_validators_root != own) {
        return Err(ArchiveError::OtherNetwork { found: other.genesis_validators_root, own });
    }
    let own = known.iter().find(|lineage| lineage.cluster_id == identity.cluster_id);
    if own.is_none() && !known.is_empty() {
        let lineages = known.iter().map(|lineage| lineage.cluster_id.to_string()).collect();
        return Err(ArchiveError::Foreign { lineages, own: identity.cluster_id.to_string() });
    }
    Ok(own.cloned())
}

pub(super) async fn all(transaction: &Transaction<'_>, limit: Duration) -> Result<Vec<Lineage>, ArchiveError> {
    let rows = ask(transaction, "list its lineages", limit, ALL, &[]).await?;
    rows.iter().map(of_row).collect()
}

fn of_row(row: &Row) -> Result<Lineage, ArchiveError> {
    Ok(Lineage {
        id: column(row, 0)?,
        cluster_id: ClusterId(fixed(row, 1)?),
        network: column(row, 2)?,
        genesis_validators_root: Root(fixed(row, 3)?),
        adopted: column(row, 4)?,
    })
}

pub(super) async fn insert(
    transaction: &Transaction<'_>,
    limit: Duration,
    identity: &ClusterIdentity,
    adopted: bool,
) -> Result<Lineage, ArchiveError> {
    let (id, root) = (identity.cluster_id.0.as_slice(), identity.genesis_validators_root.0.as_slice());
    let values: [Parameter<'_>; 4] =
        [(&id, Type::BYTEA), (&identity.network, Type::TEXT), (&root, Type::BYTEA), (&adopted, Type::BOOL)];
    ask(transaction, WHAT, limit, ENTER, &values).await?;
    let known = all(transaction, limit).await?;
    let own = known.into_iter().find(|lineage| lineage.cluster_id == identity.cluster_id);
    own.ok_or_else(|| ArchiveError::Content("a lineage that was entered is not there".to_owned()))
}
