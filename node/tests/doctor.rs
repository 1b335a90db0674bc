//! `consigner doctor`: a bad configuration, a careful one, a running cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Dev, START, deployment, eventually, free_base_port, output};
use consigner_node::certs::CertificateDir;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A directory with a configuration and its files.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn directory(&self, name: &str, mode: u32) {
        fs::create_dir_all(self.path(name)).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }
}

/// What the command says as JSON, and its exit code.
fn doctor(arguments: &[&str]) -> (i32, Value) {
    let (code, stdout, stderr) = output(&[&["doctor", "--json"], arguments].concat());
    let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout} {stderr}"));
    (code, report)
}

fn findings<'r>(report: &'r Value, id: &str) -> Vec<&'r Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["id"] == id).collect()
}

/// The only finding of a point.
#[track_caller]
fn finding<'r>(report: &'r Value, id: &str) -> &'r Value {
    let found = findings(report, id);
    assert_eq!(found.len(), 1, "{id}: {found:?}");
    found[0]
}

fn failed(report: &Value) -> Vec<&str> {
    let all = report["findings"].as_array().unwrap().iter();
    // Whether the machine of the test keeps its clock is not its business.
    let failed = all.filter(|finding| finding["status"] == "FAIL" && finding["id"] != "host.clock");
    let mut failed: Vec<&str> = failed.map(|finding| finding["id"].as_str().unwrap()).collect();
    failed.dedup();
    failed
}

const BAD: &str = r#"
node: {id: 1, name: node1, data-dir: data}
cluster: {id: "00112233445566778899aabbccddeeff"}
api:
  listen: 0.0.0.0:9000
  advertise-url: https://signer.example:9000
  host-allowlist: ["*"]
  clients: ["*"]
  admins: ["*"]
  tls: {cert: certs/node1.pem, key: certs/client-key.pem, client-ca: certs/ca.pem}
peer:
  listen: 0.0.0.0:9001
  advertise: 10.0.0.1:9001
  tls: {cert: certs/node2.pem, key: certs/node2-key.pem, ca: certs/ca.pem, min-version: "1.2"}
metrics: {listen: "0.0.0.0:9002"}
keys:
  sealer: {local: {key-file: data/sealing.key}}
  source: {key-config-path: key-config}
  import: {interop-count: 5, raw-keys-file: raw-keys}
keymanager: {enabled: true, listen: "0.0.0.0:9003", tls: {client-certificate: optional}}
audit: {enabled: false}
limits: {failed-credentials: {free: 0}}
"#;

const SECRET: &str = "25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866";

fn bad() -> (Place, PathBuf) {
    let place = Place::new();
    CertificateDir::new(place.path("certs")).ensure(["node1", "node2"].into_iter()).unwrap();
    place.directory("data", 0o777);
    place.write("data/sealing.key", &"3f".repeat(32), 0o644);
    place.write("raw-keys", SECRET, 0o644);
    place.write("key-config/1.yaml", &format!("type: file-raw\nprivateKey: \"0x{SECRET}\"\n"), 0o644);
    let config = place.write("consigner.yaml", BAD, 0o666);
    (place, config)
}

/// Every FAIL that the configuration deserves, and what it says.
const DESERVED: &[(&str, &str)] = &[
    ("keys.at-rest", "sealing.key lies in the data directory"),
    ("keys.credentials", "1 key configuration document(s) with a private key in the clear"),
    ("keys.development", "validator keys in the clear"),
    ("tls.files", "does not match the certificate"),
    ("tls.names", "signer.example"),
    ("tls.names", "node.name is node1, but the common name of peer.tls.cert is node2"),
    ("access.bind", "api listens on every address (0.0.0.0:9000)"),
    ("access.bind", "metrics listens on every address"),
    ("access.hosts", "api serves any Host"),
    ("access.clients", "api.clients is \"*\""),
    ("access.clients", "api.admins is \"*\""),
    ("access.keymanager", "neither certificate nor token"),
    ("access.keymanager", "not recorded"),
    ("access.limits", "wrong tokens cost no pause"),
    ("access.audit", "not recorded"),
    ("config.valid", "keymanager.token-file"),
    ("files.config", "mode 666"),
    ("files.secrets", "sealing.key has mode 644"),
    ("files.secrets", "raw-keys has mode 644"),
    ("files.sources", "1.yaml has mode 644"),
    ("files.data", "mode 777"),
];

