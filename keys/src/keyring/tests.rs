//! The keyring: right signatures, refusals, removal under way, overload, withdrawal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::bls::{hash_to_curve, sign_hashed, verify};
use crate::development::interop_secret;
use crate::sealing::seal;
use crate::sealing::tests::{CLUSTER, data_key, sealed_under_a_foreign_name};
use consigner_rules::permit::UnslashableType;
use consigner_rules::{Root, Unslashable};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// For conditions that hold within milliseconds on a quiet machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn permit(public_key: PublicKey, root: Root) -> SignPermit {
    SignPermit::unslashable(Unslashable { public_key, signing_root: root, kind: UnslashableType::RandaoReveal })
}

fn root(number: u8) -> Root {
    Root([number; 32])
}

fn expected(index: u64, root: &Root) -> Signature {
    sign_hashed(&interop_secret(index), &hash_to_curve(root))
}

/// A keyring with interop keys from 0 on, and their public keys.
fn keyring(threads: usize, queue: usize, keys: u64) -> (Keyring, Vec<PublicKey>) {
    let keyring = Keyring::new(&KeyringOptions { threads, queue, hashed_roots: 16 }).unwrap();
    let data_key = data_key();
    let insert = |index| {
        let sealed = seal(&data_key, &CLUSTER, &interop_secret(index)).unwrap();
        assert_eq!(keyring.insert(&sealed, &data_key, &CLUSTER), Ok(Inserted::Added));
        sealed.public_key
    };
    let names = (0..keys).map(insert).collect();
    (keyring, names)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "the condition did not come about");
        thread::yield_now();
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

