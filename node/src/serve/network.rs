//! The chain of the configuration, with its genesis validators root known.

use crate::config::NetworkConfig;
use consigner_rules::Network;
use consigner_rules::network::NetworkError;
use consigner_rules::primitives::Root;
use std::path::PathBuf;

/// Why there is no chain to sign for.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The network file cannot be read.
    #[error("network file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The network file is no network configuration.
    #[error("network file {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Which key is wrong.
        source: NetworkError,
    },
    /// Nobody says which chain it is.
    #[error(
        "the genesis validators root of network {0} is not known; set genesis-validators-root (for a running chain: \
         `curl BEACON-NODE/eth/v1/beacon/genesis`)"
    )]
    NoRoot(String),
}

/// Reads a network by name or file; with its genesis validators root.
///
/// # Errors
/// See [`ChainError`].
pub fn load(config: &NetworkConfig) -> Result<(Network, Root), ChainError> {
    let network = match Network::by_name(&config.name_or_file) {
        Some(network) => network,
        None => read(PathBuf::from(&config.name_or_file))?,
    };
    let known = network.genesis_validators_root();
    if let (Some(known), Some(asked)) = (known, config.genesis_validators_root)
        && known != asked
    {
        // A development chain with the schedule of a public one. A mistake fails closed: every request is refused.
        tracing::warn!(network = network.name(), %known, %asked, "signing for another chain than the network's own");
    }
    let root = config.genesis_validators_root.or(known);
    let root = root.ok_or_else(|| ChainError::NoRoot(network.name().to_owned()))?;
    let network = network.with_genesis_validators_root(root);
    let network = match config.genesis_time {
        Some(seconds) => network.with_genesis_time(seconds),
        None => network,
    };
    Ok((network, root))
}

fn read(path: PathBuf) -> Result<Network, ChainError> {
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ChainError::Read { path, source }),
    };
    let name = path.file_stem().map_or_else(|| "custom".to_owned(), |stem| stem.to_string_lossy().into_owned());
    Network::from_yaml(&text, &name).map_err(|source| ChainError::Parse { path, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_network_that_does_not_know_when_it_began_is_told() {
        let mut config = NetworkConfig::new("minimal".to_owned(), Some(Root([7; 32])));
        assert_eq!(load(&config).unwrap().0.genesis_time(), None);
        config.genesis_time = Some(1_700_000_000);
        assert_eq!(load(&config).unwrap().0.genesis_time(), Some(1_700_000_000));
        let mainnet = NetworkConfig::new("mainnet".to_owned(), None);
        assert!(load(&mainnet).unwrap().0.genesis_time().is_some(), "public networks know");
    }
}
