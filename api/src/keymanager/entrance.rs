//! Who may call the key manager API: an extractor that succeeds only for a proven caller within its rate.
//!
//! In: the [`Peer`] that `gate` put into the extensions, the `Authorization` header. Out: [`Manager`], or 401, 403,
//! 404, 429 and an audit line. Deliberately absent: permissions per key; a verb is granted for all keys.
//!
//! | port | without a policy | with a policy |
//! |---|---|---|
//! | API port; own listener, certificates required | an administrator's certificate | who has the verb |
//! | own listener, certificates optional, with a token file | its token | who has the verb |
//! | own listener, certificates optional, without one | an administrator's certificate | who has the verb |
//!
//! Where certificates are required and there is a token file, its token is asked for on top. A policy alone grants:
//! beside one the token of a file, which no policy knows, counts for nothing by itself.

use super::token::TokenHash;
use crate::admission::{Caller, confirmed, judged, known, needs_of, stranger, tell, tell_late};
use crate::app::Shared;
use crate::audit::{self, Actor};
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use crate::limits::{Buckets, RateLimit, UsedUp, too_many};
use crate::permission::Needs;
use axum::extract::FromRequestParts;
use consigner_gate::{HostAllowlist, Peer};
use http::request::Parts;
use std::sync::Arc;
use std::time::Instant;

/// What the 404 of a node without the API says.
const DISABLED: &str = "the key manager API is not served here: set keymanager.enabled to true, and without \
                        keymanager.listen it answers on this port to administrators; with it, ask that listener";

/// What who shows no token is told where this node's token is asked for.
const NO_TOKEN: &str = "a bearer token is required: Authorization: Bearer ..";

/// What who shows the token of this node's token file alone is told beside a policy.
const BESIDE_A_POLICY: &str = "beside a policy the token of keymanager.token-file grants nothing by itself: make a \
                               token of the cluster (consigner policy token create), or use an access token or a \
                               certificate that the policy knows";

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
    /// Without a policy the token, and a certificate that is shown only names the caller; with one, what it asks for. For
    /// a listener whose client certificate is optional.
    Token(TokenHash),
    /// What the policy asks for: a token of the cluster, an access token, a certificate. For a listener whose client
    /// certificate is optional; without a policy, an administrator's certificate.
    Policy,
}

impl KeyManagerProof {
    const fn token(&self) -> Option<&TokenHash> {
        match self {
            Self::AdminCertificate { token } => token.as_ref(),
            Self::Token(token) => Some(token),
            Self::Policy => None,
        }
    }

    /// Whether the handshake of the door requires a certificate.
    pub(crate) const fn requires_certificate(&self) -> bool {
        match self {
            Self::AdminCertificate { .. } => true,
            Self::Token(_) | Self::Policy => false,
        }
    }
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
    caller: Caller,
    needs: Needs,
}

impl Manager {
    /// As [`crate::admission::Admin::still`].
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn still(&self, shared: &Shared) -> Result<(), ApiError> {
        shared.app.cluster.barrier(BARRIER_DEADLINE).await?;
        self.is_still(shared)
    }

    /// As [`crate::admission::Admin::is_still`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn is_still(&self, shared: &Shared) -> Result<(), ApiError> {
        let judgement = match by_file(shared, &self.caller) {
            Some(by_file) => by_file,
            None => judged(shared, &self.caller, self.needs).map(drop),
        };
        judgement.inspect_err(|error| tell_late(shared, &self.actor, audit::Operation::KeyManagerAccess, error))
    }
}

impl FromRequestParts<Arc<Shared>> for Manager {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let Entrance::Open { proof, admitted, refused } = &shared.entrance else {
            return Err(ApiError::NotOffered(DISABLED));
        };
        let address = parts.extensions.get::<Peer>().map(|peer| peer.addr.ip().to_string()).unwrap_or_default();
        let proven = prove(parts, proof, shared).await;
        let taken = match &proven {
            Ok((caller, _)) if caller.is_named() => admitted.take(&caller.name(), Instant::now()),
            Ok(_) => admitted.take(&address, Instant::now()),
            Err(_) => refused.take(&address, Instant::now()),
        };
        let (actor, error) = match (taken, proven) {
            (Ok(()), Ok((caller, needs))) => return Ok(Self { actor: caller.actor(), caller, needs }),
            (Ok(()), Err(unproven)) => unproven,
            (Err(seconds), Ok((caller, _))) => (caller.actor(), too_many(UsedUp::KeyManager, seconds)),
            (Err(seconds), Err((actor, _))) => (actor, too_many(UsedUp::KeyManager, seconds)),
        };
        tell(parts, shared, &actor, audit::Operation::KeyManagerAccess, &error);
        Err(error)
    }
}

/// The caller, if it may; else who it seems to be, and why not.
async fn prove(parts: &Parts, proof: &KeyManagerProof, shared: &Shared) -> Result<(Caller, Needs), (Actor, ApiError)> {
    let unknown = |error| (stranger(parts, shared.door), error);
    let needs = needs_of(parts).map_err(unknown)?;
    let caller = known(parts, shared, needs.operation(), proof.token()).await.map_err(unknown)?;
    let wants_token = || Err(ApiError::Unauthorized(NO_TOKEN.to_owned()));
    let permitted = match proof {
        KeyManagerProof::Token(_) => token_or_policy(shared, &caller, needs).await,
        KeyManagerProof::AdminCertificate { .. } | KeyManagerProof::Policy => {
            confirmed(shared, &caller, needs).await.map(drop)
        }
    };
    let on_top = match proof {
        KeyManagerProof::AdminCertificate { token: Some(_) } if !caller.has_node_token() => wants_token(),
        KeyManagerProof::AdminCertificate { .. } | KeyManagerProof::Token(_) | KeyManagerProof::Policy => Ok(()),
    };
    match permitted.and(on_top) {
        Ok(()) => Ok((caller, needs)),
        Err(error) => Err((caller.actor(), error)),
    }
}

/// On a listener with a token file and certificates optional.
async fn token_or_policy(shared: &Shared, caller: &Caller, needs: Needs) -> Result<(), ApiError> {
    let cluster = &shared.app.cluster;
    if caller.has_node_token() {
        // This node may not have heard of the policy that ends what the file grants.
        cluster.barrier(BARRIER_DEADLINE).await?;
        if let Some(by_file) = by_file(shared, caller) {
            return by_file;
        }
    } else if cluster.read(|state| state.policy().is_none()) {
        cluster.ready()?;
        return Err(ApiError::Unauthorized(NO_TOKEN.to_owned()));
    }
    confirmed(shared, caller, needs).await.map(drop)
}

/// What the token of the token file decides by itself, by the state that this node has; `None`: nothing, the policy
/// does, or the caller has not come by it.
fn by_file(shared: &Shared, caller: &Caller) -> Option<Result<(), ApiError>> {
    let Entrance::Open { proof: KeyManagerProof::Token(_), .. } = &shared.entrance else { return None };
    let has_policy = shared.app.cluster.read(|state| state.policy().is_some());
    match (caller.has_node_token(), has_policy) {
        (true, false) => Some(Ok(())),
        (true, true) if !caller.is_named() => Some(Err(ApiError::Unauthorized(BESIDE_A_POLICY.to_owned()))),
        (true, true) | (false, _) => None,
    }
}
