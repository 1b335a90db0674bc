//! What an outgoing configuration asks during each handshake: the newest generation; and who remembers what was
//! verified, so that a connection does not outlive the trust in its server.
//!
//! rustls tells a verifier which certificate is shown, but not on which connection. So the proof is left in the
//! connecting task, as [`super::verifier`] does with refused clients.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::sync::watch;

use super::expiry::Expiry;
use super::stamps::Stamps;

/// Certificates end without any reload: an open connection's is looked at this often.
const LOOK_AGAIN_INTERVAL: Duration = Duration::from_secs(600);

tokio::task_local! {
    static SHOWN: RefCell<Option<ServerProof>>;
}

/// Runs one handshake; beside its result, what to watch while the connection stands. `None` for a configuration that
/// never changes.
pub(crate) async fn noting_the_server<F: Future>(handshake: F) -> (F::Output, Option<ServerProof>) {
    SHOWN
        .scope(RefCell::new(None), async {
            let result = handshake.await;
            (result, SHOWN.with(|proof| proof.borrow_mut().take()))
        })
        .await
}

/// Everything that was read at one time.
pub(super) struct Generation {
    pub(super) own: Arc<CertifiedKey>,
    pub(super) verifier: Arc<WebPkiServerVerifier>,
    pub(super) expiries: Vec<Expiry>,
    pub(super) stamps: Stamps,
}

/// The generation in use.
#[derive(Clone)]
struct InUse {
    current: Arc<ArcSwap<Generation>>,
    /// The number of reloads.
    renewals: watch::Sender<u64>,
}

/// Answers rustls out of the generation in use.
pub(super) struct Newest(InUse);

/// What a server showed on one connection.
pub(crate) struct ServerProof {
    in_use: InUse,
    renewals: watch::Receiver<u64>,
    end_entity: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

impl ServerProof {
    /// Returns once the server would not be accepted any more, with the reason.
    pub(crate) async fn lost(mut self) -> Error {
        loop {
            // The sender lives in what this holds: an error cannot be.
            let _look = tokio::time::timeout(LOOK_AGAIN_INTERVAL, self.renewals.changed()).await;
            let verifier = self.in_use.current.load().verifier.clone();
            let now = UnixTime::now();
            let verified = verifier.verify_server_cert(&self.end_entity, &self.intermediates, &self.name, &[], now);
            if let Err(why) = verified {
                return why;
            }
        }
    }
}

impl Newest {
    pub(super) fn new(first: Generation) -> Self {
        Self(InUse { current: Arc::new(ArcSwap::from_pointee(first)), renewals: watch::Sender::new(0) })
    }

    pub(super) fn now(&self) -> Arc<Generation> {
        self.0.current.load_full()
    }

    pub(super) fn renew(&self, generation: Generation) {
        self.0.current.store(Arc::new(generation));
        self.0.renewals.send_modify(|count| *count += 1);
    }

    fn verifier(&self) -> Arc<WebPkiServerVerifier> {
        self.0.current.load().verifier.clone()
    }

    /// Outside of a connecting task (a caller that uses the configuration on its own) there is nobody to tell.
    fn note(
        &self,
        renewals: watch::Receiver<u64>,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) {
        let proof = || ServerProof {
            in_use: self.0.clone(),
            renewals,
            end_entity: end_entity.clone().into_owned(),
            intermediates: intermediates.iter().map(|der| der.clone().into_owned()).collect(),
            name: name.to_owned(),
        };
        let _no_scope = SHOWN.try_with(|shown| *shown.borrow_mut() = Some(proof()));
    }
}

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Newest")
    }
}

impl ResolvesClientCert for Newest {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current.load().own.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for Newest {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Taken before the look, so that no reload after it is missed.
        let renewals = self.0.renewals.subscribe();
        let verified =
            self.verifier().verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        self.note(renewals, end_entity, intermediates, server_name);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier().supported_verify_schemes()
    }
}
