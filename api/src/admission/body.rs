//! Reads a request body within a size, a time and the memory that all bodies share.
//!
//! In: a body of unknown length, from a caller of unknown intent. Out: all of it, or why not. Deliberately absent: what
//! the bytes mean, and the rest of a body that was refused.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What one kind of body may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyRules {
    /// Bytes.
    pub(crate) bytes_max: usize,
    /// From its first byte to its last.
    pub(crate) time_max: Duration,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Longer than allowed; no more of it was kept.
    #[error("the body exceeds the limit of {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The bodies of all requests together need more memory than they may.
    #[error("too many request bodies are in flight")]
    NoRoom,
    /// Not there in time.
    #[error("the body did not arrive within {} s", .0.as_secs())]
    Slow(Duration),
    /// The connection broke off, or the framing is wrong.
    #[error("the body broke off")]
    Broken(#[source] axum::Error),
}

/// A whole body. Its share of the common memory is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct HeldBody {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Deref for HeldBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the whole body. `room` counts KiB that all bodies share.
///
/// # Errors
/// [`BodyError`]; what is left of the body is dropped, and [`super::drain`] sees to it.
pub(crate) async fn read(
    request: axum::extract::Request,
    rules: BodyRules,
    room: Option<&Arc<Semaphore>>,
) -> Result<HeldBody, BodyError> {
    let mut body = request.into_body();
    let mut room = Room { shared: room, held: None };
    let collected = timeout(rules.time_max, collect(&mut body, rules.bytes_max, &mut room)).await;
    let bytes = collected.unwrap_or(Err(BodyError::Slow(rules.time_max)))?;
    Ok(HeldBody { bytes, _room: room.held })
}

async fn collect(body: &mut Body, bytes_max: usize, room: &mut Room<'_>) -> Result<Bytes, BodyError> {
    // A declared length over the limit is refused before a byte is read (`Expect: 100-continue` then never continues).
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge { bytes_max });
    }
    // Most bodies come in one piece, which is used as it is.
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
        let total = first.len() + whole.len() + data.len();
        if total > bytes_max {
            return Err(BodyError::TooLarge { bytes_max });
        }
        room.grow_to(total)?;
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&first);
            first = Bytes::new();
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

struct Room<'a> {
    shared: Option<&'a Arc<Semaphore>>,
    held: Option<OwnedSemaphorePermit>,
}

impl Room<'_> {
    fn grow_to(&mut self, bytes: usize) -> Result<(), BodyError> {
        let Some(shared) = self.shared else { return Ok(()) };
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(1024).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| BodyError::NoRoom)?;
        let more = shared.clone().try_acquire_many_owned(missing).map_err(|_| BodyError::NoRoom)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
