//! Decides about client certificates: by CA and revocation list, by pinned fingerprint, or by either.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::ClientAuth;
use super::known_clients::KnownClients;

/// A verifier that accepts pinned certificates, and those of a CA if there is one.
#[derive(Debug)]
pub(super) struct PinningVerifier {
    pub(super) ca: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) known: KnownClients,
    pub(super) client_auth: ClientAuth,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for PinningVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.client_auth == ClientAuth::Required
    }

    /// None: a client that sees names of CAs shows no certificate of another issuer (Java does so).
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let by_ca = self.ca.as_ref().map(|ca| ca.verify_client_cert(end_entity, intermediates, now));
        match by_ca {
            Some(Ok(verified)) => return Ok(verified),
            // Whoever revokes a certificate means it, also where a name was forgotten in the file.
            Some(Err(error)) if is_revoked(&error) => return Err(error),
            Some(Err(_)) | None => {}
        }
        match (self.known.check(end_entity, now), by_ca) {
            (Ok(()), _) => Ok(ClientCertVerified::assertion()),
            // Not pinned: then what the CA's verifier says is more to the point.
            (Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)), Some(by_ca)) => by_ca,
            (Err(error), _) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_revoked(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Revoked))
}
