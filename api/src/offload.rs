//! What computes for long runs off the async threads, and what changes the cluster off the request that asked for it.

use crate::error::ApiError;
use tokio::task::JoinError;

/// Runs `work` on a thread for blocking work.
///
/// # Errors
/// 500 if it panicked; the log has the reason.
pub(crate) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| internal(&panic))
}

/// Runs `work` to its end, also if the request is dropped before: its client has gone, its deadline has passed. So what
/// was begun is done, and the audit hears what became of it. To be bounded, `work` keeps what it took (its turn).
///
/// # Errors
/// Those of `work`; 500 if it panicked, and the log has the reason.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(work).await.unwrap_or_else(|panic| Err(internal(&panic)))
}

fn internal(panic: &JoinError) -> ApiError {
    tracing::error!(error = %panic, "the work of a request panicked");
    ApiError::Internal
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::time::Duration;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_outlives_the_request_that_asked_for_it() {
        let ((go, gone), (done, end)) = (oneshot::channel::<()>(), oneshot::channel());
        let mut request = Box::pin(to_its_end(async move {
            gone.await.unwrap();
            done.send("done").unwrap();
            Ok(())
        }));
        assert!(futures::poll!(&mut request).is_pending());
        drop(request);
        go.send(()).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), end).await;
        assert_eq!(ended.unwrap().unwrap(), "done");
    }

    #[tokio::test]
    async fn a_panic_is_a_fault_of_this_program() {
        let ended = to_its_end::<()>(async { panic!("on purpose") }).await;
        assert!(matches!(ended, Err(ApiError::Internal)));
    }
}
