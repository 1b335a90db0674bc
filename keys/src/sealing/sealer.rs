//! What every sealer can do: make wrapped data keys and open them.
//!
//! In: a cluster id, wrapped data keys of the replicated state. Out: wrapped data keys for that state, and open ones.
//! There is one sealer of each kind, and [`DataKey::sealer`] names the kind. All configured kinds open; the one in use
//! wraps what is new. Deliberately absent: which data keys there are, when they are opened and how often that is
//! repeated (custody), and the public key of a validator: one data key seals the keys of many, so the public key is
//! bound by the associated data of each sealed key, and a wrapped data key is bound to its cluster and its own id.

use super::SealError;
use super::{PlainDataKey, UnwrapError};
use crate::remote::{CallError, ConfigError};
use consigner_rules::command::DataKey;
use consigner_rules::primitives::ClusterId;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// Wraps and opens data keys under a master key that lies elsewhere.
pub trait Sealer: Send + Sync {
    /// `local`, `aws-kms` or `vault-transit`, as in [`DataKey::sealer`].
    fn kind(&self) -> &'static str;

    /// The current master key, named for people: a fingerprint, the id of a KMS key, a path in Vault. No secret.
    fn master(&self) -> String;

    /// Whether a data key is wrapped under the current master key; if not, `rewrap` has something to do.
    fn is_current(&self, data_key: &DataKey) -> bool;

    /// Asks the service which master key is current, for [`is_current`](Self::is_current): an alias may have been moved,
    /// a key rotated. To be called before `rewrap` decides; a sealer whose master key lies here has nothing to ask.
    ///
    /// # Errors
    /// [`SealerError::Call`]; what was known before stays.
    fn refresh<'a>(&'a self, _cluster_id: &'a ClusterId) -> BoxFuture<'a, Result<(), SealerError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Makes a random data key for a cluster: wrapped for the replicated state, and open for use.
    ///
    /// # Errors
    /// [`SealerError`] when randomness or the call to the sealer's service fails.
    fn generate<'a>(&'a self, cluster_id: &'a ClusterId)
    -> BoxFuture<'a, Result<(DataKey, PlainDataKey), SealerError>>;

    /// Opens a wrapped data key of a cluster.
    ///
    /// # Errors
    /// [`SealerError`]; [`may_pass`](SealerError::may_pass) tells whether it is worth another attempt later.
    fn unwrap<'a>(
        &'a self,
        data_key: &'a DataKey,
        cluster_id: &'a ClusterId,
    ) -> BoxFuture<'a, Result<PlainDataKey, SealerError>>;
}

/// Why a data key could not be made or opened. Names calls and keys, never secrets.
#[derive(Debug, thiserror::Error)]
pub enum SealerError {
    /// The record does not open here: damaged, another cluster's, another master key's, another sealer's.
    #[error(transparent)]
    Record(#[from] UnwrapError),
    /// No new data key without randomness.
    #[error("cannot make a data key")]
    NewDataKey(#[source] SealError),
    /// The sealer cannot be set up with these settings.
    #[error("the sealer cannot be set up")]
    Config(#[from] ConfigError),
    /// A service did not do what it was asked.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl SealerError {
    /// Whether the same attempt can succeed later without a change of this node's configuration: the service is
    /// unreachable, busy or sealed, or access was revoked and may be restored. False for damage and foreign records.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Record(_) | Self::Config(_) => false,
            Self::NewDataKey(_) => true,
            Self::Call(error) => error.may_pass(),
        }
    }
}

/// The configured sealers, one of each kind, and which of them is in use.
#[derive(Clone)]
pub struct Sealers {
    /// The first is in use.
    all: Vec<Arc<dyn Sealer>>,
}

impl Sealers {
    /// `in_use` wraps new data keys; `others` only open. Of several sealers of one kind the first counts.
    #[must_use]
    pub fn new(in_use: Arc<dyn Sealer>, others: Vec<Arc<dyn Sealer>>) -> Self {
        let mut all = vec![in_use];
        all.extend(others);
        Self { all }
    }

    /// The sealer that wraps new data keys.
    #[must_use]
    pub fn in_use(&self) -> &Arc<dyn Sealer> {
        &self.all[0]
    }

    /// The sealer of a kind, if it is configured.
    #[must_use]
    pub fn get(&self, kind: &str) -> Option<&Arc<dyn Sealer>> {
        self.all.iter().find(|sealer| sealer.kind() == kind)
    }

    /// All of them, the one in use first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Sealer>> {
        self.all.iter()
    }
}

impl fmt::Debug for Sealers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.all.iter().map(|sealer| (sealer.kind(), sealer.master()))).finish()
    }
}
