//! One request of a client to whichever node answers first.
//!
//! In: a request that passes. Out: a node's answer, unchanged, or why there is none. [`Plan`] decides whom to ask and
//! when; here the asking happens, answers are sorted into good ones and others, and what was learnt is noted in
//! [`Nodes`]. The tries that lose are dropped, which closes their connections. Deliberately absent: HTTP towards the
//! client.

use super::nodes::{Nodes, Server};
use super::plan::{Next, Plan};
use super::surface::Passage;
use super::telemetry;
use crate::report;
use bytes::Bytes;
use consigner_gate::tls::{ALPN_API, client_config};
use consigner_gate::{ClientError, ClientTls, HttpsClient, Response, TlsError};
use futures::stream::{FuturesUnordered, StreamExt as _};
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::sleep_until;

/// Kept-alive connections per node: a large client's burst at the beginning of a slot, without a handshake for each.
const IDLE_PER_NODE_MAX: usize = 64;

/// Tries at one time that began beside another one. A node that is slow under load must not get the same load twice;
/// behind a frozen node the first ones wait for the election and the rest follow within milliseconds.
const HEDGES_AT_ONCE_MAX: usize = 64;

/// Asks the nodes.
pub(super) struct Dispatcher {
    nodes: Nodes,
    files: ClientTls,
    /// Replaced as a whole when the certificates are read again.
    http: RwLock<HttpsClient>,
    try_timeout: Duration,
    follow_any: bool,
    hedges: Semaphore,
}

/// What a client asks, ready for a node.
pub(super) struct Request {
    pub(super) passage: Passage,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

/// How a request ended.
pub(super) enum Ending {
    /// A node's answer: good, a refusal, or the last "not now" before the deadline.
    Answer(Response),
    /// No node answered at all; what each one said.
    Nothing(String),
}

/// What one try gave.
enum Tried {
    /// To be passed on.
    Good(Response),
    /// This server leads.
    Elsewhere(Server),
    /// 5xx: this node cannot now.
    NotNow(Response),
    Failed(String),
}

impl Dispatcher {
    pub(super) fn new(
        nodes: Nodes,
        files: ClientTls,
        try_timeout: Duration,
        follow_any: bool,
    ) -> Result<Arc<Self>, TlsError> {
        let http = RwLock::new(client(&files)?);
        let hedges = Semaphore::new(HEDGES_AT_ONCE_MAX);
        Ok(Arc::new(Self { nodes, files, http, try_timeout, follow_any, hedges }))
    }

    pub(super) const fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Reads the certificate files again; requests from now on use new connections. On an error the old ones stay.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let fresh = client(&self.files)?;
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// A look at one node, for its sake and the connection's.
    pub(super) async fn look(&self, node: usize, path: &str, deadline: Duration) -> Result<StatusCode, ClientError> {
        let url = format!("{}{path}", self.nodes.url(node));
        let response = self.http().request(Method::GET, &url, &[], Bytes::new(), deadline).await?;
        Ok(response.status)
    }

    /// Asks until a node answers or `deadline` passes.
    pub(super) async fn ask(&self, request: &Request, deadline: Instant) -> Ending {
        let mut course = Course { all: self, request, deadline, extra: Vec::new(), notes: Notes::default() };
        let order = self.nodes.order();
        let mut plan = Plan::new(order, request.passage.patience, self.try_timeout, Instant::now(), deadline);
        let mut tries = FuturesUnordered::new();
        loop {
            match plan.next(Instant::now()) {
                Next::Try { node, hedge } => {
                    tries.push(self.attempt(node, course.base(node), request, deadline, hedge))
                }
                Next::Wait(until) => tokio::select! {
                    Some((node, hedge, tried)) = tries.next() => {
                        if let Some(answer) = course.take(&mut plan, node, hedge, tried) {
                            return Ending::Answer(answer);
                        }
                    }
                    () = sleep_until(until.into()) => {}
                },
                Next::GiveUp => return course.nothing(&plan),
            }
        }
    }

    async fn attempt(
        &self,
        node: usize,
        base: String,
        request: &Request,
        deadline: Instant,
        hedge: bool,
    ) -> (usize, bool, Tried) {
        let mut end = Counted("dropped");
        // Never closed.
        let _turn = if hedge { self.hedges.acquire().await.ok() } else { None };
        if hedge {
            telemetry::hedge("begun");
        }
        let url = format!("{base}{}", request.passage.path);
        let left = deadline.saturating_duration_since(Instant::now());
        let (method, headers, body) = (request.passage.method.clone(), &request.headers, request.body.clone());
        let tried = match self.http().request(method, &url, headers, body, left).await {
            Ok(response) => sort(response, &request.passage.path),
            Err(error) => Tried::Failed(report::one_line(&error)),
        };
        end.0 = match &tried {
            Tried::Good(_) => "answered",
            Tried::Elsewhere(_) => "redirected",
            Tried::NotNow(_) => "unavailable",
            Tried::Failed(_) => "failed",
        };
        (node, hedge, tried)
    }

