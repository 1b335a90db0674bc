//! `POST /admin/v1/keys/rewrap`: seals keys under another data key, a bounded number per call, while they sign.
//!
//! In: `{"data_key": "..", "max": 500}`; the data key must be open here. Out: `{"moved", "skipped", "remaining",
//! "why"}`: how many keys this call moved, how many it could not because their present data key is not open here (and
//! why), and how many do not lie under the data key afterwards, those included. Repeated until nothing remains, by
//! whom and on whichever node. Deliberately absent: making the data key and waiting until every member opened it.

use super::id;
use crate::admission::Admin;
use crate::app::{App, Shared};
use crate::audit::{self, Actor, AuditError};
use crate::error::{ApiError, with_causes};
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::key_import::{BATCH_DEADLINE, rejection};
use crate::keymanager::{key_turn, read_names};
use crate::offload::{compute, to_its_end};
use crate::secrets::understand;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_keys::{Custody, CustodyError};
use consigner_rules::command::{DataKey, ResealedKey};
use consigner_rules::{Command, SealedKey, State as Agreed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Keys moved by one call unless it says otherwise.
const MOVED_DEFAULT: usize = 500;

/// Keys moved by one call at most: a second of computation.
const MOVED_MAX: usize = 5000;

/// Keys in one command: about 200 bytes each, so a command is less than half of what an entry may hold.
const BATCH: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rewrap {
    data_key: String,
    #[serde(default)]
    max: Option<usize>,
}

/// What one call did.
#[derive(Debug, Default, Serialize)]
struct Report {
    moved: usize,
    skipped: usize,
    remaining: usize,
    /// Why keys were skipped, one line per reason.
    why: BTreeSet<String>,
}

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = key_turn(&shared).await?;
    let asked: Rewrap = understand(&read_names(request).await?, "{\"data_key\": \"..\", \"max\": number or absent}")?;
    let to = id("data_key", &asked.data_key)?;
    let max = asked.max.unwrap_or(MOVED_DEFAULT);
    if !(1..=MOVED_MAX).contains(&max) {
        return Err(ApiError::BadRequest(format!("max: must be from 1 to {MOVED_MAX}")));
    }
    let report = to_its_end(async move {
        let _turn = turn;
        let app = &shared.app;
        admin.still(&shared).await?;
        let (actor, begun) = (&admin.actor, format!("to data key {}, at most {max} keys", hex::encode(to)));
        let event = audit::Event::new(actor, audit::Operation::Rewrap, audit::Outcome::Begun, &begun);
        app.audit.begin(&event).await?;
        let report = rewrap(app, to, max).await;
        conclude(app, actor, to, &report).await?;
        report
    });
    Ok(Json(report.await?).into_response())
}

async fn conclude(app: &App, actor: &Actor, to: [u8; 16], report: &Result<Report, ApiError>) -> Result<(), AuditError> {
    let (outcome, reason) = match report {
        Ok(Report { moved, skipped, remaining, .. }) => {
            let outcome = if *moved > 0 { audit::Outcome::Done } else { audit::Outcome::Unchanged };
            let counts = format!("moved {moved}, skipped {skipped}, remaining {remaining}");
            (outcome, format!("to data key {}: {counts}", hex::encode(to)))
        }
        Err(error) => (audit::Outcome::Failed, format!("to data key {}: {}", hex::encode(to), error.sentence())),
    };
    app.audit.conclude(&audit::Event::new(actor, audit::Operation::Rewrap, outcome, &reason)).await
}

