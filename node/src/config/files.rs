//! Checks, before anything is opened, that the files a configuration names are there, and that nobody else can read
//! those that are secret: the message then names the key.

use super::error::{ConfigError, Origin, Problem};
use super::keys;
use super::sealer::LocalSecret;
use super::tls::{PASSWORD_FILE, PRIVATE_KEY_FILES};
use super::vault::{VaultAccess, VaultAuth};
use super::{Config, OwnDoor, PostgresPassword, PostgresServer};
use crate::files::{PrivateFileError, open_owners_alone, open_secret};
use crate::report::one_line;
use consigner_gate::oauth::KeySet;
use consigner_keys::source::{LooseFiles, Passwords};
use std::fs::File;
use std::path::Path;

/// What is asked of a file.
#[derive(Clone, Copy)]
enum Kind {
    /// It can be read.
    Readable,
    /// It can be read, and by nobody else.
    Secret,
    /// The same, or with a remark if the configuration allows it.
    SourceSecret(LooseFiles),
    /// The same, by the sealer's own rule: whoever its owner is, the others have no bit.
    SealerSecret,
    /// It can be read; if others can, there is a remark: what renews certificates often writes keys with mode 0640.
    PrivateKey,
    /// It is a directory that can be listed.
    Directory,
}

type Named<'c> = (String, &'c Path, Kind);

impl Config {
    /// Whether every file that the node will read exists and can be opened, and is private if it is a secret, and whether
    /// the TLS files hold what they should. Returns remarks: about sources that are not there (keys that the cluster holds
    /// sign without them), about files for the archive's database that are not there (a node starts without it), and
    /// about files that are used although others can read them.
    ///
    /// # Errors
    /// One problem per file, by key.
    pub fn check_files(&self, config_file: &Path) -> Result<Vec<String>, ConfigError> {
        let mut needed = self.doors();
        needed.extend(self.sealers());
        let (mut problems, mut remarks) = (Vec::new(), Vec::new());
        let named = needed.into_iter().map(|named| (named, true));
        let not_needed = self.sources().into_iter().chain(self.archive_files()).map(|named| (named, false));
        for ((key, file, kind), needed) in named.chain(not_needed) {
            let Some(complaint) = complaint(file, kind) else { continue };
            let origin = Origin::File { file: config_file.to_owned(), line: 0 };
            let problem = Problem { origin, key, what: complaint.what };
            match complaint.weight {
                Weight::Wrong => problems.push(problem),
                Weight::Absent if needed => problems.push(problem),
                Weight::Absent | Weight::Remark => remarks.push(problem.to_string()),
            }
        }
        if problems.is_empty() {
            // Of a file that cannot be read nothing more is to be said.
            problems = self.check_tls(config_file);
        }
        if problems.is_empty() { Ok(remarks) } else { Err(ConfigError(problems)) }
    }

    fn doors(&self) -> Vec<Named<'_>> {
        let network = Path::new(&self.network.name_or_file);
        let built_in = keys::NETWORKS.contains(&self.network.name_or_file.as_str());
        let mut named = tls("api", self.api.tls.files());
        named.extend(tls("peer", self.peer.tls.files()));
        for (section, door) in self.own_doors() {
            // What it has from the API port was looked at there.
            let own = door.tls.files().into_iter().filter(|file| !self.api.tls.files().contains(file));
            named.extend(tls(section, own.collect()));
        }
        match self.oauth.as_ref().map(|oauth| &oauth.keys) {
            Some(KeySet::File(file)) => named.push(readable("oauth.jwks-file", file)),
            Some(KeySet::Url { ca, .. }) => named.extend(ca.as_ref().map(|file| readable("oauth.ca", file))),
            None => {}
        }
        let import = &self.keys.import;
        let raw_keys = |file| ("keys.import.raw-keys-file".to_owned(), file, Kind::SourceSecret(import.loose));
        named.extend(import.raw_keys_file.as_deref().map(raw_keys));
        if !built_in {
            named.push(readable("network", network));
        }
        let Some(keymanager) = &self.keymanager else { return named };
        named.extend(keymanager.token_file.as_deref().map(|file| secret("keymanager.token-file", file)));
        named
    }

    /// The listeners beside the API port, by section.
    pub(super) fn own_doors(&self) -> Vec<(&'static str, &OwnDoor)> {
        let keymanager = self.keymanager.as_ref().and_then(|keymanager| keymanager.door.as_ref());
        let doors =
            [("keymanager", keymanager), ("admin", self.admin.as_ref()), ("token-door", self.token_door.as_ref())];
        doors.into_iter().filter_map(|(section, door)| Some((section, door?))).collect()
    }

    fn sealers(&self) -> Vec<Named<'_>> {
        let mut named = Vec::new();
        if let Some(local) = &self.keys.sealer.local {
            named.push(match &local.secret {
                LocalSecret::KeyFile(file) => sealer("keys.sealer.local.key-file", file),
                LocalSecret::PassphraseFile(file) => sealer("keys.sealer.local.passphrase-file", file),
            });
            let previous = local.previous_key_files.iter();
            named.extend(previous.map(|file| sealer("keys.sealer.local.previous-key-files", file)));
            let previous = local.previous_passphrase_files.iter();
            named.extend(previous.map(|file| sealer("keys.sealer.local.previous-passphrase-files", file)));
        }
        if let Some(transit) = &self.keys.sealer.vault_transit {
            named.extend(vault("keys.sealer.vault-transit", &transit.access));
        }
        named
    }

    fn archive_files(&self) -> Vec<Named<'_>> {
        let Some(postgres) = &self.archive.postgres else { return Vec::new() };
        let mut named = Vec::new();
        if let PostgresServer::Verified { ca, identity } = &postgres.server {
            named.push(readable("archive.postgres.ca", ca));
            if let Some((cert, key)) = identity {
                named.push(readable("archive.postgres.cert", cert));
                named.push(("archive.postgres.key".to_owned(), key, Kind::PrivateKey));
            }
        }
        if let PostgresPassword::File(file) = &postgres.password {
            named.push(secret("archive.postgres.password-file", file));
        }
        named
    }

    fn sources(&self) -> Vec<Named<'_>> {
        let source = &self.keys.source;
        let directory = |key: &str, path| (key.to_owned(), path, Kind::Directory);
        let mut named = Vec::new();
        named.extend(source.key_config.as_deref().map(|path| directory("keys.source.key-config-path", path)));
        if let Some(keystores) = &source.keystores {
            named.push(directory("keys.source.keystores-path", &keystores.path));
            match &keystores.passwords {
                Passwords::Beside => {}
                Passwords::Directory(path) => {
                    named.push(directory("keys.source.keystores-passwords-path", path));
                }
                Passwords::File(file) => {
                    let kind = Kind::SourceSecret(source.loose_files());
                    named.push(("keys.source.keystores-password-file".to_owned(), file, kind));
                }
            }
        }
        if let Some(kv) = &source.vault_kv {
            named.extend(vault("keys.source.vault-kv", &kv.access));
        }
        named
    }
}