    fn http(&self) -> HttpsClient {
        self.http.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts a try when it ends, or when it is dropped.
struct Counted(&'static str);

impl Drop for Counted {
    fn drop(&mut self) {
        telemetry::try_ended(self.0);
    }
}

/// One request under way.
struct Course<'r> {
    all: &'r Dispatcher,
    request: &'r Request,
    deadline: Instant,
    /// Servers outside of the list to which a redirect led; their positions come after the nodes'.
    extra: Vec<Server>,
    notes: Notes,
}

/// What will be said if nobody answers.
#[derive(Default)]
struct Notes {
    not_now: Option<Response>,
    /// By position, the last one of each.
    reasons: BTreeMap<usize, String>,
}

impl Course<'_> {
    /// The answer, if this is one.
    fn take(&mut self, plan: &mut Plan, node: usize, hedge: bool, tried: Tried) -> Option<Response> {
        let now = Instant::now();
        let nodes = &self.all.nodes;
        match tried {
            Tried::Good(response) => {
                plan.silent(now).filter(|silent| *silent != node).for_each(|silent| self.suspect(silent));
                nodes.mark(node, false);
                if nodes.prefer(node) {
                    tracing::info!(node = nodes.url(node), "now asked first: it answered for the cluster");
                }
                if hedge {
                    telemetry::hedge("won");
                }
                return Some(response);
            }
            Tried::Elsewhere(server) => {
                let to = self.position(&server);
                let followed = to.is_some_and(|to| plan.redirected(node, to, now));
                if to.is_none() {
                    plan.failed(node, now);
                }
                if !followed {
                    let why = if to.is_some() { "which does not answer" } else { "which is not an --endpoint" };
                    self.notes.reasons.insert(node, format!("{} redirects to {server}, {why}", self.base(node)));
                }
            }
            Tried::NotNow(response) => {
                self.notes.reasons.insert(node, format!("{} answered {}", self.base(node), response.status));
                self.notes.not_now = Some(response);
                plan.failed(node, now);
            }
            Tried::Failed(reason) => {
                self.notes.reasons.insert(node, reason);
                plan.failed(node, now);
                self.suspect(node);
            }
        }
        None
    }

    fn suspect(&self, node: usize) {
        if self.all.nodes.mark(node, true) {
            tracing::warn!(node = self.all.nodes.url(node), "asked last for now: it did not answer");
        }
    }

    /// Where a redirect leads, if it may be followed.
    fn position(&mut self, server: &Server) -> Option<usize> {
        let count = self.all.nodes.len();
        let known = self.extra.iter().position(|known| known == server).map(|position| count + position);
        let known = self.all.nodes.find(server).or(known);
        if known.is_some() || !self.all.follow_any {
            return known;
        }
        self.extra.push(server.clone());
        Some(count + self.extra.len() - 1)
    }

    /// `https://HOST:PORT` of a position.
    fn base(&self, node: usize) -> String {
        match self.extra.get(node.wrapping_sub(self.all.nodes.len())) {
            Some(server) => format!("https://{server}"),
            None => self.all.nodes.url(node).to_owned(),
        }
    }

    fn nothing(mut self, plan: &Plan) -> Ending {
        let late = Instant::now() >= self.deadline;
        for node in plan.asked() {
            if late {
                self.suspect(node);
            }
            self.notes.reasons.insert(node, format!("{} did not answer in time", self.base(node)));
        }
        let reasons: Vec<String> = self.notes.reasons.into_values().collect();
        let reasons = reasons.join("; ");
        match self.notes.not_now {
            Some(response) => {
                tracing::debug!(path = self.request.passage.path, reasons, "the last answer of a node is passed on");
                Ending::Answer(response)
            }
            None => Ending::Nothing(reasons),
        }
    }
}

/// What an answer is for us. 4xx is the cluster's verdict on the request, 412 above all: asking another node could not
/// change it and must not.
fn sort(response: Response, path: &str) -> Tried {
    let status = response.status;
    if status.is_success() || status.is_client_error() {
        return Tried::Good(response);
    }
    if matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return leader_in(&response, path).map_or_else(
            || Tried::Failed("a redirect to something else than the same path of another node".to_owned()),
            Tried::Elsewhere,
        );
    }
    if status.is_server_error() { Tried::NotNow(response) } else { Tried::Failed(format!("an answer of {status}")) }
}

/// Nodes redirect to the same path of the leader; nothing else is followed with this certificate.
fn leader_in(response: &Response, path: &str) -> Option<Server> {
    let location: Uri = response.headers.get(LOCATION)?.to_str().ok()?.parse().ok()?;
    let same = location.path_and_query().is_some_and(|asked| asked.as_str() == path);
    Server::of(&location).filter(|_| same)
}

fn client(files: &ClientTls) -> Result<HttpsClient, TlsError> {
    // Redirects are the plan's business.
    Ok(HttpsClient::new(client_config(files, ALPN_API)?, IDLE_PER_NODE_MAX))
}
