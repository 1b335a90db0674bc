//! One node as a child process: started, watched, started again, stopped.
//!
//! The child's standard input is a pipe that only this process holds open: when the supervisor dies, however it dies,
//! the child reads the end of the file and stops (`consigner run --stop-with-stdin`).

use super::layout::Layout;
use crate::config::keys::{KEYS, Key};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};

/// How much of a log is looked at to say why a node died.
const LOG_TAIL_BYTES: u64 = 4096;

/// A running node.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Its process id.
    pub pid: u32,
}

impl Running {
    /// Starts the node's process; its output goes to its log only.
    ///
    /// # Errors
    /// What the system said.
    pub fn start(layout: &Layout, id: u64) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(layout.log(id))?;
        let mut command = Command::new(own_binary());
        command.arg("run").arg("--config").arg(layout.config(id)).arg("--stop-with-stdin");
        // Variables meant for another node must not reach all of these.
        for variable in KEYS.iter().map(Key::variable) {
            command.env_remove(variable);
        }
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C in the terminal goes to the supervisor, which stops the nodes in order.
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the node ended at once"))?;
        Ok(Self { child, pid })
    }

    /// Waits for its end. Cancel-safe.
    ///
    /// # Errors
    /// What the system said.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        // `Child::wait` of tokio closes the child's stdin first, which would stop the node; so it is kept aside.
        let stdin = self.child.stdin.take();
        let ended = WaitWithStdin { child: &mut self.child, stdin };
        ended.wait().await
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it now.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // The process is not reaped before `wait` returned, so the id cannot be another process's.
        if self.child.id().is_some() {
            signal_pid(self.pid, signal);
        }
    }
}

/// Gives the stdin back when the wait is cancelled.
struct WaitWithStdin<'c> {
    child: &'c mut Child,
    stdin: Option<tokio::process::ChildStdin>,
}

impl WaitWithStdin<'_> {
    async fn wait(mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        drop(self.stdin.take());
        status
    }
}

impl Drop for WaitWithStdin<'_> {
    fn drop(&mut self) {
        if let Some(stdin) = self.stdin.take() {
            self.child.stdin = Some(stdin);
        }
    }
}

/// Sends a signal to a process; one that is gone already needs none.
pub fn signal_pid(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone_already = kill_process(pid, signal);
    }
}

/// The binary that runs; by way of `/proc` if a new build has taken its place on disk meanwhile.
fn own_binary() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// The last line of a node's log, to say why it died.
#[must_use]
pub fn last_words(layout: &Layout, id: u64) -> Option<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(layout.log(id)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
