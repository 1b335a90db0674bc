//! A real cluster of three processes, started by `consigner dev`, ended with certainty.
//!
//! In: the binary, a number of validators. Out: addresses, certificates, process ids; the cluster ends with this value,
//! also when a test panics. Deliberately absent: requests (see [`crate::oracle`]) and faults (see [`crate::faults`]).

pub mod manifest;
pub mod patience;
pub mod ports;
pub mod process;

pub use manifest::{Manifest, NodeEntry};
pub use process::SignalError;

use rustix::process::Signal;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// A quiet machine needs about a second; a loaded one with debug binaries much longer.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// `consigner dev` promises to be gone 15 s after SIGTERM (DESIGN 11); a starved machine counts other seconds.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// SIGKILL takes effect at once; the rest is scheduling.
const DEATH_MAX: Duration = Duration::from_secs(30);

/// Beside the files of the cluster; a directory of `consigner dev` may hold foreign files.
const OVERLAY_FILE: &str = "chaos-overlay.yaml";

/// Nodes of a cluster that is asked for no other number.
const NODES: u16 = 3;

/// How much of a node's log is kept as a hint beside a violation.
const LOG_TAIL_BYTES: usize = 1500;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A file, a process, a port.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No base port is free.
    #[error("no free ports for the nodes on 127.0.0.1")]
    Ports,
    /// It did not become ready.
    #[error("the cluster was not ready within {} s; it said:\n{said}", START_DEADLINE.as_secs())]
    Start {
        /// Standard output so far and the ends of the nodes' logs.
        said: String,
    },
}

/// What a cluster is made of.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Interop validators.
    pub validators: u64,
    /// Nodes; three if it is not said.
    pub nodes: Option<u16>,
    /// YAML laid over every node's configuration.
    pub overlay: Option<String>,
    /// Files beside the cluster's, by their path below its directory, that only their owner may read.
    pub private_files: Vec<(String, String)>,
    /// Variables of the environment that all nodes get besides this program's own.
    pub environment: Vec<(String, String)>,
}

/// A running cluster. Ended when dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Present until stopped.
    supervisor: Option<Child>,
    dir: PathBuf,
    /// Keeps the directory until the end, and then removes it.
    home: Option<TempDir>,
    manifest: Manifest,
}

impl Cluster {
    /// Starts three nodes with the interop validators `0..validators` and waits until all are ready.
    ///
    /// # Errors
    /// See [`ClusterError`]; nothing is left running.
    pub async fn start(binary: &Path, validators: u64) -> Result<Self, ClusterError> {
        Self::start_with(binary, &Setup { validators, ..Setup::default() }).await
    }

