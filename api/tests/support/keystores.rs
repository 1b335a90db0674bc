//! Keystores, bodies of the key manager API, and the policies under which it is asked.

use super::{Ask, Node, ask};
use consigner_api::{App, KeyManagerPolicy, RateLimit, TokenHash};
use consigner_keys::keystore::Kdf;
use consigner_keys::{Keystore, Password, SecretKey};
use consigner_rules::{PublicKey, Root};
use http::Method;
use serde_json::{Value, json};

pub const KEYSTORES: &str = "/eth/v1/keystores";
pub const REMOTE_KEYS: &str = "/eth/v1/remotekeys";
pub const TOKEN: &str = "aa11bb22cc33dd44ee55ff66aa77bb88cc99dd00ee11ff22aa33bb44cc55dd66";

/// Fast to open: what is tested here is not the strength of a password.
const KDF: Kdf = Kdf::Pbkdf2 { c: 2 };

pub fn keystore(secret: &SecretKey, password: &str) -> String {
    Keystore::encrypt(secret, &Password::new(password), "m/12381/3600/0/0/0", KDF).unwrap().to_json()
}

/// The body of an import; the password of each keystore is `password i`.
pub fn import_of(secrets: &[SecretKey], history: Option<&Value>) -> Value {
    let passwords: Vec<String> = (0..secrets.len()).map(|number| format!("password {number}")).collect();
    let keystores: Vec<String> =
        secrets.iter().zip(&passwords).map(|(secret, password)| keystore(secret, password)).collect();
    let mut body = json!({"keystores": keystores, "passwords": passwords});
    if let Some(history) = history {
        body["slashing_protection"] = json!(history.to_string());
    }
    body
}

/// An interchange in which each of these validators has proposed at `slot` and voted `source` to `target`.
pub fn history(root: Root, keys: &[PublicKey], slot: u64, source: u64, target: u64) -> Value {
    let validator = |key: &PublicKey| {
        json!({
            "pubkey": key,
            "signed_blocks": [{"slot": slot.to_string()}],
            "signed_attestations": [{"source_epoch": source.to_string(), "target_epoch": target.to_string()}],
        })
    };
    let data: Vec<Value> = keys.iter().map(validator).collect();
    json!({"metadata": {"interchange_format_version": "5", "genesis_validators_root": root}, "data": data})
}

pub fn post_keys(path: &str, body: &Value) -> Ask {
    with_body(Method::POST, path, body)
}

pub fn delete_keys(path: &str, keys: &[PublicKey]) -> Ask {
    with_body(Method::DELETE, path, &json!({ "pubkeys": keys }))
}

pub fn with_body(method: Method, path: &str, body: &Value) -> Ask {
    Ask { body: body.to_string().into(), ..ask(method, path) }.by("admin")
}

/// The statuses of an answer, in order.
pub fn statuses(answer: &Value) -> Vec<&str> {
    answer["data"].as_array().unwrap().iter().map(|line| line["status"].as_str().unwrap()).collect()
}

/// What tests call as often as they like.
pub const UNHURRIED: RateLimit = RateLimit { burst: 10_000, per_second: 10_000 };

pub fn enabled(app: &mut App) {
    app.keymanager = Some(KeyManagerPolicy { token: None, rate: UNHURRIED });
}

pub fn enabled_with_token(app: &mut App) {
    app.keymanager = Some(KeyManagerPolicy { token: Some(TokenHash::of(TOKEN).unwrap()), rate: UNHURRIED });
}

impl Node {
    /// The router of the same node with the key manager API.
    pub fn manager(&self) -> axum::Router {
        consigner_api::router(self.app_with(enabled))
    }
}
