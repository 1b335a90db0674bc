//! Vault's transit engine, played by OpenBao.

use super::{Service, ServiceError};
use serde_json::{Value, json};

/// Names the program.
const VARIABLE: &str = "CONSIGNER_BAO";

/// Of the development server; no node gets it.
const ROOT: &str = "root";

/// The transit key.
const KEY: &str = "consigner";

/// What a node may do.
const POLICY: &str = r#"path "transit/encrypt/consigner" { capabilities = ["update"] }
path "transit/decrypt/consigner" { capabilities = ["update"] }"#;

/// What a node may do once its access is revoked.
const NOTHING: &str = r#"path "transit/nothing" { capabilities = ["deny"] }"#;

/// A Vault with one transit key and one token that may use it.
pub struct Vault {
    service: Service,
    token: String,
}

impl Vault {
    /// Starts it, makes key, policy and token.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn start() -> Result<Self, ServiceError> {
        let arguments = |port: u16| {
            let listen = format!("-dev-listen-address=127.0.0.1:{port}");
            vec!["server".to_owned(), "-dev".to_owned(), format!("-dev-root-token-id={ROOT}"), listen]
        };
        let service = Service::start("bao", VARIABLE, arguments, "/v1/sys/health").await?;
        let mut vault = Self { service, token: String::new() };
        vault.operate("POST", "/v1/sys/mounts/transit", json!({"type": "transit"})).await?;
        vault.operate("POST", &format!("/v1/transit/keys/{KEY}"), json!({})).await?;
        vault.restore().await?;
        let token = json!({"policies": [KEY], "period": "1h"});
        let made = vault.operate("POST", "/v1/auth/token/create", token).await?;
        made["auth"]["client_token"].as_str().unwrap_or_default().clone_into(&mut vault.token);
        Ok(vault)
    }

    /// The section `vault-transit` of a node's configuration, in one line; the token lies in `token_file`.
    #[must_use]
    pub fn section(&self, token_file: &str) -> String {
        format!("{{address: \"{}\", key: {KEY}, auth: token, token-file: \"{token_file}\"}}", self.service.url())
    }

    /// The token of the nodes.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// From now on the nodes get 403.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn revoke(&self) -> Result<(), ServiceError> {
        self.policy(NOTHING).await
    }

    /// From now on they get answers again.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn restore(&self) -> Result<(), ServiceError> {
        self.policy(POLICY).await
    }

    async fn policy(&self, text: &str) -> Result<(), ServiceError> {
        self.operate("PUT", &format!("/v1/sys/policies/acl/{KEY}"), json!({"policy": text})).await.map(|_| ())
    }

    async fn operate(&self, method: &str, path: &str, body: Value) -> Result<Value, ServiceError> {
        self.service.call(method, path, &[("X-Vault-Token", ROOT)], &body).await
    }
}
