//! Who may call the key manager API: an extractor that succeeds only for a proven caller within its rate.
//!
//! In: the [`Peer`] that `gate` put into the extensions, the `Authorization` header. Out: [`Manager`], or 401, 403,
//! 404, 429 and an audit line. Deliberately absent: permissions per key; the API is all or nothing.
//!
//! | port | client certificate | token |
//! |---|---|---|
//! | API port | an administrator's | on top, if configured |
//! | own listener, certificates required | an administrator's | on top, if configured |
//! | own listener, certificates optional | names the caller, if shown | required |

use super::rate::{Buckets, RateLimit};
use super::token::{Shown, TokenHash, shown};
use crate::admission::{NO_ADMIN, is_admin, named};
use crate::app::Shared;
use crate::audit::{self, Actor, Flood};
use crate::error::ApiError;
use axum::extract::FromRequestParts;
use consigner_gate::{HostAllowlist, Peer};
use http::request::Parts;
use std::sync::Arc;
use std::time::Instant;

/// What the 404 of a node without the API says.
const DISABLED: &str = "the key manager API is not served here: set keymanager.enabled to true, and without \
                        keymanager.listen it answers on this port to administrators; with it, ask that listener";

/// The key manager API on the API port, where every caller shows a certificate.
#[derive(Debug, Clone, Default)]
pub struct KeyManagerPolicy {
    /// Asked for on top of an administrator's certificate, if set.
    pub token: Option<TokenHash>,
    /// How often one caller may call.
    pub rate: RateLimit,
}

/// The key manager API on a listener of its own.
#[derive(Debug, Clone)]
pub struct KeyManagerDoor {
    /// Which hosts a request may name there.
    pub hosts: HostAllowlist,
    /// What a caller must show.
    pub proof: KeyManagerProof,
    /// How often one caller may call.
    pub rate: RateLimit,
}

/// What a caller of the key manager API must show.
#[derive(Debug, Clone)]
pub enum KeyManagerProof {
    /// An administrator's certificate, and the token on top if there is one.
    AdminCertificate {
        /// The token.
        token: Option<TokenHash>,
    },
    /// The token. For a listener whose client certificate is optional; one that is shown only names the caller.
    Token(TokenHash),
}

/// Whether and how the API is entered through one port.
#[derive(Debug)]
pub(crate) enum Entrance {
    /// Not at all.
    Closed,
    /// By a proof.
    Open {
        /// The proof.
        proof: KeyManagerProof,
        /// The calls that each proven caller has left.
        admitted: Buckets,
        /// The attempts that each address has left. Apart, so that whoever guesses behind the operator's address, or
        /// from a thousand others, takes no call from the operator.
        refused: Buckets,
    },
}

impl Entrance {
    pub(crate) fn of_api_port(policy: Option<&KeyManagerPolicy>) -> Self {
        let Some(KeyManagerPolicy { token, rate }) = policy else { return Self::Closed };
        Self::of_own_door(KeyManagerProof::AdminCertificate { token: token.clone() }, *rate)
    }

    pub(crate) fn of_own_door(proof: KeyManagerProof, rate: RateLimit) -> Self {
        Self::Open { proof, admitted: Buckets::new(rate), refused: Buckets::new(rate) }
    }
}

/// A caller that may manage keys.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    /// For the audit.
    pub(crate) actor: Actor,
}

impl FromRequestParts<Arc<Shared>> for Manager {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let Entrance::Open { proof, admitted, refused } = &shared.entrance else {
            return Err(ApiError::NotOffered(DISABLED));
        };
        let Some(peer) = parts.extensions.get::<Peer>() else {
            return Err(ApiError::Forbidden("the caller is not known".to_owned()));
        };
        let (actor, address) = (Actor::peer(peer), peer.addr.ip().to_string());
        let proven = prove(parts, peer, proof, shared);
        let taken = match &proven {
            Ok(()) => admitted.take(named(peer).unwrap_or(&address), Instant::now()),
            Err(_) => refused.take(&address, Instant::now()),
        };
        let refused = match (taken, proven) {
            (Ok(()), Ok(())) => return Ok(Self { actor }),
            (Ok(()), Err(error)) => error,
            (Err(seconds), Ok(()) | Err(_)) => ApiError::TooMany { seconds },
        };
        let reason = &format!("{} {}: {}", parts.method, parts.uri.path(), refused.sentence());
        let event = audit::Event::new(&actor, audit::Operation::KeyManagerAccess, audit::Outcome::Refused, reason);
        shared.app.audit.record_within(Flood::Credentials, &event);
        Err(refused)
    }
}

fn prove(parts: &Parts, peer: &Peer, proof: &KeyManagerProof, shared: &Shared) -> Result<(), ApiError> {
    let token = match proof {
        KeyManagerProof::AdminCertificate { token } => {
            if !is_admin(&shared.app, peer) {
                return Err(ApiError::Forbidden(NO_ADMIN.to_owned()));
            }
            token.as_ref()
        }
        KeyManagerProof::Token(token) => Some(token),
    };
    match token.map(|token| shown(&parts.headers, token)) {
        None | Some(Shown::Right) => Ok(()),
        Some(Shown::Nothing) => Err(unauthorized("a bearer token is required: Authorization: Bearer ..")),
        Some(Shown::Wrong) => Err(unauthorized("this is not the token of this node")),
    }
}

fn unauthorized(why: &str) -> ApiError {
    ApiError::Unauthorized(why.to_owned())
}
