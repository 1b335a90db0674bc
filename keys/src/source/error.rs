//! Why a source or one of its keys could not be read. Names files, fields and limits; never holds content.

use crate::bls::BadSecret;
use crate::keystore::KeystoreError;
use consigner_rules::PublicKey;
use std::io;
use std::path::PathBuf;

/// Why a source, or one key of it, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or directory could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A device, a socket or a directory where a file should be.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file with a key or a password that other users can read or change.
    #[error(
        "{0} has mode {mode:03o}; other users can read or change it: chmod 600 {0} (or allow it with \
         keys.source.allow-loose-permissions)",
        path.display()
    )]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that is larger than anything of its kind; it is not read into memory.
    #[error("{} is larger than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that are read at most.
        bytes_max: u64,
    },
    /// A file that should be text is not.
    #[error("{} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// A directory that holds nothing to import.
    #[error("no keystore in {}; looked for {looked_for}", path.display())]
    NoKeystores {
        /// The directory.
        path: PathBuf,
        /// The files that would have been taken.
        looked_for: &'static str,
    },
    /// More files than one source may have.
    #[error("{} holds more than {files_max} keystores", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
        /// Keystores that one source may have.
        files_max: usize,
    },
    /// A keystore without a password beside it.
    #[error("no password; looked for {}", list(looked_for))]
    NoPassword {
        /// The files that would have been taken, in this order.
        looked_for: Vec<PathBuf>,
    },
    /// A password file without a password in its first line.
    #[error("the first line of the password file {} is blank", path.display())]
    BlankPassword {
        /// The file.
        path: PathBuf,
    },
    /// The keystore itself was refused.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// A secret that is no secret key.
    #[error("the secret is not usable")]
    Secret(#[from] BadSecret),
    /// A wallet file of Prysm whose decrypted content is of another form.
    #[error("the decrypted Prysm wallet is not usable: {reason}")]
    Wallet {
        /// What is wrong with it.
        reason: String,
    },
    /// A secret whose public key is not the one that its source names.
    #[error("the source names {named} but holds the key of {held}")]
    WrongPublicKey {
        /// The public key that the source names.
        named: PublicKey,
        /// The public key of the secret.
        held: PublicKey,
    },
    /// Not YAML, or no mapping of fields to plain values.
    #[error("not readable as YAML: line {line} column {column}")]
    Yaml {
        /// Line of the fault, from 1; 0 if unknown.
        line: u64,
        /// Column of the fault, from 1; 0 if unknown.
        column: u64,
    },
    /// A key configuration whose field is missing or wrong.
    #[error("{field}: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A key that signs for no validator, or a place that this program does not fetch from.
    #[error("{0}")]
    Unsupported(String),
    /// A vault or cloud service did not hand out the secret.
    #[error("{call} failed{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
    Remote {
        /// The exact call, with the name of the secret.
        call: String,
        /// What may help.
        hint: Option<String>,
        /// Whether the same call may succeed later without anybody changing anything.
        may_pass: bool,
        /// What the client says; holds no secret.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
