//! `GET /admin/v1/keys`, `POST /admin/v1/keys/import`, `POST /admin/v1/keys/delete`: keys without keystores.
//!
//! The import takes plain secrets over mutual TLS from an operator's machine, which has decrypted them there, so that
//! scrypt does not steal a signing node's processors. Otherwise as the key manager API, whose code does the work.

use crate::admission::Admin;
use crate::app::Shared;
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::key_delete;
use crate::key_import::{self, Candidate, Deletions, ImportResult, ImportStatus, Origin, Wish};
use crate::keymanager::import::{
    Histories, Line, Status, acknowledge, conclude, genesis_root, histories, imported, with_history,
};
use crate::keymanager::{KEY_BODY, key_turn, pubkeys, read_names};
use crate::offload::{compute, to_its_end};
use crate::secrets::{self, SecretText, understand};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_keys::SecretKey;
use consigner_rules::{PublicKey, Root};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Serialize)]
struct Held {
    pubkey: PublicKey,
    data_key: String,
    sealer: Option<String>,
    open: bool,
}

pub(crate) async fn list(State(shared): State<Arc<Shared>>, admin: Admin) -> Result<Response, ApiError> {
    let app = &shared.app;
    app.cluster.barrier(BARRIER_DEADLINE).await?;
    let (keys, sealers) = app.cluster.read(|state| {
        let keys: Vec<(PublicKey, [u8; 16])> =
            state.keys().map(|sealed| (sealed.public_key, sealed.data_key)).collect();
        let sealers: BTreeMap<[u8; 16], String> =
            state.data_keys().map(|data_key| (data_key.id, data_key.sealer.clone())).collect();
        (keys, sealers)
    });
    admin.is_still(&shared)?;
    let keyring = app.keyring.clone();
    // 100,000 lines are 20 MB of text.
    compute(move || {
        let held = |(pubkey, data_key): (PublicKey, [u8; 16])| Held {
            pubkey,
            data_key: hex::encode(data_key),
            sealer: sealers.get(&data_key).cloned(),
            open: keyring.contains(&pubkey),
        };
        Json(json!({"data": keys.into_iter().map(held).collect::<Vec<_>>()})).into_response()
    })
    .await
}

/// What is asked for, as it is said in a refusal.
const SHAPE: &str = "{\"keys\": [{\"secret\": \"0x..\"}, ..], \"slashing_protection\": \"..\" or absent}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    keys: Vec<Secret>,
    #[serde(default)]
    slashing_protection: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    secret: SecretText,
}

pub(crate) async fn import(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = key_turn(&shared).await?;
    let body = secrets::read(request, KEY_BODY).await?;
    let root = genesis_root(&shared)?;
    let (read, histories) = compute(move || understood(&body, &root)).await??;
    let lines = to_its_end(async move {
        let _turn = turn;
        import_all(&shared, &admin, read, histories).await
    });
    Ok(Json(json!({ "data": lines.await? })).into_response())
}

/// One line per secret, in order.
async fn import_all(
    shared: &Shared,
    admin: &Admin,
    read: Secrets,
    histories: Histories,
) -> Result<Vec<Line>, ApiError> {
    let (app, actor) = (&shared.app, &admin.actor);
    admin.still(shared).await?;
    let wish = Wish::Asked(Deletions::seen(&app.cluster));
    let (mut secrets, mut slots) = (Vec::new(), Vec::new());
    for result in read {
        slots.push(result.map(|secret| secrets.push(secret)));
    }
    let candidates = with_history(secrets, &histories).await?;
    let origin = Origin { audit: &app.audit, actor, reason: "from an operator" };
    let mut results = Vec::with_capacity(candidates.len());
    let mut candidates = candidates.into_iter().peekable();
    while candidates.peek().is_some() {
        let chunk: Vec<Candidate> = candidates.by_ref().take(key_import::BATCH).collect();
        match admin.still(shared).await {
            Ok(()) => {
                let chunk = key_import::import(&app.cluster, &app.custody, (&wish, &origin), chunk).await?;
                results.extend(chunk);
            }
            // What was imported is told; of the others, why not.
            Err(why) => results.extend(chunk.iter().map(|candidate| ImportResult {
                public_key: candidate.public_key,
                status: ImportStatus::Failed(why.sentence()),
                log_index: None,
            })),
        }
    }
    let mut results = results.into_iter();
    let unknown = |why: String| Line { pubkey: None, status: Status::Error, message: Some(why), log_index: None };
    let mut lines: Vec<Line> = slots
        .into_iter()
        .map(|slot| match slot {
            Err(why) => unknown(why),
            Ok(()) => match results.next() {
                Some(result) => imported(result),
                None => unknown("no outcome".to_owned()),
            },
        })
        .collect();
    conclude(app, actor, &lines).await?;
    acknowledge(app, &mut lines).await?;
    Ok(lines)
}

pub(crate) type Secrets = Vec<Result<SecretKey, String>>;

pub(crate) fn understood(body: &[u8], root: &Root) -> Result<(Secrets, Histories), ApiError> {
    let Import { keys, slashing_protection } = understand(body, SHAPE)?;
    let histories = histories(slashing_protection.as_deref(), root)?;
    let read = |Secret { secret: SecretText(text) }| text.parse::<SecretKey>().map_err(|why| why.to_string());
    Ok((keys.into_iter().map(read).collect(), histories))
}

pub(crate) async fn delete(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = key_turn(&shared).await?;
    let keys = pubkeys::read(&read_names(request).await?)?;
    admin.still(&shared).await?;
    Ok(Json(key_delete::delete(&shared.app, admin.actor, keys, turn).await?).into_response())
}
