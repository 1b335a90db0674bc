//! Web3Signer's key configuration: YAML files that hold keys or say where they are.
//!
//! In: a directory. Out: one candidate for each document. Deliberately absent: `SECP256K1` keys and keys that never
//! leave a vault (no validator key is of that kind), subdirectories, and fetching (see `loading`).

use super::directory::read_named;
use super::error::SourceError;
use super::files::{self, LooseFiles, Warning};
use super::key_document::{self, KeyDocument};
use super::layout::KEYSTORES_MAX;
use super::remote::{AwsSecretCredentials, AwsSecretSpec, RemoteSecret, VaultSecretAuth, VaultSecretSpec};
use super::{Candidate, Material};
use crate::bls::SecretKey;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of a key configuration file that are read at most: a document has 100 to 500 bytes, so thousands of keys.
const FILE_BYTES_MAX: u64 = 4 << 20;

const LOOKED_FOR: &str = "*.yaml and *.yml";

//= Web3Signer documentation, "Use key configuration files": the defaults of the fields.
const VAULT_PORT_DEFAULT: u16 = 8200;
const VAULT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const VAULT_KEY_NAME_DEFAULT: &str = "value";
const KUBERNETES_AUTH_PATH_DEFAULT: &str = "kubernetes";
const KUBERNETES_TOKEN_PATH_DEFAULT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A directory of key configuration files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfigSource {
    /// The directory; its files `*.yaml` and `*.yml`, not those below it.
    pub directory: PathBuf,
}

impl KeyConfigSource {
    /// As [`Self::read_with`], with a warning for files that other users can read: for an operator's own machine.
    ///
    /// # Errors
    /// As [`Self::read_with`].
    pub fn read(&self) -> Result<Vec<Candidate>, SourceError> {
        self.read_with(LooseFiles::Warn)
    }

    /// Reads all files, and the keystores and passwords that they name; decrypts and fetches nothing. Blocks on files:
    /// not for a thread of the runtime.
    ///
    /// # Errors
    /// [`SourceError`] when the directory cannot be read, and [`SourceError::NoKeystores`] when there is nothing to
    /// read. A file or document that cannot be used becomes a failed candidate; so does a file with a secret that other
    /// users can read, unless `loose` lets it pass.
    pub fn read_with(&self, loose: LooseFiles) -> Result<Vec<Candidate>, SourceError> {
        let mut candidates = Vec::new();
        for path in files::list(&self.directory)? {
            if matches!(path.extension().and_then(OsStr::to_str), Some("yaml" | "yml")) && !path.is_dir() {
                candidates.extend(self.read_file(&path, loose));
            }
            if candidates.len() > KEYSTORES_MAX {
                return Err(SourceError::TooMany { path: self.directory.clone(), files_max: KEYSTORES_MAX });
            }
        }
        if candidates.is_empty() {
            return Err(SourceError::NoKeystores { path: self.directory.clone(), looked_for: LOOKED_FOR });
        }
        Ok(candidates)
    }

    fn read_file(&self, path: &Path, loose: LooseFiles) -> Vec<Candidate> {
        let origin = path.display().to_string();
        let read = files::read(path, FILE_BYTES_MAX).and_then(|content| {
            let documents = key_document::read(content.text(path)?)?;
            // A file that only says where keys lie is no secret.
            let secret = documents.iter().any(KeyDocument::holds_secret);
            let open = if secret { content.open_to_others(path, loose)? } else { None };
            Ok((documents, open))
        });
        let (documents, open) = match read {
            Ok(read) => read,
            Err(error) => return vec![Candidate::failed(origin, None, error)],
        };
        let several = documents.len() > 1;
        let one = |(index, document): (usize, &KeyDocument)| {
            let origin = if several { format!("{origin}, document {}", index + 1) } else { origin.clone() };
            let mut candidate = self.candidate(origin, document, loose);
            // Said once for the file.
            if index == 0 {
                candidate.warnings.extend(open.clone());
            }
            candidate
        };
        documents.iter().enumerate().map(one).collect()
    }

    fn candidate(&self, origin: String, document: &KeyDocument, loose: LooseFiles) -> Candidate {
        match self.material(document, loose) {
            Ok((Material::Raw(secret), _)) => Candidate::raw(origin, secret),
            Ok((material, warnings)) => {
                let public_key = match &material {
                    Material::Keystore { keystore, .. } => keystore.public_key(),
                    Material::Wallet { .. } | Material::Raw(_) | Material::Remote(_) | Material::Failed(_) => None,
                };
                Candidate { warnings, ..Candidate::new(origin, public_key, material) }
            }
            Err(error) => Candidate::failed(origin, None, error),
        }
    }

