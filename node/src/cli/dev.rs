//! `consigner dev`: from flags to [`DevOptions`].

use super::{Exit, fail, output};
use crate::config::keys::{FOLLOWER_REQUESTS, NETWORKS};
use crate::dev::{self, DevError, DevOptions, Ended};
use clap::Args;
use clap::builder::PossibleValuesParser;
use consigner_rules::primitives::Root;
use std::path::{Path, PathBuf};

/// `consigner dev`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DevArgs {
    /// Directory of the cluster; a second start resumes what lies there
    #[arg(long, value_name = "DIR", default_value = "./consigner-dev")]
    dir: PathBuf,
    /// Number of nodes: 1, 3, 5 or 7 [default: 3, or what the directory holds]
    #[arg(long, value_name = "N")]
    nodes: Option<u64>,
    /// Node i (from 1) uses the ports BASE+10(i-1) (API), +1 (peers), +2 (metrics) [default: 9000]
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// Interop validators to import; keys of an earlier start stay
    #[arg(long, value_name = "N", default_value_t = 4)]
    validators: u64,
    /// File of hexadecimal secrets to import as well, one per line
    #[arg(long, value_name = "FILE")]
    raw_keys: Option<PathBuf>,
    /// Walk through what the cluster promises, print each step, stop; exit 0 only if all of it held
    #[arg(long)]
    tour: bool,
    /// Network name or configuration file [default: mainnet]
    #[arg(long, value_name = "NAME|FILE")]
    network: Option<String>,
    /// Genesis validators root, for a chain of one's own
    #[arg(long, value_name = "0x..")]
    genesis_validators_root: Option<Root>,
    /// What followers do with requests that the leader must order
    #[arg(long, value_name = "WHAT", default_value = "auto", value_parser = PossibleValuesParser::new(FOLLOWER_REQUESTS))]
    follower_requests: String,
    /// YAML laid over every node's configuration; relative paths in it start at DIR/node{i}
    #[arg(long, value_name = "FILE")]
    config_overlay: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  consigner dev
  consigner dev --tour
  consigner dev --dir /tmp/cluster --nodes 5 --base-port 9500 --validators 1000

DIR/cluster.json says which processes run where and which certificates to use, e.g.
  curl --cacert DIR/certs/ca.pem --cert DIR/certs/client.pem --key DIR/certs/client-key.pem https://127.0.0.1:9000/upcheck";

impl DevArgs {
    fn options(self) -> Result<DevOptions, String> {
        let network = self.network.map(network).transpose()?;
        let raw_keys = self.raw_keys.as_deref().map(absolute).transpose()?;
        Ok(DevOptions {
            dir: self.dir,
            nodes: self.nodes,
            base_port: self.base_port,
            validators: self.validators,
            raw_keys,
            network,
            genesis_validators_root: self.genesis_validators_root,
            follower_requests: self.follower_requests,
            config_overlay: self.config_overlay,
            tour: self.tour,
        })
    }
}

/// A name in lower case, or the absolute path of a file that exists.
fn network(text: String) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if NETWORKS.contains(&lower.as_str()) {
        return Ok(lower);
    }
    let file = absolute(Path::new(&text))
        .map_err(|error| format!("--network {error}; the known networks are {}", NETWORKS.join(", ")))?;
    Ok(file.display().to_string())
}

fn absolute(file: &Path) -> Result<PathBuf, String> {
    file.canonicalize().map_err(|error| format!("{}: {error}", file.display()))
}

/// Runs the command.
pub async fn main(args: DevArgs) -> Exit {
    let options = match args.options() {
        Ok(options) => options,
        Err(error) => {
            output::complain(&error);
            return Exit::Usage;
        }
    };
    match dev::run(options).await {
        Ok(Ended::Well) => Exit::Done,
        Ok(Ended::Badly) => Exit::Failed,
        Err(
            error @ (DevError::Usage(_)
            | DevError::OtherCluster { .. }
            | DevError::Overlay { .. }
            | DevError::Chain(_)
            | DevError::Configuration(_)
            | DevError::RawKeys(_)),
        ) => {
            let _failed = fail(&error);
            Exit::Usage
        }
        Err(error) => fail(&error),
    }
}
