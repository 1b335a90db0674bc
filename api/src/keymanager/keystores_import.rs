//! `POST /eth/v1/keystores`: keystores become keys of the cluster, each together with what it signed elsewhere.
//!
//! In: `{"keystores": [".."], "passwords": [".."], "slashing_protection": ".."}`. Out: `imported`, `duplicate` or
//! `error` per keystore, in order, once every member in contact holds the keys. A history that is malformed or for
//! another chain refuses the whole call before anything is imported; a keystore that does not open concerns itself
//! only. Repeating a call that broke off is harmless and skips what is held already. Whoever hangs up is served to the
//! end of the chunk that was begun.

use super::import::{
    Histories, Line, Status, acknowledge, conclude, genesis_root, histories, imported, line, with_history,
};
use super::{KEY_BODY, Manager, SharedState, key_turn};
use crate::app::{App, Shared};
use crate::error::{ApiError, with_causes};
use crate::json::Json;
use crate::key_import::{self, BATCH_DEADLINE, Deletions, Origin, Wish, held_of};
use crate::offload::{compute, to_its_end};
use crate::secrets::{self, SecretText, understand};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_keys::SecretKey;
use consigner_keys::keystore::{Keystore, Password};
use consigner_raft::Cluster;
use consigner_rules::{Command, PublicKey, Root};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Keystores decrypted before their keys are imported: a call that breaks off in the middle has done that much, and its
/// repetition skips them. With scrypt a chunk takes a dozen seconds on one core.
const CHUNK: usize = 16;

/// Bytes of UTF-8 of one password. People have passwords of some dozens; normalising takes eleven times the memory.
const PASSWORD_BYTES_MAX: usize = 4096;

/// What is asked for, as it is said in a refusal.
const SHAPE: &str = "{\"keystores\": [\"..\"], \"passwords\": [\"..\"], \"slashing_protection\": \"..\" or absent}";

#[derive(Deserialize)]
struct Import {
    keystores: Vec<String>,
    passwords: Vec<SecretText>,
    #[serde(default)]
    slashing_protection: Option<String>,
}

pub(crate) async fn post(State(shared): SharedState, manager: Manager, request: Request) -> Result<Response, ApiError> {
    let turn = key_turn(&shared).await?;
    let body = secrets::read(request, KEY_BODY).await?;
    let root = genesis_root(&shared)?;
    let (wanted, histories) = compute(move || understood(&body, &root)).await??;
    manager.still(&shared).await?;
    // Before keystores are decrypted, which may take minutes: a key that is deleted meanwhile stays deleted.
    let wish = Wish::Asked(Deletions::seen(&shared.app.cluster));
    let call = Arc::new(Call { shared: Arc::clone(&shared), wish, histories, manager, _turn: turn });
    let mut lines = Vec::with_capacity(wanted.len());
    let mut wanted = wanted.into_iter().peekable();
    while wanted.peek().is_some() {
        let (call, chunk) = (Arc::clone(&call), wanted.by_ref().take(CHUNK).collect());
        lines.extend(to_its_end(async move { import(&call, chunk).await }).await?);
    }
    acknowledge(&shared.app, &mut lines).await?;
    // The specification's items have no key.
    lines.iter_mut().for_each(|line| line.pubkey = None);
    Ok(Json(json!({ "data": lines })).into_response())
}

/// What all chunks of a call have in common. The turn is given back when the last of them has ended.
struct Call {
    shared: Arc<Shared>,
    wish: Wish,
    histories: Histories,
    manager: Manager,
    _turn: OwnedSemaphorePermit,
}

/// A keystore and what should open it.
pub(crate) type Wanted = (String, SecretText);

pub(crate) fn understood(body: &[u8], root: &Root) -> Result<(Vec<Wanted>, Histories), ApiError> {
    let Import { keystores, passwords, slashing_protection } = understand(body, SHAPE)?;
    let (texts, words) = (keystores.len(), passwords.len());
    if texts != words {
        return Err(ApiError::BadRequest(format!(
            "keystores and passwords: {texts} and {words} items; passwords[i] must unlock keystores[i]"
        )));
    }
    let histories = histories(slashing_protection.as_deref(), root)?;
    Ok((keystores.into_iter().zip(passwords).collect(), histories))
}

