//! The sealer of Vault's transit engine: data keys are made here, and wrapped and opened there.
//!
//! In: the name of a transit key of an AEAD type (`aes256-gcm96`, the default, or `chacha20-poly1305`). Out: wrapped
//! data keys for the replicated state, and opened ones. `encrypt` and not `datakey`, because only `encrypt` takes
//! associated data: cluster id and data-key id, so that a record that was moved to another cluster or another data key
//! does not open. The same two stand inside the plaintext, so that a server that is too old to know associated data
//! deceives nobody; and they are sent as context, which a derived key asks for and any other ignores. Deliberately
//! absent: creating the transit key (grant `update` on `encrypt` and `decrypt`, not `create`, or a mistyped name
//! creates one).
//!
//! Wrapped form, version 1: version (1), cluster id (16), length of the path (2, big endian), path (`mount/key`),
//! ciphertext as Vault gave it (`vault:v1:..`). The path says which key opens the record although the configuration
//! names another by now.

use super::record::{self, UnwrapError};
use super::sealer::{Sealer, SealerError};
use super::{PlainDataKey, cipher};
use crate::remote::guard::{ATTEMPT_DEADLINE, Call};
use crate::remote::vault::{self, Login, Session, VaultConfig};
use crate::remote::{CallError, ConfigError, Failure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consigner_rules::command::DataKey;
use consigner_rules::primitives::ClusterId;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use vaultrs::api::transit::requests::{DecryptDataRequest, EncryptDataRequest};
use vaultrs::transit::data;
use zeroize::Zeroizing;

/// Name of this sealer in [`DataKey::sealer`].
pub const VAULT_TRANSIT_SEALER: &str = "vault-transit";

const WRAPPED_VERSION: u8 = 1;
const ENCRYPT: &str = "vault:transit/encrypt";
const DECRYPT: &str = "vault:transit/decrypt";
/// What the server says of a ciphertext that is not of this key and these associated data.
const FOREIGN: &[&str] = &["message authentication failed", "invalid ciphertext", "could not decode", "too short"];

const BINDING_BYTES: usize = ClusterId::LENGTH + 16;
const PLAINTEXT_BYTES: usize = BINDING_BYTES + 32;

/// Which transit key, and how the server is reached.
#[derive(Debug, Clone)]
pub struct VaultTransitConfig {
    /// Server and login.
    pub vault: VaultConfig,
    /// Mount of the engine, `transit`.
    pub mount: String,
    /// Name of the key.
    pub key: String,
}

/// Wraps and opens data keys under a transit key.
pub struct VaultTransitSealer {
    session: Arc<Session>,
    path: KeyPath,
    namespace: Option<String>,
    /// The newest version of the key that the server used; 0 while it is not known.
    version: AtomicU32,
}

impl VaultTransitSealer {
    /// Sets up the client and starts to log in; waits for no answer, so a node starts while Vault is away. Must be
    /// called on a runtime.
    ///
    /// # Errors
    /// [`SealerError::Config`] for an address, CA file or name that cannot be used.
    pub fn connect(config: VaultTransitConfig) -> Result<Self, SealerError> {
        let path = format!("{}/{}", config.mount.trim_matches('/'), config.key);
        let path = KeyPath::parse(&path).filter(|path| path.key == config.key).ok_or_else(|| ConfigError::Value {
            what: "mount and name of the transit key",
            problem: format!("{path:?} is not a path of mount and name"),
        })?;
        let namespace = config.vault.namespace.clone();
        let session = Session::open(config.vault, VAULT_TRANSIT_SEALER, ATTEMPT_DEADLINE)?;
        Ok(Self { session, path, namespace, version: AtomicU32::new(0) })
    }

    async fn new_data_key(&self, cluster_id: &ClusterId) -> Result<(DataKey, PlainDataKey), SealerError> {
        let id: [u8; 16] = cipher::random().map_err(SealerError::NewDataKey)?;
        let secret = Zeroizing::new(cipher::random::<32>().map_err(SealerError::NewDataKey)?);
        let ciphertext = self.encrypt(&binding(cluster_id, &id), &secret).await?;
        let path = self.path.to_string();
        let path_length = u16::try_from(path.len()).map_err(|_| self.malformed(ENCRYPT))?;
        let header = [&[WRAPPED_VERSION], cluster_id.as_bytes().as_slice(), &path_length.to_be_bytes()].concat();
        let wrapped = [header.as_slice(), path.as_bytes(), ciphertext.as_bytes()].concat();
        let data_key = DataKey { id, sealer: VAULT_TRANSIT_SEALER.to_owned(), wrapped };
        Ok((data_key, PlainDataKey::new(id, *cluster_id, &secret)))
    }

    async fn encrypt(&self, binding: &[u8; BINDING_BYTES], secret: &[u8; 32]) -> Result<String, CallError> {
        let mut plaintext = Zeroizing::new([0_u8; PLAINTEXT_BYTES]);
        cipher::concatenate(plaintext.as_mut_slice(), &[binding, secret]);
        let plaintext = Zeroizing::new(STANDARD.encode(plaintext.as_slice()));
        let bound = STANDARD.encode(binding);
        let key = self.path.to_string();
        let call = Call { name: ENCRYPT, key: &key };
        let place = self.path.for_policy("encrypt");
        let (place, mount, key) = (&place, &self.path.mount, &self.path.key);
        let answer = self
            .session
            .call(call, |login: Arc<Login>| {
                let (plaintext, bound) = (plaintext.as_str(), bound.as_str());
                async move {
                    let mut options = EncryptDataRequest::builder();
                    options.associated_data(bound).context(bound);
                    let answer = data::encrypt(&login.client, mount, key, plaintext, Some(&mut options)).await;
                    answer.map_err(|error| vault::failed(call, &self.session.place(place, "update"), &error))
                }
            })
            .await?;
        let version = version_of(&answer.ciphertext).ok_or_else(|| self.malformed(ENCRYPT))?;
        self.version.fetch_max(version, Ordering::Relaxed);
        Ok(answer.ciphertext)
    }

    async fn open(&self, data_key: &DataKey, cluster_id: &ClusterId) -> Result<PlainDataKey, SealerError> {
        let wrapped = Wrapped::parse(data_key)?;
        let id = data_key.id;
        if wrapped.cluster_id != *cluster_id {
            let (wrapped, cluster) = (wrapped.cluster_id, *cluster_id);
            return Err(UnwrapError::OtherCluster { data_key: id, wrapped, cluster }.into());
        }
        let binding = binding(cluster_id, &id);
        let plaintext = self.decrypt(&wrapped, &binding).await?;
        let secret = plaintext.and_then(|plaintext| secret_of(&plaintext, &binding));
        let secret = secret.ok_or(UnwrapError::Altered { data_key: id })?;
        Ok(PlainDataKey::new(id, *cluster_id, &secret))
    }

    /// The plaintext in base64, or nothing if this is no ciphertext of this key and binding.
    async fn decrypt(
        &self,
        wrapped: &Wrapped<'_>,
        binding: &[u8; BINDING_BYTES],
    ) -> Result<Option<Zeroizing<String>>, CallError> {
        let bound = STANDARD.encode(binding);
        let key = wrapped.path.to_string();
        let call = Call { name: DECRYPT, key: &key };
        let place = wrapped.path.for_policy("decrypt");
        let (place, mount, key, ciphertext) = (&place, &wrapped.path.mount, &wrapped.path.key, wrapped.ciphertext);
        self.session
            .call(call, |login: Arc<Login>| {
                let bound = bound.as_str();
                async move {
                    let mut options = DecryptDataRequest::builder();
                    options.associated_data(bound).context(bound);
                    match data::decrypt(&login.client, mount, key, ciphertext, Some(&mut options)).await {
                        Ok(answer) => Ok(Some(Zeroizing::new(answer.plaintext))),
                        // The server answered: nothing to try again.
                        Err(error) if vault::says(&error, FOREIGN) => Ok(None),
                        Err(error) => Err(vault::failed(call, &self.session.place(place, "update"), &error)),
                    }
                }
            })
            .await
    }

    /// Encrypts nothing of value: the answer names the newest version, and that needs no right beyond those that the
    /// sealer needs anyway, unlike reading the key.
    async fn ask_for_current(&self) -> Result<(), SealerError> {
        self.encrypt(&[0; BINDING_BYTES], &[0; 32]).await?;
        Ok(())
    }

    fn malformed(&self, name: &'static str) -> CallError {
        let key = self.path.to_string();
        let problem = "the answer has no ciphertext of a known form".to_owned();
        Call { name, key: &key }.failed(Failure::Malformed, self.session.endpoint(), Some(problem))
    }
}

impl Sealer for VaultTransitSealer {
    fn kind(&self) -> &'static str {
        VAULT_TRANSIT_SEALER
    }

    fn master(&self) -> String {
        let namespace = self.namespace.as_deref().map(|namespace| format!(" in namespace {namespace}"));
        let version = match self.version.load(Ordering::Relaxed) {
            0 => String::new(),
            version => format!(" version {version}"),
        };
        format!("{}{version}{}", self.path, namespace.unwrap_or_default())
    }

    fn is_current(&self, data_key: &DataKey) -> bool {
        let Ok(wrapped) = Wrapped::parse(data_key) else { return false };
        let version = version_of(wrapped.ciphertext).unwrap_or(0);
        wrapped.path == self.path && version >= self.version.load(Ordering::Relaxed)
    }

    fn refresh<'a>(&'a self, _: &'a ClusterId) -> BoxFuture<'a, Result<(), SealerError>> {
        Box::pin(self.ask_for_current())
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

impl fmt::Debug for VaultTransitSealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VaultTransitSealer({})", self.path)
    }
}

