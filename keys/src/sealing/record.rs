//! What a wrapped data key looks like from outside, and why one does not open; the same for every sealer.
//!
//! In: records of the replicated state. Out: [`UnwrapError`]. Deliberately absent: the layouts, which each sealer
//! documents in its own head.

use consigner_rules::command::DataKey;
use consigner_rules::primitives::ClusterId;

/// Why a wrapped data key does not open here, whatever one waits for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Another kind of sealer wrapped it.
    #[error("data key {} was wrapped by the sealer {sealer:?}, not by {own:?}", hex::encode(data_key))]
    OtherSealer {
        /// Id of the data key.
        data_key: [u8; 16],
        /// Who wrapped it.
        sealer: String,
        /// Who was asked to open it.
        own: &'static str,
    },
    /// Cut or padded.
    #[error("data key {} has {got} wrapped bytes, a length that its format does not have", hex::encode(data_key))]
    Length {
        /// Id of the data key.
        data_key: [u8; 16],
        /// Bytes found.
        got: usize,
    },
    /// Written by a later version.
    #[error("data key {} has format {format}; this version reads {own}", hex::encode(data_key))]
    Format {
        /// Id of the data key.
        data_key: [u8; 16],
        /// What the record says.
        format: u8,
        /// What this version reads.
        own: u8,
    },
    /// This node has another key file or passphrase than the one that wrapped it.
    #[error(
        "data key {} was wrapped under the key file with fingerprint {wrapped}, this node's has {own}: \
         place the same key file or passphrase on every node, and name older ones as previous",
        hex::encode(data_key)
    )]
    OtherKeyFile {
        /// Id of the data key.
        data_key: [u8; 16],
        /// Fingerprint in the record.
        wrapped: String,
        /// Fingerprint of this node's key file.
        own: String,
    },
    /// Another cluster's data key.
    #[error("data key {} belongs to cluster {wrapped}, not to {cluster}", hex::encode(data_key))]
    OtherCluster {
        /// Id of the data key.
        data_key: [u8; 16],
        /// The cluster in the record.
        wrapped: ClusterId,
        /// The cluster that asked.
        cluster: ClusterId,
    },
    /// Damaged, or another data key's record.
    #[error("data key {} was altered, or its record is another data key's", hex::encode(data_key))]
    Altered {
        /// Id of the data key.
        data_key: [u8; 16],
    },
}

/// The wrapped bytes after the version, if the record is one of this kind and version.
///
/// # Errors
/// [`UnwrapError::OtherSealer`], [`UnwrapError::Format`], and [`UnwrapError::Length`] when there is nothing at all.
pub(super) fn body<'a>(data_key: &'a DataKey, own: &'static str, version: u8) -> Result<&'a [u8], UnwrapError> {
    let id = data_key.id;
    if data_key.sealer != own {
        return Err(UnwrapError::OtherSealer { data_key: id, sealer: data_key.sealer.clone(), own });
    }
    // The version before the length: a later one may well have another.
    match data_key.wrapped.split_first() {
        None => Err(UnwrapError::Length { data_key: id, got: 0 }),
        Some((format, body)) if *format == version => Ok(body),
        Some((format, _)) => Err(UnwrapError::Format { data_key: id, format: *format, own: version }),
    }
}
