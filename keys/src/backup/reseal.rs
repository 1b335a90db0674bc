//! Keys of one cluster, sealed anew for another: what a restore does with the keys of a lost cluster.
//!
//! In: wrapped data keys and sealed keys of the old cluster, the sealers that open them, the sealer of the new cluster.
//! Out: one new data key and every key sealed under it, bound to the new cluster's id. A record that was bound to the
//! old cluster opens for nobody afterwards. Deliberately absent: plaintext keys that outlive the call.

use crate::sealing::{PlainDataKey, SealError, SealerError, Sealers, UnsealError, seal, unseal};
use consigner_rules::command::{DataKey, SealedKey};
use consigner_rules::primitives::{ClusterId, PublicKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The sealers of a cluster. A passphrase is stretched with the cluster's id, so either cluster has its own.
pub struct Side<'a> {
    /// What opens and wraps for it.
    pub sealers: &'a Sealers,
    /// Which cluster.
    pub cluster: ClusterId,
}

/// What the new cluster holds.
#[derive(Debug, Default)]
pub struct Resealed {
    /// One, or none without keys.
    pub data_keys: Vec<DataKey>,
    /// As many as came, in their order.
    pub keys: Vec<SealedKey>,
}

/// Why keys cannot be taken over. Names records, never secrets.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// Its sealer is not configured.
    #[error(
        "data key {} was wrapped by the sealer {sealer}, which the configuration does not set up",
        hex::encode(data_key)
    )]
    NoSealer {
        /// Id of the data key.
        data_key: [u8; 16],
        /// The kind that is missing.
        sealer: String,
    },
    /// A key lies under a data key that did not come with it.
    #[error("the key of {public_key} lies under data key {}, which is missing", hex::encode(data_key))]
    NoDataKey {
        /// The validator.
        public_key: PublicKey,
        /// Id of the data key.
        data_key: [u8; 16],
    },
    /// A data key of the old cluster does not open.
    #[error("data key {} of the old cluster does not open", hex::encode(data_key))]
    Open {
        /// Id of the data key.
        data_key: [u8; 16],
        /// What the sealer said.
        source: SealerError,
    },
    /// The sealer of the new cluster makes no data key.
    #[error("no data key can be made for the new cluster")]
    NewDataKey(#[source] SealerError),
    /// A key does not open as the old cluster's.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    /// A key cannot be sealed for the new cluster.
    #[error("the key of {public_key} cannot be sealed for the new cluster")]
    Seal {
        /// The validator.
        public_key: PublicKey,
        /// Why not.
        source: SealError,
    },
    /// A record whose secret is another validator's.
    #[error("the record of {public_key} holds the secret key of another validator")]
    OtherSecret {
        /// The validator.
        public_key: PublicKey,
    },
    /// A bug.
    #[error("sealing the keys anew panicked")]
    Panicked,
}

/// Opens every key as the old cluster's and seals it for the new one: all of them, or none.
///
/// # Errors
/// [`ResealError`] on the first key or data key that cannot be taken over.
pub async fn reseal_for(
    old: Side<'_>,
    new: Side<'_>,
    data_keys: &[DataKey],
    keys: Vec<Arc<SealedKey>>,
) -> Result<Resealed, ResealError> {
    if keys.is_empty() {
        return Ok(Resealed::default());
    }
    let opened = open_all(&old, data_keys, &keys).await?;
    let (record, data_key) = new.sealers.in_use().generate(&new.cluster).await.map_err(ResealError::NewDataKey)?;
    let (from, to) = (old.cluster, new.cluster);
    let work = move || -> Result<Vec<SealedKey>, ResealError> {
        keys.iter().map(|sealed| reseal_one(&opened, from, (&data_key, to), sealed)).collect()
    };
    let keys = tokio::task::spawn_blocking(work).await.map_err(|_| ResealError::Panicked)??;
    Ok(Resealed { data_keys: vec![record], keys })
}

type Opened = BTreeMap<[u8; 16], PlainDataKey>;

/// The data keys that are needed; one that nothing lies under may be gone from its sealer for good.
async fn open_all(old: &Side<'_>, data_keys: &[DataKey], keys: &[Arc<SealedKey>]) -> Result<Opened, ResealError> {
    let needed: BTreeSet<[u8; 16]> = keys.iter().map(|sealed| sealed.data_key).collect();
    let mut opened = Opened::new();
    for record in data_keys.iter().filter(|record| needed.contains(&record.id)) {
        let data_key = record.id;
        let sealer = old.sealers.get(&record.sealer);
        let sealer = sealer.ok_or_else(|| ResealError::NoSealer { data_key, sealer: record.sealer.clone() })?;
        let open = sealer.unwrap(record, &old.cluster).await;
        opened.insert(data_key, open.map_err(|source| ResealError::Open { data_key, source })?);
    }
    Ok(opened)
}

fn reseal_one(
    opened: &Opened,
    from: ClusterId,
    (data_key, to): (&PlainDataKey, ClusterId),
    sealed: &SealedKey,
) -> Result<SealedKey, ResealError> {
    let public_key = sealed.public_key;
    let missing = || ResealError::NoDataKey { public_key, data_key: sealed.data_key };
    let secret = unseal(opened.get(&sealed.data_key).ok_or_else(missing)?, &from, sealed)?;
    let resealed = seal(data_key, &to, &secret).map_err(|source| ResealError::Seal { public_key, source })?;
    // What was sealed must open: the record that it replaces is worth nothing in the new cluster.
    let again = unseal(data_key, &to, &resealed)?;
    if resealed.public_key != public_key || again.to_bytes() != secret.to_bytes() {
        return Err(ResealError::OtherSecret { public_key });
    }
    Ok(resealed)
}
