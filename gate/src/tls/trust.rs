//! Decides about client certificates: by CA and revocation list, by pinned fingerprint, or by either; and which of them
//! are administrators'.
//!
//! ```text
//! client CA --\
//! admin CA ----+-> one of them accepts, and none says "revoked" -> in; the admin CA accepts -> an administrator
//! known clients/
//! ```
//!
//! A pin counts only for a certificate that no revocation list names. This is looked up by issuer and serial number: the
//! caller chooses the chain, and with it the first thing that webpki finds wrong. What a list says about an intermediate
//! CA does not touch a pin: the chain that would show it need not be sent.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::crl::{self, Crls, Named};
use super::expiry::Expiry;
use super::known_clients::KnownClients;
use super::pem::{self, Authorities};
use super::{ClientAuth, DoorTls, StaleCrl, TlsError};

/// Which client certificates a door accepts, out of one reading of its files.
pub(super) struct Clients {
    /// Decides who gets in.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Decides who of them is an administrator; `None`: nobody.
    admins: Option<Arc<dyn ClientCertVerifier>>,
    /// Of CAs and revocation lists.
    pub(super) expiries: Vec<Expiry>,
}

impl Clients {
    /// Reads CA bundles, revocation lists and known clients.
    pub(super) fn load(door: &DoorTls, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let by_ca = door.trust.ca().map(|ca| pem::authorities(ca)).transpose()?;
        let admins = door.admin_ca.as_deref().map(pem::authorities).transpose()?;
        let all = match (&by_ca, &admins) {
            (Some(by_ca), Some(admins)) => {
                warn_of_shared(by_ca, admins);
                Some(by_ca.clone().and(admins))
            }
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        };
        let crls = match &all {
            Some(all) => crl::load(&door.crls, door.stale_crl, all, provider)?,
            None if door.crls.is_empty() => Crls::default(),
            None => return Err(TlsError::CrlWithoutCa),
        };
        let verifier = |of: &Authorities| ca_verifier(door, of, &crls, provider);
        let (by_ca, admins) = (by_ca.as_ref().map(verifier).transpose()?, admins.as_ref().map(verifier).transpose()?);
        let known = door.trust.known_clients().map(|path| KnownClients::load(path)).transpose()?;
        let verifier = match (by_ca, &admins, known) {
            (Some(by_ca), None, None) => by_ca,
            (by_ca, admins, known) => Arc::new(JoiningVerifier {
                hints: if known.is_some() { Vec::new() } else { hints(by_ca.iter().chain(admins)) },
                by_ca: by_ca.into_iter().chain(admins.clone()).collect(),
                revoked: if known.is_some() { crls.named() } else { Named::default() },
                known: known.unwrap_or_default(),
                client_auth: door.client_auth,
                algorithms: provider.signature_verification_algorithms,
            }),
        };
        let expiries = all.into_iter().flat_map(|all| all.expiries).chain(crls.expiries).collect();
        Ok(Self { verifier, admins, expiries })
    }

    /// Whether a CA of the administrators issued this chain, and has not revoked it.
    pub(super) fn are_admins(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        self.admins.as_ref().is_some_and(|admins| admins.verify_client_cert(leaf, intermediates, now).is_ok())
    }
}

fn ca_verifier(
    door: &DoorTls,
    authorities: &Authorities,
    crls: &Crls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut verifier = WebPkiClientVerifier::builder_with_provider(authorities.store.clone(), provider.clone())
        .with_crls(crls.of(authorities, provider));
    if door.stale_crl == StaleCrl::Refuse {
        verifier = verifier.enforce_revocation_expiration();
    }
    if door.client_auth == ClientAuth::Optional {
        // A certificate that is shown must still be valid: a wrong one is refused, not ignored.
        verifier = verifier.allow_unauthenticated();
    }
    Ok(verifier.build()?)
}

fn hints<'v>(verifiers: impl Iterator<Item = &'v Arc<dyn ClientCertVerifier>>) -> Vec<DistinguishedName> {
    verifiers.flat_map(|verifier| verifier.root_hint_subjects().iter().cloned()).collect()
}

fn warn_of_shared(clients: &Authorities, admins: &Authorities) {
    for shared in clients.certificates.iter().filter(|ca| admins.certificates.contains(ca)) {
        let ca = crate::peer::describe(shared);
        tracing::warn!(ca, "this CA is in both bundles: every client that it certifies is an administrator");
    }
}

/// A verifier that accepts pinned certificates, and those of several bundles.
#[derive(Debug)]
struct JoiningVerifier {
    by_ca: Vec<Arc<dyn ClientCertVerifier>>,
    /// Of all lists; empty where nothing is pinned.
    revoked: Named,
    known: KnownClients,
    /// Empty where certificates are pinned: a client that sees names of CAs shows no certificate of another issuer
    /// (Java does so).
    hints: Vec<DistinguishedName>,
    client_auth: ClientAuth,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for JoiningVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.client_auth == ClientAuth::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdicts: Vec<_> =
            self.by_ca.iter().map(|ca| ca.verify_client_cert(end_entity, intermediates, now)).collect();
        // Whoever revokes a certificate means it, also where another CA vouches or a name was forgotten in the file.
        if let Some(revoked) = verdicts.iter().filter_map(|verdict| verdict.as_ref().err()).find(|why| is_revoked(why))
        {
            return Err(revoked.clone());
        }
        if verdicts.iter().any(Result::is_ok) {
            return Ok(ClientCertVerified::assertion());
        }
        // No CA vouches, for a reason that the caller may have chosen (a junk intermediate is expired before anything is
        // revoked). Not before the CAs' verdicts: a list goes by names here, and two CAs may have the same one.
        if self.revoked.has(end_entity) {
            return Err(CertificateError::Revoked.into());
        }
        match self.known.check(end_entity, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            // Not pinned: then what a CA's verifier says is more to the point.
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => {
                Err(most_telling(verdicts.into_iter().filter_map(Result::err)))
            }
            Err(error) => Err(error),
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

/// What the issuing CA finds wrong says more than that another did not issue it (by name, or by key only).
fn most_telling(errors: impl Iterator<Item = Error>) -> Error {
    let is_foreign = |error: &Error| {
        matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature))
    };
    errors.min_by_key(is_foreign).unwrap_or(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
}
