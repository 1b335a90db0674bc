//! `/admin/v1/history/watermarks`: below what each validator signs nothing any more, and the limit above which none does.
//!
//! * `GET`: the watermarks of all validators, or of `?pubkeys=`, and the high watermark.
//! * `POST ../raise`: raises low watermarks to what the body asks for, each by itself, and never lowers one.
//! * `POST ../high` and `../high/clear`: sets or removes the high watermark; one that does not lie above everything that
//!   was signed is refused as the rules do.
//!
//! `dry_run` asks what would happen. Deliberately absent: lowering. Nothing that was refused becomes allowed by `raise`.

mod high;
mod raise;

pub(crate) use high::{clear as high_clear, set as high_set};
pub(crate) use raise::post as raise;

use super::{history_query, history_turn};
use crate::admission::{Admin, BodyRules};
use crate::app::Shared;
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::offload::compute;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use consigner_rules::PublicKey;
use consigner_rules::command::HighWatermark;
use consigner_rules::slashing::History;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A list of 100,000 public keys takes 10 MB.
const BODY: BodyRules = BodyRules { bytes_max: 16 << 20, time_max: Duration::from_secs(60) };

/// Low watermarks of one validator; absent: it signed nothing of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Marks {
    slot: Option<u64>,
    source: Option<u64>,
    target: Option<u64>,
}

impl Marks {
    fn of(history: &History) -> Self {
        let vote = history.attestation.as_ref();
        Self {
            slot: history.block.map(|block| block.max_slot),
            source: vote.map(|vote| vote.max_source),
            target: vote.map(|vote| vote.max_target),
        }
    }

    fn to_json(self) -> Value {
        let text = |mark: Option<u64>| mark.map(|mark| mark.to_string());
        json!({"slot": text(self.slot), "source_epoch": text(self.source), "target_epoch": text(self.target)})
    }

    /// The greater of each.
    fn raised(self, other: Self) -> Self {
        Self {
            slot: self.slot.max(other.slot),
            source: self.source.max(other.source),
            target: self.target.max(other.target),
        }
    }
}

pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let only = history_query::only_keys(query.as_deref().unwrap_or_default()).map_err(ApiError::BadRequest)?;
    let _turn = history_turn(&shared)?;
    let cluster = &shared.app.cluster;
    cluster.barrier(BARRIER_DEADLINE).await?;
    let (high, found) = cluster.read(|state| {
        let wanted = |key: &PublicKey| only.as_ref().is_none_or(|keys| keys.contains(key));
        let marks = state.validators().filter(|(key, _)| wanted(key));
        let marks = marks.map(|(key, known)| (*key, Marks::of(&known.history), known.key.is_some()));
        (state.cluster().high_watermark, marks.collect::<Vec<_>>())
    });
    admin.is_still(&shared)?;
    compute(move || {
        let line = |(pubkey, marks, held): (PublicKey, Marks, bool)| {
            let mut line = marks.to_json();
            line["pubkey"] = json!(pubkey);
            line["held"] = json!(held);
            line
        };
        let data: Vec<Value> = found.into_iter().map(line).collect();
        Json(json!({"high_watermark": high_json(high), "data": data})).into_response()
    })
    .await
}

fn understand<T: serde::de::DeserializeOwned>(body: &[u8], shape: &str) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|why| format!("the body must be {shape}: {why}"))
}

fn high_json(limit: Option<HighWatermark>) -> Value {
    limit.map_or(Value::Null, |limit| json!({"epoch": limit.epoch.to_string(), "slot": limit.slot.to_string()}))
}
