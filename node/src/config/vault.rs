//! How a Vault server is reached and logged in to; the same keys below `keys.sealer.vault-transit` and
//! `keys.source.vault-kv`.

use super::resolve::Resolver;
use super::values;
use std::path::PathBuf;

/// A server and a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultAccess {
    /// `https://host:port`.
    pub address: String,
    /// Namespace of everything, the login included.
    pub namespace: Option<String>,
    /// CAs of the server; the system's without it.
    pub ca: Option<PathBuf>,
    /// How to log in.
    pub auth: VaultAuth,
}

/// How to log in. Mounts are the method's own name unless set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultAuth {
    /// A token that somebody else made.
    Token {
        /// Its file; the variable `VAULT_TOKEN` without it.
        file: Option<PathBuf>,
    },
    /// `AppRole`.
    AppRole {
        /// Mount of the method.
        mount: String,
        /// File with the role id.
        role_id_file: PathBuf,
        /// File with the secret id.
        secret_id_file: PathBuf,
    },
    /// The pod's service account.
    Kubernetes {
        /// Mount of the method.
        mount: String,
        /// Role at the server.
        role: String,
        /// File with the service account's token.
        jwt_file: PathBuf,
    },
    /// A TLS client certificate.
    Certificate {
        /// Mount of the method.
        mount: String,
        /// Role at the server, if several would fit.
        role: Option<String>,
        /// The certificate.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

#[cfg(feature = "vault")]
impl VaultAccess {
    /// As `keys` takes it.
    #[must_use]
    pub fn to_config(&self) -> consigner_keys::remote::VaultConfig {
        use consigner_keys::remote::VaultAuth as Auth;
        let auth = match self.auth.clone() {
            VaultAuth::Token { file } => Auth::Token { file },
            VaultAuth::AppRole { mount, role_id_file, secret_id_file } => {
                Auth::AppRole { mount, role_id_file, secret_id_file }
            }
            VaultAuth::Kubernetes { mount, role, jwt_file } => Auth::Kubernetes { mount, role, jwt_file },
            VaultAuth::Certificate { mount, role, cert, key } => Auth::Certificate { mount, role, cert, key },
        };
        let (address, namespace, ca) = (self.address.clone(), self.namespace.clone(), self.ca.clone());
        consigner_keys::remote::VaultConfig { address, namespace, ca, auth }
    }
}

impl Resolver<'_> {
    /// The server of a section; `Some(None)` when it has no address, `None` after a complaint.
    pub(super) fn vault_access(&mut self, section: &str) -> Option<Option<VaultAccess>> {
        let address_key = format!("{section}.address");
        let address = self.optional(&address_key, values::service_url);
        let namespace = self.optional(&format!("{section}.namespace"), values::text);
        let ca = self.path(&format!("{section}.ca"));
        if address.is_none() {
            return if self.is_set(&address_key) { None } else { Some(None) };
        }
        let auth = self.vault_auth(section);
        Some(Some(VaultAccess { address: address?, namespace, ca, auth: auth? }))
    }

    fn vault_auth(&mut self, section: &str) -> Option<VaultAuth> {
        let key = |name: &str| format!("{section}.{name}");
        let method = self.word(&key("auth"))?;
        let mount = self.optional(&key("auth-mount"), values::text).unwrap_or_else(|| method.to_owned());
        let role = self.optional(&key("role"), values::text);
        match method {
            "approle" => {
                let role_id_file = self.needed_path(&key("role-id-file"), "auth is approle");
                let secret_id_file = self.needed_path(&key("secret-id-file"), "auth is approle");
                Some(VaultAuth::AppRole { mount, role_id_file: role_id_file?, secret_id_file: secret_id_file? })
            }
            "kubernetes" => {
                if role.is_none() {
                    self.complain(&key("role"), "missing; auth is kubernetes, which needs a role".to_owned());
                }
                let jwt_file = self.path(&key("jwt-file"));
                Some(VaultAuth::Kubernetes { mount, role: role?, jwt_file: jwt_file? })
            }
            "cert" => {
                let cert = self.needed_path(&key("cert"), "auth is cert");
                let private = self.needed_path(&key("cert-key"), "auth is cert");
                Some(VaultAuth::Certificate { mount, role, cert: cert?, key: private? })
            }
            _ => Some(VaultAuth::Token { file: self.path(&key("token-file")) }),
        }
    }

    fn needed_path(&mut self, key: &str, because: &str) -> Option<PathBuf> {
        let path = self.path(key);
        if path.is_none() && !self.is_set(key) {
            self.complain(key, format!("missing; {because}, which needs a path here"));
        }
        path
    }
}
