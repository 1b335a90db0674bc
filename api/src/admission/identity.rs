//! Who asks and may, as a proof that an endpoint can demand: extractors that succeed only for permitted callers.
//!
//! ```text
//! head -> route's operation -> certificate, address -> credentials (caller) -> permission -> Client | Admin | Manager
//!              \____________________ refused: 401, 403, 404, 503, one line of the audit ____________/
//! ```
//! In: the [`Peer`] that `gate` put into the extensions, the route, the headers. Out: [`Client`], [`Admin`] or the key
//! manager's `Manager`. What a sign request needs beyond leave to sign at all is judged when it is understood
//! ([`Client::may_sign`]). Deliberately absent: the rules themselves (`permission`).

use super::caller::{Caller, Unknown};
use super::door::Door;
use crate::app::Shared;
use crate::audit::{self, Actor, Flood};
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use crate::keymanager::TokenHash;
use crate::limits::RateLimit;
use crate::permission::{Asking, Needs, needs, slot_of_clock};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use consigner_gate::Peer;
use consigner_rules::policy::{AdminVerb, Operation, Permission, Rate};
use consigner_rules::{SignRequest, Slot, State as Agreed};
use http::request::Parts;
use std::sync::Arc;

/// What who shows nothing is told where no certificate is asked for.
const SHOW_SOMETHING: &str = "a client certificate or a bearer token is required: Authorization: Bearer ..";

/// What the 404 of the API port says when administration has a listener of its own.
const ADMIN_ELSEWHERE: &str = "administration has a listener of its own on this node: ask admin.listen";

/// A caller that may use the endpoints of validator clients.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// For records and logs.
    pub(crate) name: String,
    /// Where it comes from.
    pub(crate) peer: Peer,
    /// What it has proved.
    pub(crate) caller: Caller,
    /// The slot of the clock when it was admitted.
    now: Option<Slot>,
}

impl Client {
    /// Whether this request may be signed for the caller by the policy of this state. Asked when the intent is made,
    /// again whenever the policy changed on its way, and again before a signature leaves.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub(crate) fn may_sign(&self, shared: &Shared, state: &Agreed, request: &SignRequest) -> Result<(), String> {
        Asking::of(shared, &self.caller).may_sign(state, request, self.now).map(drop)
    }
}

/// A caller that may use the operator's endpoint that it asks for.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// For the audit.
    pub(crate) actor: Actor,
    /// What it has proved.
    pub(crate) caller: Caller,
    needs: Needs,
}

impl FromRequestParts<Arc<Shared>> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let caller = permitted(parts, shared, audit::Operation::Access).await?;
        let (name, peer, now) = (caller.name(), caller.peer().clone(), slot_of_clock(&shared.app.network));
        Ok(Self { name, peer, caller, now })
    }
}

impl FromRequestParts<Arc<Shared>> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        if shared.door == Door::Api && !shared.app.admin_on_api {
            return Err(ApiError::NotOffered(ADMIN_ELSEWHERE));
        }
        let caller = permitted(parts, shared, audit::Operation::AdminAccess).await?;
        Ok(Self { actor: caller.actor(), caller, needs: needs_of(parts)? })
    }
}

impl Admin {
    /// Whether it may what it asked for, still: a body takes its time to arrive, and so does a turn. Asked before
    /// anything is changed, behind a barrier (invariant S9).
    ///
    /// # Errors
    /// 403 when it may not any more, which the audit hears of; 503 out of contact.
    pub(crate) async fn still(&self, shared: &Shared) -> Result<(), ApiError> {
        shared.app.cluster.barrier(BARRIER_DEADLINE).await?;
        self.is_still(shared)
    }

    /// [`Self::still`] behind a barrier of the caller's own.
    ///
    /// # Errors
    /// As [`Self::still`].
    pub(crate) fn is_still(&self, shared: &Shared) -> Result<(), ApiError> {
        let judgement = judged(shared, &self.caller, self.needs).map(drop);
        judgement.inspect_err(|error| tell_late(shared, &self.actor, audit::Operation::AdminAccess, error))
    }
}

