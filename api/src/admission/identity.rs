//! Who asks, as a proof that an endpoint can demand: an extractor that succeeds only for a permitted certificate.
//!
//! In: the [`Peer`] that `gate` put into the extensions. Out: [`Client`] or [`Admin`], or 403 and a WARN line (an audit
//! line for an operator's endpoint).
//! Names are common names of certificates that the configured CA issued. Deliberately absent: permissions per key and
//! operation, tokens.

use crate::app::{App, Shared};
use crate::audit::{self, Actor, Flood};
use crate::error::ApiError;
use axum::extract::FromRequestParts;
use consigner_gate::Peer;
use http::request::Parts;
use std::sync::Arc;

/// Why somebody else is turned away from an operator's endpoint.
pub(crate) const NO_ADMIN: &str = "this client certificate is not an administrator's";

/// A caller that may use the endpoints of validator clients.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// For records and logs.
    pub(crate) name: String,
    /// Where it comes from.
    pub(crate) peer: Peer,
}

/// A caller that may do everything.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// For the audit.
    pub(crate) actor: Actor,
}

impl FromRequestParts<Arc<Shared>> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let peer = certified(parts)?;
        if !may_use(&shared.app, &peer) {
            return Err(turned_away(parts, &peer, shared, "this client certificate may not sign"));
        }
        Ok(Self { name: peer.name(), peer })
    }
}

impl FromRequestParts<Arc<Shared>> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let peer = certified(parts)?;
        if !is_admin(&shared.app, &peer) {
            let actor = Actor::peer(&peer);
            let reason = &format!("{} {}: {NO_ADMIN}", parts.method, parts.uri.path());
            let event = audit::Event::new(&actor, audit::Operation::AdminAccess, audit::Outcome::Refused, reason);
            shared.app.audit.record_within(Flood::Denied, &event);
            return Err(ApiError::Forbidden(NO_ADMIN.to_owned()));
        }
        Ok(Self { actor: Actor::peer(&peer) })
    }
}

fn may_use(app: &App, peer: &Peer) -> bool {
    is_admin(app, peer) || app.clients.allows(named(peer))
}

pub(crate) fn is_admin(app: &App, peer: &Peer) -> bool {
    named(peer).is_some_and(|name| app.admins.iter().any(|admin| admin == name))
}

/// The common name of the certificate, if there is one.
pub(crate) fn named(peer: &Peer) -> Option<&str> {
    peer.certificate.as_ref()?.common_name.as_deref()
}

/// The caller, if it proved who it is. A door without TLS proves nothing.
fn certified(parts: &Parts) -> Result<Peer, ApiError> {
    match parts.extensions.get::<Peer>() {
        Some(peer) if peer.certificate.is_some() => Ok(peer.clone()),
        Some(_) | None => Err(ApiError::Forbidden("a client certificate is required".to_owned())),
    }
}

fn turned_away(parts: &Parts, peer: &Peer, shared: &Shared, why: &'static str) -> ApiError {
    if shared.lines.turned_away.may_write() {
        tracing::warn!(peer = %peer.addr, certificate = peer.name(), path = parts.uri.path(), why, "request refused");
    }
    ApiError::Forbidden(why.to_owned())
}