    /// As [`Self::start`], with everything that can be chosen.
    ///
    /// # Errors
    /// See [`ClusterError`]; nothing is left running.
    pub async fn start_with(binary: &Path, setup: &Setup) -> Result<Self, ClusterError> {
        let nodes = setup.nodes.unwrap_or(NODES);
        let base = if nodes == NODES { ports::free_base() } else { ports::free_base_for(nodes) };
        let base = base.ok_or(ClusterError::Ports)?;
        let home = tempfile::Builder::new().prefix("consigner-chaos-").tempdir().map_err(system("a directory"))?;
        let dir = home.path().canonicalize().map_err(system("a directory"))?;
        let mut command = Command::new(binary);
        command.arg("dev").arg("--dir").arg(&dir).args(["--nodes", &nodes.to_string()]);
        command.args(["--base-port", &base.to_string(), "--validators", &setup.validators.to_string()]);
        for (name, content) in &setup.private_files {
            write_private(&dir.join(name), content).map_err(system(name))?;
        }
        let overlay = patience::patient(setup.overlay.as_deref().unwrap_or_default());
        let file = dir.join(OVERLAY_FILE);
        std::fs::write(&file, overlay).map_err(system("the overlay"))?;
        command.arg("--config-overlay").arg(file);
        command.envs(setup.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut supervisor = command.spawn().map_err(system(&format!("{} cannot be started", binary.display())))?;
        let stdout = supervisor.stdout.take();
        let guard = Starting { supervisor: Some(supervisor), dir: dir.clone() };
        let said = until_ready(stdout).await;
        let manifest = match said {
            Ok(()) => Manifest::read(&dir).map_err(system("cluster.json"))?,
            Err(said) => return Err(ClusterError::Start { said: format!("{said}\n{}", log_tails(&dir)) }),
        };
        Ok(Self { supervisor: guard.finish(), dir, home: Some(home), manifest })
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it said when it was ready; addresses and certificates stay, process ids do not.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The process of a node right now.
    ///
    /// # Errors
    /// `cluster.json` cannot be read or does not know the node.
    pub fn pid(&self, node: u64) -> Result<u32, ClusterError> {
        let manifest = Manifest::read(&self.dir).map_err(system("cluster.json"))?;
        manifest.pid(node).ok_or_else(|| system("cluster.json")(std::io::ErrorKind::NotFound.into()))
    }

    /// Sends a signal to a process of this cluster.
    ///
    /// # Errors
    /// See [`SignalError`].
    pub fn signal(&self, pid: u32, signal: Signal) -> Result<(), SignalError> {
        process::signal(pid, &self.dir, signal)
    }

    /// The ends of the nodes' logs: a hint for people, never evidence.
    #[must_use]
    pub fn log_tails(&self) -> String {
        log_tails(&self.dir)
    }

    /// Keeps the files when the cluster ends, and says where they are.
    pub fn keep_files(&mut self) -> PathBuf {
        if let Some(home) = self.home.take() {
            return home.keep();
        }
        self.dir.clone()
    }

    /// Asks the cluster to stop and waits for its end.
    ///
    /// # Errors
    /// It is not gone within the promised time (it is killed then).
    pub async fn stop(&mut self) -> Result<ExitStatus, ClusterError> {
        let Some(supervisor) = &mut self.supervisor else { return Ok(ExitStatus::default()) };
        if let Some(pid) = supervisor.id() {
            let _gone = process::signal(pid, &self.dir, Signal::TERM);
        }
        let ended = timeout(STOP_DEADLINE, supervisor.wait()).await;
        ended.unwrap_or_else(|_late| Err(std::io::ErrorKind::TimedOut.into())).map_err(system("dev did not stop"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        end(self.supervisor.as_mut(), &self.dir);
    }
}

/// Ends a half-started cluster unless taken over.
struct Starting {
    supervisor: Option<Child>,
    dir: PathBuf,
}

impl Starting {
    fn finish(mut self) -> Option<Child> {
        self.supervisor.take()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if self.supervisor.is_some() {
            end(self.supervisor.as_mut(), &self.dir);
        }
    }
}

/// Ends the supervisor first, so that nothing is started again, then its children by the ids it wrote down.
fn end(supervisor: Option<&mut Child>, dir: &Path) {
    if let Some(supervisor) = supervisor {
        let _gone = supervisor.start_kill();
    }
    let Ok(manifest) = Manifest::read(dir) else { return };
    for node in &manifest.nodes {
        // Also ends a stopped (SIGSTOP) process.
        let _gone = process::signal(node.pid, dir, Signal::KILL);
    }
    // A dying process may still make a file in the directory that is about to be removed. Nothing can be awaited in a
    // destructor, and there is nothing to wait on but the process table.
    let until = Instant::now() + DEATH_MAX;
    while manifest.nodes.iter().any(|node| process::is_of(node.pid, dir)) && Instant::now() < until {
        std::thread::yield_now();
    }
}

/// Reads until the line that begins with `ready`; goes on emptying the pipe after that. Else what was said.
async fn until_ready(stdout: Option<ChildStdout>) -> Result<(), String> {
    let Some(stdout) = stdout else { return Err("no standard output".to_owned()) };
    let mut lines = BufReader::new(stdout).lines();
    let mut said = String::new();
    let ready = timeout(START_DEADLINE, async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.starts_with("ready") {
                return true;
            }
            said.push_str(&line);
            said.push('\n');
        }
        false
    })
    .await;
    if ready != Ok(true) {
        return Err(said);
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(())
}

fn write_private(file: &Path, content: &str) -> std::io::Result<()> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(content.as_bytes())
}

fn log_tails(dir: &Path) -> String {
    let mut tails = String::new();
    for id in 1..=3_u64 {
        let log = std::fs::read(dir.join(format!("node{id}/log"))).unwrap_or_default();
        let tail = log.get(log.len().saturating_sub(LOG_TAIL_BYTES)..).unwrap_or_default();
        tails.push_str(&format!("--- end of node{id}/log\n{}\n", String::from_utf8_lossy(tail)));
    }
    tails
}

fn system(what: &str) -> impl FnOnce(std::io::Error) -> ClusterError {
    let what = what.to_owned();
    move |source| ClusterError::System { what, source }
}
