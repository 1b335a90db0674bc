//! The exporter of this node, if it has an archive in a database.
//!
//! In: the configuration. Out: what the HTTP surface asks, and a task until the stop. Its end is no reason to end the
//! node: signing does not need it.

use crate::config::Config;
use consigner_api::ArchiveAccess;
use consigner_raft::Cluster;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the HTTP surface asks; the task ends with `background`.
#[cfg(feature = "postgres")]
pub(super) fn start(
    config: &Config,
    cluster: &Cluster,
    background: &CancellationToken,
) -> Option<Arc<dyn ArchiveAccess>> {
    let postgres = config.archive.postgres.as_ref()?;
    let (archive, run) = crate::archive::start(postgres, cluster.clone());
    tokio::spawn(background.clone().run_until_cancelled_owned(run));
    Some(archive)
}

/// The configuration refused the section already.
#[cfg(not(feature = "postgres"))]
pub(super) fn start(_: &Config, _: &Cluster, _: &CancellationToken) -> Option<Arc<dyn ArchiveAccess>> {
    None
}
