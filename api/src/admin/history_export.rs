//! `GET /admin/v1/history/export`: the minimal interchange (EIP-3076) of everything applied when it was asked for.
//!
//! `?pubkeys=0x..,0x..` limits it to these validators; one that signed nothing is left out.

use super::history_turn;
use crate::admission::Admin;
use crate::app::Shared;
use crate::audit;
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use crate::json::JSON;
use crate::offload::compute;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use consigner_rules::interchange::Interchange;
use consigner_rules::{HistoryImport, PublicKey, Root};
use http::header::CONTENT_TYPE;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let only = asked_keys(query.as_deref().unwrap_or_default()).map_err(ApiError::BadRequest)?;
    let _turn = history_turn(&shared)?;
    let cluster = &shared.app.cluster;
    // What was acknowledged before the export was asked for must be in it (invariant S2).
    cluster.barrier(BARRIER_DEADLINE).await?;
    let found: Option<(Root, Vec<HistoryImport>)> = cluster.read(|state| {
        let root = state.identity()?.genesis_validators_root;
        let wanted = |history: &HistoryImport| only.as_ref().is_none_or(|keys| keys.contains(&history.public_key));
        Some((root, state.histories().filter(wanted).collect()))
    });
    admin.is_still(&shared)?;
    let (root, histories) = found.ok_or_else(|| ApiError::Conflict("the cluster is not initialised yet".to_owned()))?;
    let validators = histories.len();
    let text = compute(move || Interchange::minimal(root, histories).to_json()).await?;
    let (actor, operation) = (&admin.actor, audit::Operation::HistoryExport);
    let reason = &format!("{validators} validators");
    shared.app.audit.conclude(&audit::Event::new(actor, operation, audit::Outcome::Done, reason)).await?;
    Ok(([(CONTENT_TYPE, JSON)], text).into_response())
}

/// The keys of `pubkeys=`, `None` if it is absent.
fn asked_keys(query: &str) -> Result<Option<BTreeSet<PublicKey>>, String> {
    let mut keys = None;
    for (name, value) in
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    {
        if name != "pubkeys" {
            return Err(format!("query parameter {name:?} is unknown; there is only \"pubkeys\""));
        }
        // The only character of a list of keys that clients escape.
        let list = value.replace("%2C", ",").replace("%2c", ",");
        for text in list.split(',').filter(|text| !text.is_empty()) {
            let key = text.parse().map_err(|why| format!("pubkeys: {text:?} is not a BLS public key: {why}"))?;
            keys.get_or_insert_with(BTreeSet::new).insert(key);
        }
        if keys.is_none() {
            return Err("pubkeys: no key given; leave the parameter out to export all".to_owned());
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_are_listed_with_commas_escaped_or_not() {
        let (one, two) = (PublicKey([1; 48]), PublicKey([2; 48]));
        assert_eq!(asked_keys("").unwrap(), None);
        for query in
            [format!("pubkeys={one},{two}"), format!("pubkeys={one}%2C{two}"), format!("pubkeys={one}&pubkeys={two}")]
        {
            assert_eq!(asked_keys(&query).unwrap(), Some(BTreeSet::from([one, two])), "{query}");
        }
    }

    #[test]
    fn what_is_not_understood_never_exports_everything() {
        for query in ["pubkey=0x00", "pubkeys=0x00", "pubkeys=", "pubkeys", "pubkeys=,"] {
            assert!(asked_keys(query).is_err(), "{query}");
        }
    }
}
