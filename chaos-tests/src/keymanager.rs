//! The key manager API as its clients use it: keystores in, keystores out.
//!
//! In: keystores with passwords, public keys. Out: statuses, interchange texts; imports and deletions in the
//! [`History`](crate::oracle::History). Deliberately absent: any belief in a status (see
//! [`crate::invariants::s6`]) and, but for imports that were answered 503 and [`KeyManager::delete_until_promised`],
//! retries.

use crate::oracle::observation;
use crate::oracle::{Courier, Marks, Promise};
use bytes::Bytes;
use consigner_gate::{ClientError, Response};
use consigner_keys::keystore::Kdf;
use consigner_keys::{Keystore, KeystoreError, Password, SecretKey};
use consigner_rules::PublicKey;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the API is.
pub const KEYSTORES: &str = "/eth/v1/keystores";

/// Longer than a deletion waits for the lease of a node that does not answer, on a loaded machine.
const CALL_DEADLINE: Duration = Duration::from_secs(120);

/// How long a deletion is repeated that was not acknowledged: elections, restarts.
const PROMISE_DEADLINE: Duration = Duration::from_secs(300);

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);

/// Rounds of PBKDF2 in the keystores made here: as few as are valid, because not the key derivation is under test.
const ROUNDS: u32 = 2;

/// A keystore and what opens it.
#[derive(Clone)]
pub struct LockedKey {
    /// Whose.
    pub validator: PublicKey,
    /// EIP-2335 JSON.
    pub keystore: String,
    /// Its password.
    pub password: String,
}