/// Tells the audit of somebody whose right ended between the head of its request and what it asked for.
pub(crate) fn tell_late(shared: &Shared, actor: &Actor, what: audit::Operation, error: &ApiError) {
    let reason = &format!("not any more: {}", error.sentence());
    let event = audit::Event::new(actor, what, audit::Outcome::Refused, reason);
    shared.app.audit.record_within(Flood::Denied, &event);
}

/// Lets through who has proved anything: for health endpoints behind a door that asks for no certificate.
pub(crate) async fn somebody(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let known = match known(&parts, &shared, None, None).await {
        Ok(caller) if caller.is_somebody() => Ok(()),
        Ok(_) => Err(ApiError::Unauthorized(SHOW_SOMETHING.to_owned())),
        Err(error) => Err(error),
    };
    match known {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => {
            tell(&parts, &shared, &stranger(&parts, shared.door), audit::Operation::Access, &error);
            error.into_response()
        }
    }
}

async fn permitted(parts: &Parts, shared: &Shared, what: audit::Operation) -> Result<Caller, ApiError> {
    let needs = needs_of(parts)?;
    let caller = match known(parts, shared, needs.operation(), None).await {
        Ok(caller) => caller,
        Err(error) => {
            tell(parts, shared, &stranger(parts, shared.door), what, &error);
            return Err(error);
        }
    };
    match confirmed(shared, &caller, needs).await {
        Ok(_) => Ok(caller),
        Err(error) => {
            tell(parts, shared, &caller.actor(), what, &error);
            Err(error)
        }
    }
}

/// Whether the caller does not ask too often: with a policy as the client that it is there, else by itself.
fn within_rate(shared: &Shared, permission: Permission) -> Result<Permission, ApiError> {
    let rate = permission.rate.map(|Rate { per_second, burst }| RateLimit { burst, per_second });
    shared.limiter.admit(&permission.client, rate).map(|()| permission)
}

/// What the caller of the route that was chosen needs.
pub(crate) fn needs_of(parts: &Parts) -> Result<Needs, ApiError> {
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    needs(&parts.method, route).ok_or_else(|| {
        tracing::error!(method = %parts.method, route, "an endpoint that no table knows: nobody is let in");
        ApiError::Internal
    })
}

/// Whether the caller may do this, by a policy that is not older than the call where that counts.
///
/// "No" is said only by a node that is in contact: another one may know an older policy than the cluster's. "Yes" to a
/// call that changes something is said behind a barrier; what signs is judged again, under the lease (`raft`).
pub(crate) async fn confirmed(shared: &Shared, caller: &Caller, needs: Needs) -> Result<Permission, ApiError> {
    let cluster = &shared.app.cluster;
    let judgement = judged(shared, caller, needs).and_then(|permission| within_rate(shared, permission));
    // What makes a cluster is asked before there is one. A node without a state may also be one that has lost it: what
    // its own configuration refuses is refused, but nothing is permitted by it that the cluster's policy might not.
    let makes_cluster = needs == Needs::Operation(Operation::Admin(AdminVerb::Cluster));
    let is_empty = cluster.read(|state| state.identity().is_none());
    if is_empty && (makes_cluster || judgement.is_err()) {
        return judgement;
    }
    match judgement {
        Ok(_) if wants_barrier(needs) => {
            cluster.barrier(BARRIER_DEADLINE).await?;
            judged(shared, caller, needs)
        }
        Err(error @ (ApiError::Forbidden(_) | ApiError::Unauthorized(_))) => {
            cluster.ready()?;
            Err(error)
        }
        judgement => judgement,
    }
}

/// What only looks must answer without a quorum: that is when operators look.
const fn wants_barrier(needs: Needs) -> bool {
    match needs {
        Needs::Nothing | Needs::Signing | Needs::Either(..) => false,
        Needs::Operation(Operation::Sign(_) | Operation::ListKeys) => false,
        Needs::Operation(Operation::KeyManager(_)) => true,
        Needs::Operation(Operation::Admin(verb)) => match verb {
            AdminVerb::Status | AdminVerb::PolicyRead | AdminVerb::Audit => false,
            AdminVerb::Cluster
            | AdminVerb::HistoryExport
            | AdminVerb::HistoryImport
            | AdminVerb::KeysList
            | AdminVerb::KeysImport
            | AdminVerb::KeysDelete
            | AdminVerb::KeysRewrap
            | AdminVerb::PolicyWrite
            | AdminVerb::Tokens
            | AdminVerb::Reload => true,
        },
    }
}

