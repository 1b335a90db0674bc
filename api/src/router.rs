//! The table of endpoints.

use crate::admission::{Admission, Door};
use crate::app::{App, NodeReadiness, Shared};
use crate::error::ApiError;
use crate::keymanager::{self, Entrance, KeyManagerDoor};
use crate::{admin, admission, eth2, health, reload};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use consigner_gate::HostAllowlist;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode, Version};
use std::sync::Arc;
use std::time::Duration;
use tower::Layer;

/// From the last admission step to the answer of a sign request. Teku gives up at 5 s and Nimbus at 3 s, but a client
/// on a slow link may need longer for a large body.
const SIGN_DEADLINE: Duration = Duration::from_secs(10);

/// For everything that only looks.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// For history files, for making a cluster and for changes of the policy: an operator waits, a file of hundreds of MiB
/// must cross, every node must confirm.
const OPERATOR_DEADLINE: Duration = Duration::from_secs(300);

/// For calls that change keys: hundreds of keystores with scrypt take minutes to decrypt.
const KEY_DEADLINE: Duration = Duration::from_secs(600);

/// The same over HTTP/1.1, where no byte moves meanwhile and the door cuts what looks dead after 120 s: an answer that
/// says "again" is better. What was imported by then is not decrypted again.
const KEY_DEADLINE_HTTP1: Duration = Duration::from_secs(110);

/// The whole HTTP surface, to be served by a door of `gate`, which puts the [`consigner_gate::Peer`] into the
/// extensions of every request. Without it, every endpoint that needs to know the caller answers 403.
pub fn router(app: Arc<App>) -> Router {
    router_with_readiness(app, Arc::new(|| Ok(())))
}

/// [`router`] for a process that is not always ready when its cluster is: while `node_ready` says why not, `/ready`,
/// `/healthcheck` and `/leader` answer 503 with its reason.
pub fn router_with_readiness(app: Arc<App>, node_ready: NodeReadiness) -> Router {
    let hosts = app.hosts.clone();
    let entrance = Entrance::of_api_port(app.keymanager.as_ref());
    let shared = Arc::new(Shared::new(app, node_ready, Door::Api, entrance));
    let routes = signing().merge(health()).merge(administration()).merge(managing_keys());
    complete(routes, hosts, shared)
}

/// The key manager API alone, to be served by a door of its own. Beside [`App::keymanager`], which is about the API
/// port, and with limits of its own.
pub fn keymanager_router(app: Arc<App>, door: KeyManagerDoor) -> Router {
    let KeyManagerDoor { hosts, proof, rate } = door;
    let door = Door::KeyManager { certificate: proof.requires_certificate() };
    let shared = Arc::new(Shared::new(app, Arc::new(|| Ok(())), door, Entrance::of_own_door(proof, rate)));
    complete(managing_keys(), hosts, shared)
}

/// The administrators' API on a listener of its own.
#[derive(Debug, Clone)]
pub struct AdminDoor {
    /// Which hosts a request may name there.
    pub hosts: HostAllowlist,
    /// What the handshake asks for.
    pub proof: AdminProof,
}

/// What the handshake of the administrators' listener asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminProof {
    /// A client certificate; tokens and access tokens count on top of it.
    Certificate,
    /// A client certificate if the caller has one; a token or an access token may do without.
    Optional,
}

/// `/admin/v1` and `/reload` alone, to be served by a door of their own; with [`App::admin_on_api`] unset.
pub fn admin_router(app: Arc<App>, door: AdminDoor) -> Router {
    let AdminDoor { hosts, proof } = door;
    let door = Door::Admin { certificate: proof == AdminProof::Certificate };
    let shared = Arc::new(Shared::new(app, Arc::new(|| Ok(())), door, Entrance::Closed));
    complete(administration(), hosts, shared)
}

/// The listener of clients that have a token instead of a certificate.
#[derive(Debug, Clone)]
pub struct TokenDoor {
    /// Which hosts a request may name there.
    pub hosts: HostAllowlist,
}

/// The endpoints of validator clients for callers with a token of the cluster (`Bearer`, or `Basic` with the token as
/// password), to be served by a door whose client certificate is optional. Health endpoints want a proof, too: there is
/// none in the handshake.
pub fn token_router(app: Arc<App>, door: TokenDoor, node_ready: NodeReadiness) -> Router {
    let shared = Arc::new(Shared::new(app, node_ready, Door::Token, Entrance::Closed));
    let guarded = health().route_layer(from_fn_with_state(shared.clone(), admission::somebody));
    let routes = signing().merge(guarded).route_layer(map_response(offering_basic));
    complete(routes, door.hosts, shared)
}

/// Some clients send the password in a URL only when they are asked for it.
async fn offering_basic(mut response: Response) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"consigner\""));
    }
    response
}

/// Routes with their state, what answers beside them, and the admission steps around.
fn complete(routes: Router<Arc<Shared>>, hosts: HostAllowlist, shared: Arc<Shared>) -> Router {
    let admission = Admission::new(shared.door, hosts, Some(shared.bounds.clone()), shared.app.audit.clone());
    let routes = routes
        .fallback(async || ApiError::NoSuchPath)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(shared);
    // Outside of the router: the path must be normalised before a route is chosen.
    admitted(admission, routes)
}