#[tokio::test]
async fn signs_as_the_permit_says() {
    let (keyring, names) = keyring(2, 64, 3);
    for (index, name) in (0..).zip(&names) {
        let signature = within(keyring.sign(permit(*name, root(9)))).await.unwrap();
        assert_eq!(signature, expected(index, &root(9)));
        assert!(verify(name, &root(9), &signature));
    }
    let unknown = interop_secret(99).public_key();
    assert_eq!(within(keyring.sign(permit(unknown, root(9)))).await, Err(SignError::UnknownKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_with_one_root_get_the_signatures_of_their_keys() {
    let (keyring, names) = keyring(4, 1024, 4);
    let keyring = Arc::new(keyring);
    let calls: Vec<_> = (0..128)
        .map(|call| {
            let (keyring, index) = (Arc::clone(&keyring), call % names.len());
            let permit = permit(names[index], root(1));
            tokio::spawn(async move { (index, keyring.sign(permit).await) })
        })
        .collect();
    for call in calls {
        let (index, signature) = within(call).await.unwrap();
        assert_eq!(signature, Ok(expected(index as u64, &root(1))));
    }
}

#[tokio::test]
async fn what_is_held_can_be_asked() {
    let (keyring, mut names) = keyring(1, 4, 3);
    let mut held = keyring.public_keys();
    held.sort();
    names.sort();
    assert_eq!(held, names);
    assert_eq!((keyring.len(), keyring.is_empty()), (3, false));
    assert!(keyring.contains(&names[0]));
    assert!(!keyring.contains(&interop_secret(99).public_key()));
    assert_eq!(format!("{keyring:?}"), "Keyring(3 keys)");
}

#[tokio::test]
async fn a_key_can_be_inserted_again_and_a_record_that_does_not_open_cannot() {
    let (keyring, names) = keyring(1, 4, 1);
    let data_key = data_key();
    let mut sealed = seal(&data_key, &CLUSTER, &interop_secret(0)).unwrap();
    assert_eq!(keyring.insert(&sealed, &data_key, &CLUSTER), Ok(Inserted::AlreadyHeld));
    sealed.nonce[0] ^= 1;
    let error = UnsealError::Altered { public_key: names[0] };
    assert_eq!(keyring.insert(&sealed, &data_key, &CLUSTER), Err(error));
    assert_eq!(keyring.len(), 1);
}

#[tokio::test]
async fn a_secret_of_another_public_key_never_signs_until_the_right_one_comes() {
    let (keyring, _) = keyring(1, 4, 0);
    let (data_key, name) = (data_key(), interop_secret(5).public_key());
    let wrong = sealed_under_a_foreign_name(name, &data_key, &interop_secret(6));
    assert_eq!(keyring.insert(&wrong, &data_key, &CLUSTER), Ok(Inserted::Added));
    for _ in 0..2 {
        assert_eq!(within(keyring.sign(permit(name, root(1)))).await, Err(SignError::Mismatch));
    }
    let right = seal(&data_key, &CLUSTER, &interop_secret(5)).unwrap();
    assert_eq!(keyring.insert(&right, &data_key, &CLUSTER), Ok(Inserted::Added));
    assert_eq!(within(keyring.sign(permit(name, root(1)))).await, Ok(expected(5, &root(1))));
}

#[tokio::test]
async fn a_signature_that_is_ready_when_its_key_is_removed_is_dropped() {
    let (keyring, names) = keyring(1, 4, 1);
    let name = names[0];
    let frozen = keyring.pool.roots.freeze();
    let mut call = pin!(keyring.sign(permit(name, root(1))));
    assert!(poll(call.as_mut()).is_pending());
    drop(frozen);
    // The thread has let go of the key, so the signature lies ready; only the caller holds the key still.
    wait_until(|| keyring.pool.roots.knows(&root(1)) && keyring.keys.holds(&name) == 1);

    let mut removal = pin!(keyring.remove(&name));
    assert!(poll(removal.as_mut()).is_pending(), "a signing call is under way");
    assert!(!keyring.contains(&name));
    assert_eq!(poll(call.as_mut()), Poll::Ready(Err(SignError::UnknownKey)));
    assert_eq!(poll(removal.as_mut()), Poll::Ready(true));
}

#[tokio::test]
async fn removal_waits_for_the_thread_that_is_signing_and_spares_other_keys() {
    let (keyring, names) = keyring(1, 8, 2);
    let frozen = keyring.pool.roots.freeze();
    let mut signing = Box::pin(keyring.sign(permit(names[0], root(1))));
    assert!(poll(signing.as_mut()).is_pending());
    wait_until(|| keyring.queued() == 0);
    let mut waiting = pin!(keyring.sign(permit(names[0], root(2))));
    let mut other = pin!(keyring.sign(permit(names[1], root(3))));
    assert!(poll(waiting.as_mut()).is_pending());
    assert!(poll(other.as_mut()).is_pending());

    // The caller leaves, but the thread is in the middle of a signature with the key.
    drop(signing);
    let mut removal = pin!(keyring.remove(&names[0]));
    assert!(poll(removal.as_mut()).is_pending());
    drop(frozen);
    assert_eq!(within(waiting.as_mut()).await, Err(SignError::UnknownKey));
    assert!(within(removal.as_mut()).await);
    assert_eq!(within(other.as_mut()).await, Ok(expected(1, &root(3))));
    assert!(!keyring.pool.roots.knows(&root(2)), "no work is done for a removed key");
    assert!(!within(keyring.remove(&names[0])).await, "it is gone");
}

#[tokio::test]
async fn a_removal_nobody_waits_for_still_removes() {
    let (keyring, names) = keyring(1, 8, 1);
    let frozen = keyring.pool.roots.freeze();
    let mut call = pin!(keyring.sign(permit(names[0], root(1))));
    assert!(poll(call.as_mut()).is_pending());
    {
        let mut removal = pin!(keyring.remove(&names[0]));
        assert!(poll(removal.as_mut()).is_pending());
    }
    drop(frozen);
    assert_eq!(within(call.as_mut()).await, Err(SignError::UnknownKey));
    assert!(keyring.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_storm_nothing_signs_after_removal_and_the_key_can_come_back() {
    let (keyring, names) = keyring(4, 1024, 2);
    let (keyring, name) = (Arc::new(keyring), names[0]);
    let data_key = data_key();
    let sealed = seal(&data_key, &CLUSTER, &interop_secret(0)).unwrap();
    for round in 0..20 {
        let removed = Arc::new(AtomicBool::new(false));
        let storm: Vec<_> = (0..8)
            .map(|_| {
                let (keyring, removed) = (Arc::clone(&keyring), Arc::clone(&removed));
                tokio::spawn(async move { sign_until_removed(&keyring, name, root(round), &removed).await })
            })
            .collect();
        wait_until(|| keyring.pool.roots.knows(&root(round)));
        assert!(within(keyring.remove(&name)).await);
        removed.store(true, Ordering::SeqCst);
        for call in storm {
            within(call).await.unwrap();
        }
        assert_eq!(keyring.insert(&sealed, &data_key, &CLUSTER), Ok(Inserted::Added));
    }
    assert_eq!(within(keyring.sign(permit(name, root(99)))).await, Ok(expected(0, &root(99))));
}

async fn sign_until_removed(keyring: &Keyring, name: PublicKey, root: Root, removed: &AtomicBool) {
    loop {
        let after = removed.load(Ordering::SeqCst);
        match keyring.sign(permit(name, root)).await {
            Ok(signature) => {
                assert!(!after, "a signature after the removal");
                assert_eq!(signature, expected(0, &root));
            }
            Err(error) => {
                assert_eq!(error, SignError::UnknownKey);
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_full_queue_says_so_at_once_and_loses_nothing() {
    let (keyring, names) = keyring(1, 2, 1);
    let frozen = keyring.pool.roots.freeze();
    let mut calls = Vec::new();
    for number in 0..3 {
        let mut call = Box::pin(keyring.sign(permit(names[0], root(number))));
        assert!(poll(call.as_mut()).is_pending());
        calls.push(call);
        if number == 0 {
            wait_until(|| keyring.queued() == 0);
        }
    }
    assert_eq!(keyring.queued(), 2);
    assert_eq!(keyring.sign(permit(names[0], root(3))).await, Err(SignError::Overloaded));
    drop(frozen);
    for (number, call) in (0..).zip(calls) {
        assert_eq!(within(call).await, Ok(expected(0, &root(number))));
    }
}

#[tokio::test]
async fn work_that_nobody_waits_for_is_not_done() {
    let (keyring, names) = keyring(1, 8, 1);
    let frozen = keyring.pool.roots.freeze();
    let mut first = pin!(keyring.sign(permit(names[0], root(1))));
    assert!(poll(first.as_mut()).is_pending());
    let mut withdrawn = Box::pin(keyring.sign(permit(names[0], root(2))));
    assert!(poll(withdrawn.as_mut()).is_pending());
    drop(withdrawn);
    drop(frozen);
    assert_eq!(within(first.as_mut()).await, Ok(expected(0, &root(1))));
    assert_eq!(within(keyring.sign(permit(names[0], root(3)))).await, Ok(expected(0, &root(3))));
    assert!(!keyring.pool.roots.knows(&root(2)));
    assert_eq!(keyring.keys.holds(&names[0]), 0);
}

#[tokio::test]
async fn a_stopped_keyring_finishes_what_waits_and_takes_nothing_new() {
    let (keyring, names) = keyring(1, 8, 1);
    let frozen = keyring.pool.roots.freeze();
    let mut calls = [1, 2].map(|number| Box::pin(keyring.sign(permit(names[0], root(number)))));
    for call in &mut calls {
        assert!(poll(call.as_mut()).is_pending());
    }
    keyring.stop();
    assert_eq!(keyring.sign(permit(names[0], root(3))).await, Err(SignError::Stopped));
    drop(frozen);
    for (number, call) in (1..).zip(calls) {
        assert_eq!(within(call).await, Ok(expected(0, &root(number))));
    }
}

#[tokio::test]
async fn a_dropped_keyring_ends_its_threads_and_erases_its_keys() {
    let (keyring, names) = keyring(2, 8, 1);
    let frozen = keyring.pool.roots.freeze();
    let mut abandoned = Box::pin(keyring.sign(permit(names[0], root(1))));
    assert!(poll(abandoned.as_mut()).is_pending());
    drop(abandoned);
    drop(frozen);
    let keys = Arc::downgrade(&keyring.keys);
    drop(keyring);
    assert!(keys.upgrade().is_none(), "somebody holds the keys still");
}
