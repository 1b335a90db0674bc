//! The AWS SDK: how it is set up here, and what its errors mean.
//!
//! In: region, endpoint, profile. Out: a configuration for clients; [`CallError`]s. Credentials come from the standard
//! chain: environment, profile, web identity (IRSA), container and instance role. Deliberately absent: credentials in
//! our configuration, the SDK's own retries (the guard makes them, with its breaker), and response bodies in errors.

use super::config::ConfigError;
use super::failure::{CallError, Failure};
use super::guard::{ATTEMPT_DEADLINE, Call};
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kms::config::Credentials;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::time::Duration;

/// Reading profiles and asking the instance for its region; far away from AWS the latter waits for nobody.
const LOAD_DEADLINE: Duration = Duration::from_secs(10);
/// Links of a chain of causes that are worth telling.
const CAUSES_MAX: usize = 6;
/// Longest text of a cause.
const CAUSE_CHARACTERS_MAX: usize = 500;

/// How AWS is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsConfig {
    /// If not the chain's (`AWS_REGION`, profile, instance).
    pub region: Option<String>,
    /// Another endpoint than the region's.
    pub endpoint: Option<String>,
    /// Profile of the shared configuration files, if not `AWS_PROFILE` or `default`.
    pub profile: Option<String>,
}

/// Reads the environment and the shared configuration files; makes no call to AWS but for an unknown region.
///
/// # Errors
/// [`ConfigError::Value`] without a region.
pub(crate) async fn load(config: &AwsConfig, credentials: Option<Credentials>) -> Result<SdkConfig, ConfigError> {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).retry_config(RetryConfig::disabled());
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials);
    }
    let loaded = tokio::time::timeout(LOAD_DEADLINE, loader.load()).await.ok();
    loaded.filter(|loaded| loaded.region().is_some()).ok_or_else(|| ConfigError::Value {
        what: "AWS region",
        problem: "neither configured nor in AWS_REGION, the profile or the instance's metadata".to_owned(),
    })
}

/// Where the calls of a configuration go, for hints.
pub(crate) fn endpoint(service: &str, config: &SdkConfig) -> String {
    let region = config.region().map_or("?", Region::as_ref);
    config.endpoint_url().map_or_else(|| format!("{service} of region {region}"), str::to_owned)
}

/// What the service calls the error, such as `AccessDeniedException`.
pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// An error of the SDK as ours; the name of the call is its IAM action.
pub(crate) fn failed<E>(call: Call<'_>, endpoint: &str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    failed_with(call, endpoint, classify(error), cause(error))
}

/// A failure with the hint that fits it.
pub(crate) fn failed_with(call: Call<'_>, endpoint: &str, failure: Failure, cause: String) -> CallError {
    let reach = format!("is {endpoint} up, and reachable from this node?");
    let hint = match failure {
        Failure::Denied => {
            format!("allow the IAM action {} on this resource to this node's role or user", call.name)
        }
        Failure::Unauthenticated => "no valid AWS credentials in the standard chain: environment, profile, web \
                                     identity (IRSA), container role, instance role; is the clock right?"
            .to_owned(),
        Failure::Disabled => "enable the key, or cancel its deletion".to_owned(),
        Failure::NotFound => format!("is the id right, and does it exist at {endpoint}?"),
        Failure::Unreachable | Failure::TimedOut(_) => reach,
        Failure::Throttled
        | Failure::Service
        | Failure::Sealed
        | Failure::Refused
        | Failure::Malformed
        | Failure::CircuitOpen(_) => String::new(),
    };
    call.failed(failure, hint, Some(cause))
}

fn classify<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E, HttpResponse>) -> Failure {
    match error {
        SdkError::TimeoutError(_) => Failure::TimedOut(ATTEMPT_DEADLINE),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Failure::TimedOut(ATTEMPT_DEADLINE),
        SdkError::DispatchFailure(failure) if failure.is_io() => Failure::Unreachable,
        SdkError::DispatchFailure(_) if lacks_credentials(error) => Failure::Unauthenticated,
        SdkError::DispatchFailure(_) => Failure::Unreachable,
        SdkError::ResponseError(_) => by_status(error).unwrap_or(Failure::Malformed),
        SdkError::ServiceError(_) => {
            let code = code(error).and_then(by_code);
            code.or_else(|| by_status(error)).unwrap_or(Failure::Refused)
        }
        // What later versions of the SDK may add is treated like a request that could not be made.
        SdkError::ConstructionFailure(_) | _ if lacks_credentials(error) => Failure::Unauthenticated,
        SdkError::ConstructionFailure(_) | _ => Failure::Refused,
    }
}

/// The codes of KMS, Secrets Manager, STS and of AWS's front ends.
pub(crate) fn by_code(code: &str) -> Option<Failure> {
    Some(match code {
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => Failure::Denied,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "OptInRequired" => Failure::Unauthenticated,
        "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "SlowDown" => Failure::Throttled,
        "KMSInternalException"
        | "InternalServiceError"
        | "InternalFailure"
        | "DependencyTimeoutException"
        | "KeyUnavailableException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Failure::Service,
        "DisabledException" | "KMSInvalidStateException" => Failure::Disabled,
        "NotFoundException" | "ResourceNotFoundException" => Failure::NotFound,
        _ => return None,
    })
}

fn by_status<E>(error: &SdkError<E, HttpResponse>) -> Option<Failure> {
    match error.raw_response()?.status().as_u16() {
        // A success that could not be read.
        200..=299 => Some(Failure::Malformed),
        401 => Some(Failure::Unauthenticated),
        403 => Some(Failure::Denied),
        408 | 429 => Some(Failure::Throttled),
        500.. => Some(Failure::Service),
        _ => None,
    }
}

/// The SDK reports credentials that it cannot load as a failed dispatch of some other kind.
fn lacks_credentials<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    causes(error).any(|cause| {
        let text = cause.to_string();
        text.contains("credential") || text.contains("identity")
    })
}

/// Code and message of the service, or the chain of causes. Never `Debug`: that would hold the response's body.
fn cause<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    let text = match error.as_service_error() {
        Some(service) => {
            format!("{}: {}", service.code().unwrap_or("no code"), service.message().unwrap_or("no message"))
        }
        // A body that could not be read may well be quoted by the reader.
        None if matches!(error, SdkError::ResponseError(_)) => "the response could not be read".to_owned(),
        None => causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": "),
    };
    text.chars().take(CAUSE_CHARACTERS_MAX).collect()
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // Through both references: `&dyn Error` is an error too, with a shorter life.
    std::iter::successors(Some(error), |error| (**error).source()).take(CAUSES_MAX)
}
