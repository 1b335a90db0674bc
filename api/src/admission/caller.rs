//! Who calls: the one place where what a request shows becomes what its caller has proved.
//!
//! ```text
//! Peer (certificate, checked in the handshake) ------------------\
//! Authorization -> credentials -> token of the State: id, hash, expiry -> Caller
//!                              -> access token: oauth -----------/
//!                              -> the node's own key manager token
//! ```
//! In: the head of a request. Out: a [`Caller`], or 400 or 401 with a reason that says what is wrong and never what was
//! shown. A credential that does not count is refused although others would do: whoever shows one means it. Deliberately
//! absent: what the caller may do (`permission`); reading clocks later than here (a token that expires meanwhile has
//! been admitted, one that is revoked has not).

use super::credentials::{self, Shown};
use super::door::Door;
use super::host;
use crate::app::App;
use crate::audit::{Actor, Proof};
use crate::error::{ApiError, with_causes};
use crate::keymanager::TokenHash;
use consigner_gate::{Peer, PeerCertificate};
use consigner_rules::State;
use consigner_rules::policy::{self, CertificateNames, Claims, TokenRecord};
use http::request::Parts;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use subtle::ConstantTimeEq as _;

/// Why tokens are refused while there is no policy.
const NO_POLICY: &str = "tokens count for nothing before a policy is applied: consigner policy apply";

/// A caller and what it has proved.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    peer: Peer,
    door: Door,
    token: Option<Arc<TokenRecord>>,
    claims: Option<Arc<Claims>>,
    has_node_token: bool,
    /// The hosts that it asked for.
    hosts: Arc<[String]>,
}

/// Why a caller is not known.
#[derive(Debug)]
pub(crate) struct Unknown {
    /// The answer.
    pub(crate) error: ApiError,
    /// Whether it was a guess at a credential, or looks like one: the address then has to wait.
    pub(crate) is_guess: bool,
}

impl Caller {
    /// Judges what a request shows. `node_token` is the token file's, where it is asked for; that a credential of the
    /// cluster is unknown is said only by a node in contact.
    ///
    /// # Errors
    /// 400 for a header that is not understood, 401 for a credential that does not count, 503 out of contact.
    pub(crate) async fn of(
        app: &App,
        door: Door,
        peer: Peer,
        parts: &Parts,
        node_token: Option<&TokenHash>,
    ) -> Result<Self, Unknown> {
        let shown = credentials::shown(&parts.headers).map_err(|problem| ApiError::BadRequest(problem.to_string()))?;
        let hosts = host::named(parts).into();
        let mut caller = Self { peer, door, token: None, claims: None, has_node_token: false, hosts };
        match shown {
            Shown::Nothing => {}
            Shown::Basic(_) if !door.takes_basic() => {
                // On the API port it counted for nothing before there were policies, and proxies add such headers.
                if app.cluster.read(|state| state.policy().is_some()) {
                    return refused("Basic credentials are taken on the token door only (token-door.listen)");
                }
            }
            Shown::Basic(text) if credentials::is_cluster_token(&text) => caller.token = Some(token(app, &text)?),
            Shown::Basic(_) => return guessed("the password is no token of this cluster (cst_..)"),
            Shown::Bearer(text) if node_token.is_some_and(|expected| expected.agrees(text.as_bytes())) => {
                caller.has_node_token = true;
            }
            Shown::Bearer(text) if credentials::is_cluster_token(&text) => caller.token = Some(token(app, &text)?),
            Shown::Bearer(text) => caller.claims = access_token(app, door, &text, node_token.is_some()).await?,
        }
        Ok(caller)
    }

    /// Where it comes from, and its certificate.
    pub(crate) const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The hosts that its request named.
    pub(crate) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    pub(crate) fn certificate(&self) -> Option<&PeerCertificate> {
        self.peer.certificate.as_deref()
    }

    /// Whether it has shown the token of this node's token file.
    pub(crate) const fn has_node_token(&self) -> bool {
        self.has_node_token
    }

    /// Whether it has proved anything at all.
    pub(crate) const fn is_somebody(&self) -> bool {
        self.is_named() || self.has_node_token
    }

    /// Whether it has a name of its own; who has the token of this node's token file alone has not.
    pub(crate) const fn is_named(&self) -> bool {
        self.peer.certificate.is_some() || self.token.is_some() || self.claims.is_some()
    }

    /// For records and logs: by the certificate, else the token, else the access token.
    pub(crate) fn name(&self) -> String {
        self.actor().identity
    }

