//! Policies, tokens of the cluster, and an issuer of access tokens.

use super::{Node, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use consigner_gate::oauth::{KeySet, OAuth, TokenVerifier};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The operator of [`policy`]: the administrator of a cluster without a policy.
pub const OPERATOR: &str = "  - {name: ops, certificate: {common-name: admin}, roles: [operator]}\n";

/// A policy with the role `operator`, these roles and these clients, and the operator among them.
pub fn policy(roles: &str, clients: &str) -> String {
    format!(
        "version: 1\nroles:\n  operator: {{operations: [\"admin.*\", \"keymanager.*\"]}}\n{roles}clients:\n{OPERATOR}{clients}"
    )
}

impl Node {
    /// Applies a policy; the whole answer.
    pub async fn apply(&self, yaml: &str) -> super::Answer {
        post("/admin/v1/policy/apply", json!({"policy": yaml}).to_string()).by("admin").of(self).await
    }

    /// Applies a policy that must be accepted; the version.
    pub async fn applied(&self, yaml: &str) -> u64 {
        let answer = self.apply(yaml).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["version"].as_u64().unwrap()
    }

    /// Makes a token; its id and its text.
    pub async fn token(&self, name: &str, roles: &[&str]) -> (String, String) {
        let body = json!({"name": name, "roles": roles});
        let answer = post("/admin/v1/policy/tokens", body.to_string()).by("admin").of(self).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let made = answer.json();
        (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }

    pub async fn revoke(&self, id: &str) -> Value {
        let body = json!({"id": id}).to_string();
        let answer = post("/admin/v1/policy/tokens/revoke", body).by("admin").of(self).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }
}

pub const ISSUER: &str = "https://idp.example";
pub const AUDIENCE: &str = "consigner";

/// An issuer of access tokens whose key set lies in a file.
pub struct Issuer {
    key: KeyPair,
    _dir: TempDir,
    pub verifier: Arc<TokenVerifier>,
}

impl Issuer {
    pub fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file: PathBuf = dir.path().join("jwks.json");
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "one", "x": encode(key.der_bytes())});
        std::fs::write(&file, json!({"keys": [jwk]}).to_string()).unwrap();
        let verifier = TokenVerifier::new(OAuth {
            issuer: ISSUER.to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            keys: KeySet::File(file),
            leeway: Duration::from_secs(60),
            refresh: Duration::from_secs(600),
        });
        Self { key, _dir: dir, verifier: verifier.unwrap() }
    }

    /// An access token of the group `ops`, changed as wished.
    pub fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 3600, "iat": now, "groups": ["ops", "people"],
        });
        change(&mut claims);
        let header = encode(json!({"alg": "EdDSA", "kid": "one", "typ": "JWT"}).to_string().as_bytes());
        let signed = format!("{header}.{}", encode(claims.to_string().as_bytes()));
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(&signature))
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
