//! `consigner connect` as a validator client sees it: the real binary before a real cluster that loses nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use bytes::Bytes;
use common::{Dev, END, attestation, consigner, deployment, eventually, free_base_port, mainnet, output};
use consigner_gate::HttpsClient;
use consigner_gate::tls::{ALPN_API, client_config};
use consigner_node::client::signing::{Chain, Duty, public_keys};
use consigner_node::client::{Deployment, faults};
use consigner_node::dev::signal_pid;
use consigner_rules::{PublicKey, Signature};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use rustix::process::Signal;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Of the sidecar, so that no loaded machine makes a request fail; a real one has 2.8 s.
const DEADLINE: Duration = Duration::from_secs(60);

/// Of the client, beyond it.
const CLIENT_DEADLINE: Duration = Duration::from_secs(90);

/// A running `consigner connect`; killed if the test forgets it.
struct Sidecar {
    child: Child,
    url: String,
}

impl Sidecar {
    fn start(dir: &Path) -> Self {
        let deadline = format!("{}s", DEADLINE.as_secs());
        let mut command = consigner();
        command.args(["connect", "--listen", "127.0.0.1:0", "--deadline", &deadline, "--dir"]).arg(dir);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.strip_prefix("connect: listening on ").and_then(|rest| rest.split_once(", 3 nodes"));
        let url = url.unwrap_or_else(|| panic!("it printed {line:?}")).0.to_owned();
        Self { child, url }
    }

    fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A validator client that speaks plain HTTP and nothing else.
#[derive(Clone)]
struct Client {
    http: HttpsClient,
    url: String,
    chain: Chain,
}

impl Client {
    fn new(cluster: &Deployment, url: &str) -> Self {
        let (cert, key, ca) = (cluster.client_cert.clone(), cluster.client_key.clone(), cluster.ca.clone());
        let tls = client_config(&consigner_gate::ClientTls { cert, key, ca }, ALPN_API).unwrap();
        // The certificate is never shown: the URL is http.
        Self { http: HttpsClient::new(tls, 4), url: url.to_owned(), chain: mainnet() }
    }

