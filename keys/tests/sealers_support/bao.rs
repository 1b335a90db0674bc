//! OpenBao in development mode: in memory, unsealed, with one root token, a transit key `signer` and its policy.

use super::{Component, component, free_port};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a node needs.
pub const SIGNER_POLICY: &str = "path \"transit/encrypt/signer\" { capabilities = [\"update\"] }
path \"transit/decrypt/signer\" { capabilities = [\"update\"] }";

pub struct Bao {
    process: Option<Component>,
    program: PathBuf,
    port: u16,
    tls: bool,
    pub address: String,
    pub ca: Option<PathBuf>,
    /// Survives a restart of the server.
    home: tempfile::TempDir,
}

impl Bao {
    pub fn start() -> Option<Self> {
        Self::start_with(false)
    }

    /// With a certificate of an authority of its own.
    pub fn start_tls() -> Option<Self> {
        let bao = Self::start_with(true)?;
        bao.run(&["auth", "enable", "cert"]);
        Some(bao)
    }

    fn start_with(tls: bool) -> Option<Self> {
        let program = component("CONSIGNER_BAO", "bao")?;
        let port = free_port();
        let scheme = if tls { "https" } else { "http" };
        let home = tempfile::tempdir().unwrap();
        let address = format!("{scheme}://127.0.0.1:{port}");
        let mut bao = Self { process: None, program, port, tls, address, ca: None, home };
        bao.start_again();
        Some(bao)
    }

    /// A new server at the same place; it remembers nothing.
    pub fn start_again(&mut self) {
        let listen = format!("-dev-listen-address=127.0.0.1:{}", self.port);
        let certificates = format!("-dev-tls-cert-dir={}", self.folder().display());
        let mut arguments = vec!["server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token", &listen];
        if self.tls {
            arguments.extend(["-dev-tls", &certificates]);
        }
        let process = Component::start(&self.program, self.port, &arguments);
        if self.tls {
            let authority = || self.authority_file();
            process.wait_until("there is an authority", || authority().is_some());
            self.ca = self.authority_file();
        }
        process.wait_until("it is unsealed", || self.command(&["status"]).output().unwrap().status.success());
        self.process = Some(process);
        self.run(&["secrets", "enable", "transit"]);
        self.run(&["write", "-f", "transit/keys/signer"]);
        self.policy("signer", SIGNER_POLICY);
    }

    pub fn stop(&mut self) {
        self.process = None;
    }

    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    fn authority_file(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(self.folder()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let authority =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-ca.pem"));
        paths.filter(authority).find(|path| std::fs::metadata(path).unwrap().len() > 0)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("BAO_ADDR", &self.address).env("BAO_TOKEN", "root").env("HOME", self.folder());
        for name in ["VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "BAO_NAMESPACE", "http_proxy", "https_proxy"] {
            command.env_remove(name);
        }
        if let Some(ca) = &self.ca {
            command.env("BAO_CACERT", ca);
        }
        command
    }

    /// Runs the administrator's command.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "bao {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// One field of a command's answer.
    pub fn field(&self, field: &str, arguments: &[&str]) -> String {
        let (verb, rest) = match arguments {
            ["token" | "auth" | "secrets", verb, rest @ ..] => (vec![arguments[0], verb], rest),
            [verb, rest @ ..] => (vec![*verb], rest),
            [] => panic!("no command"),
        };
        let flag = format!("-field={field}");
        let all: Vec<&str> = verb.into_iter().chain([flag.as_str()]).chain(rest.iter().copied()).collect();
        self.run(&all).trim().to_owned()
    }

    pub fn policy(&self, name: &str, rules: &str) {
        let path = self.folder().join("policy.hcl");
        std::fs::write(&path, rules).unwrap();
        self.run(&["policy", "write", name, path.to_str().unwrap()]);
    }

    /// With the key that the server printed at its start.
    pub fn unseal(&self) {
        let process = self.process.as_ref().unwrap();
        let log = std::fs::read_to_string(process.folder.path().join("log")).unwrap();
        let key = log.lines().find_map(|line| line.strip_prefix("Unseal Key: ")).unwrap().trim();
        self.run(&["operator", "unseal", key]);
    }

    /// Seconds since 1970 of a token's last renewal; nothing if it was not renewed or is gone.
    pub fn last_renewal(&self, token: &str) -> Option<u64> {
        let output = self.command(&["token", "lookup", "-format=json", token]).output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        answer["data"]["last_renewal_time"].as_u64()
    }

    /// Logins by `AppRole` since the server's start: each makes an entity's token, and the audit of a development
    /// server is the list of leases, so logins are counted by their accessors, dead ones included.
    pub fn tokens_ever_made(&self) -> usize {
        let listed = self.run(&["list", "-format=json", "auth/token/accessors"]);
        let accessors: Vec<String> = serde_json::from_str(&listed).unwrap();
        let path = self.folder().join("accessors");
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        let mut all: std::collections::BTreeSet<&str> = known.lines().collect();
        all.extend(accessors.iter().map(String::as_str));
        std::fs::write(&path, all.iter().copied().collect::<Vec<_>>().join("\n")).unwrap();
        all.len()
    }

    /// A client certificate that the method `cert` accepts under a role of the same name if that is `signer`.
    pub fn client_certificate(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = parameters.self_signed(&key).unwrap();
        let files = [format!("{name}.pem"), format!("{name}.key")].map(|file| self.folder().join(file));
        std::fs::write(&files[0], certificate.pem()).unwrap();
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        if name == "signer" {
            let certificate = format!("certificate=@{}", files[0].display());
            self.run(&["write", "auth/cert/certs/signer", &certificate, "token_policies=signer"]);
        }
        files.into()
    }

    /// SHA-256 of the server's certificate.
    pub fn fingerprint(&self) -> String {
        use base64::Engine as _;
        use sha2::Digest as _;
        let path = self.folder().join("vault-cert.pem");
        let pem = std::fs::read_to_string(&path).unwrap();
        let body = pem.lines().skip(1).take_while(|line| !line.starts_with('-')).collect::<String>();
        let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        hex::encode(sha2::Sha256::digest(der)).to_uppercase()
    }

    /// An authority that vouches for nobody here.
    pub fn another_authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.self_signed(&key).unwrap().pem()
    }
}