/// Puts the admission steps that do not depend on the endpoint around the routes.
fn admitted(admission: Arc<Admission>, routes: Router) -> Router {
    Router::new().fallback_service(from_fn_with_state(admission, admission::admit).layer(routes))
}

fn signing() -> Router<Arc<Shared>> {
    let sign = Router::new()
        .route("/api/v1/eth2/sign/{identifier}", post(eth2::sign))
        .route_layer(from_fn_with_state(SIGN_DEADLINE, admission::deadline));
    let list = Router::new()
        .route("/api/v1/eth2/publicKeys", get(eth2::public_keys))
        .route("/api/v1/eth2/highWatermark", get(eth2::high_watermark))
        .route_layer(from_fn_with_state(LOOK_DEADLINE, admission::deadline));
    sign.merge(list)
}

fn health() -> Router<Arc<Shared>> {
    Router::new()
        .route("/upcheck", get(health::upcheck))
        .route("/healthcheck", get(health::healthcheck))
        .route("/leader", get(health::leader))
        .route("/ready", get(health::ready))
        .route_layer(from_fn_with_state(LOOK_DEADLINE, admission::deadline))
}

/// Everything of the operator.
fn administration() -> Router<Arc<Shared>> {
    let look = Router::new()
        .route("/admin/v1/cluster/status", get(admin::cluster_status))
        .route("/admin/v1/keys", get(admin::keys_list))
        .route("/admin/v1/policy", get(admin::policy_show))
        .route("/admin/v1/policy/check", post(admin::policy_check))
        .route("/admin/v1/audit/anchors", get(admin::audit_anchors))
        .route("/admin/v1/archive", get(admin::archive_show))
        .route("/reload", get(reload::get).post(reload::post))
        .route_layer(from_fn_with_state(LOOK_DEADLINE, admission::deadline));
    look.merge(operating()).merge(changing_members()).merge(handling_keys())
}

fn changing_members() -> Router<Arc<Shared>> {
    Router::new()
        .route("/admin/v1/cluster/members", post(admin::members_add))
        .route("/admin/v1/cluster/members/promote", post(admin::members_promote))
        .route("/admin/v1/cluster/members/remove", post(admin::members_remove))
        .route("/admin/v1/cluster/members/replace", post(admin::members_replace))
        .route("/admin/v1/cluster/transfer-leader", post(admin::cluster_transfer_leader))
        .route("/admin/v1/cluster/accept-restart", post(admin::cluster_accept_restart))
        .route("/admin/v1/cluster/join-tokens", get(admin::join_tokens_list).post(admin::join_tokens_create))
        .route("/admin/v1/cluster/join-tokens/revoke", post(admin::join_tokens_revoke))
        .route_layer(from_fn_with_state(OPERATOR_DEADLINE, admission::deadline))
}

fn operating() -> Router<Arc<Shared>> {
    Router::new()
        .route("/admin/v1/cluster/init", post(admin::cluster_init))
        .route("/admin/v1/cluster/backup", get(admin::cluster_backup))
        .route("/admin/v1/cluster/resume", post(admin::cluster_resume))
        .route("/admin/v1/archive/backfill", post(admin::archive_backfill))
        .route("/admin/v1/history/export", get(admin::history_export))
        .route("/admin/v1/history/import", post(admin::history_import))
        .route("/admin/v1/history/recorded", get(admin::history_recorded))
        .route("/admin/v1/history/watermarks", get(admin::watermarks_show))
        .route("/admin/v1/history/watermarks/raise", post(admin::watermarks_raise))
        .route("/admin/v1/history/watermarks/high", post(admin::watermarks_high_set))
        .route("/admin/v1/history/watermarks/high/clear", post(admin::watermarks_high_clear))
        .route("/admin/v1/policy/apply", post(admin::policy_apply))
        .route("/admin/v1/policy/tokens", get(admin::tokens_list).post(admin::tokens_create))
        .route("/admin/v1/policy/tokens/revoke", post(admin::tokens_revoke))
        .route_layer(from_fn_with_state(OPERATOR_DEADLINE, admission::deadline))
}

fn handling_keys() -> Router<Arc<Shared>> {
    Router::new()
        .route("/admin/v1/keys/import", post(admin::keys_import))
        .route("/admin/v1/keys/delete", post(admin::keys_delete))
        .route("/admin/v1/keys/rewrap", post(admin::keys_rewrap))
        .route("/admin/v1/keys/data-keys", get(admin::data_keys_list).post(admin::data_keys_make))
        .route("/admin/v1/keys/data-keys/remove", post(admin::data_keys_remove))
        .route_layer(from_fn(key_deadline))
}

fn managing_keys() -> Router<Arc<Shared>> {
    Router::new()
        .route(
            "/eth/v1/keystores",
            get(keymanager::keystores_list).post(keymanager::keystores_import).delete(keymanager::keystores_delete),
        )
        .route(
            "/eth/v1/remotekeys",
            get(keymanager::remotekeys_list).post(keymanager::remotekeys_import).delete(keymanager::remotekeys_delete),
        )
        .route_layer(from_fn(key_deadline))
}

async fn key_deadline(request: Request, next: Next) -> Response {
    let limit = if request.version() >= Version::HTTP_2 { KEY_DEADLINE } else { KEY_DEADLINE_HTTP1 };
    admission::deadline(State(limit), request, next).await
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