/// Mount and name of a transit key.
#[derive(Clone, PartialEq, Eq)]
struct KeyPath {
    mount: String,
    key: String,
}

impl KeyPath {
    fn parse(path: &str) -> Option<Self> {
        // The name of a transit key has no slash, a mount may have several.
        let (mount, key) = path.rsplit_once('/').filter(|_| vault::is_path(path))?;
        Some(Self { mount: mount.to_owned(), key: key.to_owned() })
    }

    fn for_policy(&self, operation: &str) -> String {
        format!("{}/{operation}/{}", self.mount, self.key)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.mount, self.key)
    }
}

/// The parts of [`DataKey::wrapped`].
struct Wrapped<'a> {
    cluster_id: ClusterId,
    path: KeyPath,
    ciphertext: &'a str,
}

impl<'a> Wrapped<'a> {
    fn parse(data_key: &'a DataKey) -> Result<Self, UnwrapError> {
        let body = record::body(data_key, VAULT_TRANSIT_SEALER, WRAPPED_VERSION)?;
        Self::split(body).ok_or(UnwrapError::Length { data_key: data_key.id, got: data_key.wrapped.len() })
    }

    fn split(bytes: &'a [u8]) -> Option<Self> {
        let (cluster_id, bytes) = bytes.split_first_chunk()?;
        let (path_length, bytes) = bytes.split_first_chunk()?;
        let (path, ciphertext) = bytes.split_at_checked(usize::from(u16::from_be_bytes(*path_length)))?;
        let path = KeyPath::parse(std::str::from_utf8(path).ok()?)?;
        let ciphertext = std::str::from_utf8(ciphertext).ok().filter(|text| !text.is_empty())?;
        Some(Self { cluster_id: ClusterId(*cluster_id), path, ciphertext })
    }
}

/// What a data key is bound to.
fn binding(cluster_id: &ClusterId, data_key: &[u8; 16]) -> [u8; BINDING_BYTES] {
    let mut binding = [0_u8; BINDING_BYTES];
    cipher::concatenate(&mut binding, &[cluster_id.as_bytes(), data_key]);
    binding
}

/// The data key, if the plaintext is one of this binding.
fn secret_of(plaintext: &str, binding: &[u8; BINDING_BYTES]) -> Option<Zeroizing<[u8; 32]>> {
    let plaintext = Zeroizing::new(STANDARD.decode(plaintext).ok()?);
    let secret = plaintext.strip_prefix(binding.as_slice())?;
    <[u8; 32]>::try_from(secret).ok().map(Zeroizing::new)
}

/// The version of the transit key, from `vault:v3:..`.
fn version_of(ciphertext: &str) -> Option<u32> {
    ciphertext.strip_prefix("vault:v")?.split_once(':')?.0.parse().ok()
}
