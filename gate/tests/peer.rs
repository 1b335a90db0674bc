//! What a door learns from a certificate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use consigner_gate::peer::PeerCertificateError;
use consigner_gate::{Peer, PeerCertificate};
use rcgen::{CertificateParams, DistinguishedName, DnType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use support::pki::Pki;

fn leaf(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(Pki::new().issue_with("node1", change).cert).unwrap()
}

fn name(certificate: PeerCertificate) -> String {
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    Peer { addr, certificate: Some(Arc::new(certificate)) }.name()
}

#[test]
fn names_fingerprint_and_end_are_read() {
    let der = leaf(|params| params.not_after = rcgen::date_time_ymd(2040, 1, 1));
    let read = PeerCertificate::parse(&der).unwrap();
    let expected = PeerCertificate {
        common_name: Some("node1".to_owned()),
        dns_names: vec!["localhost".to_owned()],
        uris: vec!["spiffe://test/node1".to_owned()],
        fingerprint_sha256: Sha256::digest(&der).into(),
        not_after_unix: 2_208_988_800,
        from_admin_ca: false,
    };
    assert_eq!(read, expected);
    assert_eq!(name(read), "node1");
}

#[test]
fn without_a_common_name_the_fingerprint_is_the_name() {
    let der = leaf(|params| params.distinguished_name = DistinguishedName::new());
    let read = PeerCertificate::parse(&der).unwrap();
    assert_eq!((read.common_name.clone(), name(read)), (None, hex::encode(Sha256::digest(&der))));
}

#[test]
fn names_that_could_deceive_are_refused() {
    let forged = leaf(|params| params.distinguished_name.push(DnType::CommonName, "a\nWARN b"));
    assert!(matches!(PeerCertificate::parse(&forged), Err(PeerCertificateError::ControlCharacter)));
    let two = leaf(|params| {
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "node2");
    });
    assert!(matches!(PeerCertificate::parse(&two), Err(PeerCertificateError::SeveralCommonNames)));
    let malformed = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
    assert!(matches!(PeerCertificate::parse(&malformed), Err(PeerCertificateError::Malformed(_))));
}
