//! Where one key lies in a vault or cloud service, as Web3Signer's key configuration says it.
//!
//! In: fields of a YAML document. Out: specifications for whoever fetches. Deliberately absent: any network.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// Where a secret lies that has to be fetched.
#[derive(Debug, Clone)]
pub enum RemoteSecret {
    /// In a vault.
    Vault(Box<VaultSecretSpec>),
    /// In AWS Secrets Manager.
    Aws(Box<AwsSecretSpec>),
}

/// A secret in a HashiCorp Vault compatible server, KV version 2 (`type: hashicorp`).
#[derive(Clone)]
pub struct VaultSecretSpec {
    /// Host name or address.
    pub server_host: String,
    /// Port; 8200 unless given.
    pub server_port: u16,
    /// Path of the HTTP API with its leading `/v1/`, such as `/v1/secret/data/validator`.
    pub key_path: String,
    /// Name of the value inside the secret; `value` unless given.
    pub key_name: String,
    /// Deadline of one call; 10 s unless given.
    pub timeout: Duration,
    /// Whether the server speaks TLS. Web3Signer's code takes false unless given.
    pub tls_enabled: bool,
    /// Servers to trust by the fingerprint of their certificate (lines `host:port fingerprint`); the system's
    /// authorities if not given.
    pub tls_known_servers_path: Option<PathBuf>,
    /// How to authenticate.
    pub auth: VaultSecretAuth,
}

/// How to authenticate towards a vault.
#[derive(Clone)]
pub enum VaultSecretAuth {
    /// A token that stands in the file.
    Token(Zeroizing<String>),
    /// The service account of a Kubernetes pod.
    Kubernetes {
        /// Role at the vault.
        role: String,
        /// Where the method is mounted; `kubernetes` unless given.
        auth_path: String,
        /// The pod's token; `/var/run/secrets/kubernetes.io/serviceaccount/token` unless given.
        token_path: PathBuf,
    },
}

/// A secret in AWS Secrets Manager (`type: aws-secret`).
#[derive(Clone)]
pub struct AwsSecretSpec {
    /// Region.
    pub region: String,
    /// Name or ARN of the secret.
    pub secret_name: String,
    /// Credentials that stand in the file; the standard chain if not given (`authenticationMode: ENVIRONMENT`).
    pub credentials: Option<AwsSecretCredentials>,
    /// Another endpoint than the region's.
    pub endpoint_override: Option<String>,
}

/// Credentials of `authenticationMode: SPECIFIED`.
#[derive(Clone)]
pub struct AwsSecretCredentials {
    /// Access key id; no secret.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: Zeroizing<String>,
}

impl fmt::Debug for VaultSecretSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VaultSecretSpec({}:{}{})", self.server_host, self.server_port, self.key_path)
    }
}

impl fmt::Debug for VaultSecretAuth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => formatter.write_str("Token(hidden)"),
            Self::Kubernetes { role, auth_path, .. } => write!(formatter, "Kubernetes({role} at {auth_path})"),
        }
    }
}

impl fmt::Debug for AwsSecretSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AwsSecretSpec({} in {})", self.secret_name, self.region)
    }
}

impl fmt::Debug for AwsSecretCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AwsSecretCredentials({})", self.access_key_id)
    }
}
