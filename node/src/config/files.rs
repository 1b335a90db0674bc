//! Checks, before anything is opened, that the files a configuration names are there: the message then names the key.

use super::error::{ConfigError, Origin, Problem};
use super::{Config, keys};
use std::path::Path;

impl Config {
    /// Whether every file that the node will read exists and can be opened.
    ///
    /// # Errors
    /// One problem per file, by key.
    pub fn check_files(&self, config_file: &Path) -> Result<(), ConfigError> {
        let network = Path::new(&self.network.name_or_file);
        let built_in = keys::NETWORKS.contains(&self.network.name_or_file.as_str());
        let named = [
            ("network", (!built_in).then_some(network)),
            ("api.tls.cert", Some(self.api.tls.cert.as_path())),
            ("api.tls.key", Some(self.api.tls.key.as_path())),
            ("api.tls.client-ca", Some(self.api.tls.ca.as_path())),
            ("peer.tls.cert", Some(self.peer.tls.cert.as_path())),
            ("peer.tls.key", Some(self.peer.tls.key.as_path())),
            ("peer.tls.ca", Some(self.peer.tls.ca.as_path())),
            ("keys.sealer.local.key-file", Some(self.keys.sealing_key_file.as_path())),
            ("keys.import.raw-keys-file", self.keys.import.raw_keys_file.as_deref()),
        ];
        let problems: Vec<Problem> = named
            .into_iter()
            .filter_map(|(key, file)| file.map(|file| (key, file)))
            .filter_map(|(key, file)| {
                let error = std::fs::File::open(file).err()?;
                let origin = Origin::File { file: config_file.to_owned(), line: 0 };
                let what = format!("{} cannot be read: {error}", file.display());
                Some(Problem { origin, key: key.to_owned(), what })
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
    }
}
