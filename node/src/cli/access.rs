//! How a command reaches a cluster: endpoints and certificates, or the directory of `consigner dev`.

use super::output;
use crate::client::{CallError, ClusterClient, Deployment};
use clap::Args;
use consigner_gate::ClientTls;
use std::path::PathBuf;

/// Flags of every command that talks to a cluster.
#[derive(Debug, Clone, Args)]
pub struct AccessArgs {
    /// URL of a node, e.g. https://node1.example:9000; several with commas, tried in this order
    #[arg(long, value_name = "URL", value_delimiter = ',', requires_all = ["ca", "cert", "key"])]
    pub endpoint: Vec<String>,
    /// CA certificates that issued the nodes' certificates, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The operator's certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Directory of `consigner dev`, in place of the four above
    #[arg(long, value_name = "DIR", conflicts_with_all = ["endpoint", "ca", "cert", "key"])]
    pub dir: Option<PathBuf>,
    /// Print JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// Why a cluster cannot be reached at all.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Neither way was given.
    #[error("say which cluster: --endpoint with --ca, --cert and --key, or --dir of `consigner dev`")]
    NotGiven,
    /// The directory tells of no cluster.
    #[error(transparent)]
    Deployment(#[from] crate::client::deployment::DeploymentError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl AccessArgs {
    /// A client with the operator's certificate.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn admin(&self) -> Result<ClusterClient, AccessError> {
        if let Some(dir) = &self.dir {
            return Ok(Deployment::read(dir)?.admin()?);
        }
        match (&self.ca, &self.cert, &self.key) {
            (Some(ca), Some(cert), Some(key)) if !self.endpoint.is_empty() => {
                let tls = ClientTls { cert: cert.clone(), key: key.clone(), ca: ca.clone() };
                Ok(ClusterClient::new(self.endpoint.clone(), &tls, 1)?)
            }
            _ => Err(AccessError::NotGiven),
        }
    }

    /// Prints a value as JSON, if asked for; whether it was.
    pub fn printed_json<T: serde::Serialize>(&self, value: &T) -> bool {
        if self.json {
            match serde_json::to_string_pretty(value) {
                Ok(text) => output::line(&text),
                Err(error) => output::complain(&error.to_string()),
            }
        }
        self.json
    }
}

impl AccessError {
    /// Usage or failure.
    #[must_use]
    pub const fn exit(&self) -> super::Exit {
        match self {
            Self::NotGiven => super::Exit::Usage,
            Self::Deployment(_) | Self::Call(_) => super::Exit::Failed,
        }
    }

    /// Says what is wrong and how the command ends.
    #[must_use]
    pub fn report(&self) -> super::Exit {
        output::complain(&crate::report::one_line(self));
        self.exit()
    }
}