/// Whether the caller may do this by the policy that this node knows.
pub(crate) fn judged(shared: &Shared, caller: &Caller, needs: Needs) -> Result<Permission, ApiError> {
    let asking = Asking::of(shared, caller);
    let judged = shared.app.cluster.read(|state| match needs {
        Needs::Operation(operation) => asking.may(state, operation, None),
        Needs::Either(one, other) => {
            asking.may(state, one, None).or_else(|why| asking.may(state, other, None).map_err(|_| why))
        }
        Needs::Signing => asking.may_ask(state),
        Needs::Nothing => Err("an endpoint for everybody asks for no proof".to_owned()),
    });
    judged.map_err(|why| {
        if caller.is_somebody() { ApiError::Forbidden(why) } else { ApiError::Unauthorized(SHOW_SOMETHING.to_owned()) }
    })
}

/// The caller, as far as the door lets anybody ask from there.
pub(crate) async fn known(
    parts: &Parts,
    shared: &Shared,
    operation: Option<Operation>,
    node_token: Option<&TokenHash>,
) -> Result<Caller, ApiError> {
    let Some(peer) = parts.extensions.get::<Peer>() else {
        return Err(ApiError::Forbidden("the caller is not known".to_owned()));
    };
    if shared.door.requires_certificate() && peer.certificate.is_none() {
        return Err(ApiError::Forbidden("a client certificate is required".to_owned()));
    }
    let bounds = shared.bounds.now();
    if operation.is_some_and(|operation| !bounds.addresses(operation).allows(peer.addr.ip())) {
        let address = peer.addr.ip();
        shared.app.cluster.ready()?;
        return Err(ApiError::Forbidden(format!("the policy does not let this be asked from the address {address}")));
    }
    shared.limiter.before_credentials(peer)?;
    let known = Caller::of(&shared.app, shared.door, peer.clone(), parts, node_token).await;
    known.map_err(|Unknown { error, is_guess }| {
        if is_guess {
            shared.limiter.credentials_failed(peer);
        }
        error
    })
}

/// Who asks, before it is known.
pub(crate) fn stranger(parts: &Parts, door: Door) -> Actor {
    parts.extensions.get::<Peer>().map_or_else(|| Actor::stranger(None), Actor::peer).at(door.name())
}

/// Tells the audit of somebody who was not let in.
pub(crate) fn tell(parts: &Parts, shared: &Shared, actor: &Actor, what: audit::Operation, error: &ApiError) {
    let flood = match error {
        ApiError::Unauthorized(_) | ApiError::BadRequest(_) => Flood::Credentials,
        ApiError::Forbidden(_) => {
            let administers = matches!(what, audit::Operation::AdminAccess | audit::Operation::KeyManagerAccess);
            if administers { Flood::Administration } else { Flood::Denied }
        }
        ApiError::TooMany { .. } => Flood::TooMany,
        // Of what could not be decided there is nothing to tell.
        ApiError::Host(_)
        | ApiError::NoSuchPath
        | ApiError::NotOffered(_)
        | ApiError::UnknownKey(_)
        | ApiError::MethodNotAllowed
        | ApiError::NotAcceptable
        | ApiError::Body(_)
        | ApiError::Refused { .. }
        | ApiError::OtherChain { .. }
        | ApiError::SeeLeader { .. }
        | ApiError::Conflict(_)
        | ApiError::Unavailable(_)
        | ApiError::NotServing(_)
        | ApiError::Internal => return,
    };
    let reason = &format!("{} {}: {}", parts.method, parts.uri.path(), error.sentence());
    shared.app.audit.record_within(flood, &audit::Event::new(actor, what, audit::Outcome::Refused, reason));
}
