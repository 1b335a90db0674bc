//! Verifies client certificates with webpki and remembers the one it refused.
//!
//! rustls drops a refused certificate before the accepting task sees the error, so that a log line could not say who
//! was refused. A verifier is shared by all connections of a door, hence the note is kept in the accepting task.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

tokio::task_local! {
    static PRESENTED: RefCell<Option<CertificateDer<'static>>>;
}

/// Runs one handshake; beside its result, the leaf that the client presented, if it came so far.
pub(crate) async fn noting_the_leaf<F: Future>(handshake: F) -> (F::Output, Option<CertificateDer<'static>>) {
    PRESENTED
        .scope(RefCell::new(None), async {
            let result = handshake.await;
            (result, PRESENTED.with(|leaf| leaf.borrow_mut().take()))
        })
        .await
}

#[derive(Debug)]
pub(super) struct RecordingVerifier {
    inner: Arc<dyn ClientCertVerifier>,
}

impl RecordingVerifier {
    pub(super) fn new(inner: Arc<dyn ClientCertVerifier>) -> Self {
        Self { inner }
    }
}

impl ClientCertVerifier for RecordingVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Outside of an accepting task (a caller that uses the configuration on its own) there is nobody to tell.
        let _no_scope = PRESENTED.try_with(|leaf| *leaf.borrow_mut() = Some(end_entity.clone().into_owned()));
        self.inner.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