    async fn post(&self, duty: &Duty) -> (StatusCode, String) {
        let url = format!("{}/api/v1/eth2/sign/{}", self.url, duty.public_key);
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let sent = self.http.request(Method::POST, &url, &headers, duty.body.clone(), CLIENT_DEADLINE).await;
        let answer = sent.unwrap();
        (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Bytes) {
        let url = format!("{}{path}", self.url);
        let answer = self.http.request(Method::GET, &url, &[], Bytes::new(), CLIENT_DEADLINE).await.unwrap();
        (answer.status, answer.body)
    }

    /// Signs a new message and checks the signature, which came as bare text.
    async fn sign(&self, key: PublicKey, step: u64) {
        let duty = attestation(&self.chain, key, step, 1);
        let (status, body) = self.post(&duty).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let signature: Signature = body.parse().unwrap();
        assert!(self.chain.verify(&duty, &signature).unwrap());
    }
}

/// Signs for one key after the other until told to stop.
struct Load {
    done: Arc<AtomicBool>,
    signed: Arc<AtomicU64>,
    longest_ms: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(client: Client, key: PublicKey, first_step: u64) -> Self {
        let (done, signed, longest_ms) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let (stop, count, longest) = (done.clone(), signed.clone(), longest_ms.clone());
        let task = tokio::spawn(async move {
            let mut step = first_step;
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                client.sign(key, step).await;
                longest.fetch_max(u64::try_from(begun.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
                step += 1;
            }
        });
        Self { done, signed, longest_ms, task }
    }

    /// Until so many further signatures are there.
    async fn goes_on(&self, further: u64) {
        let wanted = self.signed.load(Ordering::Relaxed) + further;
        let until = Instant::now() + DEADLINE;
        while self.signed.load(Ordering::Relaxed) < wanted && !self.task.is_finished() {
            assert!(Instant::now() < until, "nothing is signed any more");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Every single request was signed.
    async fn end(self) -> (u64, u64) {
        self.done.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        (self.signed.load(Ordering::Relaxed), self.longest_ms.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "the longest wait is worth reading, and no test may depend on it")]
async fn a_plain_client_loses_no_request_while_nodes_die_and_freeze() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_base_port(3).to_string();
    let mut dev = Dev::start(dir.path(), &["--base-port", &port, "--validators", "4"]);
    dev.until_ready();
    let cluster = deployment(dir.path());
    let mut sidecar = Sidecar::start(dir.path());
    let client = Client::new(&cluster, &sidecar.url);
    let admin = cluster.admin().unwrap();
    let keys = public_keys(&admin).await.unwrap();
    surface(&client, &keys).await;

    let load = Load::start(client.clone(), keys[1], 0);
    load.goes_on(20).await;
    let leader = faults::leader(&admin).await.unwrap();
    let pid = cluster.node(leader).unwrap().pid;
    signal_pid(pid, Signal::KILL);
    load.goes_on(20).await;
    faults::until_back(dir.path(), leader, pid).await.unwrap();
    let (signed, longest) = load.end().await;
    eprintln!("leader killed: {signed} signed, none lost, the longest wait {longest} ms");

    // A frozen leader keeps its sockets open; a frozen follower may be the one that the sidecar asks.
    let cluster = deployment(dir.path());
    for role in ["leader", "follower"] {
        let leader = faults::leader(&admin).await.unwrap();
        let frozen = if role == "leader" { leader } else { leader % 3 + 1 };
        let pid = cluster.node(frozen).unwrap().pid;
        let (key, steps) = if role == "leader" { (keys[2], 0) } else { (keys[3], 0) };
        let load = Load::start(client.clone(), key, steps);
        load.goes_on(20).await;
        signal_pid(pid, Signal::STOP);
        load.goes_on(50).await;
        signal_pid(pid, Signal::CONT);
        load.goes_on(20).await;
        let (signed, longest) = load.end().await;
        eprintln!("{role} frozen: {signed} signed, none lost, the longest wait {longest} ms");
    }

    signal_pid(sidecar.child.id(), Signal::HUP);
    client.sign(keys[0], 100).await;
    signal_pid(sidecar.child.id(), Signal::TERM);
    assert_eq!(eventually("the end of the sidecar", END, || sidecar.ended()), 0);
}

/// What passes and what does not, before a real node.
async fn surface(client: &Client, keys: &[PublicKey]) {
    assert_eq!(client.get("/upcheck").await, (StatusCode::OK, Bytes::from("OK")));
    let (status, body) = client.get("/healthcheck").await;
    assert!(status == StatusCode::OK && body.starts_with(b"{"), "{body:?}");
    let (status, body) = client.get("//api/v1/eth2/publicKeys").await;
    let listed: Vec<PublicKey> = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, listed.len()), (StatusCode::OK, keys.len()));
    for path in ["/admin/v1/cluster/status", "/admin/v1/keys", "/eth/v1/keystores", "/leader"] {
        assert_eq!(client.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    client.sign(keys[0], 0).await;
    let conflict = attestation(&client.chain, keys[0], 0, 2);
    assert_eq!(client.post(&conflict).await.0, StatusCode::PRECONDITION_FAILED, "a verdict is passed on");
    let unknown = Duty { public_key: PublicKey([7; 48]), body: conflict.body };
    assert_eq!(client.post(&unknown).await.0, StatusCode::NOT_FOUND);
}

#[test]
fn what_makes_no_sense_is_said_with_exit_code_2() {
    let files = ["--ca", "ca.pem", "--cert", "vc.pem", "--key", "vc-key.pem"];
    let endpoint = ["--endpoint", "https://127.0.0.1:1"];
    let cases: &[(&[&str], &str)] = &[
        (&[], "say which cluster"),
        (&["--endpoint", "https://127.0.0.1:1"], "--ca"),
        (&["--listen", "0.0.0.0:9900"], "can be reached from other machines"),
        (&["--metrics-listen", "0.0.0.0:9901"], "can be reached from other machines"),
        (&["--listen", "9900"], "neither IP:PORT nor unix:PATH"),
        (&["--try-timeout", "3s"], "--try-timeout must be shorter"),
        (&["--deadline", "3"], "not a time with a unit"),
        (&["--host-allowlist", "http://a"], "host allowlist"),
    ];
    for (position, (flags, said)) in cases.iter().enumerate() {
        let mut arguments = vec!["connect"];
        arguments.extend(*flags);
        if position > 1 {
            arguments.extend(endpoint.iter().chain(&files));
        }
        let (code, stdout, stderr) = output(&arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
    let (code, _, stderr) = output(&["connect", "--dir", "/nonexistent"]);
    assert_eq!(code, 1, "{stderr}");
}
