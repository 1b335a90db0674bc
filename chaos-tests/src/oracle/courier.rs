//! Carries requests to the nodes and writes down everything that happens to them.
//!
//! In: a message, a node. Out: exchanges in the [`History`], one per hop. Redirects are followed here and not in the
//! HTTP client, because the redirect is an answer of a node too. Deliberately absent: retries.

use super::history::{History, Phase, Reply};
use super::message::Message;
use crate::cluster::Manifest;
use bytes::Bytes;
use consigner_gate::tls::{ALPN_API, client_config};
use consigner_gate::{ClientError, ClientTls, HttpsClient, Response, TlsError, with_causes};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderValue, Method};
use std::sync::Arc;
use std::time::Duration;

/// Idle connections kept per node: as many as requests that a storm has under way on it.
const IDLE_PER_NODE: usize = 128;

/// Idle connections kept per node for looks and operations.
const IDLE_OPERATOR: usize = 4;

/// Longer than any pause that a scenario makes, so that the answer of a thawed node is still read and judged; and longer
/// than a node with its own deadline of 10 s is silent on a starved machine.
pub const SIGN_DEADLINE: Duration = Duration::from_secs(60);

/// Deadline of a look at an export or a status: such a look is repeated anyway.
const LOOK_DEADLINE: Duration = Duration::from_secs(20);

/// A leader may change on the way, not for ever.
const HOPS_MAX: usize = 3;

/// A client that nodes redirect, one of those that follow.
const FOLLOWING_AGENT: HeaderValue = HeaderValue::from_static("Go-http-client/1.1");

/// Who asks, which decides whether a follower redirects or forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// A client of a kind known to follow redirects.
    Following,
    /// A client that names itself not at all.
    Unknown,
}

/// A node as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Node id.
    pub node: u64,
    /// `https://host:port`.
    pub url: String,
}

/// The way to the nodes.
pub struct Courier {
    signer: HttpsClient,
    admin: HttpsClient,
    nodes: Vec<Address>,
    history: Arc<History>,
    /// Sent with the operator's calls.
    bearer: Option<HeaderValue>,
}

impl Courier {
    /// A courier with the certificates of the cluster.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn new(manifest: &Manifest, history: Arc<History>) -> Result<Self, TlsError> {
        let address = |node: &crate::cluster::NodeEntry| Address {
            node: node.id,
            url: node.api_url.trim_end_matches('/').into(),
        };
        Self::to(manifest.nodes.iter().map(address).collect(), &manifest.client(), &manifest.admin(), history)
    }

    /// A courier to these nodes, whether they run or not.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn to(
        nodes: Vec<Address>,
        signer: &ClientTls,
        operator: &ClientTls,
        history: Arc<History>,
    ) -> Result<Self, TlsError> {
        let client = |tls, idle| client_config(tls, ALPN_API).map(|config| HttpsClient::new(config, idle));
        let (signer, admin) = (client(signer, IDLE_PER_NODE)?, client(operator, IDLE_OPERATOR)?);
        Ok(Self { signer, admin, nodes, history, bearer: None })
    }

    /// Sends a token with the operator's calls from now on; one that no header can hold is not sent.
    #[must_use]
    pub fn with_bearer(mut self, token: &str) -> Self {
        self.bearer = HeaderValue::from_str(&format!("Bearer {token}")).ok();
        self
    }

    /// Signs with another certificate from now on.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn signing_as(mut self, files: &ClientTls) -> Result<Self, TlsError> {
        self.signer = HttpsClient::new(client_config(files, ALPN_API)?, IDLE_PER_NODE);
        Ok(self)
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Address] {
        &self.nodes
    }

    /// Where everything is written down.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Asks a node to sign; answers with the last answer, or nothing if there was none.
    pub async fn ask(&self, node: u64, message: &Arc<Message>, agent: Agent, phase: Phase) -> Option<Reply> {
        let mut at = self.nodes.iter().find(|address| address.node == node)?;
        for hop in 0..HOPS_MAX {
            let exchange = self.history.sending(at.node, phase, message, hop > 0)?;
            let reply = match self.post(&at.url, message, agent).await {
                Ok(response) => answer(response),
                Err(error) => Reply::Lost(with_causes(&error)),
            };
            self.history.replied(exchange, reply.clone());
            match self.next_hop(&reply) {
                Some(next) => at = next,
                None => return Some(reply),
            }
        }
        None
    }

    /// A plain `GET` with the certificate that may do everything.
    ///
    /// # Errors
    /// No answer.
    pub async fn look(&self, url: &str, path: &str) -> Result<Response, ClientError> {
        let headers = [(ACCEPT, HeaderValue::from_static("application/json"))];
        self.admin.request(Method::GET, &format!("{url}{path}"), &headers, Bytes::new(), LOOK_DEADLINE).await
    }

    /// Any call with the certificate that may do everything, with a JSON body.
    ///
    /// # Errors
    /// No such node, or no answer within the deadline.
    pub async fn operate(
        &self,
        node: u64,
        method: Method,
        path: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Response, ClientError> {
        let address = self.nodes.iter().find(|address| address.node == node);
        let no_such = || ClientError::Url { url: path.to_owned(), reason: format!("there is no node {node}") };
        let url = format!("{}{path}", address.ok_or_else(no_such)?.url);
        let json = HeaderValue::from_static("application/json");
        let mut headers = vec![(ACCEPT, json.clone()), (CONTENT_TYPE, json)];
        headers.extend(self.bearer.clone().map(|token| (AUTHORIZATION, token)));
        self.admin.request(method, &url, &headers, body, deadline).await
    }

    async fn post(&self, url: &str, message: &Message, agent: Agent) -> Result<Response, ClientError> {
        let json = HeaderValue::from_static("application/json");
        let mut headers = vec![(ACCEPT, json.clone()), (CONTENT_TYPE, json)];
        if agent == Agent::Following {
            headers.push((USER_AGENT, FOLLOWING_AGENT));
        }
        let url = format!("{url}/api/v1/eth2/sign/{}", message.validator);
        self.signer.request(Method::POST, &url, &headers, message.body.clone(), SIGN_DEADLINE).await
    }

    /// The node that a 307 points to; a URL of no node is not followed and stands out in the report.
    fn next_hop(&self, reply: &Reply) -> Option<&Address> {
        let Reply::Answer { status: 307, location: Some(location), .. } = reply else { return None };
        self.nodes.iter().find(|address| location.starts_with(&format!("{}/", address.url)))
    }
}

/// Without the token.
impl std::fmt::Debug for Courier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Courier").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

fn answer(response: Response) -> Reply {
    let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Reply::Answer { status: response.status.as_u16(), location, body: response.body }
}
