//! Raising low watermarks: what the body asks for, what becomes of each validator, the commands.

use super::super::history_import::merge;
use super::super::history_query::Number;
use super::super::history_turn;
use super::{BODY, Marks, understand};
use crate::admission::{Admin, read_body};
use crate::app::Shared;
use crate::audit;
use crate::error::{ApiError, with_causes};
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::offload::{compute, to_its_end};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_rules::command::{ImportedAttestation, ImportedBlock};
use consigner_rules::slashing::History;
use consigner_rules::{HistoryImport, PublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is asked for, as it is said in a refusal.
const RAISE: &str = "{\"slot\": \"N\", \"source_epoch\": \"N\", \"target_epoch\": \"N\", \"pubkeys\": [..] or \"all\": \
                     true, \"dry_run\": true or absent}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RaiseBody {
    slot: Option<Number>,
    source_epoch: Option<Number>,
    target_epoch: Option<Number>,
    pubkeys: Option<BTreeSet<PublicKey>>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    dry_run: bool,
}

/// A raise that makes sense.
struct Raise {
    to: Marks,
    /// `None`: all validators that the cluster knows.
    only: Option<BTreeSet<PublicKey>>,
    dry_run: bool,
}

impl RaiseBody {
    fn understood(self) -> Result<Raise, String> {
        let read = |number: Option<&Number>, field| number.map(|number| number.read(field)).transpose();
        let slot = read(self.slot.as_ref(), "slot")?;
        let source = read(self.source_epoch.as_ref(), "source_epoch")?;
        let target = read(self.target_epoch.as_ref(), "target_epoch")?;
        if source.is_some() != target.is_some() {
            return Err("source_epoch and target_epoch are raised together; give both".to_owned());
        }
        if source > target {
            return Err("source_epoch lies after target_epoch".to_owned());
        }
        if slot.is_none() && source.is_none() {
            return Err("nothing to raise: give slot, or source_epoch and target_epoch".to_owned());
        }
        let only = match (self.pubkeys, self.all) {
            (Some(keys), false) if !keys.is_empty() => Some(keys),
            (None, true) => None,
            (Some(_) | None, _) => return Err("say which validators: pubkeys, or all: true".to_owned()),
        };
        Ok(Raise { to: Marks { slot, source, target }, only, dry_run: self.dry_run })
    }
}

/// What becomes of one validator's watermarks.
struct Plan {
    public_key: PublicKey,
    before: Marks,
    after: Marks,
}

impl Plan {
    /// What must be merged. Only what rises: a mark that is named again would make its own message unrepeatable.
    fn import(&self) -> Option<HistoryImport> {
        let slot = self.after.slot.filter(|_| self.after.slot > self.before.slot);
        let votes = (self.after.source, self.after.target);
        let rises = votes != (self.before.source, self.before.target);
        let attestation = match votes {
            (Some(max_source_epoch), Some(max_target_epoch)) if rises => {
                Some(ImportedAttestation { max_source_epoch, max_target_epoch, at_max_target: None })
            }
            (Some(_) | None, _) => None,
        };
        let block = slot.map(|slot| ImportedBlock { slot, signing_root: None });
        (block.is_some() || attestation.is_some()).then_some(HistoryImport {
            public_key: self.public_key,
            block,
            attestation,
        })
    }
}

#[derive(Serialize)]
struct Line {
    pubkey: PublicKey,
    status: &'static str,
    before: Value,
    after: Value,
    message: String,
}

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = history_turn(&shared)?;
    let body = read_body(request, BODY, None).await?;
    let raise = compute(move || understand::<RaiseBody>(&body, RAISE).and_then(RaiseBody::understood)).await?;
    let raise = raise.map_err(ApiError::BadRequest)?;
    shared.app.cluster.barrier(BARRIER_DEADLINE).await?;
    let plans = plans(&shared, &raise).map_err(ApiError::Conflict)?;
    let dry_run = raise.dry_run;
    let lines = if dry_run {
        admin.is_still(&shared)?;
        plans.iter().map(|plan| line(plan, Ok(plan.import().is_some()), true)).collect()
    } else {
        to_its_end(async move {
            let _turn = turn;
            raise_all(&shared, &admin, &raise, &plans).await
        })
        .await?
    };
    Ok(Json(json!({"dry_run": dry_run, "data": lines})).into_response())
}