#[test]
fn a_bad_configuration_fails_at_every_point_that_it_deserves() {
    let (_place, config) = bad();
    let config = config.display().to_string();
    let (code, report) = doctor(&["--config", &config]);
    assert_eq!(code, 1);
    for (id, said) in DESERVED {
        let finding = finding(&report, id);
        let reason = finding["reason"].as_str().unwrap();
        assert_eq!(finding["status"], "FAIL", "{finding}");
        assert!(reason.contains(said), "{id}: {reason}");
        assert!(!finding["fix"].as_str().unwrap().is_empty(), "{finding}");
    }
    let mut deserved: Vec<&str> = DESERVED.iter().map(|(id, _)| *id).collect();
    deserved.dedup();
    assert_eq!(failed(&report), deserved, "no more and no less");
    for id in ["tls.mutual", "tls.versions", "tls.separate-cas", "tls.revocation", "access.admin-ca", "keys.sealer"] {
        assert_eq!(finding(&report, id)["status"], "WARN", "{id}");
    }
    assert!(!report.to_string().contains(SECRET), "what is secret is not repeated");

    let (code, text, _) = output(&["doctor", "--config", &config]);
    assert_eq!(code, 1);
    assert!(text.contains("FAIL  Host allowlist (access.hosts) [node1]") && text.contains("fix: "), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour but on a terminal");
}

#[test]
fn what_cannot_be_examined_is_a_matter_of_usage() {
    let place = Place::new();
    let broken = place.write("broken.yaml", "a: [", 0o600).display().to_string();
    let gone = place.path("gone.yaml").display().to_string();
    for arguments in [vec!["doctor"], vec!["doctor", "--config", &gone], vec!["doctor", "--config", &broken]] {
        let (code, _, stderr) = output(&arguments);
        assert!(code == 2 && !stderr.is_empty(), "{arguments:?}: {stderr}");
    }
}

/// A CA of a short life and a certificate of a shorter one, as an operator's own PKI would make them.
fn authority(place: &Place, name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = parameters(name, &[], 3650);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    place.write(&format!("{name}.pem"), &authority.pem(), 0o644);
    authority
}

fn leaf(place: &Place, authority: &CertifiedIssuer<'static, KeyPair>, file: &str, name: &str, hosts: &[&str]) {
    let key = KeyPair::generate().unwrap();
    let certificate = parameters(name, hosts, 90).signed_by(&key, authority).unwrap();
    place.write(&format!("{file}.pem"), &certificate.pem(), 0o644);
    place.write(&format!("{file}-key.pem"), &key.serialize_pem(), 0o600);
}

fn parameters(name: &str, hosts: &[&str], days: u64) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (SystemTime::now() - Duration::from_secs(3600)).into();
    params.not_after = (SystemTime::now() + Duration::from_secs(days * 86_400 - 7200)).into();
    params
}

const CAREFUL: &str = r#"
node: {id: 1, name: node1, data-dir: data}
cluster: {id: "00112233445566778899aabbccddeeff"}
api:
  listen: 10.0.0.1:9000
  advertise-url: https://node1.example:9000
  host-allowlist: [node1.example]
  ip-allowlist: [10.0.0.0/24]
  clients: [vc-1]
  admins: [ops]
  tls: {cert: api.pem, key: api-key.pem, client-ca: clients.pem, admin-ca: admins.pem}
peer:
  listen: 10.0.0.1:9001
  advertise: node1.example:9001
  ip-allowlist: [10.0.0.2, 10.0.0.3]
  tls: {cert: peer.pem, key: peer-key.pem, ca: peers.pem}
keys: {sealer: {use: aws-kms, aws-kms: {key-id: alias/consigner, region: eu-central-1}}}
limits: {identity: {per-second: 500}}
"#;

