//! A cluster of one with a configuration of the test's own, and certificates for it.

use crate::common::{Dev, STOP, deployment, free_base_port};
use bytes::Bytes;
use consigner_gate::ClientTls;
use consigner_node::certs::CertificateDir;
use consigner_node::client::{ClusterClient, Deployment};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A machine that builds beside the test takes many times what it should.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Of one call.
pub const CALL: Duration = Duration::from_secs(60);

/// A directory of `consigner dev` with one node.
pub struct Site {
    work: tempfile::TempDir,
    base_port: u16,
    dev: Option<Dev>,
}

impl Site {
    /// With certificates, but nothing that runs.
    pub fn new() -> Self {
        let site = Self { work: tempfile::tempdir().unwrap(), base_port: free_base_port(1), dev: None };
        site.certificates().ensure(["node1"].into_iter()).unwrap();
        site
    }

    pub fn certificates(&self) -> CertificateDir {
        CertificateDir::new(self.work.path().join("certs"))
    }

    /// A file or directory beside `cluster.json`. Configurations name it as `../NAME`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// Puts a file in its place at once, readable by its owner only.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new).unwrap();
        std::io::Write::write_all(&mut file, content.as_ref()).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }

    /// A port that is free beside those of the node.
    pub fn port(&self, number: u16) -> u16 {
        self.base_port + 2 + number
    }

    /// Runs the node with this laid over its configuration until it is ready.
    pub fn start(&mut self, overlay: &str) {
        let overlay = self.write("overlay.yaml", overlay);
        let port = self.base_port.to_string();
        let arguments = ["--nodes", "1", "--base-port", &port, "--validators", "1", "--config-overlay"];
        let mut arguments = arguments.to_vec();
        arguments.push(overlay.to_str().unwrap());
        let mut dev = Dev::start(self.work.path(), &arguments);
        dev.until_ready();
        self.dev = Some(dev);
    }

    pub fn stop(&mut self) {
        let mut dev = self.dev.take().unwrap();
        dev.signal(Signal::TERM);
        assert_eq!(dev.ended(STOP).code(), Some(0));
    }

    pub fn deployment(&self) -> Deployment {
        deployment(self.work.path())
    }

    /// Tells the node to read its files again.
    pub fn hang_up(&self) {
        let pid = std::fs::read_to_string(self.path("node1/pid")).unwrap().trim().parse().unwrap();
        consigner_node::dev::signal_pid(pid, Signal::HUP);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("node1/log")).unwrap()
    }

    /// Lines of the log with all of these words.
    pub fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let log = self.log();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().filter(has_all).map(str::to_owned).collect()
    }

    pub fn api(&self) -> String {
        format!("127.0.0.1:{}", self.base_port)
    }

    /// A client of this port with this identity; every call on a connection of its own unless it kept one.
    pub fn client(&self, identity: &ClientTls, port: u16) -> ClusterClient {
        ClusterClient::new(vec![format!("https://127.0.0.1:{port}")], identity, 1).unwrap()
    }

    pub fn api_client(&self, identity: &ClientTls) -> ClusterClient {
        self.client(identity, self.base_port)
    }

    /// The identity of `dev`: `client` or `admin`.
    pub fn identity(&self, stem: &str) -> ClientTls {
        let certificates = self.certificates();
        ClientTls { cert: certificates.cert(stem), key: certificates.key(stem), ca: certificates.cert("ca") }
    }

    /// The value of a metric line that begins so.
    pub async fn metric(&self, line: &str) -> Option<String> {
        let client = consigner_gate::HttpsClient::new(
            consigner_gate::tls::client_config(&self.identity("client"), consigner_gate::tls::ALPN_API).unwrap(),
            1,
        );
        let url = self.deployment().nodes[0].metrics_url.clone();
        let answer = client.request(Method::GET, &url, &[], Bytes::new(), CALL).await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        text.lines().find_map(|found| found.strip_prefix(line).map(|rest| rest.trim().to_owned()))
    }
}

/// Status of `/upcheck`; `None` if no connection came about.
pub async fn upcheck(client: &ClusterClient) -> Option<StatusCode> {
    client.probe("/upcheck", CALL).await
}

/// Posts JSON; the status and the answer.
pub async fn post(client: &ClusterClient, path: &str, body: &Value) -> (StatusCode, Value) {
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let body = Bytes::from(serde_json::to_vec(body).unwrap());
    let answer = client.call(Method::POST, path, &headers, body, CALL * 3).await.unwrap().response;
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

/// Applies a policy.
pub async fn apply(admin: &ClusterClient, policy: &str) -> (StatusCode, Value) {
    post(admin, "/admin/v1/policy/apply", &json!({"policy": policy})).await
}

/// Waits until it is so.
pub async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !look().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A CA of a test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What clients of a node must trust: the CA of its own certificate.
    servers_ca: PathBuf,
    dir: PathBuf,
}

impl Authority {
    /// The CA of `dev`, by its key.
    pub fn of_dev(site: &Site) -> Self {
        let pem = std::fs::read_to_string(site.certificates().key("ca")).unwrap();
        let params = authority("Consigner development CA");
        let issuer = Issuer::new(params, KeyPair::from_pem(&pem).unwrap());
        Self { issuer, servers_ca: site.certificates().cert("ca"), dir: site.path("certs") }
    }

    /// Another one, whose certificate is `certs/NAME.pem`.
    pub fn new(site: &Site, name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let dir = site.path("certs");
        std::fs::write(dir.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), servers_ca: site.certificates().cert("ca"), dir }
    }

    /// A client's certificate with this serial number, in files of this stem.
    pub fn client(&self, stem: &str, name: &str, serial: u64) -> ClientTls {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(serial.into());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let file = |end: &str| self.dir.join(format!("{stem}{end}.pem"));
        std::fs::write(file(""), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(file("-key"), key.serialize_pem()).unwrap();
        ClientTls { cert: file(""), key: file("-key"), ca: self.servers_ca.clone() }
    }

    /// A list that revokes these, as PEM.
    pub fn revoked(&self, serials: &[u64]) -> String {
        let begin = date_time_ymd(2020, 1, 1);
        let revoked_certs = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: begin,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: begin,
            next_update: date_time_ymd(2400, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params
}

/// A program of others, or `None` after saying what is not tested without it.
#[expect(clippy::print_stderr, reason = "what is skipped must be seen")]
pub fn tool(program: &str, what: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    let found = std::env::split_paths(&path).chain(beside).map(|dir| dir.join(program)).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {what}: no {program} on this machine");
    }
    found
}

/// Runs a program of others to its end; whether it succeeded, stdout, stderr.
pub fn ran(program: &Path, arguments: &[&str]) -> (bool, String, String) {
    let output = std::process::Command::new(program).args(arguments).stdin(std::process::Stdio::null()).output();
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.success(), text(output.stdout), text(output.stderr))
}
