//! `GET /healthcheck`, in the shape and with the ids of Web3Signer, which monitors look for (Vero polls it each second).

use super::readiness;
use crate::app::Shared;
use crate::error::ApiError;
use crate::json::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn get(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, ApiError> {
    let held = shared.app.keyring.len();
    let custody = shared.app.custody.status();
    let protection = shared.app.cluster.ready().map_err(|unavailable| unavailable.reason);
    let (node, ready) = ((shared.node_ready)(), readiness(&shared));
    let body = report(&node, &protection, ready.is_ok(), held, custody.waiting_keys + custody.failed_keys);
    if ready.is_ok() { Ok(Json(body)) } else { Err(ApiError::NotServing(body)) }
}

/// Slashing protection is the cluster itself: its "database" is healthy when this node can serve.
fn report(
    node: &Result<(), String>,
    protection: &Result<(), String>,
    is_up: bool,
    held: usize,
    missing: usize,
) -> Value {
    // Keys that are missing while others serve are reported as errors, but do not take the node out of service.
    let keys = word(held > 0 || missing == 0);
    json!({
        "status": word(is_up),
        "checks": [
            check("default-check", node),
            check("slashing-protection-db-health-check", protection),
            {"id": "keys-check", "status": keys, "checks": [
                {"id": "config-files-loading", "status": keys, "data": {"keys-loaded": held, "error-count": missing}},
            ]},
        ],
        "outcome": word(is_up),
    })
}

fn check(id: &str, result: &Result<(), String>) -> Value {
    match result {
        Ok(()) => json!({"id": id, "status": word(true)}),
        Err(reason) => json!({"id": id, "status": word(false), "data": {"reason": reason}}),
    }
}

const fn word(is_up: bool) -> &'static str {
    if is_up { "UP" } else { "DOWN" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_that_monitors_read() {
        let body = report(&Ok(()), &Ok(()), true, 4, 0);
        assert_eq!((&body["status"], &body["outcome"]), (&json!("UP"), &json!("UP")));
        assert_eq!(body["checks"][0], json!({"id": "default-check", "status": "UP"}));
        assert_eq!(body["checks"][1], json!({"id": "slashing-protection-db-health-check", "status": "UP"}));
        assert_eq!(body["checks"][2]["id"], "keys-check");
        let loading =
            json!({"id": "config-files-loading", "status": "UP", "data": {"keys-loaded": 4, "error-count": 0}});
        assert_eq!(body["checks"][2]["checks"][0], loading);
    }

    #[test]
    fn says_what_is_down() {
        let body = report(&Err("stopping".to_owned()), &Err("no quorum".to_owned()), false, 0, 4);
        assert_eq!((&body["status"], &body["outcome"]), (&json!("DOWN"), &json!("DOWN")));
        let node = json!({"id": "default-check", "status": "DOWN", "data": {"reason": "stopping"}});
        assert_eq!(body["checks"][0], node);
        assert_eq!(body["checks"][1]["data"]["reason"], "no quorum");
        assert_eq!(body["checks"][2]["status"], "DOWN");
        assert_eq!(body["checks"][2]["checks"][0]["data"]["error-count"], 4);
    }
}
