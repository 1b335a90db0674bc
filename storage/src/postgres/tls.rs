//! What this side asks of the server's certificate, and what it shows itself.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::ConnectFault;

/// rustls always compares the certificate with the host's name.
pub(super) fn config(ca: &Path, identity: Option<(&Path, &Path)>) -> Result<ClientConfig, ConnectFault> {
    let bad = |path: &Path, problem: String| ConnectFault::File { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| bad(ca, error.to_string()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| bad(ca, error.to_string()))?
        .with_root_certificates(roots);
    let Some((cert, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string()))?;
    builder.with_client_auth_cert(chain, private).map_err(|error| bad(cert, error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectFault> {
    let bad = |problem: String| ConnectFault::File { path: path.to_owned(), problem };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| bad(error.to_string()))?;
    if found.is_empty() { Err(bad("no certificate in it".to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn a_ca_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, "no certificate").unwrap();
        for file in [file, dir.path().join("absent")] {
            let Err(ConnectFault::File { path, .. }) = config(&file, None) else { panic!("{}", file.display()) };
            assert_eq!(path, file);
        }
    }
}
