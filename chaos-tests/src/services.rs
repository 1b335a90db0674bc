//! Services that nodes talk to: AWS KMS (moto) and Vault (OpenBao), as processes of this one.
//!
//! In: where the programs are. Out: running servers with what a sealer needs in them; they end with their value.
//! Deliberately absent: installing them (`.ci/components` does); without them a test says `SKIPPED` and why.

mod kms;
mod plain;
mod vault;

pub use kms::Kms;
pub use vault::Vault;

use crate::binary;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Both are up in seconds on a quiet machine.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// One call of a test to a service.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// How often a starting service is asked.
const POLL: Duration = Duration::from_millis(100);

/// Why there is no service.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The program is not there: the test cannot take place.
    #[error(
        "{program} is neither in {variable}, nor in target/components/bin, nor in PATH (.ci/components installs it)"
    )]
    Absent {
        /// Its name.
        program: &'static str,
        /// The variable that may name it.
        variable: &'static str,
    },
    /// It does not start.
    #[error("{program} cannot be started")]
    Start {
        /// Its name.
        program: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// It gives no answer.
    #[error("{path}: no answer")]
    Silent {
        /// What was asked.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It answers something else.
    #[error("{path}: {status}: {body}")]
    Answer {
        /// What was asked.
        path: String,
        /// Its status.
        status: u16,
        /// What it said.
        body: String,
    },
}

/// A running service on a loopback port.
#[derive(Debug)]
struct Service {
    process: Child,
    /// `127.0.0.1:PORT`.
    authority: String,
}

impl Service {
    /// Starts a program whose arguments depend on its port, and waits until `path` gives any answer.
    async fn start(
        program: &'static str,
        variable: &'static str,
        arguments: impl FnOnce(u16) -> Vec<String>,
        path: &str,
    ) -> Result<Self, ServiceError> {
        let file = find(program, variable).ok_or(ServiceError::Absent { program, variable })?;
        let started = |source| ServiceError::Start { program, source };
        let port = free_port().map_err(started)?;
        let mut command = Command::new(file);
        command.args(arguments(port)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.kill_on_drop(true).spawn().map_err(started)?;
        let service = Self { process, authority: format!("127.0.0.1:{port}") };
        let until = Instant::now() + START_DEADLINE;
        loop {
            match service.call("GET", path, &[], &Value::Null).await {
                Ok(_) | Err(ServiceError::Answer { .. }) => return Ok(service),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// A call with a JSON body; anything but success is an error.
    async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value, ServiceError> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let called = timeout(CALL_DEADLINE, plain::call(&self.authority, method, path, headers, &body)).await;
        let called = called.unwrap_or_else(|_late| Err(std::io::ErrorKind::TimedOut.into()));
        let (status, body) = called.map_err(|source| ServiceError::Silent { path: path.to_owned(), source })?;
        if (200..300).contains(&status) {
            return Ok(serde_json::from_slice(&body).unwrap_or_default());
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(ServiceError::Answer { path: path.to_owned(), status, body })
    }

    /// Stops or continues the process: its sockets stay open and nobody answers.
    fn signal(&self, signal: Signal) {
        // The process is not reaped before it is dropped, so the id is its own.
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _gone_already = kill_process(pid, signal);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A stopped process is killed all the same.
        let _gone_already = self.process.start_kill();
    }
}

fn find(program: &str, variable: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let installed = || binary::target_dir().map(|dir| dir.join("components/bin").join(program)).ok();
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
    };
    named.or_else(|| installed().filter(|file| Path::is_file(file))).or_else(in_path)
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
