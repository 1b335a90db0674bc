//! Why a TLS configuration cannot be built: always the file, always the reason.

use std::path::PathBuf;

use super::ProtocolError;

/// Why certificates, keys or CA bundles cannot be used. Never contains key material.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is longer than any sensible PEM file.
    #[error("{} is longer than {limit} bytes: not a PEM file", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file has a PEM section that is not well formed.
    #[error("{} is not valid PEM: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is what PEM wraps, without PEM around it.
    #[error("{} is DER, not PEM: convert it (openssl x509, pkey or crl with -inform DER)", path.display())]
    Der {
        /// The file.
        path: PathBuf,
    },
    /// The file has no `BEGIN CERTIFICATE` section.
    #[error("no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file has no `BEGIN ... PRIVATE KEY` section.
    #[error("no private key in {}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is encrypted with a password.
    #[error("the private key in {} is encrypted: decrypt it first (openssl pkey)", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is of a kind or shape that cannot sign TLS handshakes.
    #[error("the private key in {} cannot be used", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// Certificate and key belong to different key pairs.
    #[error("private key {} does not match the certificate {}", key.display(), cert.display())]
    KeyMismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// A certificate is not valid X.509, or its names cannot be used.
    #[error("certificate in {} cannot be used: {reason}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The leaf is no longer valid.
    #[error("certificate {subject} in {} expired on {not_after}", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Distinguished name of the leaf.
        subject: String,
        /// End of validity.
        not_after: String,
    },
    /// The leaf is not valid yet, or the clock of this machine is wrong.
    #[error("certificate {subject} in {} is not valid before {not_before}", path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Distinguished name of the leaf.
        subject: String,
        /// Begin of validity.
        not_before: String,
    },
    /// A certificate in a CA bundle is not marked as a CA. As a trust anchor it could issue certificates itself.
    #[error("certificate {subject} in CA bundle {} is not a CA certificate", path.display())]
    NotACa {
        /// The file.
        path: PathBuf,
        /// Distinguished name of the certificate.
        subject: String,
    },
    /// Every CA certificate in the bundle has expired.
    #[error("every CA certificate in {} is expired", path.display())]
    AllCasExpired {
        /// The file.
        path: PathBuf,
    },
    /// A PKCS#12 file or its password. Never says the password.
    #[error("PKCS#12 file {} cannot be used: {reason}", path.display())]
    Pkcs12 {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file has no `BEGIN X509 CRL` section.
    #[error("no revocation list in {}", path.display())]
    NoCrl {
        /// The file.
        path: PathBuf,
    },
    /// A revocation list is malformed, of a kind that is not supported, or not signed by its issuer.
    #[error("revocation list in {} cannot be used: {reason}", path.display())]
    BadCrl {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A revocation list has expired, and that is not tolerated.
    #[error("the revocation list of {issuer} in {} expired on {next_update}", path.display())]
    CrlExpired {
        /// The file.
        path: PathBuf,
        /// Distinguished name of the list's issuer.
        issuer: String,
        /// End of validity.
        next_update: String,
    },
    /// Revocation lists without a CA bundle could never be asked.
    #[error("revocation lists are given, but no client CA: remove known clients from their file instead")]
    CrlWithoutCa,
    /// A line of a known-clients file.
    #[error("{}, line {line}: {reason}; expected: COMMON-NAME AA:BB:.. (SHA-256)", path.display())]
    KnownClients {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Versions or cipher suites that do not fit together.
    #[error("TLS versions and cipher suites do not fit")]
    Protocol(#[from] ProtocolError),
    /// rustls refused the combination.
    #[error("cannot build the TLS configuration")]
    Config(#[from] rustls::Error),
    /// rustls refused the CA bundle.
    #[error("cannot verify the other side's certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}