#[test]
fn a_careful_configuration_has_no_fail() {
    let place = Place::new();
    let [clients, _admins, peers] = ["clients", "admins", "peers"].map(|name| authority(&place, name));
    leaf(&place, &clients, "api", "node1.example", &["node1.example"]);
    leaf(&place, &peers, "peer", "node1", &["node1.example"]);
    place.directory("data", 0o700);
    let config = place.write("consigner.yaml", CAREFUL, 0o640).display().to_string();
    let (_, report) = doctor(&["--config", &config]);
    assert_eq!(failed(&report), [] as [&str; 0], "{report:#}");
    let good = [
        "keys.at-rest",
        "keys.credentials",
        "keys.development",
        "tls.mutual",
        "tls.versions",
        "tls.files",
        "tls.lifetimes",
        "tls.names",
        "tls.separate-cas",
        "access.bind",
        "access.hosts",
        "access.clients",
        "access.admin-ca",
        "access.keymanager",
        "access.limits",
        "access.audit",
        "config.valid",
        "files.config",
        "files.secrets",
        "files.sources",
        "files.data",
        "files.owners",
    ];
    for id in good {
        assert_eq!(finding(&report, id)["status"], "PASS", "{}", finding(&report, id));
    }
    if cfg!(feature = "aws") {
        assert_eq!(finding(&report, "keys.sealer")["status"], "PASS");
    }
    // What one file cannot show is said to be so.
    for id in ["access.policy", "cluster.size", "cluster.lease", "tls.archive", "keys.enclave"] {
        let finding = finding(&report, id);
        assert!(finding["status"] == "SKIP" && !finding["reason"].as_str().unwrap().is_empty(), "{finding}");
    }
    assert_eq!(doctor(&["--config", &config, "--strict"]).0, 1, "revocation lists are missing: a warning");
}

#[test]
fn a_running_cluster_is_examined_from_inside_and_outside() {
    let work = tempfile::tempdir().unwrap();
    let port = free_base_port(3).to_string();
    let mut dev = Dev::start(work.path(), &["--base-port", &port, "--validators", "4"]);
    dev.until_ready();
    let dir = work.path().display().to_string();
    // A node that is kept from answering or hearing for a moment is not ready, and fails.
    let report = eventually("a report without FAIL", START, || {
        let (_, report) = doctor(&["--dir", &dir]);
        let failed = failed(&report);
        assert!(failed.iter().all(|id| id.starts_with("cluster.")), "{report:#}");
        failed.is_empty().then_some(report)
    });
    for id in
        ["cluster.reached", "cluster.size", "cluster.ready", "cluster.versions", "cluster.lease", "cluster.clocks"]
    {
        assert_eq!(finding(&report, id)["status"], "PASS", "{}", finding(&report, id));
    }
    for node in ["node1", "node2", "node3"] {
        let of = |id: &str, said: &str| {
            let all = findings(&report, id);
            let found = all
                .iter()
                .find(|finding| finding["scope"] == node && finding["reason"].as_str().unwrap().contains(said));
            found.unwrap_or_else(|| panic!("{id} of {node}: {all:?}"))["status"].as_str().unwrap().to_owned()
        };
        assert_eq!(of("tls.mutual", "a handshake without a certificate is refused"), "PASS");
        assert_eq!(of("tls.versions", "1.0, 1.1 and weak suites are refused"), "PASS");
        assert_eq!(of("tls.plain-http", "api door"), "PASS");
        assert_eq!(of("tls.plain-http", "peer door"), "PASS");
        assert_eq!(of("host.memory-lock", "KiB are locked"), "PASS");
        assert_eq!(of("host.core-dumps", ""), "PASS");
        assert_eq!(of("keys.development", "interop keys"), "WARN");
        assert_eq!(of("access.audit-verified", "lines hold"), "PASS");
    }
    assert_eq!(finding(&report, "access.policy")["status"], "WARN", "no policy is applied");
    let rotation = findings(&report, "keys.rotation");
    assert!(
        rotation.iter().any(|finding| finding["scope"] == "cluster" && finding["status"] == "PASS"),
        "{rotation:?}"
    );

    let deployment = deployment(work.path());
    let path = |path: &Path| path.display().to_string();
    let (ca, cert, key) = (path(&deployment.ca), path(&deployment.admin_cert), path(&deployment.admin_key));
    let endpoint = deployment.nodes[1].api_url.clone();
    let through = ["--endpoint", &endpoint, "--ca", &ca, "--cert", &cert, "--key", &key];
    let report = eventually("all members found through one", START, || {
        let (_, report) = doctor(&through);
        (finding(&report, "cluster.size")["status"] == "PASS").then_some(report)
    });
    assert_eq!(finding(&report, "host.volume")["status"], "SKIP");

    consigner_node::dev::signal_pid(deployment.nodes[0].pid, rustix::process::Signal::STOP);
    let seen = eventually("a node that hangs is seen", START, || {
        let (code, report) = doctor(&through);
        (findings(&report, "cluster.ready").first()?["status"] == "FAIL").then_some((code, report))
    });
    consigner_node::dev::signal_pid(deployment.nodes[0].pid, rustix::process::Signal::CONT);
    assert_eq!(seen.0, 1);
    assert_eq!(finding(&seen.1, "cluster.size")["status"], "WARN", "{}", seen.1);
}
