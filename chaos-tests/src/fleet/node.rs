//! One node as a process: started, frozen, stopped, killed; and what it said.
//!
//! In: a binary and a configuration. Out: exit statuses and log texts. The process ends with this value. Its standard
//! input is a pipe that this program alone holds open, so that it also ends when this program is killed.

use crate::cluster::process::{self, SignalError};
use rustix::process::Signal;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, ChildStdin, Command};

/// How much of a log is kept as a hint.
const TAIL_BYTES: usize = 3_000;

/// SIGKILL takes effect at once; the rest is scheduling.
const DEATH_MAX: Duration = Duration::from_secs(30);

/// Why a node did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It is gone already.
    #[error("the process ended before; it said:\n{said}")]
    Gone {
        /// Its last words.
        said: String,
    },
    /// A signal.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The system.
    #[error("the process cannot be waited for")]
    Wait(#[from] io::Error),
    /// It goes on.
    #[error("the process did not end within {} s; it said:\n{said}", .within.as_secs())]
    Late {
        /// How long it was waited for.
        within: Duration,
        /// What it said.
        said: String,
    },
}

/// A process of a node.
#[derive(Debug)]
pub struct Node {
    child: Child,
    pid: u32,
    fleet: PathBuf,
    log: PathBuf,
    /// Where in the log this process begins.
    begin: usize,
    /// Closed, it would stop.
    _stdin: Option<ChildStdin>,
}

impl Node {
    /// Starts `binary run` with this configuration, which must lie in the fleet's directory.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn start(binary: &Path, config: &Path, log: &Path, fleet: &Path) -> io::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let begin = usize::try_from(output.metadata()?.len()).unwrap_or(usize::MAX);
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(config).arg("--stop-with-stdin");
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let mut child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the node ended at once"))?;
        // `Child::wait` closes the standard input first, which would stop the node.
        let stdin = child.stdin.take();
        Ok(Self { child, pid, fleet: fleet.to_owned(), log: log.to_owned(), begin, _stdin: stdin })
    }

    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// What this process said so far.
    #[must_use]
    pub fn said(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.begin..).unwrap_or_default()).into_owned()
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended, or the system refused.
    pub fn signal(&mut self, signal: Signal) -> Result<(), NodeError> {
        // Not reaped before `is_over`, so the id cannot be another process's.
        if self.is_over() {
            return Err(NodeError::Gone { said: self.said() });
        }
        Ok(process::signal(self.pid, &self.fleet, signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It goes on.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus, NodeError> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(ended) => Ok(ended?),
            Err(_late) => Err(NodeError::Late { within, said: tail_of(self.said().as_bytes()) }),
        }
    }

    /// `kill -9`, and waits for the end.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn kill(mut self) -> Result<(), NodeError> {
        self.signal(Signal::KILL)?;
        self.ended(DEATH_MAX).await?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn stop(mut self, within: Duration) -> Result<ExitStatus, NodeError> {
        self.signal(Signal::TERM)?;
        self.ended(within).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Also ends a stopped (SIGSTOP) process.
        let _gone = self.child.start_kill();
        // A dying process may still make a file in the directory that is about to be removed. Nothing can be awaited in
        // a destructor, and there is nothing to wait on but the process table.
        let until = Instant::now() + DEATH_MAX;
        while !self.is_over() && process::is_of(self.pid, &self.fleet) && Instant::now() < until {
            std::thread::yield_now();
        }
    }
}

/// The end of a log.
pub(super) fn tail(log: &Path) -> String {
    format!("--- end of {}\n{}", log.display(), tail_of(&std::fs::read(log).unwrap_or_default()))
}

fn tail_of(log: &[u8]) -> String {
    String::from_utf8_lossy(log.get(log.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default()).into_owned()
}
