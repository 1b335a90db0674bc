//! Nodes behind real TLS doors that do as they are told, a sidecar before them, a plain client.

use crate::certs::CertificateDir;
use crate::connect::{ConnectOptions, Listen, Sidecar};
use bytes::Bytes;
use consigner_gate::door::{Door, DoorConfig, DoorLimits};
use consigner_gate::tls::{ALPN_API, client_config};
use consigner_gate::{ClientTls, HostAllowlist, HttpsClient, ReloadableTls, Response, ServerTls};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Far beyond what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const SIGN: &str = "/api/v1/eth2/sign/0xab";

/// What a node does with requests below `/api`.
#[derive(Debug, Clone)]
pub enum Manner {
    Answer(u16, &'static str, &'static str),
    /// To this base URL, same path.
    Redirect(String),
    /// To exactly there.
    RedirectTo(String),
    /// Takes the request and never answers; everything else it answers.
    Frozen,
    /// Answers `signed` once it is told to.
    Held(Arc<Notify>),
}

pub const SIGNED: Manner = Manner::Answer(200, "application/json", r#"{"signature":"0x01"}"#);
pub const NOT_NOW: Manner = Manner::Answer(503, "application/json", r#"{"error":"no leader"}"#);

/// What a node was asked below `/api`.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Clone)]
pub struct FakeNode {
    pub url: String,
    manner: Arc<Mutex<Manner>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    arrived: Arc<Notify>,
    stop: CancellationToken,
}

impl FakeNode {
    pub async fn start(world: &World, manner: Manner) -> Self {
        let tls = ServerTls {
            cert: world.certs.cert("node1"),
            key: world.certs.key("node1"),
            client_ca: world.certs.cert("ca"),
        };
        let door = Door::bind(DoorConfig {
            name: "fake".to_owned(),
            addr: "127.0.0.1:0".parse().unwrap(),
            tls: Some(ReloadableTls::load(tls, ALPN_API).unwrap()),
            admit: None,
            limits: DoorLimits::default(),
        });
        let door = door.await.unwrap();
        let node = Self {
            url: format!("https://{}", door.local_addr()),
            manner: Arc::new(Mutex::new(manner)),
            seen: Arc::default(),
            arrived: Arc::default(),
            stop: CancellationToken::new(),
        };
        let own = node.clone();
        let service = tower::service_fn(move |request| {
            let node = own.clone();
            async move { Ok::<_, Infallible>(node.answer(request).await) }
        });
        tokio::spawn(door.serve(service, node.stop.clone()));
        node
    }

    async fn answer(&self, request: Request<Incoming>) -> http::Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().unwrap().to_string();
        match path.as_str() {
            "/upcheck" => return response(200, "text/plain", "OK"),
            "/leader" => return response(503, "application/json", "{}"),
            _ => {}
        }
        let body = body.collect().await.unwrap().to_bytes();
        self.seen.lock().unwrap().push(Seen { method: head.method, path: path.clone(), headers: head.headers, body });
        self.arrived.notify_one();
        let manner = self.manner.lock().unwrap().clone();
        let location = match manner {
            Manner::Answer(status, kind, body) => return response(status, kind, body),
            Manner::Frozen => std::future::pending().await,
            Manner::Held(go) => {
                go.notified().await;
                return response(200, "text/plain", "signed");
            }
            Manner::Redirect(base) => format!("{base}{path}"),
            Manner::RedirectTo(url) => url,
        };
        let mut response = response(307, "text/plain", "");
        response.headers_mut().insert(LOCATION, location.parse().unwrap());
        response
    }

    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Until a request below `/api` is there.
    pub async fn asked(&self) {
        self.arrived.notified().await;
    }
}

fn response(status: u16, kind: &'static str, body: &'static str) -> http::Response<Full<Bytes>> {
    http::Response::builder().status(status).header(CONTENT_TYPE, kind).body(Full::from(body)).unwrap()
}

/// Certificates and a client.
pub struct World {
    pub dir: tempfile::TempDir,
    pub certs: CertificateDir,
    client: HttpsClient,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let certs = CertificateDir::new(dir.path().join("certs"));
        certs.ensure(["node1"].into_iter()).unwrap();
        let client = HttpsClient::new(client_config(&tls(&certs), ALPN_API).unwrap(), 8);
        Self { dir, certs, client }
    }

    pub fn tls(&self) -> ClientTls {
        tls(&self.certs)
    }

    /// Deadlines that no loaded machine reaches, and a short patience with each try.
    pub fn options(&self, endpoints: &[&str]) -> ConnectOptions {
        ConnectOptions {
            listen: Listen::parse("127.0.0.1:0").unwrap(),
            metrics: None,
            allow_non_loopback: false,
            hosts: HostAllowlist::parse(&["127.0.0.1", "localhost"]).unwrap(),
            endpoints: endpoints.iter().map(|url| (*url).to_owned()).collect(),
            tls: self.tls(),
            deadline: Duration::from_secs(30),
            try_timeout: Duration::from_millis(150),
            follow_any: false,
        }
    }

    pub async fn sidecar(&self, nodes: &[&FakeNode]) -> Sidecar {
        let urls: Vec<&str> = nodes.iter().map(|node| node.url.as_str()).collect();
        Sidecar::start(self.options(&urls)).await.unwrap()
    }

    pub async fn send(
        &self,
        sidecar: &Sidecar,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        let headers: Vec<(HeaderName, HeaderValue)> =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let url = format!("{}{path}", sidecar.listen());
        self.client.request(method, &url, &headers, body.into(), PATIENCE).await.unwrap()
    }

    pub async fn sign(&self, sidecar: &Sidecar) -> Response {
        self.send(sidecar, Method::POST, SIGN, &[("content-type", "application/json")], "{}").await
    }

    /// A request to sign on a task of its own.
    pub fn send_later(&self, sidecar: &Sidecar) -> tokio::task::JoinHandle<Response> {
        let (client, url) = (self.client.clone(), format!("{}{SIGN}", sidecar.listen()));
        tokio::spawn(async move { client.request(Method::POST, &url, &[], Bytes::from("{}"), PATIENCE).await.unwrap() })
    }

    /// The text at a URL.
    pub async fn absolute(&self, url: &str) -> String {
        let answer = self.client.request(Method::GET, url, &[], Bytes::new(), PATIENCE).await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    pub async fn get(&self, sidecar: &Sidecar, path: &str) -> Response {
        self.send(sidecar, Method::GET, path, &[], "").await
    }
}

fn tls(certs: &CertificateDir) -> ClientTls {
    ClientTls { cert: certs.cert("client"), key: certs.key("client"), ca: certs.cert("ca") }
}

pub fn error_of(response: &Response) -> String {
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    body["error"].as_str().unwrap().to_owned()
}

pub fn is_signed(response: &Response) -> bool {
    response.status == StatusCode::OK && response.body == r#"{"signature":"0x01"}"#
}
