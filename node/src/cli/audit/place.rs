//! Where the lines lie: a data directory, a configuration, or a development cluster.

use crate::cli::run::load;
use crate::cli::{Exit, output};
use crate::client::Deployment;
use clap::Args;
use std::path::{Path, PathBuf};

/// Flags that name the lines of one node.
#[derive(Debug, Clone, Args)]
pub(super) struct PlaceArgs {
    /// A node's data directory, or a directory that holds the lines themselves (a copy)
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(super) data_dir: Option<PathBuf>,
    /// A node's configuration file, which says where they lie
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// One log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// For people: `node 1` in a development cluster, else nothing.
    pub(super) name: Option<String>,
    /// The directory of the lines.
    pub(super) dir: PathBuf,
    /// Whose lines these must be, as far as the flags tell.
    pub(super) whose: Whose,
}

/// What is known of who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Whose {
    /// Id of the node.
    pub(super) node: Option<u64>,
    /// Id of its cluster.
    pub(super) cluster: Option<[u8; 16]>,
    /// Its `audit.files-max`.
    pub(super) files_max: Option<u64>,
}

/// Below a data directory.
const AUDIT: &str = "audit";

/// The logs that the flags name; `dev`: the directory of `consigner dev`, all of whose nodes are meant if no one is.
pub(super) fn find(args: &PlaceArgs, dev: Option<&Path>) -> Result<Vec<Place>, Exit> {
    let usage = |what: String| {
        output::complain(&what);
        Err(Exit::Usage)
    };
    match (&args.data_dir, &args.config, dev) {
        (Some(dir), _, _) => {
            let inside = dir.join(AUDIT);
            let dir = if inside.is_dir() { inside } else { dir.clone() };
            Ok(vec![Place { name: None, dir, whose: Whose::default() }])
        }
        (None, Some(file), _) => {
            let config = load(file, &[])?.config;
            let (node, cluster) = (Some(config.node.id), Some(config.cluster_id.0));
            match config.audit {
                Some(audit) => {
                    let whose = Whose { node, cluster, files_max: Some(audit.files_max) };
                    Ok(vec![Place { name: None, dir: audit.dir, whose }])
                }
                None => usage(format!("{}: audit.enabled is false; this node keeps no record", file.display())),
            }
        }
        (None, None, Some(dev)) => match Deployment::read(dev) {
            Ok(deployment) => Ok(deployment.nodes.iter().map(|node| in_dev(node.id, &node.data_dir)).collect()),
            Err(error) => usage(crate::report::one_line(&error)),
        },
        (None, None, None) => {
            usage("say whose lines: --data-dir DIR, --config FILE, or --dir of `consigner dev`".to_owned())
        }
    }
}

fn in_dev(node: u64, data_dir: &Path) -> Place {
    let whose = Whose { node: Some(node), ..Whose::default() };
    Place { name: Some(format!("node {node}")), dir: data_dir.join(AUDIT), whose }
}
