#![allow(clippy::unwrap_used, reason = "tests")]

use super::reseal::{ResealError, Side, reseal_for};
use crate::bls::SecretKey;
use crate::development::interop_secret;
use crate::sealing::{LocalSealer, SealerError, Sealers, UnsealError, UnwrapError, seal, unseal};
use consigner_rules::command::{DataKey, SealedKey};
use consigner_rules::primitives::ClusterId;
use std::sync::Arc;

const OLD: ClusterId = ClusterId([1; 16]);
const NEW: ClusterId = ClusterId([2; 16]);

fn key_file(dir: &tempfile::TempDir, name: &str) -> LocalSealer {
    let path = dir.path().join(name);
    if !path.exists() {
        LocalSealer::create_key_file(&path).unwrap();
    }
    LocalSealer::from_key_file(&path).unwrap()
}

fn sealers(sealer: LocalSealer) -> Sealers {
    Sealers::new(Arc::new(sealer), Vec::new())
}

fn secrets() -> Vec<SecretKey> {
    (0..3).map(interop_secret).collect()
}

fn old_keys(sealer: &LocalSealer) -> (DataKey, Vec<Arc<SealedKey>>) {
    let (record, data_key) = sealer.new_data_key(&OLD).unwrap();
    let keys = secrets().iter().map(|secret| Arc::new(seal(&data_key, &OLD, secret).unwrap())).collect();
    (record, keys)
}

#[tokio::test]
async fn keys_move_to_another_cluster_and_the_old_records_open_nowhere_there() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (key_file(&dir, "old"), key_file(&dir, "new").with_previous(key_file(&dir, "old")));
    let (record, keys) = old_keys(&old);
    let new = sealers(new);
    let side = |cluster| Side { sealers: &new, cluster };
    let resealed = reseal_for(side(OLD), side(NEW), std::slice::from_ref(&record), keys.clone()).await.unwrap();
    assert_eq!((resealed.data_keys.len(), resealed.keys.len()), (1, 3));
    let data_key = new.in_use().unwrap(&resealed.data_keys[0], &NEW).await.unwrap();
    for (secret, sealed) in secrets().iter().zip(&resealed.keys) {
        assert_eq!(unseal(&data_key, &NEW, sealed).unwrap().to_bytes(), secret.to_bytes());
    }
    // Associated data of the old cluster: neither its data key nor its keys open for the new one, nor the other way.
    let foreign = new.in_use().unwrap(&record, &NEW).await.unwrap_err();
    assert!(matches!(foreign, SealerError::Record(UnwrapError::OtherCluster { .. })), "{foreign}");
    let open = new.in_use().unwrap(&record, &OLD).await.unwrap();
    assert!(matches!(unseal(&open, &NEW, &keys[0]), Err(UnsealError::OtherCluster { .. })));
    assert!(matches!(unseal(&data_key, &OLD, &resealed.keys[0]), Err(UnsealError::OtherCluster { .. })));
    let mut moved = SealedKey::clone(&keys[0]);
    moved.data_key = *data_key.id();
    assert!(matches!(unseal(&data_key, &NEW, &moved), Err(UnsealError::Altered { .. })));
}

#[tokio::test]
async fn what_does_not_open_is_named_and_nothing_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let (record, keys) = old_keys(&key_file(&dir, "old"));
    let right = sealers(key_file(&dir, "old"));
    let side = |sealers, cluster| Side { sealers, cluster };
    let wrong = sealers(key_file(&dir, "other"));
    let refused = reseal_for(side(&wrong, OLD), side(&wrong, NEW), std::slice::from_ref(&record), keys.clone()).await;
    assert!(matches!(refused, Err(ResealError::Open { .. })), "{refused:?}");
    let refused = reseal_for(side(&right, OLD), side(&right, NEW), &[], keys.clone()).await;
    assert!(matches!(refused, Err(ResealError::NoDataKey { .. })), "{refused:?}");
    let other = DataKey { sealer: "aws-kms".to_owned(), ..record.clone() };
    let refused = reseal_for(side(&right, OLD), side(&right, NEW), &[other], keys.clone()).await;
    assert!(matches!(refused, Err(ResealError::NoSealer { .. })), "{refused:?}");
    // Another validator's record under this validator's name.
    let swapped = SealedKey { public_key: keys[1].public_key, ..SealedKey::clone(&keys[0]) };
    let refused = reseal_for(side(&right, OLD), side(&right, NEW), &[record], vec![Arc::new(swapped)]).await;
    assert!(matches!(refused, Err(ResealError::Unseal(UnsealError::Altered { .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_cluster_without_keys_needs_no_sealer() {
    let dir = tempfile::tempdir().unwrap();
    let sealers = sealers(key_file(&dir, "any"));
    let side = |cluster| Side { sealers: &sealers, cluster };
    let resealed = reseal_for(side(OLD), side(NEW), &[], Vec::new()).await.unwrap();
    assert!(resealed.data_keys.is_empty() && resealed.keys.is_empty());
}