    fn material(&self, document: &KeyDocument, loose: LooseFiles) -> Result<(Material, Vec<Warning>), SourceError> {
        check_key_type(document)?;
        let plain = |material| Ok((material, Vec::new()));
        match document.required("type")? {
            "file-raw" => plain(Material::Raw(document.required("privateKey")?.parse::<SecretKey>()?)),
            "file-keystore" => {
                let keystore = self.directory.join(document.required("keystoreFile")?);
                let password = self.directory.join(document.required("keystorePasswordFile")?);
                let (keystore, password, warnings) = read_named(&keystore, &password, loose)?;
                Ok((Material::Keystore { keystore: Box::new(keystore), password }, warnings))
            }
            "hashicorp" => plain(Material::Remote(RemoteSecret::Vault(Box::new(self.vault(document)?)))),
            "aws-secret" => plain(Material::Remote(RemoteSecret::Aws(Box::new(aws(document)?)))),
            other => Err(SourceError::Unsupported(refusal(other))),
        }
    }

    fn vault(&self, document: &KeyDocument) -> Result<VaultSecretSpec, SourceError> {
        let path = |field| document.optional(field).map(|path| self.directory.join(path));
        let text = |field, default: &str| document.optional(field).unwrap_or(default).to_owned();
        let timeout = document.number("timeout")?.map_or(VAULT_TIMEOUT_DEFAULT, Duration::from_millis);
        let port = document.number("serverPort")?.unwrap_or(VAULT_PORT_DEFAULT.into());
        let server_port = u16::try_from(port).ok().filter(|port| *port != 0);
        let auth = match document.optional("authMethod").unwrap_or("TOKEN").to_ascii_uppercase().as_str() {
            "TOKEN" => VaultSecretAuth::Token(document.secret("token")?),
            "KUBERNETES" => VaultSecretAuth::Kubernetes {
                role: document.required("kubernetesRole")?.to_owned(),
                auth_path: text("kubernetesAuthPath", KUBERNETES_AUTH_PATH_DEFAULT),
                token_path: path("kubernetesServiceAccountTokenPath")
                    .unwrap_or_else(|| PathBuf::from(KUBERNETES_TOKEN_PATH_DEFAULT)),
            },
            _ => return Err(document.wrong("authMethod", "neither TOKEN nor KUBERNETES")),
        };
        Ok(VaultSecretSpec {
            server_host: document.required("serverHost")?.to_owned(),
            server_port: server_port.ok_or_else(|| document.wrong("serverPort", "not a port"))?,
            key_path: document.required("keyPath")?.to_owned(),
            key_name: text("keyName", VAULT_KEY_NAME_DEFAULT),
            timeout,
            tls_enabled: document.flag("tlsEnabled")?.unwrap_or(false),
            tls_known_servers_path: path("tlsKnownServersPath"),
            auth,
        })
    }
}

fn aws(document: &KeyDocument) -> Result<AwsSecretSpec, SourceError> {
    let mode = document.optional("authenticationMode").unwrap_or("SPECIFIED").to_ascii_uppercase();
    let credentials = match mode.as_str() {
        "SPECIFIED" => Some(AwsSecretCredentials {
            access_key_id: document.required("accessKeyId")?.to_owned(),
            secret_access_key: document.secret("secretAccessKey")?,
        }),
        "ENVIRONMENT" => None,
        _ => return Err(document.wrong("authenticationMode", "neither SPECIFIED nor ENVIRONMENT")),
    };
    Ok(AwsSecretSpec {
        region: document.required("region")?.to_owned(),
        secret_name: document.required("secretName")?.to_owned(),
        credentials,
        endpoint_override: document.optional("endpointOverride").map(str::to_owned),
    })
}

fn check_key_type(document: &KeyDocument) -> Result<(), SourceError> {
    match document.optional("keyType") {
        None => Ok(()),
        Some(kind) if kind.eq_ignore_ascii_case("BLS") => Ok(()),
        Some(kind) if kind.eq_ignore_ascii_case("SECP256K1") => {
            let reason = "keyType SECP256K1 is no validator key; this program signs for validators (BLS) only";
            Err(SourceError::Unsupported(reason.to_owned()))
        }
        Some(_) => Err(document.wrong("keyType", "neither BLS nor SECP256K1")),
    }
}

fn refusal(kind: &str) -> String {
    match kind {
        "aws-kms" | "azure-key" => format!("type {kind}: such a key never leaves its vault and is no validator key"),
        "azure-secret" => "type azure-secret is not supported: bring the key by a keystore, Vault or AWS".to_owned(),
        "yubihsm" | "usb-armory" => format!("type {kind} is not supported; Web3Signer removed it in 25.6.0"),
        other => {
            let shown: String = other.chars().take(40).collect();
            format!("type {shown} is not known; known: file-raw, file-keystore, hashicorp, aws-secret")
        }
    }
}
