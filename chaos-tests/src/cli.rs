//! The command line of the binary under test, as an operator uses it.
//!
//! In: arguments. Out: exit code and what was printed. Deliberately absent: a terminal; the commands print for files
//! then.

use consigner_gate::ClientTls;
use std::ffi::OsString;
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
    /// The flags that say which cluster.
    access: Vec<OsString>,
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
        Self { binary: binary.to_owned(), access: vec!["--dir".into(), dir.into()] }
    }

    /// Commands for the cluster that these nodes belong to, with an operator's certificate.
    #[must_use]
    pub fn at(binary: &Path, endpoints: &[String], operator: &ClientTls) -> Self {
        let ClientTls { cert, key, ca } = operator;
        let mut access: Vec<OsString> = vec!["--endpoint".into(), endpoints.join(",").into()];
        for (flag, file) in [("--ca", ca), ("--cert", cert), ("--key", key)] {
            access.extend([flag.into(), file.into()]);
        }
        Self { binary: binary.to_owned(), access }
    }

    /// Runs `consigner ARGUMENTS` with the flags that say which cluster, and further arguments after them.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time.
    pub async fn run(&self, arguments: &[&str], more: &[&str]) -> std::io::Result<Ended> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).args(&self.access).args(more);
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
