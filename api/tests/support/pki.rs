//! A certificate authority per test, its files in a temporary directory.

use consigner_gate::tls::{ALPN_API, client_config};
use consigner_gate::{ClientTls, HttpsClient, ReloadableTls, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

pub struct Pki {
    dir: TempDir,
    ca: Issuer<'static, KeyPair>,
    ca_file: PathBuf,
}

impl Pki {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, ca: Issuer::new(params, key), ca_file }
    }

    pub fn server(&self, name: &str, alpn: &[&[u8]]) -> Arc<ReloadableTls> {
        ReloadableTls::load(self.server_files(name), alpn).unwrap()
    }

    pub fn server_files(&self, name: &str) -> ServerTls {
        let (cert, key) = self.issue(name);
        ServerTls { cert, key, client_ca: self.ca_file.clone() }
    }

    pub fn https(&self, name: &str) -> HttpsClient {
        HttpsClient::new(client_config(&self.client(name), ALPN_API).unwrap(), 4)
    }

    pub fn client(&self, name: &str) -> ClientTls {
        let (cert, key) = self.issue(name);
        ClientTls { cert, key, ca: self.ca_file.clone() }
    }

    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let files = (self.dir.path().join(format!("{name}.pem")), self.dir.path().join(format!("{name}-key.pem")));
        std::fs::write(&files.0, params.signed_by(&key, &self.ca).unwrap().pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}
