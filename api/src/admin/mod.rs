//! `/admin/v1`: what only the operator's certificate may ask.

mod cluster_init;
mod cluster_status;
mod history_export;
mod history_import;

pub(crate) use cluster_init::post as cluster_init;
pub(crate) use cluster_status::get as cluster_status;
pub(crate) use history_export::get as history_export;
pub(crate) use history_import::post as history_import;

use crate::app::Shared;
use crate::error::ApiError;
use crate::metrics;
use tokio::sync::OwnedSemaphorePermit;

/// Leave to hold a history file in memory.
fn history_turn(shared: &Shared) -> Result<OwnedSemaphorePermit, ApiError> {
    shared.slots.history.clone().try_acquire_owned().map_err(|_| {
        metrics::shed("history_files");
        ApiError::Unavailable("another history import or export is running on this node".to_owned())
    })
}

/// Runs what computes for long off the async threads.
async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| {
        tracing::error!(error = %panic, "work on a history file panicked");
        ApiError::Internal
    })
}