/// What a deletion brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// In the order of asking: `deleted`, `not_active`, `not_found`, `error`.
    pub statuses: Vec<String>,
    /// EIP-3076 text.
    pub interchange: String,
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum KeyManagerError {
    /// No answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Another status than 200.
    #[error("{status}: {body}")]
    Status {
        /// The status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// 200, but in no known form.
    #[error("the answer cannot be read ({why}): {body}")]
    Answer {
        /// What is wrong with it.
        why: String,
        /// What it said.
        body: String,
    },
    /// No promise, however often it was asked for.
    #[error("no deletion was acknowledged within {} s; last: {last}", PROMISE_DEADLINE.as_secs())]
    NoPromise {
        /// The last answer.
        last: String,
    },
}

/// The way to the API of every node, with the certificate of an operator.
#[derive(Debug, Clone)]
pub struct KeyManager {
    courier: Arc<Courier>,
}

#[derive(Deserialize)]
struct Statuses {
    data: Vec<Status>,
    slashing_protection: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

impl LockedKey {
    /// A keystore of a secret, cheap to open.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new(secret: &SecretKey, password: &str) -> Result<Self, KeystoreError> {
        let kdf = Kdf::Pbkdf2 { c: ROUNDS };
        let keystore = Keystore::encrypt(secret, &Password::new(password), "m/12381/3600/0/0/0", kdf)?.to_json();
        Ok(Self { validator: secret.public_key(), keystore, password: password.to_owned() })
    }
}

impl KeyManager {
    /// Through this courier.
    #[must_use]
    pub const fn new(courier: Arc<Courier>) -> Self {
        Self { courier }
    }

    /// Imports keystores, with a history if one is given; answers with the status of each. Repeated while a starved
    /// cluster answers 503.
    ///
    /// # Errors
    /// See [`KeyManagerError`]. After an error the keys may have been imported all the same.
    pub async fn import(
        &self,
        node: u64,
        keys: &[LockedKey],
        interchange: Option<&str>,
    ) -> Result<Vec<String>, KeyManagerError> {
        let history = self.courier.history();
        let marks = interchange.and_then(|text| observation::marks(text.as_bytes()).ok()).unwrap_or_default();
        let begin = |key: &LockedKey| history.importing(node, key.validator, marks.get(&key.validator).copied());
        let places: Vec<usize> = keys.iter().map(begin).collect();
        let mut body = json!({
            "keystores": keys.iter().map(|key| key.keystore.as_str()).collect::<Vec<_>>(),
            "passwords": keys.iter().map(|key| key.password.as_str()).collect::<Vec<_>>(),
        });
        if let Some(text) = interchange {
            body["slashing_protection"] = text.into();
        }
        let (until, body) = (Instant::now() + PROMISE_DEADLINE, body.to_string());
        let mut is_again = false;
        // 503 says that the call may be repeated, whether or not the keys are in: one import in the history all the same.
        let response = loop {
            match self.call(node, Method::POST, body.clone()).await {
                Err(KeyManagerError::Status { status: 503, .. }) if Instant::now() < until => is_again = true,
                other => break other?,
            }
            tokio::time::sleep(AGAIN).await;
        };
        places.into_iter().for_each(|place| history.imported(place));
        let answer: Statuses = read(&response)?;
        let status = |entry: Status| match entry.status.as_str() {
            "duplicate" if is_again => "imported".to_owned(),
            _ => entry.status,
        };
        Ok(answer.data.into_iter().map(status).collect())
    }

    /// Deletes keys, once.
    ///
    /// # Errors
    /// See [`KeyManagerError`]. After an error the keys may have been deleted all the same.
    pub async fn delete(&self, node: u64, keys: &[PublicKey]) -> Result<Deleted, KeyManagerError> {
        let history = self.courier.history();
        let places: Vec<usize> = keys.iter().map(|key| history.deleting(node, *key)).collect();
        let response = self.call(node, Method::DELETE, json!({"pubkeys": keys}).to_string()).await?;
        let at = history.acknowledged().await;
        let answer: Statuses = read(&response)?;
        let statuses: Vec<String> = answer.data.into_iter().map(|entry| entry.status).collect();
        let unreadable = |why: String| KeyManagerError::Answer { why, body: text(&response) };
        let interchange = answer.slashing_protection.ok_or_else(|| unreadable("no slashing_protection".to_owned()))?;
        let all = observation::marks(interchange.as_bytes()).map_err(unreadable)?;
        for ((key, place), status) in keys.iter().zip(places).zip(&statuses) {
            if matches!(status.as_str(), "deleted" | "not_active") {
                let marks: Marks = all.get(key).copied().unwrap_or_default();
                history.deleted(place, Promise { at, marks });
            }
        }
        Ok(Deleted { statuses, interchange })
    }

    /// Deletes keys, again and again until the promise is given for all of them.
    ///
    /// # Errors
    /// Not in time.
    pub async fn delete_until_promised(&self, node: u64, keys: &[PublicKey]) -> Result<Deleted, KeyManagerError> {
        let until = Instant::now() + PROMISE_DEADLINE;
        loop {
            let outcome = self.delete(node, keys).await;
            match &outcome {
                Ok(deleted) if deleted.is_promise() => return outcome,
                Ok(_) | Err(_) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
                Ok(deleted) => return Err(KeyManagerError::NoPromise { last: format!("{deleted:?}") }),
                Err(error) => return Err(KeyManagerError::NoPromise { last: error.to_string() }),
            }
        }
    }

    async fn call(&self, node: u64, method: Method, body: String) -> Result<Response, KeyManagerError> {
        let response = self.courier.operate(node, method, KEYSTORES, Bytes::from(body), CALL_DEADLINE).await?;
        if response.status == 200 {
            return Ok(response);
        }
        Err(KeyManagerError::Status { status: response.status.as_u16(), body: text(&response) })
    }
}

impl Deleted {
    /// Whether all keys asked for sign no more.
    #[must_use]
    pub fn is_promise(&self) -> bool {
        self.statuses.iter().all(|status| matches!(status.as_str(), "deleted" | "not_active"))
    }
}

impl std::fmt::Debug for LockedKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "LockedKey({})", self.validator)
    }
}

fn read<T: serde::de::DeserializeOwned>(response: &Response) -> Result<T, KeyManagerError> {
    let unreadable =
        |error: serde_json::Error| KeyManagerError::Answer { why: error.to_string(), body: text(response) };
    serde_json::from_slice(&response.body).map_err(unreadable)
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use consigner_keys::development::interop_secret;

    #[test]
    fn a_locked_key_opens_with_its_password() {
        let secret = interop_secret(0);
        let locked = LockedKey::new(&secret, "correct horse").unwrap();
        let opened = Keystore::parse(locked.keystore.as_bytes()).unwrap().decrypt(&Password::new("correct horse"));
        assert_eq!(opened.unwrap().public_key(), locked.validator);
        assert!(!format!("{locked:?}").contains("horse"));
    }

    #[test]
    fn a_promise_needs_every_key() {
        let deleted = |statuses: &[&str]| Deleted {
            statuses: statuses.iter().map(ToString::to_string).collect(),
            interchange: String::new(),
        };
        assert!(deleted(&["deleted", "not_active"]).is_promise());
        assert!(!deleted(&["deleted", "error"]).is_promise());
    }
}
