//! The sealer of AWS KMS: data keys come from `GenerateDataKey` and are opened by `Decrypt`.
//!
//! In: the id of a symmetric KMS key. Out: wrapped data keys for the replicated state, and opened ones. KMS binds each
//! to the encryption context {`consigner:cluster-id`, `consigner:data-key-id`}, so a record that was moved to another
//! cluster or another data key does not open, and a key policy can name the cluster. One data key seals the keys of
//! many validators, so the public key is not part of that context: it is bound by the associated data of each sealed
//! key. Deliberately absent: the rotation of key material inside KMS, which needs nothing from us.
//!
//! Wrapped form, version 1: version (1), cluster id (16), length of the KMS key's ARN (2, big endian), the ARN as KMS
//! gave it, ciphertext blob. ARN and cluster id stand in clear: the first says which key opens the record although the
//! configuration names another by now, the second tells a foreign record from a damaged one.

use super::record::{self, UnwrapError};
use super::sealer::{Sealer, SealerError};
use super::{PlainDataKey, cipher};
use crate::remote::aws::{self, AwsConfig};
use crate::remote::guard::{ATTEMPT_DEADLINE, Call, Guard};
use crate::remote::{CallError, ConfigError, Failure};
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use consigner_rules::command::DataKey;
use consigner_rules::primitives::ClusterId;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// Name of this sealer in [`DataKey::sealer`].
pub const AWS_KMS_SEALER: &str = "aws-kms";

const WRAPPED_VERSION: u8 = 1;
const GENERATE: &str = "kms:GenerateDataKey";
const DECRYPT: &str = "kms:Decrypt";

/// Which KMS key, and how KMS is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKmsConfig {
    /// Id, ARN, alias name or alias ARN of a symmetric key.
    pub key_id: String,
    /// Region, endpoint, profile.
    pub aws: AwsConfig,
}

/// Wraps and opens data keys under a KMS key.
pub struct AwsKmsSealer {
    client: Client,
    key_id: String,
    guard: Guard,
    /// The ARN behind `key_id`, as far as KMS told: an alias can be moved at any time.
    current: Mutex<Option<String>>,
}

impl AwsKmsSealer {
    /// Sets up the client; makes no call to KMS, so a node starts while KMS is away.
    ///
    /// # Errors
    /// [`SealerError::Config`] without a region.
    pub async fn connect(config: AwsKmsConfig) -> Result<Self, SealerError> {
        if config.key_id.trim().is_empty() {
            let problem = "empty; give the id, ARN or alias of a symmetric key".to_owned();
            return Err(ConfigError::Value { what: "KMS key id", problem }.into());
        }
        let loaded = aws::load(&config.aws, None).await?;
        let guard = Guard::new(AWS_KMS_SEALER, aws::endpoint("AWS KMS", &loaded), ATTEMPT_DEADLINE);
        let current = Mutex::new(config.key_id.starts_with("arn:").then(|| config.key_id.clone()));
        let sealer = Self { client: Client::new(&loaded), key_id: config.key_id, guard, current };
        sealer.forget_unless_key();
        Ok(sealer)
    }

    /// An alias has an ARN too, which is not that of its key.
    fn forget_unless_key(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = current.take().filter(|arn| arn.contains(":key/"));
    }

    async fn new_data_key(&self, cluster_id: &ClusterId) -> Result<(DataKey, PlainDataKey), SealerError> {
        let id: [u8; 16] = cipher::random().map_err(SealerError::NewDataKey)?;
        let fresh = self.generate_under(&self.key_id, cluster_id, &id).await?;
        let arn_length = u16::try_from(fresh.arn.len()).map_err(|_| self.malformed(GENERATE, "a key id too long"))?;
        let header = [&[WRAPPED_VERSION], cluster_id.as_bytes().as_slice(), &arn_length.to_be_bytes()].concat();
        let wrapped = [header.as_slice(), fresh.arn.as_bytes(), &fresh.blob].concat();
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.arn);
        let data_key = DataKey { id, sealer: AWS_KMS_SEALER.to_owned(), wrapped };
        Ok((data_key, PlainDataKey::new(id, *cluster_id, &fresh.secret)))
    }

    async fn generate_under(&self, key_id: &str, cluster: &ClusterId, id: &[u8; 16]) -> Result<Fresh, CallError> {
        let call = Call { name: GENERATE, key: key_id };
        let request = || async {
            let request = self.client.generate_data_key().key_id(key_id).key_spec(DataKeySpec::Aes256);
            let answer = request.set_encryption_context(Some(context(cluster, id))).send().await;
            let answer = answer.map_err(|error| aws::failed(call, self.guard.endpoint(), &error))?;
            let secret = answer.plaintext.and_then(secret_of);
            let (blob, arn) = (answer.ciphertext_blob.map(Blob::into_inner), answer.key_id);
            match (secret, blob, arn) {
                (Some(secret), Some(blob), Some(arn)) => Ok(Fresh { secret, blob, arn }),
                _ => Err(self.malformed(GENERATE, "neither 32 bytes, a blob or a key id may be missing")),
            }
        };
        self.guard.call(call, request).await
    }

    async fn open(&self, data_key: &DataKey, cluster_id: &ClusterId) -> Result<PlainDataKey, SealerError> {
        let wrapped = Wrapped::parse(data_key)?;
        let id = data_key.id;
        if wrapped.cluster_id != *cluster_id {
            let (wrapped, cluster) = (wrapped.cluster_id, *cluster_id);
            return Err(UnwrapError::OtherCluster { data_key: id, wrapped, cluster }.into());
        }
        let call = Call { name: DECRYPT, key: wrapped.arn };
        let request = || async {
            let request = self.client.decrypt().key_id(wrapped.arn).ciphertext_blob(Blob::new(wrapped.blob));
            match request.set_encryption_context(Some(context(cluster_id, &id))).send().await {
                Ok(answer) => {
                    let secret = answer.plaintext.and_then(secret_of);
                    secret.map(Some).ok_or_else(|| self.malformed(DECRYPT, "the plaintext has not 32 bytes"))
                }
                // KMS answered: this blob is not of this key and this context. Nothing to try again.
                Err(error) if is_foreign(aws::code(&error)) => Ok(None),
                Err(error) => Err(aws::failed(call, self.guard.endpoint(), &error)),
            }
        };
        let secret = self.guard.call(call, request).await?;
        let secret = secret.ok_or(UnwrapError::Altered { data_key: id })?;
        Ok(PlainDataKey::new(id, *cluster_id, &secret))
    }

    /// Asks for a data key that nobody uses: that needs no right beyond those that the sealer needs anyway, unlike
    /// `kms:DescribeKey`.
    async fn ask_for_current(&self, cluster_id: &ClusterId) -> Result<(), SealerError> {
        let fresh = self.generate_under(&self.key_id, cluster_id, &[0; 16]).await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.arn);
        Ok(())
    }

    fn malformed(&self, name: &'static str, problem: &str) -> CallError {
        Call { name, key: &self.key_id }.failed(Failure::Malformed, self.guard.endpoint(), Some(problem.to_owned()))
    }
}