fn plans(shared: &Shared, raise: &Raise) -> Result<Vec<Plan>, String> {
    shared.app.cluster.read(|state| {
        if state.identity().is_none() {
            return Err("the cluster is not initialised yet".to_owned());
        }
        // As Web3Signer has it: between the two nothing could ever be signed, so it is a mistake.
        if let Some(high) = state.cluster().high_watermark
            && (raise.to.slot > Some(high.slot) || raise.to.target > Some(high.epoch))
        {
            let (slot, epoch) = (high.slot, high.epoch);
            return Err(format!("that lies above the high watermark (slot {slot}, epoch {epoch})"));
        }
        let plan = |public_key: PublicKey, history: &History| {
            let before = Marks::of(history);
            Plan { public_key, before, after: before.raised(raise.to) }
        };
        let known = |key: &PublicKey| state.validator(key).map_or_else(History::default, |known| known.history);
        Ok(match &raise.only {
            Some(keys) => keys.iter().map(|key| plan(*key, &known(key))).collect(),
            None => state.validators().map(|(key, known)| plan(*key, &known.history)).collect(),
        })
    })
}

async fn raise_all(shared: &Shared, admin: &Admin, raise: &Raise, plans: &[Plan]) -> Result<Vec<Line>, ApiError> {
    let (app, actor) = (&shared.app, &admin.actor);
    admin.still(shared).await?;
    let begun = &format!("{} validators to {}", plans.len(), raise.to.to_json());
    let event = audit::Event::new(actor, audit::Operation::WatermarkRaise, audit::Outcome::Begun, begun);
    app.audit.begin(&event).await?;
    let imports = plans.iter().filter_map(Plan::import).collect();
    let mut merged = match merge(&app.cluster, &|| admin.is_still(shared), imports).await {
        Ok(merged) => merged,
        Err(why) => {
            let reason = &with_causes(&why);
            app.audit.conclude(&audit::Event { outcome: audit::Outcome::Failed, reason, ..event }).await?;
            return Err(why.into());
        }
    };
    let mut result = |plan: &Plan| merged.remove(&plan.public_key).unwrap_or(Ok(false));
    let lines: Vec<Line> = plans.iter().map(|plan| line(plan, result(plan), false)).collect();
    let count = |status| lines.iter().filter(|line| line.status == status).count();
    let (raised, unchanged, failed) = (count("raised"), count("unchanged"), count("error"));
    let outcome = if failed > 0 { audit::Outcome::Failed } else { audit::Outcome::Done };
    let reason = &format!("raised {raised}, unchanged {unchanged}, failed {failed}");
    app.audit.conclude(&audit::Event { outcome, reason, ..event }).await?;
    Ok(lines)
}

fn line(plan: &Plan, result: Result<bool, String>, dry_run: bool) -> Line {
    let (status, message) = match result {
        Ok(true) if dry_run => ("raised", "would be raised".to_owned()),
        Ok(true) => ("raised", String::new()),
        Ok(false) => ("unchanged", "already there or above".to_owned()),
        Err(why) => ("error", why),
    };
    let after = if status == "raised" { plan.after } else { plan.before };
    Line { pubkey: plan.public_key, status, before: plan.before.to_json(), after: after.to_json(), message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn asked(body: Value) -> Result<Raise, String> {
        serde_json::from_value::<RaiseBody>(body).unwrap().understood()
    }

    #[test]
    fn a_raise_names_what_and_whose() {
        let key = PublicKey([1; 48]);
        for (body, wrong) in [
            (json!({"all": true}), "nothing to raise"),
            (json!({"slot": "1"}), "which validators"),
            (json!({"slot": "1", "pubkeys": []}), "which validators"),
            (json!({"slot": "1", "pubkeys": [key], "all": true}), "which validators"),
            (json!({"source_epoch": "1", "all": true}), "together"),
            (json!({"source_epoch": "2", "target_epoch": "1", "all": true}), "after target"),
            (json!({"slot": "-1", "all": true}), "slot"),
        ] {
            assert!(asked(body.clone()).err().unwrap().contains(wrong), "{body}");
        }
        let raise = asked(json!({"slot": 5, "pubkeys": [key]})).unwrap();
        assert_eq!((raise.to.slot, raise.to.source, raise.only), (Some(5), None, Some(BTreeSet::from([key]))));
    }

    #[test]
    fn only_what_rises_is_merged() {
        let marks = |slot, source, target| Marks { slot, source, target };
        let plan = |before: Marks, to: Marks| Plan { public_key: PublicKey([1; 48]), before, after: before.raised(to) };
        let before = marks(Some(10), Some(3), Some(4));
        assert_eq!(plan(before, marks(Some(10), Some(3), Some(4))).import(), None);
        assert_eq!(plan(before, marks(Some(9), Some(1), Some(2))).import(), None);
        let slot = plan(before, marks(Some(11), None, None)).import().unwrap();
        assert_eq!((slot.block.map(|block| block.slot), slot.attestation), (Some(11), None));
        let source = plan(before, marks(None, Some(4), Some(4))).import().unwrap();
        let maxima = source.attestation.unwrap();
        assert_eq!((maxima.max_source_epoch, maxima.max_target_epoch, source.block), (4, 4, None));
    }
}