    /// For the audit.
    pub(crate) fn actor(&self) -> Actor {
        let actor = Actor::peer(&self.peer).at(self.door.name());
        if self.peer.certificate.is_some() {
            return actor;
        }
        match (&self.token, &self.claims) {
            (Some(token), _) => Actor { identity: token.name.clone(), proof: Proof::Token, ..actor },
            (None, Some(claims)) => Actor { identity: claims.subject.clone(), proof: Proof::Jwt, ..actor },
            (None, None) if self.has_node_token => actor,
            (None, None) => Actor::stranger(Some(self.peer.addr)).at(self.door.name()),
        }
    }

    /// What was seen, for a refusal. Never a secret.
    pub(crate) fn describe(&self) -> String {
        self.shown_proofs().describe()
    }

    /// What the caller had proved when it was admitted.
    pub(crate) fn shown_proofs(&self) -> policy::Caller<'_> {
        let certificate = self.certificate().map(|certificate| CertificateNames {
            common_name: certificate.common_name.as_deref(),
            dns_names: &certificate.dns_names,
            uris: &certificate.uris,
            fingerprint: Some(certificate.fingerprint_sha256),
        });
        policy::Caller { certificate, token: self.token.as_deref(), claims: self.claims.as_deref() }
    }

    /// What of it still holds in this state.
    ///
    /// # Errors
    /// The token was revoked since.
    pub(crate) fn proofs(&self, state: &State) -> Result<policy::Caller<'_>, String> {
        if let Some(token) = self.token.as_deref()
            && state.token(&token.id).map(AsRef::as_ref) != Some(token)
        {
            return Err(format!("the token {} ({}) was revoked", token.name, hex::encode(token.id)));
        }
        Ok(self.shown_proofs())
    }
}

/// The token of the cluster that this text proves.
fn token(app: &App, text: &str) -> Result<Arc<TokenRecord>, Unknown> {
    let Some(claim) = credentials::token_claim(text) else {
        return guessed("the token is not whole: cst_, 16 hexadecimal digits, _ and 64 hexadecimal digits");
    };
    let (has_policy, known) = app.cluster.read(|state| (state.policy().is_some(), state.token(&claim.id).cloned()));
    let Some(known) = known.filter(|_| has_policy) else {
        // Made a moment ago, it is known to every node in contact, and another node may not be asked.
        app.cluster.ready().map_err(ApiError::from)?;
        if !has_policy {
            return refused(NO_POLICY);
        }
        return guessed(&format!(
            "unknown token {}: it was revoked, or never made in this cluster",
            hex::encode(claim.id)
        ));
    };
    if !bool::from(known.hash.ct_eq(&claim.hash)) {
        return guessed(&format!("the secret of token {} is another one", hex::encode(claim.id)));
    }
    if known.is_expired(now_ms()) {
        return refused(&format!("the token {} ({}) has expired", known.name, hex::encode(known.id)));
    }
    Ok(known)
}

/// The claims of an access token. `None`: it is not looked at, because bearer texts of others counted for nothing here
/// before there were policies.
async fn access_token(
    app: &App,
    door: Door,
    text: &str,
    wants_node_token: bool,
) -> Result<Option<Arc<Claims>>, Unknown> {
    let has_policy = app.cluster.read(|state| state.policy().is_some());
    match &app.oauth {
        _ if !door.takes_access_tokens() => refused("this door takes tokens of the cluster only (cst_..)"),
        Some(_) if !has_policy && !wants_node_token => {
            app.cluster.ready().map_err(ApiError::from)?;
            refused(NO_POLICY)
        }
        Some(oauth) if has_policy => {
            let claims = oauth.verify(text).await.map_err(|why| {
                let neither = if wants_node_token { "this is not the token of this node; as an " } else { "" };
                let reason = format!("{neither}access token: {}", with_causes(&why));
                if why.is_unavailable() {
                    Unknown::from(ApiError::Unavailable(reason))
                } else {
                    Unknown { error: ApiError::Unauthorized(reason), is_guess: true }
                }
            })?;
            let (issuer, subject, values) = (claims.issuer, claims.subject, claims.values);
            Ok(Some(Arc::new(Claims { issuer, subject, values })))
        }
        Some(_) | None if wants_node_token => guessed("this is not the token of this node"),
        Some(_) | None if has_policy => refused(
            "this bearer text is no token of the cluster (cst_..), and this node has no oauth issuer configured",
        ),
        Some(_) | None => Ok(None),
    }
}

/// A credential that counts for nothing here, whoever has it.
fn refused<T>(why: &str) -> Result<T, Unknown> {
    Err(ApiError::Unauthorized(why.to_owned()).into())
}

/// A credential that is wrong.
fn guessed<T>(why: &str) -> Result<T, Unknown> {
    Err(Unknown { error: ApiError::Unauthorized(why.to_owned()), is_guess: true })
}

impl From<ApiError> for Unknown {
    fn from(error: ApiError) -> Self {
        Self { error, is_guess: false }
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
