//! Sealers exchanged on a running cluster, against a real KMS API (moto) and a real Vault API (OpenBao): not one signature
//! fails while keys move from a local key file to KMS, to Vault and back, and while Vault is away.
//!
//! Needs what `.ci/components` installs; says SKIPPED without it.
#![cfg(all(feature = "aws", feature = "vault"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod common;

use common::{Dev, START, STOP, attestation, deployment, eventually, free_base_port, mainnet, output};
use consigner_node::client::signing::{Chain, Signed, public_keys, sign};
use consigner_node::client::{ClusterClient, faults};
use consigner_node::dev::signal_pid;
use consigner_rules::PublicKey;
use http::{Method, StatusCode};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// moto looks at no credentials but wants some.
const AWS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "node"), ("AWS_SECRET_ACCESS_KEY", "node")];

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        signal_pid(self.child.id(), Signal::CONT);
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Server {
    fn start(program: &Path, home: &Path, arguments: impl Fn(u16) -> Vec<String>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(arguments(port)).env("HOME", home).env_remove("VAULT_TOKEN");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, port };
        eventually("a listening server", START, || TcpStream::connect(("127.0.0.1", port)).ok());
        server
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn component(variable: &str, name: &str) -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components/bin").join(name);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::var_os(variable).map(PathBuf::from).into_iter().chain([installed]);
    let found = candidates.chain(std::env::split_paths(&paths).map(|dir| dir.join(name))).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no {name} (run .ci/components, or set {variable})");
    }
    found
}

