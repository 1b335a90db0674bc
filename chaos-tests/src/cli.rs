//! The command line of the binary under test, as an operator uses it.
//!
//! In: arguments. Out: exit code and what was printed. Deliberately absent: a terminal; the commands print for files
//! then.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Moving keys waits for every member; on a loaded machine that takes long.
const DEADLINE: Duration = Duration::from_secs(300);

/// The binary, and the cluster that its commands are for.
#[derive(Debug, Clone)]
pub struct Cli {
    binary: PathBuf,
    dir: PathBuf,
}

/// What a command left behind.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Exit code; `None`: a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Cli {
    /// Commands for the development cluster in `dir`.
    #[must_use]
    pub fn new(binary: &Path, dir: &Path) -> Self {
        Self { binary: binary.to_owned(), dir: dir.to_owned() }
    }

    /// Runs `consigner ARGUMENTS --dir DIR`, with further arguments after it.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time.
    pub async fn run(&self, arguments: &[&str], more: &[&str]) -> std::io::Result<Ended> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--dir").arg(&self.dir).args(more);
        ended(command).await
    }

    /// Runs `consigner ARGUMENTS`, without a cluster.
    ///
    /// # Errors
    /// As [`Cli::run`].
    pub async fn plainly(&self, arguments: &[&str]) -> std::io::Result<Ended> {
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        ended(command).await
    }
}

async fn ended(mut command: Command) -> std::io::Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await??;
    Ok(Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
