#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::DecryptPool;
use crate::development::interop_secret;
use crate::keystore::{Kdf, Keystore, KeystoreError, Password};
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// 1 MiB of memory: N = 1024, r = 8.
const ONE_MIB: Kdf = Kdf::Scrypt { log_n: 10, r: 8, p: 1 };
const SOON: Duration = Duration::from_secs(60);

fn keystore(kdf: Kdf) -> Keystore {
    Keystore { kdf, ..Keystore::encrypt(&interop_secret(0), &Password::new("p"), "", Kdf::Pbkdf2 { c: 1 }).unwrap() }
}

fn pool(threads: usize, mebibytes: u64) -> DecryptPool {
    DecryptPool::new(NonZeroUsize::new(threads).unwrap(), mebibytes << 20)
}

/// Work that says when it starts and ends when it is told to.
struct Gate {
    started: mpsc::UnboundedReceiver<usize>,
    running: Arc<AtomicUsize>,
    release: Vec<std::sync::mpsc::Sender<()>>,
    ends: Vec<tokio::task::JoinHandle<Result<(), KeystoreError>>>,
}

impl Gate {
    /// Starts work for each of these costs.
    fn start(pool: &DecryptPool, costs: &[Kdf]) -> Self {
        let (starts, started) = mpsc::unbounded_channel();
        let running = Arc::new(AtomicUsize::new(0));
        let (mut release, mut ends) = (Vec::new(), Vec::new());
        for (index, kdf) in costs.iter().enumerate() {
            let (end, ended) = std::sync::mpsc::channel();
            release.push(end);
            let (pool, starts, count, keystore) = (pool.clone(), starts.clone(), Arc::clone(&running), keystore(*kdf));
            ends.push(tokio::spawn(async move {
                let work = move |_: &Keystore| {
                    count.fetch_add(1, Ordering::SeqCst);
                    starts.send(index).unwrap();
                    ended.recv().unwrap();
                    count.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                };
                pool.run(keystore, work).await
            }));
        }
        Self { started, running, release, ends }
    }

    /// Ends all work; what has ended already does not listen.
    fn release_all(&self) {
        for release in &self.release {
            let _ = release.send(());
        }
    }

    async fn next_start(&mut self) -> usize {
        timeout(SOON, self.started.recv()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn only_so_many_threads_decrypt_at_once() {
    let pool = pool(2, 1024);
    let mut gate = Gate::start(&pool, &[ONE_MIB; 5]);
    let mut order = vec![gate.next_start().await, gate.next_start().await];
    for _ in 0..3 {
        // Two hold both threads, so nobody else can have started.
        assert_eq!(gate.running.load(Ordering::SeqCst), 2);
        assert!(gate.started.try_recv().is_err());
        gate.release[order[order.len() - 2]].send(()).unwrap();
        order.push(gate.next_start().await);
    }
    gate.release_all();
    for end in gate.ends {
        timeout(SOON, end).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(pool.threads.available_permits(), 2);
}

#[tokio::test]
async fn memory_is_counted() {
    let pool = pool(8, 5);
    let two_mib = Kdf::Scrypt { log_n: 11, r: 8, p: 1 };
    // 2 + 2 leave 1 MiB; the third waits although six threads are free.
    let mut gate = Gate::start(&pool, &[two_mib; 3]);
    let first = gate.next_start().await;
    gate.next_start().await;
    let waiting = || pool.threads.available_permits() == 5;
    timeout(SOON, async {
        while !waiting() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(pool.memory.available_permits(), 0, "the third has reserved what is left and waits for more");
    assert_eq!(gate.running.load(Ordering::SeqCst), 2);
    assert!(gate.started.try_recv().is_err());
    gate.release[first].send(()).unwrap();
    gate.next_start().await;
    gate.release_all();
    for end in gate.ends {
        timeout(SOON, end).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(pool.memory.available_permits(), 5);
}

#[tokio::test]
async fn a_keystore_beyond_the_bound_is_refused_at_once() {
    let keystore = keystore(Kdf::SCRYPT);
    let error = pool(1, 255).decrypt(keystore, Password::new("p")).await.unwrap_err();
    assert_eq!(error, KeystoreError::Memory { needed: 256 << 20, allowed: 255 << 20 });
    let shown = "decrypting takes 256 MiB of memory, more than the 255 MiB allowed for all decryption at once";
    assert_eq!(error.to_string(), shown);
}

#[tokio::test]
async fn the_pool_opens_keystores() {
    let pool = pool(1, 16);
    let secret = interop_secret(7);
    for kdf in [ONE_MIB, Kdf::Pbkdf2 { c: 3 }] {
        let keystore = Keystore::encrypt(&secret, &Password::new("p"), "", kdf).unwrap();
        let opened = pool.decrypt(keystore.clone(), Password::new("p")).await.unwrap();
        assert_eq!(opened.public_key(), secret.public_key());
        let error = pool.decrypt(keystore, Password::new("q")).await.unwrap_err();
        assert_eq!(error, KeystoreError::WrongPassword);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_gives_its_place_back() {
    let pool = pool(1, 16);
    let mut gate = Gate::start(&pool, &[ONE_MIB]);
    gate.next_start().await;
    {
        let mut waits = pin!(pool.decrypt(keystore(ONE_MIB), Password::new("p")));
        let polled = waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending));
    }
    gate.release[0].send(()).unwrap();
    for end in gate.ends {
        timeout(SOON, end).await.unwrap().unwrap().unwrap();
    }
    assert_eq!((pool.threads.available_permits(), pool.memory.available_permits()), (1, 16));
}
