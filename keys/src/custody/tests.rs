//! Custody against a sealer that fails when told to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::development::interop_secret;
use crate::keyring::{KeyringOptions, SignError};
use crate::remote::{CallError, Failure};
use crate::sealing::{LocalSealer, Sealer};
use consigner_rules::permit::UnslashableType;
use consigner_rules::{Root, SignPermit, Unslashable};
use futures::future::BoxFuture;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const CLUSTER: ClusterId = ClusterId([7; 16]);

/// Far longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(60);

/// A local sealer that can be switched off, and counts.
struct Switched {
    inner: LocalSealer,
    down: watch::Sender<bool>,
    asked: AtomicU32,
}

impl Sealer for Switched {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn master(&self) -> String {
        self.inner.master()
    }

    fn is_current(&self, data_key: &DataKey) -> bool {
        self.inner.is_current(data_key)
    }

    fn generate<'a>(&'a self, cluster: &'a ClusterId) -> BoxFuture<'a, Result<(DataKey, PlainDataKey), SealerError>> {
        self.inner.generate(cluster)
    }

    fn unwrap<'a>(
        &'a self,
        data_key: &'a DataKey,
        cluster: &'a ClusterId,
    ) -> BoxFuture<'a, Result<PlainDataKey, SealerError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if *self.down.borrow() {
            return Box::pin(async { Err(unreachable_service().into()) });
        }
        self.inner.unwrap(data_key, cluster)
    }
}

fn unreachable_service() -> CallError {
    CallError {
        call: "test:Decrypt".to_owned(),
        key: "master".to_owned(),
        failure: Failure::Unreachable,
        hint: "start it".to_owned(),
        cause: None,
    }
}

struct Lab {
    custody: Arc<Custody>,
    sealer: Arc<Switched>,
    _folder: TempDir,
}

fn lab() -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    LocalSealer::create_key_file(&path).unwrap();
    let (down, _) = watch::channel(false);
    let sealer =
        Arc::new(Switched { inner: LocalSealer::from_key_file(&path).unwrap(), down, asked: AtomicU32::new(0) });
    let keyring = Arc::new(Keyring::new(&KeyringOptions { threads: 1, ..KeyringOptions::default() }).unwrap());
    let custody = Custody::new(keyring, Sealers::new(sealer.clone(), Vec::new()), CLUSTER);
    Lab { custody, sealer, _folder: folder }
}

impl Lab {
    /// A second node with the same key file and nothing open.
    fn restarted(&self) -> Arc<Custody> {
        let keyring = Arc::new(Keyring::new(&KeyringOptions { threads: 1, ..KeyringOptions::default() }).unwrap());
        Custody::new(keyring, Sealers::new(self.sealer.clone(), Vec::new()), CLUSTER)
    }

    async fn data_key_with(&self, keys: std::ops::Range<u64>) -> (DataKey, Vec<Arc<SealedKey>>) {
        let data_key = self.custody.generate_data_key(None).await.unwrap();
        let seal = |index| Arc::new(self.custody.seal(&data_key.id, &interop_secret(index)).unwrap());
        (data_key.clone(), keys.map(seal).collect())
    }
}

