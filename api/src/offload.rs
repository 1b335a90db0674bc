//! What computes for long runs off the async threads.

use crate::error::ApiError;

/// Runs `work` on a thread for blocking work.
///
/// # Errors
/// 500 if it panicked; the log has the reason.
pub(crate) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| {
        tracing::error!(error = %panic, "long work of a request panicked");
        ApiError::Internal
    })
}
