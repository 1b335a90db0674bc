//! Keys in a KV engine (version 2) of a Vault server: everything below a folder, or one secret by path. Nothing but raw
//! keys in hexadecimal, one for each line, as Web3Signer reads them.
//!
//! In: a folder, or a [`VaultSecretSpec`]. Out: candidates. A secret that cannot be read becomes a candidate that says
//! why; the others go on; one whose latest version was deleted is none. Deliberately absent: keystores inside secrets,
//! and writing to Vault. Needs `list` on `<mount>/metadata/<folder>` and what is below, and `read` on `<mount>/data/..`.

use super::error::SourceError;
use super::lines::{self, SECRETS_MAX};
use super::remote::{VaultSecretAuth, VaultSecretSpec};
use super::{Candidate, Material};
use crate::remote::guard::{ATTEMPT_DEADLINE, Call};
use crate::remote::vault::{self, Login, Pins, Session, VaultAuth, VaultConfig};
use crate::remote::{CallError, ConfigError};
use futures::stream::{self, StreamExt as _};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use vaultrs::kv2;
use zeroize::Zeroizing;

/// Label of the metrics.
const SERVICE: &str = "vault-kv";
const LIST: &str = "vault:kv/metadata";
const READ: &str = "vault:kv/data";

/// Folders inside folders.
const DEPTH_MAX: usize = 8;
/// Requests under way at once.
const CONCURRENCY: usize = 4;
/// Limits of a deadline that a key configuration may ask for.
const DEADLINE_MIN: Duration = Duration::from_millis(100);
const DEADLINE_MAX: Duration = Duration::from_secs(60);
/// The field that is read when a secret has it; Web3Signer's default.
const FIELD: &str = "value";

/// All secrets below a folder.
#[derive(Debug, Clone)]
pub struct VaultKvSource {
    /// Server and login.
    pub vault: VaultConfig,
    /// Mount of the engine, `secret`.
    pub mount: String,
    /// The folder below it; empty: everything.
    pub path: String,
}

impl VaultKvSource {
    /// Lists and reads, folders inside folders too. Of each secret the field `value`, and every field if there is none
    /// of that name. Must be called on a runtime.
    ///
    /// # Errors
    /// [`SourceError`] when the settings cannot be used, a folder cannot be listed, or there are more than 100,000
    /// secrets or eight levels.
    pub async fn read(&self) -> Result<Vec<Candidate>, SourceError> {
        let (mount, path) = (self.mount.trim_matches('/').to_owned(), self.path.trim_matches('/').to_owned());
        if !vault::is_path(&mount) || !(path.is_empty() || vault::is_path(&path)) {
            return Err(SourceError::Unsupported(format!("{mount:?} and {path:?} are no mount and folder of Vault")));
        }
        let engine = Engine { session: Session::open(self.vault.clone(), SERVICE, ATTEMPT_DEADLINE)?, mount };
        let secrets = engine.list_below(path).await?;
        let read = stream::iter(secrets).map(|path| engine.read_any(path)).buffered(CONCURRENCY);
        Ok(read.collect::<Vec<_>>().await.into_iter().flatten().collect())
    }
}

/// A KV engine at a server.
pub(super) struct Engine {
    session: Arc<Session>,
    mount: String,
}

