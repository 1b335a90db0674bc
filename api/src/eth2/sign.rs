//! `POST /api/v1/eth2/sign/{identifier}`: the handler that is the architecture.
//!
//! In: a key in the path, a request in the body. Out: a signature as JSON or bare text. The order is fixed: 400 for what
//! is not understood, 404 for an unknown key, 412 for what must not be signed, and only then a permit and a signature.
//! The request's `Content-Type` is not looked at, as in Web3Signer. Deliberately absent: any decision.

use super::attempt::Attempt;
use super::identifier;
use crate::accept::{self, Format};
use crate::admission::{Asked, BodyRules, Client, HeldBody, read_body};
use crate::app::Shared;
use crate::error::ApiError;
use crate::follow;
use crate::json::JSON;
use crate::limits::{Place, Tier};
use crate::metrics;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_raft::{Release, Routing};
use consigner_rules::{Network, ParseError, PublicKey, SignRequest, Signature, State as Agreed};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use std::sync::Arc;
use std::time::Duration;

/// Sign bodies have 0.4 to 1.2 kB, but full phase0 blocks and Gloas execution payloads reach several MiB as JSON
/// (Web3Signer stops at 10 MB).
const BODY: BodyRules = BodyRules { bytes_max: 16 << 20, time_max: Duration::from_secs(8) };

/// Bodies above this size are understood off the async threads: parsing and hashing 1 MiB takes milliseconds.
const LARGE_BODY_BYTES: usize = 64 << 10;

/// How long a signature waits for this node's lease. With the wait for a leader before it, less than the 5 s after which
/// Teku gives up.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);

/// The content type of a bare signature.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    client: Client,
    identifier: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let key = identifier::public_key(identifier)?;
    let format = accept::signature_format(request.headers());
    let routing = follow::routing(shared.app.follower_requests, request.headers());
    let asked = request.extensions().get::<Asked>().cloned();
    let mut attempt = Attempt::begin(&client, key, &shared);
    let signature = async {
        let request = read(&shared, key, request).await?;
        attempt.understood(&request);
        sign(&shared, &request, &client, routing, &mut attempt).await
    }
    .await;
    attempt.answered(signature.as_ref().err());
    signature.map(|signature| answer(&signature, format)).map_err(|error| error.for_request(asked.as_ref()))
}

/// Reads and parses, in a place for readers.
async fn read(shared: &Shared, key: PublicKey, request: Request) -> Result<SignRequest, ApiError> {
    let _place = found(shared.slots.sign.reader(), "sign_readers")?;
    let body = read_body(request, BODY, Some(&shared.slots.body_kib)).await?;
    understand(shared, key, body).await
}

/// Authorize, sign, in a place of the request's tier. Nothing else may stand between.
async fn sign(
    shared: &Shared,
    request: &SignRequest,
    client: &Client,
    routing: Routing,
    attempt: &mut Attempt<'_>,
) -> Result<Signature, ApiError> {
    let (app, key, tier) = (&shared.app, &request.public_key, Tier::of(request.signing_type));
    let admit = |state: &Agreed| client.may_sign(shared, state, request);
    // Who may not have it signed must not keep others out of the places of what it names.
    let place = if app.cluster.read(|state| admit(state)).is_ok() { tier } else { Tier::Others };
    let _place = found(shared.slots.sign.of(place), place.name())?;
    let permit = app.cluster.authorize(request, &client.name, routing, &admit).await?;
    attempt.permitted(&permit);
    let signature = app.keyring.sign_with(permit, tier.urgency()).await?;
    // DESIGN 4a: the lease is checked again before the signature is written out; the process may have been frozen, and
    // a deletion that could not reach this node counted on its lease having run out.
    // S6: and then whether the key is still held: its deletion may have been acknowledged since it signed. S9: so may
    // the end of this caller's rights.
    match app.cluster.may_release(key, RELEASE_DEADLINE, &admit).await? {
        Release::Yes => Ok(signature),
        Release::KeyGone => Err(ApiError::UnknownKey(*key)),
        Release::Denied(reason) => Err(ApiError::Forbidden(reason)),
    }
}

/// Nobody waits for a place: 503 at once, so that the client asks another node.
fn found(place: Option<Place>, limit: &'static str) -> Result<Place, ApiError> {
    place.ok_or_else(|| {
        metrics::shed(limit);
        ApiError::Unavailable("too many sign requests of this kind are in flight on this node".to_owned())
    })
}

async fn understand(shared: &Shared, key: PublicKey, body: HeldBody) -> Result<SignRequest, ApiError> {
    let network = &shared.app.network;
    if body.len() <= LARGE_BODY_BYTES {
        return Ok(SignRequest::parse(key, &body, network)?);
    }
    // Closed never; the deadline of the request bounds the wait.
    let turn = shared.slots.large_parse.clone().acquire_owned().await.map_err(|_| ApiError::Internal)?;
    let network: Arc<Network> = network.clone();
    let parsing = tokio::task::spawn_blocking(move || -> Result<SignRequest, ParseError> {
        let _turn = turn;
        SignRequest::parse(key, &body, &network)
    });
    match parsing.await {
        Ok(parsed) => Ok(parsed?),
        Err(panic) => {
            tracing::error!(error = %panic, "understanding a request panicked");
            Err(ApiError::Internal)
        }
    }
}

fn answer(signature: &Signature, format: Format) -> Response {
    match format {
        Format::Json => ([(CONTENT_TYPE, JSON)], format!("{{\"signature\":\"{signature}\"}}")).into_response(),
        // Without a newline: Prysm takes strict hexadecimal only.
        Format::Text => ([(CONTENT_TYPE, TEXT)], signature.to_string()).into_response(),
    }
}
