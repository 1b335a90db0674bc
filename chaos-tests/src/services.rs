//! Services that nodes talk to: AWS KMS (moto) and Vault (OpenBao), as processes of this one.
//!
//! In: where the programs are. Out: running servers with what a sealer needs in them; they end with their value.
//! Deliberately absent: installing them (`.ci/components` does); without them a test says `SKIPPED` and why.

mod kms;
mod vault;

pub use kms::Kms;
pub use vault::Vault;

use crate::binary;
use consigner_gate::tls::{ALPN_API, client_config};
use consigner_gate::{ClientError, ClientTls, HttpsClient, Response, TlsError};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

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
    /// It does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The certificates for the client, which talks plain HTTP here.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It answers something else.
    #[error("{url}: {status}: {body}")]
    Answer {
        /// Where.
        url: String,
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
    client: HttpsClient,
    url: String,
}

impl Service {
    /// Starts a program whose arguments depend on its port, and waits until `path` gives any answer.
    async fn start(
        program: &'static str,
        variable: &'static str,
        tls: &ClientTls,
        arguments: impl FnOnce(u16) -> Vec<String>,
        path: &str,
    ) -> Result<Self, ServiceError> {
        let file = find(program, variable).ok_or(ServiceError::Absent { program, variable })?;
        let started = |source| ServiceError::Start { program, source };
        let port = free_port().map_err(started)?;
        let mut command = Command::new(file);
        command.args(arguments(port)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.kill_on_drop(true).spawn().map_err(started)?;
        let client = HttpsClient::new(client_config(tls, ALPN_API)?, 2);
        let service = Self { process, client, url: format!("http://127.0.0.1:{port}") };
        let until = Instant::now() + START_DEADLINE;
        loop {
            match service.call(Method::GET, path, &[], None).await {
                Ok(_) => return Ok(service),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<Value>,
    ) -> Result<Response, ServiceError> {
        let mut headers = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == CONTENT_TYPE) {
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let url = format!("{}{path}", self.url);
        Ok(self.client.request(method, &url, &headers, body.into(), CALL_DEADLINE).await?)
    }

    /// As [`Self::call`]; anything but success is an error.
    async fn must(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<Value>,
    ) -> Result<Value, ServiceError> {
        let response = self.call(method, path, headers, body).await?;
        if response.status.is_success() {
            return Ok(serde_json::from_slice(&response.body).unwrap_or_default());
        }
        let body = String::from_utf8_lossy(&response.body).into_owned();
        Err(ServiceError::Answer { url: format!("{}{path}", self.url), status: response.status.as_u16(), body })
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
