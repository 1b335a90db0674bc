//! What the errors of a Vault server mean.
//!
//! In: errors of vaultrs. Out: [`CallError`]s with what the server says and what an operator can do. Deliberately
//! absent: response bodies that are no error messages; they might hold what was asked for.

use super::super::failure::{CallError, Failure};
use super::super::guard::Call;
use rustify::errors::ClientError as RestError;
use std::error::Error;
use std::time::Duration;
use vaultrs::error::ClientError;

/// Longest text of a cause.
const CAUSE_CHARACTERS_MAX: usize = 500;
/// Links of a chain of causes that are worth telling.
const CAUSES_MAX: usize = 6;

/// What a call touches, for hints.
pub(crate) struct Place<'a> {
    /// The path that a policy would name.
    pub(crate) path: &'a str,
    /// The capability that a policy would grant.
    pub(crate) capability: &'a str,
    /// The server.
    pub(crate) endpoint: &'a str,
    /// The deadline of an attempt.
    pub(crate) deadline: Duration,
}

/// An error of vaultrs as ours.
pub(crate) fn failed(call: Call<'_>, place: &Place<'_>, error: &ClientError) -> CallError {
    let failure = classify(error, place.deadline);
    let hint = match failure {
        Failure::Denied => format!(
            "the token needs a policy with: path \"{}\" {{ capabilities = [\"{}\"] }}",
            place.path, place.capability
        ),
        Failure::Sealed => format!("unseal the Vault at {}", place.endpoint),
        Failure::NotFound => format!("is {} right, in this namespace, and is its engine mounted?", place.path),
        Failure::Disabled => "min_decryption_version of the key excludes this record".to_owned(),
        Failure::Unauthenticated => "the login or its token is not accepted".to_owned(),
        Failure::Unreachable | Failure::TimedOut(_) => {
            format!("is {} up, reachable from this node, and its certificate of the right CA?", place.endpoint)
        }
        Failure::Throttled | Failure::Service | Failure::Refused | Failure::Malformed | Failure::CircuitOpen(_) => {
            String::new()
        }
    };
    call.failed(failure, hint, Some(cause(error)))
}

/// Whether the server refused with one of these words.
pub(crate) fn says(error: &ClientError, words: &[&str]) -> bool {
    let ClientError::APIError { errors, .. } = error else { return false };
    errors.iter().any(|text| words.iter().any(|word| text.contains(word)))
}

/// Whether the latest version of a KV secret was deleted: the server then answers 404 with that version's story.
pub(crate) fn is_deleted(error: &ClientError) -> bool {
    let ClientError::RestClientError { source: RestError::ServerResponseError { code: 404, content } } = error else {
        return false;
    };
    let answer = content.as_ref().and_then(|content| serde_json::from_str::<serde_json::Value>(content).ok());
    let version = answer.as_ref().map(|answer| &answer["data"]["metadata"]);
    version.is_some_and(|version| version["version"].is_u64())
}

fn classify(error: &ClientError, deadline: Duration) -> Failure {
    match error {
        ClientError::APIError { code, .. } => by_status(*code, error),
        ClientError::RestClientError { source } => match source {
            RestError::ServerResponseError { code, .. } => by_status(*code, error),
            RestError::RequestError { .. } | RestError::ResponseError { .. } => {
                if times_out(source) {
                    Failure::TimedOut(deadline)
                } else {
                    Failure::Unreachable
                }
            }
            RestError::ResponseConversionError { .. } | RestError::ResponseParseError { .. } => Failure::Malformed,
            RestError::DataParseError { .. }
            | RestError::EndpointBuildError { .. }
            | RestError::GenericError { .. }
            | RestError::RequestBuildError { .. }
            | RestError::ReqwestBuildError { .. }
            | RestError::UrlBuildError { .. }
            | RestError::UrlQueryParseError { .. }
            | RestError::UrlParseError { .. } => Failure::Refused,
        },
        ClientError::JsonParseError { .. }
        | ClientError::ResponseEmptyError
        | ClientError::ResponseDataEmptyError
        | ClientError::ResponseWrapError => Failure::Malformed,
        ClientError::FileNotFoundError { .. }
        | ClientError::FileReadError { .. }
        | ClientError::FileWriteError { .. }
        | ClientError::InvalidLoginMethodError
        | ClientError::ParseCertificateError { .. }
        | ClientError::RestClientBuildError { .. }
        | ClientError::WrapInvalidError
        | ClientError::InvalidUpdateParameter => Failure::Refused,
    }
}

fn by_status(code: u16, error: &ClientError) -> Failure {
    match code {
        503 if says(error, &["sealed"]) => Failure::Sealed,
        400 if says(error, &["encryption key not found", "key not found"]) => Failure::NotFound,
        400 if says(error, &["too old", "disallowed by policy"]) => Failure::Disabled,
        400 if says(error, &["missing client token"]) => Failure::Unauthenticated,
        401 => Failure::Unauthenticated,
        403 => Failure::Denied,
        404 => Failure::NotFound,
        429 => Failure::Throttled,
        // A standby that will not forward, a replica that lags behind, a server that fails.
        301..=308 | 412 | 472 | 473 | 500.. => Failure::Service,
        _ => Failure::Refused,
    }
}

fn times_out(error: &RestError) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout))
}

/// What the server says, or the chain of causes; for answers that make no sense, nothing of the answer.
fn cause(error: &ClientError) -> String {
    let text = if let ClientError::APIError { code, errors } = error {
        format!("status {code}: {}", errors.join("; "))
    } else if let ClientError::RestClientError { source: RestError::ServerResponseError { code, .. } } = error {
        format!("status {code}")
    } else if is_unreadable(error) {
        "the response is not what this call returns".to_owned()
    } else {
        causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
    };
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(CAUSE_CHARACTERS_MAX).collect()
}

/// Such an error may quote what it could not read.
fn is_unreadable(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::JsonParseError { .. }
            | ClientError::RestClientError {
                source: RestError::ResponseConversionError { .. } | RestError::ResponseParseError { .. },
            }
    )
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // Through both references: `&dyn Error` is an error too, with a shorter life.
    std::iter::successors(Some(error), |error| (**error).source()).take(CAUSES_MAX)
}
