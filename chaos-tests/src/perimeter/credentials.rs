//! The certificates of a cluster under test, and the files that its nodes read them from.
//!
//! In: authorities. Out: files in the cluster's directory, laid there before it starts and replaced while it runs.
//! Servers, clients and peers have an authority each, so that nobody passes for another kind. Deliberately absent: the
//! development CA of `consigner dev`; its own certificates are replaced by these before it makes any.
//!
//! ```text
//! certs/ca.pem                        what clients believe of servers   (with ca-key.pem, so that dev keeps it)
//! certs/{client,admin}{,-key}.pem     the two that dev and its commands use
//! certs/clients-ca.pem, clients.crl   what the API believes of clients
//! certs/peers-ca.pem                  what nodes believe of nodes
//! nodeN/{api,peer}{,-key}.pem         what node N shows
//! identities/NAME{,-key}.pem          everybody else
//! ```

use super::pki::{Authority, Leaf, PkiError, Subject};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consigner_gate::ClientTls;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Common name of the certificate that signs, as `consigner dev` lists it.
pub const CLIENT: &str = "dev-client";

/// Common name of the certificate that administrates, as `consigner dev` lists it.
pub const ADMIN: &str = "dev-admin";

/// Value of `api.tls` that makes a node read these files.
pub const API_TLS: &str =
    "{cert: api.pem, key: api-key.pem, client-ca: ../certs/clients-ca.pem, crl: [../certs/clients.crl]}";

/// Value of `peer.tls`.
pub const PEER_TLS: &str = "{cert: peer.pem, key: peer-key.pem, ca: ../certs/peers-ca.pem}";

/// Nodes of a cluster under test, unless said otherwise.
const NODES: [u64; 3] = [1, 2, 3];

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// No file.
    #[error("{}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// One generation of authorities.
#[derive(Debug)]
pub struct Credentials {
    /// Of what the doors for clients show.
    pub servers: Authority,
    /// Of clients and operators.
    pub clients: Authority,
    /// Of nodes among each other.
    pub peers: Authority,
}

impl Credentials {
    /// New authorities.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new(generation: &str) -> Result<Self, PkiError> {
        Ok(Self {
            servers: Authority::new(&format!("servers {generation}"))?,
            clients: Authority::new(&format!("clients {generation}"))?,
            peers: Authority::new(&format!("peers {generation}"))?,
        })
    }

    /// Every file that a cluster needs at its start, by its path below the cluster's directory.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn files(&self) -> Result<Vec<(String, String)>, PkiError> {
        self.files_of(&NODES)
    }

    /// The same for a cluster of these nodes.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn files_of(&self, nodes: &[u64]) -> Result<Vec<(String, String)>, PkiError> {
        let mut files = vec![
            ("certs/ca.pem".to_owned(), self.servers.pem().to_owned()),
            ("certs/ca-key.pem".to_owned(), self.servers.key_pem().to_owned()),
            ("certs/clients-ca.pem".to_owned(), self.clients.pem().to_owned()),
            ("certs/clients.crl".to_owned(), self.clients.revoked(&[])?),
            ("certs/peers-ca.pem".to_owned(), self.peers.pem().to_owned()),
        ];
        files.extend(pair("certs/client", self.clients.issue(&Subject::client(CLIENT))?));
        files.extend(pair("certs/admin", self.clients.issue(&Subject::client(ADMIN))?));
        files.extend(self.files_of_nodes(nodes)?);
        Ok(files)
    }

    /// What the nodes show, to clients and to each other.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn node_files(&self) -> Result<Vec<(String, String)>, PkiError> {
        self.files_of_nodes(&NODES)
    }

    fn files_of_nodes(&self, nodes: &[u64]) -> Result<Vec<(String, String)>, PkiError> {
        let mut files = Vec::new();
        for node in nodes {
            let subject = Subject::node(&format!("node{node}"));
            files.extend(pair(&format!("node{node}/api"), self.servers.issue(&subject)?));
            files.extend(pair(&format!("node{node}/peer"), self.peers.issue(&subject)?));
        }
        Ok(files)
    }

    /// A client of this generation, its files in the cluster's directory.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn client(&self, dir: &Path, stem: &str, subject: &Subject) -> Result<Identity, CredentialsError> {
        identity(dir, stem, self.clients.issue(subject)?)
    }
}

/// Somebody with a certificate.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The files.
    pub files: ClientTls,
    /// What is in them.
    pub leaf: Leaf,
}

/// Writes a certificate where callers keep theirs.
///
/// # Errors
/// See [`CredentialsError`].
pub fn identity(dir: &Path, stem: &str, leaf: Leaf) -> Result<Identity, CredentialsError> {
    lay(dir, &pair(&format!("identities/{stem}"), leaf.clone()))?;
    let file = |name: String| dir.join("identities").join(name);
    let files = ClientTls {
        cert: file(format!("{stem}.pem")),
        key: file(format!("{stem}-key.pem")),
        ca: dir.join("certs/ca.pem"),
    };
    Ok(Identity { files, leaf })
}

/// Writes files, each of them at one blow.
///
/// # Errors
/// See [`CredentialsError`].
pub fn lay(dir: &Path, files: &[(String, String)]) -> Result<(), CredentialsError> {
    for (name, content) in files {
        let path = dir.join(name);
        replace(&path, content).map_err(|source| CredentialsError::File { path, source })?;
    }
    Ok(())
}

/// Certificate and key under a stem.
#[must_use]
pub fn pair(stem: &str, leaf: Leaf) -> [(String, String); 2] {
    // The key first: whoever reads in between sees a pair that does not fit, and keeps the old one.
    [(format!("{stem}-key.pem"), leaf.key), (format!("{stem}.pem"), leaf.cert)]
}

/// The value of `Authorization` for a name and a password.
#[must_use]
pub fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn replace(path: &Path, content: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("new");
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content.as_bytes())?;
    drop(file);
    std::fs::rename(&new, path)
}