async fn until(custody: &Custody, what: &str, holds: impl Fn(&CustodyStatus) -> bool) {
    let mut turned = custody.turned.subscribe();
    let wait = async {
        while !holds(&custody.status()) {
            turned.changed().await.unwrap();
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("{what}: {:?}", custody.status()));
}

async fn settled(custody: &Custody) {
    tokio::time::timeout(LONG, custody.settled()).await.expect("settled");
}

fn permit(public_key: PublicKey) -> SignPermit {
    let kind = UnslashableType::RandaoReveal;
    SignPermit::unslashable(Unslashable { public_key, signing_root: Root([1; 32]), kind })
}

#[tokio::test]
async fn keys_open_with_their_data_key_and_one_call_serves_all() {
    let lab = lab();
    let (data_key, keys) = lab.data_key_with(0..600).await;
    let node = lab.restarted();
    node.replace(vec![data_key], keys.clone());
    assert_eq!(node.status().waiting_keys, 600);
    assert!(node.status().trouble().unwrap().contains("600 keys wait"), "{:?}", node.status().trouble());
    tokio::spawn(node.clone().run());
    settled(&node).await;
    assert_eq!((node.keyring().len(), node.status().waiting_keys), (600, 0));
    assert_eq!(node.status().trouble(), None);
    assert_eq!(lab.sealer.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sealer_that_is_down_is_asked_again_and_disables_nothing() {
    let lab = lab();
    let (first, keys) = lab.data_key_with(0..1).await;
    let (second, more) = lab.data_key_with(1..2).await;
    let node = lab.restarted();
    tokio::spawn(node.clone().run());
    node.replace(vec![first.clone()], keys.clone());
    settled(&node).await;
    assert_eq!(node.keyring().len(), 1);

    lab.sealer.down.send_replace(true);
    node.add_data_key(&second);
    node.add(&more[0], &second);
    until(&node, "the failure is noted", |status| status.data_keys.iter().any(|key| key.error.is_some())).await;
    // Who waits for an acknowledgement is not held up by a service that may be away for hours.
    settled(&node).await;
    let trouble = node.status().trouble().unwrap();
    assert!(trouble.contains(&hex::encode(second.id)) && trouble.contains("local"), "{trouble}");
    assert!(trouble.contains("test:Decrypt"), "{trouble}");
    assert_eq!(node.keyring().len(), 1, "what is open stays");
    node.replace(vec![first, second], vec![keys[0].clone(), more[0].clone()]);
    assert!(node.keyring().contains(&keys[0].public_key), "a snapshot while the sealer is down");

    lab.sealer.down.send_replace(false);
    until(&node, "the key opens after all", |status| status.waiting_keys == 0).await;
    assert_eq!(node.keyring().len(), 2);
}

#[tokio::test]
async fn a_key_removed_while_it_waits_does_not_come_back() {
    let lab = lab();
    let (data_key, keys) = lab.data_key_with(0..2).await;
    let node = lab.restarted();
    node.replace(vec![data_key.clone()], keys.clone());
    node.remove(&keys[0].public_key);
    tokio::spawn(node.clone().run());
    settled(&node).await;
    assert_eq!(node.keyring().public_keys(), [keys[1].public_key]);
    node.add(&keys[0], &data_key);
    assert_eq!(node.keyring().len(), 2, "its data key is open by now");
    node.replace(vec![data_key], vec![keys[0].clone()]);
    assert_eq!(node.keyring().public_keys(), [keys[0].public_key]);
}

#[tokio::test]
async fn a_removal_is_settled_only_when_the_signing_calls_have_ended() {
    let lab = lab();
    let (data_key, keys) = lab.data_key_with(0..1).await;
    lab.custody.replace(vec![data_key], keys.clone());
    let public_key = keys[0].public_key;
    let call = lab.custody.keyring().use_of(&public_key).unwrap();
    lab.custody.remove(&public_key);
    assert_eq!(lab.custody.keyring().sign(permit(public_key)).await, Err(SignError::UnknownKey));
    assert!(lab.custody.settled().now_or_never().is_none(), "a signing call still holds the key");
    drop(call);
    settled(&lab.custody).await;
    assert!(lab.custody.keyring().is_empty());
}

#[tokio::test]
async fn resealed_keys_open_after_a_restart_under_the_new_data_key_alone() {
    let lab = lab();
    let (_, keys) = lab.data_key_with(0..5).await;
    let second = lab.custody.generate_data_key(Some("local")).await.unwrap();
    let moved = lab.custody.reseal(&keys, &second.id).unwrap();
    assert!(moved.iter().all(|sealed| sealed.data_key == second.id));
    let node = lab.restarted();
    tokio::spawn(node.clone().run());
    node.replace(vec![second], moved.into_iter().map(Arc::new).collect());
    settled(&node).await;
    assert_eq!(node.keyring().len(), 5);
    assert!(matches!(node.reseal(&keys, &[9; 16]), Err(CustodyError::NotOpen { .. })));
}

#[tokio::test]
async fn an_altered_record_and_an_unknown_sealer_are_said() {
    let lab = lab();
    let (data_key, keys) = lab.data_key_with(0..1).await;
    let mut altered = (*keys[0]).clone();
    altered.ciphertext[0] ^= 1;
    let foreign = DataKey { id: [5; 16], sealer: "vault-transit".to_owned(), wrapped: vec![1] };
    let mut elsewhere = (*keys[0]).clone();
    (elsewhere.public_key, elsewhere.data_key) = (PublicKey([3; 48]), foreign.id);
    let node = lab.restarted();
    tokio::spawn(node.clone().run());
    node.replace(vec![data_key, foreign], vec![Arc::new(altered), Arc::new(elsewhere)]);
    until(&node, "both are noted", |status| {
        status.failed_keys == 1 && status.data_keys.iter().any(|key| key.error.is_some())
    })
    .await;
    let status = node.status();
    assert!(status.failure.as_ref().unwrap().contains("altered"), "{status:?}");
    assert!(status.trouble().unwrap().contains("keys.sealer.vault-transit"), "{:?}", status.trouble());
    assert!(matches!(node.generate_data_key(Some("aws-kms")).await, Err(CustodyError::NoSealer { .. })));
}
