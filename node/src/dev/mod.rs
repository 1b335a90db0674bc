//! `consigner dev`: a whole cluster on loopback, made, started, watched and stopped by one command (DESIGN 11).
//!
//! In: options. Out: running child processes, files in `DIR`, a line that begins with `ready`. Deliberately absent:
//! everything that a node does; the children are ordinary `consigner run` processes with ordinary configurations.

mod bootstrap;
mod child;
mod growth;
mod layout;
mod node_config;
mod supervisor;
#[cfg(test)]
mod tests;

pub use child::signal_pid;
pub use growth::prepare_node;
pub use layout::{Layout, Plan, node_name};
pub use supervisor::Supervisor;

use crate::cli::output::say;
use crate::client::CallError;
use crate::config::tree::{Tree, TreeError};
use crate::config::{self, NetworkConfig};
use crate::serve::import::{ImportError, raw_secrets};
use crate::serve::network::{self, ChainError};
use consigner_keys::LocalSealer;
use consigner_keys::source::LooseFiles;
use consigner_rules::primitives::Root;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Sizes that make sense: an even number of voters only adds a node that can fail.
const CLUSTER_SIZES: [u64; 4] = [1, 3, 5, 7];

/// A tour must end one day, also when its cluster never comes up.
const TOUR_READY_PATIENCE: Duration = Duration::from_secs(180);

/// What was asked for; `None` takes what the directory remembers, else the default.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// Where everything lies.
    pub dir: PathBuf,
    /// Nodes; default 3.
    pub nodes: Option<u64>,
    /// First port; default 9000.
    pub base_port: Option<u16>,
    /// Interop keys.
    pub validators: u64,
    /// Hexadecimal secrets, absolute path.
    pub raw_keys: Option<PathBuf>,
    /// Network name, or the absolute path of a file; default mainnet.
    pub network: Option<String>,
    /// For a chain of one's own.
    pub genesis_validators_root: Option<Root>,
    /// `auto`, `redirect` or `forward`.
    pub follower_requests: String,
    /// YAML laid over every node's configuration.
    pub config_overlay: Option<PathBuf>,
    /// Walk through what the cluster promises, then stop.
    pub tour: bool,
}