fn readable<'c>(key: &str, file: &'c Path) -> Named<'c> {
    (key.to_owned(), file, Kind::Readable)
}

fn tls<'c>(section: &str, files: Vec<(&'static str, &'c Path)>) -> Vec<Named<'c>> {
    let named = |(word, file)| {
        let kind = match word {
            PASSWORD_FILE => Kind::Secret,
            key if PRIVATE_KEY_FILES.contains(&key) => Kind::PrivateKey,
            _public => Kind::Readable,
        };
        (format!("{section}.tls.{word}"), file, kind)
    };
    files.into_iter().map(named).collect()
}

fn secret<'c>(key: &str, file: &'c Path) -> Named<'c> {
    (key.to_owned(), file, Kind::Secret)
}

fn sealer<'c>(key: &str, file: &'c Path) -> Named<'c> {
    (key.to_owned(), file, Kind::SealerSecret)
}

fn vault<'c>(section: &str, access: &'c VaultAccess) -> Vec<Named<'c>> {
    let key = |name: &str| format!("{section}.{name}");
    let mut named: Vec<Named<'c>> = access.ca.iter().map(|file| readable(&key("ca"), file)).collect();
    match &access.auth {
        VaultAuth::Token { file } => named.extend(file.iter().map(|file| secret(&key("token-file"), file))),
        VaultAuth::AppRole { role_id_file, secret_id_file, .. } => {
            named.push(readable(&key("role-id-file"), role_id_file));
            named.push(secret(&key("secret-id-file"), secret_id_file));
        }
        // Kubernetes decides about the mode of a projected token.
        VaultAuth::Kubernetes { jwt_file, .. } => named.push(readable(&key("jwt-file"), jwt_file)),
        VaultAuth::Certificate { cert, key: private, .. } => {
            named.push(readable(&key("cert"), cert));
            named.push(secret(&key("cert-key"), private));
        }
    }
    named
}

/// How much a complaint matters.
enum Weight {
    /// The file is not there, or cannot be opened.
    Absent,
    /// It must not be used.
    Wrong,
    /// It is used all the same.
    Remark,
}

/// What is wrong with a file.
struct Complaint {
    weight: Weight,
    what: String,
}

impl Complaint {
    fn absent(what: String) -> Self {
        Self { weight: Weight::Absent, what }
    }
}

impl From<PrivateFileError> for Complaint {
    fn from(error: PrivateFileError) -> Self {
        let weight = match &error {
            PrivateFileError::Read { .. } => Weight::Absent,
            PrivateFileError::NotAFile(_) | PrivateFileError::Mode { .. } => Weight::Wrong,
        };
        Self { weight, what: one_line(&error) }
    }
}

fn complaint(path: &Path, kind: Kind) -> Option<Complaint> {
    match kind {
        Kind::Readable => {
            let error = File::open(path).err()?;
            Some(Complaint::absent(format!("{} cannot be read: {error}", path.display())))
        }
        Kind::Directory => {
            let error = std::fs::read_dir(path).err()?;
            Some(Complaint::absent(format!("{} cannot be listed: {error}", path.display())))
        }
        Kind::SealerSecret => open_owners_alone(path).err().map(Complaint::from),
        Kind::Secret => private(path, LooseFiles::Refuse),
        Kind::SourceSecret(loose) => private(path, loose),
        Kind::PrivateKey => private(path, LooseFiles::Warn),
    }
}

fn private(path: &Path, loose: LooseFiles) -> Option<Complaint> {
    match open_secret(path, loose) {
        Ok((_file, warning)) => warning.map(|warning| Complaint { weight: Weight::Remark, what: warning.to_string() }),
        Err(error) => Some(error.into()),
    }
}