/// The ARN of a new KMS key.
fn new_kms_key(kms: &Server) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", kms.port)).unwrap();
    let authorization =
        "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=00";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close\r\n\
         X-Amz-Target: TrentService.CreateKey\r\nAuthorization: {authorization}\r\nContent-Length: 2\r\n\r\n{{}}",
        kms.port
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = &answer[answer.find('{').unwrap_or_else(|| panic!("{answer}"))..=answer.rfind('}').unwrap()];
    let value: serde_json::Value = serde_json::from_str(body).unwrap();
    value["KeyMetadata"]["Arn"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn bao(program: &Path, vault: &Server, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).env("BAO_ADDR", vault.url()).env("BAO_TOKEN", "root").env_remove("VAULT_TOKEN");
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

/// Signs all the time through some nodes; every request must be answered with a signature.
struct Load {
    stop: Arc<AtomicBool>,
    signed: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(nodes: Vec<ClusterClient>, keys: &[PublicKey], chain: &Chain, first_step: u64) -> Self {
        let (stop, signed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = keys.iter().enumerate().map(|(place, key)| {
            let (stop, signed, chain, key) = (stop.clone(), signed.clone(), chain.clone(), *key);
            let node = nodes[place % nodes.len()].clone();
            tokio::spawn(async move {
                let mut step = first_step;
                while !stop.load(Ordering::Relaxed) {
                    step += 1;
                    let answer = sign(&node, &attestation(&chain, key, step, 1)).await;
                    assert!(matches!(answer, Ok(Signed::Signature(_))), "through {:?}: {answer:?}", node.endpoints());
                    signed.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let tasks = tasks.collect();
        Self { stop, signed, tasks }
    }

    /// Waits for so many more signatures.
    async fn more(&self, count: u64) {
        let goal = self.signed.load(Ordering::Relaxed) + count;
        let until = Instant::now() + START;
        while self.signed.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < until && self.tasks.iter().all(|task| !task.is_finished()), "signing stopped");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.signed.load(Ordering::Relaxed)
    }
}

/// Moves all keys and looks that they lie where they should.
fn rewrap(dir: &Path, to: &str, keys: usize) {
    let dir = dir.to_str().unwrap();
    let (code, stdout, stderr) = output(&["keys", "rewrap", "--dir", dir, "--to", to, "--json"]);
    assert_eq!(code, 0, "to {to}: {stdout}{stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((report["moved"].as_u64(), report["remaining"].as_u64()), (Some(keys as u64), Some(0)), "{report}");
    let open_everywhere = |entry: &serde_json::Value| entry["open_on"].as_array().unwrap().len() == 3;
    // A node that is kept from answering is left out.
    eventually("every key open on every node", START, || {
        let (code, stdout, _) = output(&["keys", "list", "--dir", dir, "--json"]);
        let list: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let entries = list["data"].as_array().unwrap();
        assert_eq!((code, entries.len()), (0, keys));
        assert!(entries.iter().all(|entry| entry["sealer"] == to), "{list}");
        entries.iter().all(open_everywhere).then_some(())
    });
}

async fn ready(node: &ClusterClient) -> Result<(), String> {
    let answer = node.call(Method::GET, "/ready", &[], bytes::Bytes::new(), Duration::from_secs(5)).await;
    match answer {
        Ok(answer) if answer.response.status == StatusCode::OK => Ok(()),
        Ok(answer) => Err(answer.message()),
        Err(error) => Err(error.to_string()),
    }
}

async fn until_ready_is(node: &ClusterClient, good: impl Fn(&Result<(), String>) -> bool) {
    let until = Instant::now() + START;
    loop {
        let now = ready(node).await;
        if good(&now) {
            return;
        }
        assert!(Instant::now() < until, "{now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_move_between_all_sealers_while_they_sign_and_a_sealer_may_be_away() {
    let Some(moto) = component("CONSIGNER_MOTO", "moto_server") else { return };
    let Some(bao_program) = component("CONSIGNER_BAO", "bao") else { return };
    let (work, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kms = Server::start(&moto, home.path(), |port| {
        ["-H", "127.0.0.1", "-p"].map(str::to_owned).into_iter().chain([port.to_string()]).collect()
    });
    let vault = Server::start(&bao_program, home.path(), |port| {
        let flags = ["server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token"].map(str::to_owned);
        flags.into_iter().chain([format!("-dev-listen-address=127.0.0.1:{port}")]).collect()
    });
    eventually("an open vault", START, || bao(&bao_program, &vault, &["status"]).then_some(()));
    assert!(bao(&bao_program, &vault, &["secrets", "enable", "transit"]));
    assert!(bao(&bao_program, &vault, &["write", "-f", "transit/keys/signer"]));
    let overlay = overlay(home.path(), &new_kms_key(&kms), &kms, &vault);
    let port = free_base_port(3).to_string();
    let arguments = ["--validators", "4", "--config-overlay", overlay.to_str().unwrap()];
    let first: Vec<&str> = ["--base-port", &port].into_iter().chain(arguments).collect();
    let mut dev = Dev::start_in(work.path(), &first, &AWS);
    dev.until_ready();
    let (chain, dir) = (mainnet(), work.path());
    let nodes = || -> Vec<ClusterClient> {
        let signer = deployment(dir).signer(4).unwrap().following(true);
        signer.endpoints().iter().map(|url| signer.only(url)).collect()
    };
    let keys = public_keys(&nodes()[0]).await.unwrap();

    let load = Load::start(nodes(), &keys, &chain, 0);
    load.more(20).await;
    rewrap(dir, "aws-kms", keys.len());
    load.more(20).await;
    let signed = load.end().await;

    // All nodes start anew with keys that only KMS opens.
    dev.signal(Signal::TERM);
    assert_eq!(dev.ended(STOP).code(), Some(0));
    drop(dev);
    let mut dev = Dev::start_in(dir, &arguments, &AWS);
    dev.until_ready();

    let leader = faults::leader(&deployment(dir).admin().unwrap()).await.unwrap();
    let follower = deployment(dir).nodes.iter().find(|node| node.id != leader).unwrap().clone();
    let others = nodes().into_iter().filter(|node| !node.endpoints().contains(&follower.api_url)).collect();
    let load = Load::start(others, &keys, &chain, signed);
    rewrap(dir, "vault-transit", keys.len());
    load.more(20).await;
    // Vault hangs: what is open signs on; who starts now waits and says for what.
    signal_pid(vault.child.id(), Signal::STOP);
    load.more(20).await;
    signal_pid(follower.pid, Signal::KILL);
    let node = deployment(dir).signer(1).unwrap().only(&follower.api_url);
    until_ready_is(&node, |now| now.as_ref().is_err_and(|why| why.contains("of sealer vault-transit: "))).await;
    load.more(20).await;
    signal_pid(vault.child.id(), Signal::CONT);
    until_ready_is(&node, Result::is_ok).await;
    rewrap(dir, "local", keys.len());
    load.more(20).await;
    load.end().await;
    dev.signal(Signal::TERM);
    assert_eq!(dev.ended(STOP).code(), Some(0));
}

fn overlay(home: &Path, kms_key: &str, kms: &Server, vault: &Server) -> PathBuf {
    use std::os::unix::fs::OpenOptionsExt as _;
    let token = home.join("token");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&token).unwrap();
    file.write_all(b"root\n").unwrap();
    let text = format!(
        "keys:\n  sealer:\n    aws-kms: {{key-id: \"{kms_key}\", region: us-east-1, endpoint: \"{}\"}}\n    \
         vault-transit: {{address: \"{}\", key: signer, token-file: {}}}\n",
        kms.url(),
        vault.url(),
        token.display()
    );
    let overlay = home.join("overlay.yaml");
    std::fs::write(&overlay, text).unwrap();
    overlay
}
