//! Every answer that is not 200, and the only place that knows status codes.
//!
//! In: the errors of admission, rules, raft and keys. Out: a status, its headers, and `{"error": ".."}` saying what to
//! do (`{"message": ..}` in the key manager API). Three kinds never mix (DESIGN 10): misuse (400, 401, 403, 404, 405,
//! 406, 408, 413, 429), refusal (412), could not (5xx).
//! Deliberately absent: inner causes of 5xx, which go to the log; secrets, of which no error knows any.

use crate::admission::{Asked, BodyError, HostProblem};
use crate::audit::AuditError;
use crate::json::Json;
use crate::limits::UsedUp;
use axum::response::{IntoResponse, Response};
pub(crate) use consigner_gate::with_causes;
use consigner_keys::SignError;
use consigner_raft::{AuthorizeError, InitialiseError, MembershipError, MembershipRefusal, ProposeError, Unavailable};
use consigner_rules::interchange::InterchangeError;
use consigner_rules::{ParseError, PublicKey, Root, Violation};
use http::header::{CONNECTION, CONTENT_LENGTH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

/// Seconds after which a client may try again: an election is over by then.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Why a request is not answered with 200.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The request is not what the endpoint understands.
    BadRequest(String),
    /// The request names no host, or a foreign one.
    Host(HostProblem),
    /// What the caller shows to prove who it is does not count, or is missing. The reason never holds what was shown.
    Unauthorized(String),
    /// The caller may not do this; the reason names the identity that was seen.
    Forbidden(String),
    /// The caller called too often.
    TooMany {
        /// When to come again.
        seconds: u64,
        /// What the caller used up.
        used_up: UsedUp,
    },
    /// There is no such endpoint.
    NoSuchPath,
    /// The endpoint is known, but this node is not configured to offer it.
    NotOffered(&'static str),
    /// The cluster has no such key.
    UnknownKey(PublicKey),
    /// The endpoint does not know the method; the router adds `Allow`.
    MethodNotAllowed,
    /// The client takes no content type that the endpoint has.
    NotAcceptable,
    /// No usable body.
    Body(BodyError),
    /// Slashable.
    Refused {
        /// Why.
        violation: Violation,
        /// Where the cluster's log has the refusal.
        log_index: u64,
    },
    /// For another chain.
    OtherChain {
        /// The cluster's genesis validators root.
        expected: Root,
        /// The request's.
        got: Root,
    },
    /// Only the leader can do this.
    SeeLeader {
        /// Base URL of the leader.
        api_url: String,
        /// What to ask there.
        asked: Option<Asked>,
    },
    /// It cannot be done (again): the state of the cluster does not allow it.
    Conflict(String),
    /// Could not; may be tried again.
    Unavailable(String),
    /// The answer of a health endpoint, of its own shape, when the answer is "no".
    NotServing(Value),
    /// A fault of this program; the log has the reason.
    Internal,
}

impl ApiError {
    /// Completes a redirect with what the client asked for.
    pub(crate) fn for_request(mut self, request: Option<&Asked>) -> Self {
        if let Self::SeeLeader { asked, .. } = &mut self {
            *asked = request.cloned();
        }
        self
    }

    /// A word for metrics.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::BadRequest(_) | Self::Body(_) | Self::NotAcceptable => "malformed",
            Self::Host(_) | Self::Unauthorized(_) | Self::Forbidden(_) => "forbidden",
            Self::TooMany { .. } => "too_many",
            Self::NoSuchPath | Self::NotOffered(_) | Self::MethodNotAllowed => "no_such_endpoint",
            Self::UnknownKey(_) => "unknown_key",
            Self::Refused { .. } | Self::OtherChain { .. } => "refused",
            Self::SeeLeader { .. } => "redirected",
            Self::Conflict(_) => "conflict",
            Self::Unavailable(_) | Self::NotServing(_) => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// What is wrong and what to do, without the shape around it.
    pub(crate) fn sentence(&self) -> String {
        said(&self.body())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Host(HostProblem::Missing | HostProblem::Several) => StatusCode::BAD_REQUEST,
            Self::Host(HostProblem::NotAllowed(_)) | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NoSuchPath | Self::NotOffered(_) | Self::UnknownKey(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::Slow(_)) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::Broken(_)) => StatusCode::BAD_REQUEST,
            Self::Refused { .. } | Self::OtherChain { .. } => StatusCode::PRECONDITION_FAILED,
            // Clients turn a POST into a GET on 301, 302 and 303, and remember 308 although leaders change.
            Self::SeeLeader { .. } => StatusCode::TEMPORARY_REDIRECT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Body(BodyError::NoRoom) | Self::Unavailable(_) | Self::NotServing(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn body(&self) -> Value {
        match self {
            // Web3Signer's body, which tools look for, and ours.
            Self::Host(HostProblem::NotAllowed(_)) => {
                json!({"message": "Host not authorized.", "error": "the Host header is not on this node's allowlist"})
            }
            Self::NotServing(body) => body.clone(),
            Self::Host(problem) => error(problem.to_string()),
            Self::BadRequest(text) | Self::Conflict(text) => error(text.as_str()),
            Self::Unavailable(text) => error(format!("{text}; try again")),
            Self::Unauthorized(text) | Self::Forbidden(text) => error(text.as_str()),
            Self::NotOffered(text) => error(*text),
            Self::TooMany { seconds, used_up } => error(format!("{}; come again in {seconds} s", used_up.sentence())),
            Self::NoSuchPath => error("no such path"),
            Self::UnknownKey(key) => error(format!("no key {key} in this cluster")),
            Self::MethodNotAllowed => error("method not allowed on this path; see the Allow header"),
            Self::NotAcceptable => error("this endpoint answers application/json only; allow it in Accept"),
            Self::Body(why) => error(why.to_string()),
            Self::Refused { violation, .. } => error(violation.to_string()),
            Self::OtherChain { expected, got } => error(format!(
                "the request is for another chain: its genesis_validators_root is {got}, this cluster signs for {expected}"
            )),
            Self::SeeLeader { api_url, .. } => error(format!("this node does not lead; ask {api_url}")),
            Self::Internal => error("internal error; the log of this node has the reason"),
        }
    }

    /// `None`: the leader advertises a URL that cannot stand in a header.
    fn location(&self) -> Option<HeaderValue> {
        let Self::SeeLeader { api_url, asked } = self else { return None };
        let target = asked.as_ref().map_or("/", |asked| asked.0.as_str());
        HeaderValue::try_from(format!("{}{target}", api_url.trim_end_matches('/'))).ok()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let leaves_body = matches!(self, Self::Body(BodyError::TooLarge { .. }));
        let location = self.location();
        if status == StatusCode::TEMPORARY_REDIRECT && location.is_none() {
            tracing::error!(error = ?self, "the leader's advertised API URL is not usable");
            return Self::Internal.into_response();
        }
        let retry_after = if let Self::TooMany { seconds, .. } = &self {
            Some(HeaderValue::from(*seconds))
        } else {
            (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS)
        };
        let body = self.body();
        let sentence = Sentence(said(&body));
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(sentence);
        let headers = response.headers_mut();
        if let Some(location) = location {
            headers.insert(LOCATION, location);
        }
        if leaves_body {
            // What is left of the body is thrown away for a while only; no request can follow it on this connection.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(retry_after) = retry_after {
            headers.insert(RETRY_AFTER, retry_after);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The sentence in a body of ours.
fn said(body: &Value) -> String {
    body["error"].as_str().unwrap_or("this node does not serve").to_owned()
}

/// The sentence of an error, beside the answer that was made of it.
#[derive(Clone)]
struct Sentence(String);

/// Gives an error the shape that the key manager API asks for: `{"message": ".."}`.
pub(crate) fn for_key_manager(response: Response) -> Response {
    let Some(Sentence(text)) = response.extensions().get::<Sentence>().cloned() else { return response };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    let body = Json(json!({"message": text})).into_response().into_body();
    Response::from_parts(parts, body)
}

fn error(text: impl Into<Value>) -> Value {
    json!({"error": text.into()})
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<ParseError> for ApiError {
    fn from(error: ParseError) -> Self {
        Self::BadRequest(with_causes(&error))
    }
}

impl From<AuthorizeError> for ApiError {
    fn from(error: AuthorizeError) -> Self {
        match error {
            AuthorizeError::Refused { violation, log_index } => Self::Refused { violation, log_index },
            AuthorizeError::Denied { reason } => Self::Forbidden(reason),
            AuthorizeError::OtherChain { expected, got } => Self::OtherChain { expected, got },
            AuthorizeError::UnknownKey(key) => Self::UnknownKey(key),
            AuthorizeError::Redirect { api_url } => Self::SeeLeader { api_url, asked: None },
            AuthorizeError::Unavailable { reason } => Self::Unavailable(reason),
        }
    }
}

impl From<SignError> for ApiError {
    fn from(error: SignError) -> Self {
        match error {
            // The cluster agreed, so it has the key: never 404 (COMPATIBILITY, part C).
            SignError::UnknownKey => Self::Unavailable(
                "the cluster has the key, but it is not opened on this node (yet): ask another node".to_owned(),
            ),
            SignError::Overloaded => Self::Unavailable("too many signatures are waiting on this node".to_owned()),
            SignError::Stopped => Self::Unavailable("this node is stopping".to_owned()),
            // The keyring has logged it as an ERROR, with the key.
            SignError::Mismatch => Self::Internal,
        }
    }
}

impl From<AuditError> for ApiError {
    fn from(error: AuditError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.reason)
    }
}

impl From<ProposeError> for ApiError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::TooLarge { .. } => Self::BadRequest(with_causes(&error)),
            ProposeError::Unavailable(unavailable) => unavailable.into(),
            ProposeError::NeedsRules { .. } => Self::Unavailable(with_causes(&error)),
        }
    }
}

impl From<MembershipError> for ApiError {
    fn from(error: MembershipError) -> Self {
        let text = with_causes(&error);
        match error {
            MembershipError::Refused(MembershipRefusal::IdZero | MembershipRefusal::TokenLifetime { .. }) => {
                Self::BadRequest(text)
            }
            // Something was done and undone: trying again with the same id would be refused.
            MembershipError::Refused(_) | MembershipError::NotLevel { .. } => Self::Conflict(text),
            MembershipError::NotLeader { .. }
            | MembershipError::Busy
            | MembershipError::Silent { .. }
            | MembershipError::HandOver(_)
            | MembershipError::Unavailable(_) => Self::Unavailable(text),
        }
    }
}

impl From<InitialiseError> for ApiError {
    fn from(error: InitialiseError) -> Self {
        match error {
            InitialiseError::Members(text) => Self::BadRequest(text),
            InitialiseError::AlreadyInitialised | InitialiseError::Raft(_) => Self::Conflict(with_causes(&error)),
            InitialiseError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

impl From<InterchangeError> for ApiError {
    fn from(error: InterchangeError) -> Self {
        match error {
            InterchangeError::OtherChain { found, expected } => Self::OtherChain { expected, got: found },
            InterchangeError::Json(_)
            | InterchangeError::TooLarge { .. }
            | InterchangeError::Version { .. }
            | InterchangeError::Field { .. } => Self::BadRequest(with_causes(&error)),
        }
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
