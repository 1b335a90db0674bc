//! Which validators a command is about.

use crate::client::records::Which;
use clap::Args;
use consigner_rules::PublicKey;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// `--keys` and `--keys-file`.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct KeysArgs {
    /// Public keys, with commas
    #[arg(long, value_name = "PUBKEY", value_delimiter = ',', conflicts_with = "keys_file")]
    keys: Vec<PublicKey>,
    /// File with public keys, one per line; # begins a comment
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,
}

impl KeysArgs {
    /// Whether any were named.
    pub(super) const fn given(&self) -> bool {
        !self.keys.is_empty() || self.keys_file.is_some()
    }

    /// The validators that were named; all, if none were.
    ///
    /// # Errors
    /// What is wrong with the file, in words. An empty list is an error: it must not mean all.
    pub(in crate::cli) fn which(&self) -> Result<Which, String> {
        let mut named: BTreeSet<PublicKey> = self.keys.iter().copied().collect();
        if let Some(file) = &self.keys_file {
            named.extend(read(file)?);
            if named.is_empty() {
                return Err(format!("{} names no public key", file.display()));
            }
        }
        Ok(if named.is_empty() { Which::All } else { Which::These(named.into_iter().collect()) })
    }
}

fn read(file: &Path) -> Result<Vec<PublicKey>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).enumerate();
    let parsed = lines.filter(|(_, line)| !line.is_empty()).map(|(position, line)| {
        line.parse().map_err(|error| format!("{}:{}: no public key: {error}", file.display(), position + 1))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_empty_list_never_means_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        let args = KeysArgs { keys: Vec::new(), keys_file: Some(file.clone()) };
        assert_eq!(KeysArgs::default().which(), Ok(Which::All));
        assert!(args.which().unwrap_err().contains("cannot be read"));
        std::fs::write(&file, "# none\n").unwrap();
        assert!(args.which().unwrap_err().contains("no public key"));
        let key = PublicKey([7; 48]);
        std::fs::write(&file, format!("{key} # one\n{key}\n")).unwrap();
        assert_eq!(args.which(), Ok(Which::These(vec![key])));
    }
}
