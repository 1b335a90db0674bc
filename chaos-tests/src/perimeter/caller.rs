//! One call after the other, each on a connection of its own, by a caller of choice.
//!
//! In: who calls, from where, with which `Host`, what for. Out: what came. Deliberately absent: redirects, retries,
//! connections that are kept.

use super::outside::Tool;
use super::relay::{Relay, Route};
use bytes::Bytes;
use consigner_gate::tls::{ALPN_API, ClientConfig, client_config};
use consigner_gate::{ClientTls, HttpsClient, TlsError, with_causes};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A loaded machine with debug binaries; nothing that is asked here waits for anybody for long.
pub const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// A client with a certificate.
#[derive(Clone)]
pub struct Caller {
    tls: Arc<ClientConfig>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// JSON, or nothing.
    pub body: Bytes,
    /// Instead of the address.
    pub host: Option<String>,
    /// From another address than the first of loopback.
    pub from: Option<Ipv4Addr>,
    /// Through a balancer that names this client.
    pub on_behalf_of: Option<Ipv4Addr>,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `User-Agent`.
    pub agent: Option<&'static str>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// An answer.
    Answer {
        /// Its status.
        status: u16,
        /// Its body.
        body: Bytes,
    },
    /// The connection ended before one.
    Nothing(String),
}

impl Caller {
    /// With the certificate of these files.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn new(files: &ClientTls) -> Result<Self, TlsError> {
        Ok(Self { tls: client_config(files, ALPN_API)? })
    }

    /// Calls; on a connection that nothing else uses.
    pub async fn call(&self, door: SocketAddr, call: &Call) -> Came {
        self.sent("https", door, call).await
    }

    /// Calls a door that speaks plain HTTP.
    pub async fn call_plainly(&self, door: SocketAddr, call: &Call) -> Came {
        self.sent("http", door, call).await
    }

    /// A client that keeps connections.
    #[must_use]
    pub fn keeping(&self, connections: usize) -> HttpsClient {
        HttpsClient::new(self.tls.clone(), connections)
    }

    async fn sent(&self, scheme: &str, door: SocketAddr, call: &Call) -> Came {
        let relay = match call.route(door) {
            None => None,
            Some(route) => match Relay::start(route).await {
                Ok(relay) => Some(relay),
                Err(error) => return Came::Nothing(error.to_string()),
            },
        };
        let address = relay.as_ref().map_or(door, Relay::address);
        let url = format!("{scheme}://{address}{}", call.path);
        let (client, headers) = (self.keeping(0), call.headers(door));
        let response = client.request(call.method.clone(), &url, &headers, call.body.clone(), CALL_DEADLINE).await;
        match response {
            Ok(response) => Came::Answer { status: response.status.as_u16(), body: response.body },
            Err(error) => Came::Nothing(with_causes(&error)),
        }
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Caller")
    }
}

impl Call {
    /// `GET`.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path, Bytes::new())
    }

    /// `POST` of JSON.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, path, body.into())
    }

    /// Any method.
    #[must_use]
    pub fn new(method: Method, path: &str, body: Bytes) -> Self {
        let (host, from, on_behalf_of, authorization, agent) = (None, None, None, None, None);
        Self { method, path: path.to_owned(), body, host, from, on_behalf_of, authorization, agent }
    }

    /// Calls by curl: without a certificate, or with one that is out of its time; our own client has neither.
    pub async fn by_curl(&self, curl: &Tool, door: SocketAddr, ca: &Path, own: Option<&ClientTls>) -> Came {
        let url = format!("https://{door}{}", self.path);
        let ca = ca.to_string_lossy();
        let own = own.map(|files| [files.cert.to_string_lossy(), files.key.to_string_lossy()]);
        let mut arguments = vec!["-sS", "--max-time", "60", "-w", "\n%{http_code}", "--cacert", &ca];
        arguments.extend(["-X", self.method.as_str(), "-H", "Content-Type: application/json", "--data-binary", "@-"]);
        arguments.extend(["-H", "Accept: application/json"]);
        if let Some([cert, key]) = &own {
            arguments.extend(["--cert", cert, "--key", key]);
        }
        let authorization = self.authorization.as_ref().map(|text| format!("Authorization: {text}"));
        if let Some(header) = &authorization {
            arguments.extend(["-H", header]);
        }
        arguments.push(&url);
        let said = match curl.run(&arguments, &String::from_utf8_lossy(&self.body)).await {
            Ok(said) => said,
            Err(error) => return Came::Nothing(error.to_string()),
        };
        let answer = said.text.rsplit_once('\n').and_then(|(body, status)| Some((body, status.parse().ok()?)));
        match (said.code, answer) {
            (Some(0), Some((body, status))) => Came::Answer { status, body: body.to_owned().into() },
            _ => Came::Nothing(said.text),
        }
    }

    /// A connection from elsewhere needs somebody who makes it.
    fn route(&self, to: SocketAddr) -> Option<Route> {
        let is_elsewhere = self.from.is_some() || self.on_behalf_of.is_some();
        let from = self.from.unwrap_or(Ipv4Addr::LOCALHOST);
        is_elsewhere.then_some(Route { to, from, on_behalf_of: self.on_behalf_of })
    }

    fn headers(&self, door: SocketAddr) -> Vec<(HeaderName, HeaderValue)> {
        let json = HeaderValue::from_static("application/json");
        let host = self.host.clone().unwrap_or_else(|| door.to_string());
        let mut headers = vec![(ACCEPT, json.clone()), (CONTENT_TYPE, json)];
        // What no header can hold is not sent: a slip of the table, which then expects another answer.
        headers.extend(HeaderValue::try_from(host).ok().map(|host| (HOST, host)));
        let authorization = self.authorization.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        headers.extend(self.agent.map(|agent| (USER_AGENT, HeaderValue::from_static(agent))));
        headers
    }
}

impl Came {
    /// The status, if there was an answer.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. } => Some(*status),
            Self::Nothing(_) => None,
        }
    }

    /// The body as text; of no answer, why there is none.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Answer { body, .. } => String::from_utf8_lossy(body).into_owned(),
            Self::Nothing(why) => why.clone(),
        }
    }

    /// Whether it brought a signature.
    #[must_use]
    pub fn is_signature(&self) -> bool {
        self.status() == Some(200) && self.text().contains("\"signature\"")
    }
}

impl std::fmt::Display for Came {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer { status, .. } => write!(formatter, "{status} {}", self.text()),
            Self::Nothing(why) => write!(formatter, "no answer: {why}"),
        }
    }
}