async fn rewrap(app: &Arc<App>, to: [u8; 16], max: usize) -> Result<Report, ApiError> {
    app.cluster.barrier(BARRIER_DEADLINE).await?;
    open(app, to).await?;
    let mut report = Report::default();
    let (movable, blocked) = app.cluster.read(|state| candidates(state, &app.custody, &to));
    for (data_key, keys) in blocked {
        report.skipped += keys;
        report.why.insert(format!("data key {} is not open on this node: {keys} keys", hex::encode(data_key)));
    }
    let mut movable = movable.into_iter().peekable();
    while report.moved < max && movable.peek().is_some() {
        let batch: Vec<Arc<SealedKey>> = movable.by_ref().take(BATCH.min(max - report.moved)).collect();
        let (moved, why) = reseal(app, batch.clone(), to).await?;
        report.skipped += why.len();
        report.why.extend(why);
        propose(app, moved).await?;
        app.cluster.barrier(BARRIER_DEADLINE).await?;
        report.moved += app.cluster.read(|state| batch.iter().filter(|key| lies_under(state, key, &to)).count());
    }
    report.remaining = app.cluster.read(|state| state.keys().filter(|sealed| sealed.data_key != to).count());
    Ok(report)
}

/// The data key must be held by the cluster and open here; it may have been made a moment ago elsewhere.
async fn open(app: &App, to: [u8; 16]) -> Result<(), ApiError> {
    let data_key: Option<DataKey> = app.cluster.read(|state| state.data_key(&to).cloned());
    let Some(data_key) = data_key else {
        return Err(ApiError::Conflict(format!("the cluster holds no data key {}", hex::encode(to))));
    };
    app.custody.open_data_key(&data_key).await.map_err(|why| {
        ApiError::Conflict(format!("data key {} is not open on this node: {}", hex::encode(to), with_causes(&why)))
    })
}

type Blocked = std::collections::BTreeMap<[u8; 16], usize>;

/// Keys that can be moved from here, and the number of those that cannot by the data key that is not open.
fn candidates(state: &Agreed, custody: &Custody, to: &[u8; 16]) -> (Vec<Arc<SealedKey>>, Blocked) {
    let open: BTreeSet<[u8; 16]> =
        state.data_keys().map(|data_key| data_key.id).filter(|id| custody.is_open(id)).collect();
    let (mut movable, mut blocked) = (Vec::new(), Blocked::new());
    for sealed in state.keys().filter(|sealed| sealed.data_key != *to) {
        if open.contains(&sealed.data_key) {
            movable.push(Arc::clone(sealed));
        } else {
            *blocked.entry(sealed.data_key).or_default() += 1;
        }
    }
    (movable, blocked)
}

fn lies_under(state: &Agreed, key: &SealedKey, data_key: &[u8; 16]) -> bool {
    let held = state.validator(&key.public_key).and_then(|known| known.key.as_ref());
    held.is_some_and(|sealed| sealed.data_key == *data_key)
}

/// Seals a batch anew; a key that does not open must not hold up the others.
async fn reseal(
    app: &App,
    batch: Vec<Arc<SealedKey>>,
    to: [u8; 16],
) -> Result<(Vec<ResealedKey>, Vec<String>), ApiError> {
    let custody = Arc::clone(&app.custody);
    compute(move || {
        let whole = custody.reseal(&batch, &to);
        let each = |key: &Arc<SealedKey>| -> Result<SealedKey, CustodyError> {
            custody.reseal(std::slice::from_ref(key), &to)?.pop().ok_or(CustodyError::NotOpen { data_key: to })
        };
        let results: Vec<Result<SealedKey, CustodyError>> = match whole {
            Ok(sealed) => sealed.into_iter().map(Ok).collect(),
            Err(_one_of_them) => batch.iter().map(each).collect(),
        };
        let (mut moved, mut why) = (Vec::new(), Vec::new());
        for (key, result) in batch.iter().zip(results) {
            match result {
                Ok(sealed) => moved.push(ResealedKey { from: key.data_key, sealed }),
                Err(error) => why.push(with_causes(&error)),
            }
        }
        (moved, why)
    })
    .await
}

async fn propose(app: &App, moved: Vec<ResealedKey>) -> Result<(), ApiError> {
    if moved.is_empty() {
        return Ok(());
    }
    let outcomes = app.cluster.propose(vec![Command::Reseal(moved)], BATCH_DEADLINE).await?;
    outcomes.iter().find_map(rejection).map_or(Ok(()), |why| Err(ApiError::Conflict(why)))
}
