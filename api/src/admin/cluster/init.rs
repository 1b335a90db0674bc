//! `POST /admin/v1/cluster/init`: makes a cluster out of configured nodes. Called once, on one of them.
//!
//! In: `{"members":[{"id":1,"name":"node1","peer_addr":"10.0.0.1:9001","api_url":"https://10.0.0.1:9000"}, ..]}`; `name`
//! is the common name of the member's certificate, `api_url` may be absent or empty (no redirects to that member). The
//! cluster's identity comes from this node's configuration. Out: `{"cluster_id":"0x..","members":[1,..]}`.

use crate::admission::{Admin, BodyRules, read_body};
use crate::app::{App, Shared};
use crate::audit::{self, Actor};
use crate::error::{ApiError, with_causes};
use crate::json::Json;
use crate::offload::to_its_end;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_raft::Member;
use http::Uri;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Seven members with long names.
const BODY: BodyRules = BodyRules { bytes_max: 64 << 10, time_max: Duration::from_secs(10) };

/// An even number of voters tolerates no more failures than one fewer, and above seven every signature waits for five
/// disks (DESIGN 1).
const SIZES: [usize; 4] = [1, 3, 5, 7];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Init {
    members: Vec<InitMember>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InitMember {
    id: u64,
    name: String,
    peer_addr: String,
    #[serde(default)]
    api_url: String,
}

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_body(request, BODY, None).await?;
    let members = understand(&body, shared.app.cluster.node_id()).map_err(ApiError::BadRequest)?;
    let cluster_id = shared.app.identity.cluster_id;
    let ids = to_its_end(async move { initialise(&shared.app, &admin.actor, members).await }).await?;
    Ok(Json(json!({"cluster_id": cluster_id, "members": ids})).into_response())
}

async fn initialise(app: &App, actor: &Actor, members: BTreeMap<u64, Member>) -> Result<Vec<u64>, ApiError> {
    let ids: Vec<u64> = members.keys().copied().collect();
    let reason = &format!("cluster {} with members {ids:?}", app.identity.cluster_id);
    let event = |outcome, reason| audit::Event::new(actor, audit::Operation::ClusterInit, outcome, reason);
    app.audit.begin(&event(audit::Outcome::Begun, reason)).await?;
    if let Err(why) = app.cluster.initialise(members, app.identity.clone()).await {
        let reason = &format!("{reason}: {}", with_causes(&why));
        app.audit.conclude(&event(audit::Outcome::Failed, reason)).await?;
        return Err(why.into());
    }
    app.audit.conclude(&event(audit::Outcome::Done, reason)).await?;
    Ok(ids)
}

pub(crate) fn understand(body: &[u8], this_node: u64) -> Result<BTreeMap<u64, Member>, String> {
    let init: Init = serde_json::from_slice(body).map_err(|why| why.to_string())?;
    let count = init.members.len();
    if !SIZES.contains(&count) {
        return Err(format!("members: a cluster has 1, 3, 5 or 7 of them, not {count}"));
    }
    let mut members = BTreeMap::new();
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for (index, InitMember { id, name, peer_addr, api_url }) in init.members.into_iter().enumerate() {
        let refuse = |field: &str, why: &str| Err(format!("members[{index}].{field}: {why}"));
        let api_url = api_url.trim_end_matches('/').to_owned();
        if name.is_empty() || !names.insert(name.clone()) {
            return refuse("name", "must be the common name of this member's certificate, each once");
        }
        if !is_host_and_port(&peer_addr) || !addresses.insert(peer_addr.clone()) {
            return refuse("peer_addr", "must be host:port, each once");
        }
        if !api_url.is_empty() && !is_base_url(&api_url) {
            return refuse("api_url", "must be https://host:port without a path, or empty");
        }
        if id == 0 || members.insert(id, Member { name, peer_addr, api_url, ..Member::default() }).is_some() {
            return refuse("id", "must be greater than 0, each once");
        }
    }
    if !members.contains_key(&this_node) {
        return Err(format!("members: this node, {this_node}, must be among them"));
    }
    Ok(members)
}

pub(super) fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let port = port.parse::<u16>().is_ok_and(|port| port != 0);
        port && !host.is_empty() && format!("{host}:1").parse::<http::uri::Authority>().is_ok()
    })
}

pub(super) fn is_base_url(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("https")
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.path() == "/"
            && uri.query().is_none()
    })
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