/// Why there is no development cluster.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A file of the directory.
    #[error("{what}")]
    File {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another supervisor holds the directory.
    #[error("another `consigner dev` runs in {}", .0.display())]
    Busy(PathBuf),
    /// The directory holds another cluster than the one asked for.
    #[error("{} holds a cluster with {remembered}; asked was {asked}: use another --dir", dir.display())]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// What it holds.
        remembered: String,
        /// What the options say.
        asked: String,
    },
    /// A size or port that cannot be.
    #[error("{0}")]
    Usage(String),
    /// The overlay is not YAML.
    #[error("{}:{}: {}", file.display(), source.line, source.what)]
    Overlay {
        /// The file.
        file: PathBuf,
        /// Where and what.
        source: TreeError,
    },
    /// The chain is not known.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The file of `--raw-keys`.
    #[error(transparent)]
    RawKeys(#[from] ImportError),
    /// A node would refuse its configuration.
    #[error(transparent)]
    Configuration(#[from] config::ConfigError),
    /// Certificates.
    #[error(transparent)]
    Certificate(#[from] crate::certs::CertificateError),
    /// The sealing key file.
    #[error("the sealing key file cannot be made")]
    SealingKey(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cluster answers, but not as it should.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Stopped by a signal, or a tour on which everything held.
    Well,
    /// A tour on which something did not hold.
    Badly,
}

/// Runs until a signal, or until the tour is over.
///
/// # Errors
/// See [`DevError`]; nothing is left running.
pub async fn run(options: DevOptions) -> Result<Ended, DevError> {
    let mut stop = Stop::new().map_err(|source| DevError::File { what: "signals".to_owned(), source })?;
    let prepared = prepare(&options)?;
    let Prepared { layout, mut plan, _lock } = prepared;
    say(&format!("{} nodes in {}, logs in node*/log", plan.nodes, layout.dir.display()));
    let supervisor = Supervisor::start(layout.clone(), layout.deployment(&plan)).map_err(io("the nodes"))?;
    let ended = tokio::select! {
        ended = serve(&options, &layout, &mut plan, &supervisor) => ended,
        // A tour that was cut short has not held.
        () = stop.asked() => Ok(if options.tour { Ended::Badly } else { Ended::Well }),
    };
    say("stopping all nodes");
    supervisor.stop().await;
    ended
}

async fn serve(
    options: &DevOptions,
    layout: &Layout,
    plan: &mut Plan,
    supervisor: &Supervisor,
) -> Result<Ended, DevError> {
    let ready = bootstrap::until_ready(layout, plan, supervisor);
    if !options.tour {
        ready.await?;
        return growth::tend(layout, plan, supervisor).await;
    }
    match tokio::time::timeout(TOUR_READY_PATIENCE, ready).await {
        Ok(ready) => ready?,
        Err(_late) => {
            say(&format!("FAILED: the cluster was not ready within {} s", TOUR_READY_PATIENCE.as_secs()));
            return Ok(Ended::Badly);
        }
    }
    let held = crate::tour::run(&layout.dir, plan, &options.follower_requests).await;
    Ok(if held { Ended::Well } else { Ended::Badly })
}

/// Everything on disk, before the first process.
struct Prepared {
    layout: Layout,
    plan: Plan,
    /// Held until the end.
    _lock: File,
}

fn prepare(options: &DevOptions) -> Result<Prepared, DevError> {
    let overlay = overlay(options.config_overlay.as_deref())?;
    let layout = Layout::open(&options.dir).map_err(io(&format!("directory {}", options.dir.display())))?;
    let lock = lock(&layout)?;
    let plan = plan(options, &layout)?;
    check(options, &plan)?;
    let names: Vec<String> = (1..=plan.nodes).map(node_name).collect();
    layout.certificates().ensure(names.iter().map(String::as_str))?;
    if !layout.sealing_key().exists() {
        LocalSealer::create_key_file(&layout.sealing_key()).map_err(|error| DevError::SealingKey(error.into()))?;
    }
    for id in 1..=plan.nodes {
        node_config::write(&layout, &plan, options, &overlay, id)
            .map_err(io(&format!("configuration of node {id}")))?;
    }
    check_configurations(&layout, &plan)?;
    layout.write_plan(&plan).map_err(io("dev.json"))?;
    Ok(Prepared { layout, plan, _lock: lock })
}

/// What a node would refuse in its own configuration (an overlay may hold anything), said here: a child that exits at
/// once would be restarted for ever.
fn check_configurations(layout: &Layout, plan: &Plan) -> Result<(), DevError> {
    for id in 1..=plan.nodes {
        let file = layout.config(id);
        let loaded = config::load(&file, [], &[]);
        loaded.and_then(|loaded| loaded.config.check_files(&file)).map_err(DevError::Configuration)?;
    }
    Ok(())
}

/// What every node would refuse, said once and before any of them starts.
fn check(options: &DevOptions, plan: &Plan) -> Result<(), DevError> {
    let (name_or_file, genesis_validators_root) = (plan.network.clone(), plan.genesis_validators_root);
    network::load(&NetworkConfig::new(name_or_file, genesis_validators_root))?;
    if let Some(file) = &options.raw_keys {
        raw_secrets(file, LooseFiles::Warn)?;
    }
    Ok(())
}

fn lock(layout: &Layout) -> Result<File, DevError> {
    let path = layout.lock();
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(io(&format!("lock file {}", path.display())))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_held) => Err(DevError::Busy(layout.dir.clone())),
    }
}

/// The remembered plan, which the options must not contradict, or a new one.
fn plan(options: &DevOptions, layout: &Layout) -> Result<Plan, DevError> {
    let remembered = layout.read_plan().map_err(io("dev.json"))?;
    let Some(mut plan) = remembered else { return new_plan(options) };
    let contradiction =
        |remembered: String, asked: String| Err(DevError::OtherCluster { dir: layout.dir.clone(), remembered, asked });
    if let Some(nodes) = options.nodes.filter(|nodes| plan.initialised && *nodes > plan.nodes) {
        growth::extend(&mut plan, nodes)?;
    }
    match options {
        DevOptions { nodes: Some(nodes), .. } if *nodes != plan.nodes => {
            contradiction(format!("{} nodes", plan.nodes), format!("--nodes {nodes}"))
        }
        DevOptions { base_port: Some(port), .. } if *port != plan.base_port => {
            contradiction(format!("base port {}", plan.base_port), format!("--base-port {port}"))
        }
        DevOptions { network: Some(network), .. } if *network != plan.network => {
            contradiction(format!("network {}", plan.network), format!("--network {network}"))
        }
        DevOptions { genesis_validators_root: Some(root), .. } if Some(*root) != plan.genesis_validators_root => {
            let known =
                plan.genesis_validators_root.map_or_else(|| "its network's".to_owned(), |root| root.to_string());
            contradiction(format!("genesis validators root {known}"), format!("--genesis-validators-root {root}"))
        }
        _ => Ok(plan),
    }
}

fn new_plan(options: &DevOptions) -> Result<Plan, DevError> {
    let nodes = options.nodes.unwrap_or(3);
    if !CLUSTER_SIZES.contains(&nodes) {
        return Err(DevError::Usage(format!("--nodes {nodes}: a cluster has 1, 3, 5 or 7 nodes")));
    }
    let network = options.network.clone().unwrap_or_else(|| "mainnet".to_owned());
    let plan = Plan::new(nodes, options.base_port.unwrap_or(9000), network);
    let mut plan = plan.map_err(|error| DevError::File { what: "random bytes".into(), source: error.into() })?;
    plan.genesis_validators_root = options.genesis_validators_root;
    if plan.ports_fit() { Ok(plan) } else { Err(DevError::Usage("--base-port: not enough ports above it".into())) }
}

fn overlay(file: Option<&Path>) -> Result<Tree, DevError> {
    let Some(file) = file else { return Ok(Tree::map()) };
    let text = std::fs::read_to_string(file).map_err(io(&format!("overlay {}", file.display())))?;
    Tree::parse(&text).map_err(|source| DevError::Overlay { file: file.to_owned(), source })
}

fn io(what: &str) -> impl FnOnce(std::io::Error) -> DevError {
    let what = format!("{what} cannot be used");
    move |source| DevError::File { what, source }
}

/// SIGINT and SIGTERM, caught from the beginning.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
