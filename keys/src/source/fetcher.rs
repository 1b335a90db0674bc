//! Fetches the secrets that key configurations point at, many of them with few clients and logins.
//!
//! In: [`RemoteSecret`]s, one by one. Out: candidates. Clients are kept as long as the fetcher, by server and login, so
//! that a thousand documents about one Vault log in once. Deliberately absent: any memory of secrets.

use super::error::SourceError;
use super::remote::RemoteSecret;
#[cfg(feature = "aws")]
use super::{AwsSecretSpec, aws};
use super::{Candidate, Fetch, Material};
#[cfg(feature = "vault")]
use super::{VaultSecretAuth, VaultSecretSpec, vault};
#[cfg(any(feature = "aws", feature = "vault"))]
use sha2::{Digest as _, Sha256};
#[cfg(any(feature = "aws", feature = "vault"))]
use std::collections::HashMap;
use std::sync::Arc;

/// A function that fetches; its clients end with its last copy. Must be called on a runtime.
#[must_use]
pub fn fetcher() -> Fetch {
    let clients = Arc::new(Clients::default());
    Arc::new(move |secret| {
        let clients = Arc::clone(&clients);
        Box::pin(async move { clients.fetch(secret).await })
    })
}

#[derive(Default)]
struct Clients {
    #[cfg(feature = "aws")]
    aws: tokio::sync::Mutex<HashMap<String, Arc<aws::Manager>>>,
    #[cfg(feature = "vault")]
    vault: tokio::sync::Mutex<HashMap<String, Arc<crate::remote::vault::Session>>>,
}

impl Clients {
    async fn fetch(&self, secret: RemoteSecret) -> Vec<Candidate> {
        match secret {
            #[cfg(feature = "aws")]
            RemoteSecret::Aws(spec) => match self.manager(&spec).await {
                Ok(manager) => manager.fetch(&spec.secret_name).await,
                Err(error) => vec![failed(&spec.secret_name, error)],
            },
            #[cfg(not(feature = "aws"))]
            RemoteSecret::Aws(spec) => vec![not_compiled(&spec.secret_name, "aws")],
            #[cfg(feature = "vault")]
            RemoteSecret::Vault(spec) => match self.session(&spec).await {
                Ok(session) => vault::fetch_with(&spec, session).await,
                Err(error) => vec![failed(&spec.key_path, error)],
            },
            #[cfg(not(feature = "vault"))]
            RemoteSecret::Vault(spec) => vec![not_compiled(&spec.key_path, "vault")],
        }
    }

    #[cfg(feature = "aws")]
    async fn manager(&self, spec: &AwsSecretSpec) -> Result<Arc<aws::Manager>, SourceError> {
        let credentials = spec.credentials.as_ref();
        let parts = [
            Some(spec.region.as_str()),
            spec.endpoint_override.as_deref(),
            credentials.map(|credentials| credentials.access_key_id.as_str()),
            credentials.map(|credentials| credentials.secret_access_key.as_str()),
        ];
        let mut managers = self.aws.lock().await;
        let name = name_of(&parts);
        if let Some(manager) = managers.get(&name) {
            return Ok(Arc::clone(manager));
        }
        let manager = Arc::new(aws::Manager::of(spec).await?);
        managers.insert(name, Arc::clone(&manager));
        Ok(manager)
    }

    #[cfg(feature = "vault")]
    async fn session(&self, spec: &VaultSecretSpec) -> Result<Arc<crate::remote::vault::Session>, SourceError> {
        let known_servers = spec.tls_known_servers_path.as_ref().map(|path| path.to_string_lossy());
        let login = match &spec.auth {
            VaultSecretAuth::Token(token) => [Some(token.as_str()), None, None].map(|part| part.map(str::to_owned)),
            VaultSecretAuth::Kubernetes { role, auth_path, token_path } => {
                [Some(role.clone()), Some(auth_path.clone()), Some(token_path.to_string_lossy().into_owned())]
            }
        }
        .map(|part| part.map(zeroize::Zeroizing::new));
        let server = format!("{}:{} {} {:?}", spec.server_host, spec.server_port, spec.tls_enabled, spec.timeout);
        let mut parts = vec![Some(server.as_str()), known_servers.as_deref()];
        parts.extend(login.iter().map(|part| part.as_ref().map(|part| part.as_str())));
        let mut sessions = self.vault.lock().await;
        let name = name_of(&parts);
        if let Some(session) = sessions.get(&name) {
            return Ok(Arc::clone(session));
        }
        let session = vault::session(spec)?;
        sessions.insert(name, Arc::clone(&session));
        Ok(session)
    }
}

/// The same for the same parts only; a hash, because some of them are secret.
#[cfg(any(feature = "aws", feature = "vault"))]
fn name_of(parts: &[Option<&str>]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        hash.update(length.to_le_bytes());
        hash.update(part.unwrap_or_default());
    }
    hex::encode(hash.finalize())
}

#[cfg(any(feature = "aws", feature = "vault"))]
fn failed(origin: &str, error: SourceError) -> Candidate {
    Candidate::new(origin, None, Material::Failed(error))
}

#[cfg(not(all(feature = "aws", feature = "vault")))]
fn not_compiled(origin: &str, feature: &str) -> Candidate {
    let problem = format!("this program was built without `{feature}`; build it with --features {feature}");
    Candidate::new(origin, None, Material::Failed(SourceError::Unsupported(problem)))
}