impl Engine {
    /// Paths of all secrets below a folder, in the order of their names.
    async fn list_below(&self, folder: String) -> Result<Vec<String>, SourceError> {
        let mut secrets = Vec::new();
        let mut folders = vec![(folder, 0)];
        while let Some((folder, depth)) = folders.pop() {
            let mut inside = Vec::new();
            for name in self.list(&folder).await? {
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                match path.strip_suffix('/') {
                    Some(path) => inside.push((path.to_owned(), depth + 1)),
                    None => secrets.push(path),
                }
            }
            if depth == DEPTH_MAX && !inside.is_empty() {
                return Err(SourceError::Unsupported(format!("{folder} is {DEPTH_MAX} folders deep and has more")));
            }
            if secrets.len() + inside.len() + folders.len() > SECRETS_MAX {
                return Err(SourceError::Unsupported(format!("more than {SECRETS_MAX} secrets; name a folder")));
            }
            folders.extend(inside.into_iter().rev());
        }
        Ok(secrets)
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, CallError> {
        let key = format!("{}/{folder}", self.mount);
        let call = Call { name: LIST, key: &key };
        let policy = format!("{}/metadata/{folder}", self.mount);
        let (mount, policy) = (&self.mount, &policy);
        self.session
            .call(call, |login: Arc<Login>| async move {
                let names = kv2::list(&login.client, mount, folder).await;
                names.map_err(|error| vault::failed(call, &self.session.place(policy, "list"), &error))
            })
            .await
    }

    /// The fields of a secret; nothing if its latest version was deleted.
    async fn fields(&self, path: &str) -> Result<Option<Fields>, CallError> {
        let key = format!("{}/{path}", self.mount);
        let call = Call { name: READ, key: &key };
        let policy = format!("{}/data/{path}", self.mount);
        let (mount, policy) = (&self.mount, &policy);
        self.session
            .call(call, |login: Arc<Login>| async move {
                match kv2::read::<Fields>(&login.client, mount, path).await {
                    Ok(fields) => Ok(Some(fields)),
                    Err(error) if vault::is_deleted(&error) => Ok(None),
                    Err(error) => Err(vault::failed(call, &self.session.place(policy, "read"), &error)),
                }
            })
            .await
    }

    async fn read_any(&self, path: String) -> Vec<Candidate> {
        let origin = format!("{}/{path}", self.mount);
        match self.fields(&path).await {
            Ok(Some(fields)) if fields.0.contains_key(FIELD) => fields.keys(&origin, FIELD),
            Ok(Some(fields)) if fields.0.is_empty() => vec![unsupported(&origin, "the secret has no field")],
            Ok(Some(fields)) => {
                let each = |name: &String| fields.keys(&format!("{origin}, field {name}"), name);
                fields.0.keys().flat_map(each).collect()
            }
            Ok(None) => {
                tracing::debug!(origin, "the latest version of the secret was deleted; not a key");
                Vec::new()
            }
            Err(error) => vec![lines::failed(&origin, error)],
        }
    }

    /// The keys in one field of one secret.
    pub(super) async fn read_field(&self, path: &str, field: &str) -> Vec<Candidate> {
        let origin = format!("{}/{path}", self.mount);
        match self.fields(path).await {
            Ok(Some(fields)) => fields.keys(&origin, field),
            Ok(None) => vec![unsupported(&origin, "its latest version was deleted")],
            Err(error) => vec![lines::failed(&origin, error)],
        }
    }

    /// The same server, another engine.
    pub(super) fn at(session: Arc<Session>, mount: &str) -> Self {
        Self { session, mount: mount.to_owned() }
    }
}

fn unsupported(origin: &str, problem: &str) -> Candidate {
    Candidate::new(origin, None, Material::Failed(SourceError::Unsupported(problem.to_owned())))
}

/// The text fields of a secret, erased when dropped; a field that is no text is there without one.
struct Fields(BTreeMap<String, Option<Zeroizing<String>>>);

impl Fields {
    fn keys(&self, origin: &str, field: &str) -> Vec<Candidate> {
        match self.0.get(field) {
            Some(Some(text)) => lines::keys_in(origin, text),
            Some(None) => vec![unsupported(origin, &format!("the field {field} is not text"))],
            None => vec![unsupported(origin, &format!("the secret has no field {field}"))],
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the fields of a secret")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let text = match map.next_value::<serde_json::Value>()? {
                serde_json::Value::String(text) => Some(Zeroizing::new(text)),
                serde_json::Value::Null
                | serde_json::Value::Bool(_)
                | serde_json::Value::Number(_)
                | serde_json::Value::Array(_)
                | serde_json::Value::Object(_) => None,
            };
            fields.insert(name, text);
        }
        Ok(Fields(fields))
    }
}

/// Where a key configuration points: mount and path, from `/v1/<mount>/data/<path>`.
pub(super) fn place(spec: &VaultSecretSpec) -> Option<(&str, &str)> {
    let path = spec.key_path.trim_start_matches('/');
    let path = path.strip_prefix("v1/").unwrap_or(path);
    let (mount, path) = path.split_once("/data/")?;
    (vault::is_path(mount) && vault::is_path(path)).then_some((mount, path))
}

/// A session for the server and login of a key configuration.
pub(super) fn session(spec: &VaultSecretSpec) -> Result<Arc<Session>, ConfigError> {
    let server = format!("{}:{}", spec.server_host, spec.server_port);
    let pins = spec.tls_known_servers_path.as_ref().filter(|_| spec.tls_enabled);
    let pins = pins.map(|path| Pins::read(path, &server)).transpose()?;
    let scheme = if spec.tls_enabled { "https" } else { "http" };
    let auth = match &spec.auth {
        VaultSecretAuth::Token(token) => VaultAuth::TokenText(token.clone()),
        VaultSecretAuth::Kubernetes { role, auth_path, token_path } => {
            VaultAuth::Kubernetes { mount: auth_path.clone(), role: role.clone(), jwt_file: token_path.clone() }
        }
    };
    let address = format!("{scheme}://{server}");
    let config = VaultConfig { address, namespace: None, ca: None, auth };
    Session::open_pinned(config, pins, SERVICE, spec.timeout.clamp(DEADLINE_MIN, DEADLINE_MAX))
}

/// Fetches one secret of a key configuration with a login of its own; see [`fetcher`](super::fetcher) for many. Must be
/// called on a runtime.
pub async fn fetch_vault_secret(spec: &VaultSecretSpec) -> Vec<Candidate> {
    match session(spec) {
        Ok(session) => fetch_with(spec, session).await,
        Err(error) => vec![Candidate::new(&spec.key_path, None, Material::Failed(error.into()))],
    }
}

pub(super) async fn fetch_with(spec: &VaultSecretSpec, session: Arc<Session>) -> Vec<Candidate> {
    let Some((mount, path)) = place(spec) else {
        return vec![unsupported(&spec.key_path, "keyPath has not the form /v1/<mount>/data/<path> of KV version 2")];
    };
    Engine::at(session, mount).read_field(path, &spec.key_name).await
}
