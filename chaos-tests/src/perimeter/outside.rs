//! Programs of others, as clients: found in `PATH`, run to their end.
//!
//! In: a name and arguments. Out: what they said. Deliberately absent: installing them; who has none of a kind is told
//! so with a line that begins with `SKIPPED`.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// Java compiles its file first; on a loaded machine that takes long.
const DEADLINE: Duration = Duration::from_secs(180);

/// A program of somebody else.
#[derive(Debug, Clone)]
pub struct Tool {
    file: PathBuf,
}

/// What it left behind.
#[derive(Debug, Clone)]
pub struct Said {
    /// Exit code; `None`: a signal.
    pub code: Option<i32>,
    /// Standard output and then standard error.
    pub text: String,
}

impl Tool {
    /// Looks in `PATH`; if it is not there, says which test does without.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not tested")]
    pub fn find(name: &str, test: &str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
        if found.is_none() {
            eprintln!("SKIPPED: {test}: {name} is not in PATH");
        }
        found.map(|file| Self { file })
    }

    /// Runs it with something on its standard input.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: &[A], input: &str) -> io::Result<Said> {
        let mut command = Command::new(&self.file);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn()?;
        if let Some(mut stdin) = process.stdin.take() {
            // One that has refused already reads nothing.
            let _not_read = stdin.write_all(input.as_bytes()).await;
        }
        let output = timeout(DEADLINE, process.wait_with_output()).await??;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(Said { code: output.status.code(), text })
    }
}
