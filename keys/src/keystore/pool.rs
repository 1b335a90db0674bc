//! Decryption off the runtime's threads, within a bound of threads and memory.
//!
//! In: keystores with passwords. Out: secrets. scrypt takes 256 MiB and most of a second for each key, so a hundred at
//! once would kill the process and two on a runtime's threads would stop its heartbeats. Deliberately absent: a queue;
//! whoever waits holds the keystore, so callers bound how many wait.

use super::error::KeystoreError;
use super::{Keystore, Password};
use crate::bls::SecretKey;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

/// Bytes of memory for decryption unless configured: four keystores with EIP-2335's scrypt parameters.
const MEMORY_BYTES_DEFAULT: u64 = 1 << 30;
/// Memory is counted in MiB; semaphores count in 32 bits.
const MEMORY_UNIT_BYTES: u64 = 1 << 20;

/// Runs a bounded number of decryptions at once; clones share the bound.
#[derive(Clone)]
pub struct DecryptPool {
    threads: Arc<Semaphore>,
    threads_max: usize,
    memory: Arc<Semaphore>,
    memory_units_max: u32,
}

impl DecryptPool {
    /// A pool of at most `threads` decryptions that together take at most `memory_bytes_max`.
    ///
    /// Less memory than 1 MiB counts as 1 MiB; keystores that need more than the bound are refused one by one.
    #[must_use]
    pub fn new(threads: NonZeroUsize, memory_bytes_max: u64) -> Self {
        let threads = threads.get().min(Semaphore::MAX_PERMITS);
        let units = u32::try_from(memory_bytes_max / MEMORY_UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            threads_max: threads,
            memory: Arc::new(Semaphore::new(units as usize)),
            memory_units_max: units,
        }
    }

    /// Decryptions that run at once at most.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads_max
    }

    /// Opens a keystore as soon as there is a thread and memory for it; in the order of the calls.
    ///
    /// A caller that goes away while it waits leaves no trace; one that goes away later does not stop the work, which
    /// keeps its share of the bound until it is done.
    ///
    /// # Errors
    /// As [`Keystore::decrypt`], and [`KeystoreError::Memory`] when the pool's bound is too small for this keystore.
    pub async fn decrypt(&self, keystore: Keystore, password: Password) -> Result<SecretKey, KeystoreError> {
        self.run(keystore, move |keystore| keystore.decrypt(&password)).await
    }

    /// Opens a keystore that may hold anything.
    pub(crate) async fn decrypt_payload(
        &self,
        keystore: Keystore,
        password: Password,
    ) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        self.run(keystore, move |keystore| keystore.decrypt_payload(&password)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        keystore: Keystore,
        work: impl FnOnce(&Keystore) -> Result<T, KeystoreError> + Send + 'static,
    ) -> Result<T, KeystoreError> {
        let share = self.admit(keystore.memory_bytes()).await?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&keystore);
            drop(share);
            result
        });
        // The runtime that should have done the work is going down.
        done.await.unwrap_or(Err(KeystoreError::Stopped))
    }

    /// Waits for a thread first, so that memory is never held idle by somebody who waits for a thread.
    async fn admit(&self, bytes: u64) -> Result<[OwnedSemaphorePermit; 2], KeystoreError> {
        let units = bytes.div_ceil(MEMORY_UNIT_BYTES);
        let allowed = u64::from(self.memory_units_max) * MEMORY_UNIT_BYTES;
        let units = u32::try_from(units).ok().filter(|units| *units <= self.memory_units_max);
        let units = units.ok_or(KeystoreError::Memory { needed: bytes, allowed })?;
        let stopped = |_| KeystoreError::Stopped;
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(stopped)?;
        let memory = Arc::clone(&self.memory).acquire_many_owned(units).await.map_err(stopped)?;
        Ok([thread, memory])
    }
}

impl Default for DecryptPool {
    /// One thread for each core, and 1 GiB.
    fn default() -> Self {
        Self::new(available_parallelism().unwrap_or(NonZeroUsize::MIN), MEMORY_BYTES_DEFAULT)
    }
}

impl fmt::Debug for DecryptPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (threads, memory) = (self.threads_max, self.memory_units_max);
        write!(formatter, "DecryptPool({threads} threads, {memory} MiB)")
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