/// What became of one keystore before its key can be imported.
enum Opened {
    /// Its key is held already: nothing to decrypt.
    Held(PublicKey),
    Secret(SecretKey),
    Failed(String),
}

/// Imports one chunk; one line per keystore, in order.
async fn import(call: &Call, chunk: Vec<Wanted>) -> Result<Vec<Line>, ApiError> {
    let Call { shared, wish, histories, manager, _turn } = call;
    let (app, actor) = (&shared.app, &manager.actor);
    let opened = join_all(chunk.into_iter().map(|(text, password)| open(app, text, password))).await;
    // That took seconds, or minutes.
    manager.still(shared).await?;
    let (mut candidates, mut held, mut slots) = (Vec::new(), Vec::new(), Vec::new());
    for result in opened {
        slots.push(match result {
            Opened::Held(public_key) => {
                held.push(public_key);
                Slot::Held(public_key)
            }
            Opened::Secret(secret) => {
                candidates.push(secret);
                Slot::Candidate
            }
            Opened::Failed(why) => Slot::Failed(why),
        });
    }
    let origin = Origin { audit: &app.audit, actor, reason: "from a keystore" };
    origin.begin(held.iter()).await?;
    let merged = merge(&app.cluster, &held, histories).await;
    let candidates = with_history(candidates, histories).await?;
    let mut results = key_import::import(&app.cluster, &app.custody, (wish, &origin), candidates).await?.into_iter();
    let lines: Vec<Line> = slots
        .into_iter()
        .map(|slot| match slot {
            Slot::Failed(why) => Line { pubkey: None, status: Status::Error, message: Some(why), log_index: None },
            Slot::Held(public_key) => line(public_key, merged.clone().map(|()| Status::Duplicate)),
            Slot::Candidate => match results.next() {
                Some(result) => imported(result),
                None => Line {
                    pubkey: None,
                    status: Status::Error,
                    message: Some("no outcome".to_owned()),
                    log_index: None,
                },
            },
        })
        .collect();
    conclude(app, actor, &lines).await?;
    Ok(lines)
}

/// The place of one keystore in the answer.
enum Slot {
    Held(PublicKey),
    Candidate,
    Failed(String),
}

async fn open(app: &App, text: String, password: SecretText) -> Opened {
    let (keystore, password) = match compute(move || parsed(&text, &password)).await {
        Ok(Ok(pair)) => pair,
        Ok(Err(why)) => return Opened::Failed(why),
        Err(error) => return Opened::Failed(error.sentence()),
    };
    if let Some(public_key) = keystore.public_key().filter(|name| !held_of(&app.cluster, &[*name]).is_empty()) {
        return Opened::Held(public_key);
    }
    match app.decrypt.decrypt(keystore, password).await {
        Ok(secret) => Opened::Secret(secret),
        Err(why) => Opened::Failed(with_causes(&why)),
    }
}

pub(crate) fn parsed(text: &str, SecretText(password): &SecretText) -> Result<(Keystore, Password), String> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(format!("password longer than {PASSWORD_BYTES_MAX} bytes"));
    }
    let keystore = Keystore::parse(text.as_bytes()).map_err(|why| with_causes(&why))?;
    Ok((keystore, Password::new(password)))
}

/// Merges the history of keys that are held already.
async fn merge(cluster: &Cluster, held: &[PublicKey], histories: &Histories) -> Result<(), String> {
    let known = held.iter().filter_map(|key| histories.get(key)).cloned();
    let commands: Vec<Command> = known.map(Command::ImportHistory).collect();
    if commands.is_empty() {
        return Ok(());
    }
    match cluster.propose(commands, BATCH_DEADLINE).await {
        Ok(outcomes) => outcomes.iter().find_map(key_import::rejection).map_or(Ok(()), Err),
        Err(why) => Err(format!("held already, but its history is not known to be merged: {}", with_causes(&why))),
    }
}
