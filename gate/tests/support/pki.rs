//! A certificate authority per test, its files in a temporary directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use consigner_gate::tls::{ALPN_API, ALPN_PEER, client_config};
use consigner_gate::{ClientTls, HttpsClient, PeerChannel, ReloadableTls, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::{ClientConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

pub struct Pki {
    pub dir: TempDir,
    pub ca: Issuer<'static, KeyPair>,
    pub ca_file: PathBuf,
}

/// Certificate and key file.
#[derive(Clone)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Pki {
    pub fn new() -> Self {
        Self::named("test ca")
    }

    pub fn named(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, ca: Issuer::new(params, key), ca_file }
    }

    pub fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| {})
    }

    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = format!("spiffe://test/{name}").try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let identity = Identity {
            cert: self.dir.path().join(format!("{name}.pem")),
            key: self.dir.path().join(format!("{name}-key.pem")),
        };
        std::fs::write(&identity.cert, params.signed_by(&key, &self.ca).unwrap().pem()).unwrap();
        std::fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    /// Of no CA at all.
    pub fn self_signed(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let identity = Identity {
            cert: self.dir.path().join(format!("{name}-self.pem")),
            key: self.dir.path().join(format!("{name}-self-key.pem")),
        };
        std::fs::write(&identity.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    /// With a serial number, by which it can be revoked.
    pub fn issue_numbered(&self, name: &str, serial: u64) -> Identity {
        self.issue_with(name, |params| params.serial_number = Some(serial.into()))
    }

    pub fn expired(&self, name: &str) -> Identity {
        self.issue_with(name, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    }

    pub fn server_files(&self) -> ServerTls {
        let Identity { cert, key } = self.issue_numbered("server", SERVER_SERIAL);
        ServerTls { cert, key, client_ca: self.ca_file.clone() }
    }

    /// Server side, HTTP/1.1 and HTTP/2.
    pub fn server(&self) -> Option<Arc<ReloadableTls>> {
        Some(ReloadableTls::load(self.server_files(), ALPN_API).unwrap())
    }

    pub fn client_tls(&self, name: &str) -> Arc<ClientConfig> {
        let Identity { cert, key } = self.issue(name);
        client_config(&ClientTls { cert, key, ca: self.ca_file.clone() }, ALPN_PEER).unwrap()
    }

    pub fn https(&self, name: &str) -> HttpsClient {
        HttpsClient::new(self.client_tls(name), 4)
    }

    pub fn channel(&self, name: &str, addr: &str) -> PeerChannel {
        PeerChannel::new(addr.to_owned(), "localhost".to_owned(), self.client_tls(name)).unwrap()
    }

    /// A configuration that our own code would not build: chosen versions, any or no certificate, with the client's
    /// default session cache.
    pub fn raw_client(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca_file).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { cert, key }) => {
                let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
            }
        })
    }
}

/// Of every server's certificate.
pub const SERVER_SERIAL: u64 = 1_000_001;

/// Long enough never to matter.
pub const LONG: Duration = Duration::from_secs(60);
