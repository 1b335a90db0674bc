//! The command line's way into a cluster: endpoints with mutual TLS, tried one after the other.
//!
//! In: endpoints and certificates, or the directory of `consigner dev`. Out: answers of the API. Deliberately absent:
//! sockets and TLS (`gate`), what the answers mean ([`admin`], [`signing`]).

pub mod admin;
pub mod archive;
pub mod audit;
pub mod deployment;
pub mod faults;
pub mod history;
pub mod keys;
pub mod members;
pub mod membership;
pub mod policy;
pub mod records;
pub mod signing;
#[cfg(test)]
mod tests;

pub use deployment::{Deployment, NodeEntry};

use bytes::Bytes;
use consigner_gate::tls::{ALPN_API, client_config};
use consigner_gate::{ClientError, ClientTls, HttpsClient, Response, TlsError};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::time::Duration;

/// Deadline of a call that only looks.
pub const LOOK: Duration = Duration::from_secs(10);

/// Deadline of a call that moves a whole history.
pub const OPERATE: Duration = Duration::from_secs(300);

/// How much of an answer that is not understood is shown.
const SHOWN_BYTES_MAX: usize = 400;

/// Endpoints of one cluster, with an identity. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClusterClient {
    http: HttpsClient,
    endpoints: Vec<String>,
}

/// Why a cluster gave no useful answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Certificates cannot be used.
    #[error("cannot use the client certificate")]
    Tls(#[from] TlsError),
    /// No endpoint is known.
    #[error("no endpoint given")]
    NoEndpoint,
    /// No endpoint answered; holds what each said.
    #[error("no endpoint answered: {}", .0.join("; "))]
    Unreachable(Vec<String>),
    /// The cluster answered that it will not or cannot.
    #[error("{url} answered {status}: {message}")]
    Status {
        /// Who answered.
        url: String,
        /// Its status.
        status: StatusCode,
        /// The error text of the answer.
        message: String,
    },
    /// The answer is not what this version understands.
    #[error("{url} gave an answer that is not understood: {reason}")]
    Answer {
        /// Who answered.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

impl CallError {
    /// Whether the same call may succeed a moment later: nobody answered, or the cluster could not (an election).
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status { status, .. } => {
                matches!(*status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
            }
            Self::Tls(_) | Self::NoEndpoint | Self::Answer { .. } => false,
        }
    }
}

impl ClusterClient {
    /// A client for these endpoints, each `https://host:port`.
    ///
    /// # Errors
    /// Certificates that cannot be used, or no endpoint at all.
    pub fn new(endpoints: Vec<String>, tls: &ClientTls, idle_per_host: usize) -> Result<Self, CallError> {
        if endpoints.is_empty() {
            return Err(CallError::NoEndpoint);
        }
        let endpoints = endpoints.into_iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        Ok(Self { http: HttpsClient::new(client_config(tls, ALPN_API)?, idle_per_host), endpoints })
    }

    /// The same identity towards one endpoint only.
    #[must_use]
    pub fn only(&self, endpoint: &str) -> Self {
        Self { http: self.http.clone(), endpoints: vec![endpoint.trim_end_matches('/').to_owned()] }
    }

    /// The same client, following redirects to the leader or not (default: not).
    #[must_use]
    pub fn following(mut self, follow: bool) -> Self {
        self.http = self.http.follow_redirects(follow);
        self
    }

    /// Where it goes.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Sends one request to one URL path of the first endpoint that answers; a node that answers 503 is passed over.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] when none answers. Other statuses are answers.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
        deadline: Duration,
    ) -> Result<Answer, CallError> {
        let mut refusals = Vec::new();
        let mut unavailable = None;
        for endpoint in &self.endpoints {
            let url = format!("{endpoint}{path}");
            match self.http.request(method.clone(), &url, headers, body.clone(), deadline).await {
                Ok(response) if response.status == StatusCode::SERVICE_UNAVAILABLE => {
                    unavailable.get_or_insert(Answer { url, response });
                }
                Ok(response) => return Ok(Answer { url, response }),
                Err(error) => refusals.push(chain(&error)),
            }
        }
        unavailable.ok_or(CallError::Unreachable(refusals))
    }

    /// `GET` that expects JSON.
    ///
    /// # Errors
    /// As [`Self::call`], and [`CallError::Status`] for every status but 200.
    pub async fn get_json(&self, path: &str, deadline: Duration) -> Result<Answer, CallError> {
        let accept = [(ACCEPT, HeaderValue::from_static("application/json"))];
        self.call(Method::GET, path, &accept, Bytes::new(), deadline).await?.ok()
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    /// As [`Self::call`]; every status is an answer.
    pub async fn post_json(&self, path: &str, body: impl Into<Bytes>, deadline: Duration) -> Result<Answer, CallError> {
        let json = HeaderValue::from_static("application/json");
        let headers = [(ACCEPT, json.clone()), (CONTENT_TYPE, json)];
        self.call(Method::POST, path, &headers, body.into(), deadline).await
    }

    /// The status of a plain `GET`, or `None` when there is no answer.
    pub async fn probe(&self, path: &str, deadline: Duration) -> Option<StatusCode> {
        self.call(Method::GET, path, &[], Bytes::new(), deadline).await.ok().map(|answer| answer.response.status)
    }
}

/// An answer and who gave it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The URL that was asked first (redirects may have led elsewhere).
    pub url: String,
    /// Status, headers, body.
    pub response: Response,
}

impl Answer {
    /// This answer if its status is 200.
    ///
    /// # Errors
    /// [`CallError::Status`] otherwise.
    pub fn ok(self) -> Result<Self, CallError> {
        if self.response.status == StatusCode::OK { Ok(self) } else { Err(self.refusal()) }
    }

    /// The answer as an error.
    #[must_use]
    pub fn refusal(self) -> CallError {
        let message = self.message();
        CallError::Status { url: self.url, status: self.response.status, message }
    }

    /// The `error` of a JSON body, or the beginning of the body as text.
    #[must_use]
    pub fn message(&self) -> String {
        let body = &self.response.body;
        let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let error = parsed.as_ref().and_then(|value| value.get("error")).and_then(|error| error.as_str());
        error.map_or_else(
            || String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES_MAX)]).trim().to_owned(),
            str::to_owned,
        )
    }

    /// The body as a JSON value of this type.
    ///
    /// # Errors
    /// [`CallError::Answer`].
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.response.body)
            .map_err(|error| CallError::Answer { url: self.url.clone(), reason: error.to_string() })
    }
}

/// An error with its causes on one line.
fn chain(error: &ClientError) -> String {
    crate::report::one_line(error)
}