impl Sealer for AwsKmsSealer {
    fn kind(&self) -> &'static str {
        AWS_KMS_SEALER
    }

    fn master(&self) -> String {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.as_ref() {
            Some(arn) if *arn != self.key_id => format!("{} ({arn})", self.key_id),
            Some(_) | None => self.key_id.clone(),
        }
    }

    fn is_current(&self, data_key: &DataKey) -> bool {
        let Ok(wrapped) = Wrapped::parse(data_key) else { return false };
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.as_ref() {
            Some(arn) => arn == wrapped.arn,
            None if self.key_id.contains("alias/") => true,
            None => wrapped.arn.rsplit('/').next() == Some(self.key_id.as_str()),
        }
    }

    fn refresh<'a>(&'a self, cluster_id: &'a ClusterId) -> BoxFuture<'a, Result<(), SealerError>> {
        Box::pin(self.ask_for_current(cluster_id))
    }

    fn generate<'a>(
        &'a self,
        cluster_id: &'a ClusterId,
    ) -> BoxFuture<'a, Result<(DataKey, PlainDataKey), SealerError>> {
        Box::pin(self.new_data_key(cluster_id))
    }

    fn unwrap<'a>(
        &'a self,
        data_key: &'a DataKey,
        cluster_id: &'a ClusterId,
    ) -> BoxFuture<'a, Result<PlainDataKey, SealerError>> {
        Box::pin(self.open(data_key, cluster_id))
    }
}

impl fmt::Debug for AwsKmsSealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AwsKmsSealer({})", self.key_id)
    }
}

/// A data key as KMS gave it.
struct Fresh {
    secret: Zeroizing<[u8; 32]>,
    blob: Vec<u8>,
    arn: String,
}

/// The parts of [`DataKey::wrapped`].
struct Wrapped<'a> {
    cluster_id: ClusterId,
    arn: &'a str,
    blob: &'a [u8],
}

impl<'a> Wrapped<'a> {
    fn parse(data_key: &'a DataKey) -> Result<Self, UnwrapError> {
        let body = record::body(data_key, AWS_KMS_SEALER, WRAPPED_VERSION)?;
        Self::split(body).ok_or(UnwrapError::Length { data_key: data_key.id, got: data_key.wrapped.len() })
    }

    fn split(bytes: &'a [u8]) -> Option<Self> {
        let (cluster_id, bytes) = bytes.split_first_chunk()?;
        let (arn_length, bytes) = bytes.split_first_chunk()?;
        let (arn, blob) = bytes.split_at_checked(usize::from(u16::from_be_bytes(*arn_length)))?;
        let arn = std::str::from_utf8(arn).ok().filter(|arn| !arn.is_empty())?;
        (!blob.is_empty()).then_some(Self { cluster_id: ClusterId(*cluster_id), arn, blob })
    }
}

/// The plaintext, if it is a data key; whatever it is, it is erased.
fn secret_of(plaintext: Blob) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(plaintext.into_inner());
    <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new)
}

fn context(cluster_id: &ClusterId, data_key: &[u8; 16]) -> HashMap<String, String> {
    HashMap::from([
        ("consigner:cluster-id".to_owned(), hex::encode(cluster_id.as_bytes())),
        ("consigner:data-key-id".to_owned(), hex::encode(data_key)),
    ])
}

fn is_foreign(code: Option<&str>) -> bool {
    matches!(code, Some("InvalidCiphertextException" | "IncorrectKeyException"))
}
