//! `consigner connect`.

use super::{Exit, fail, output};
use crate::client::Deployment;
use crate::config::{LogConfig, LogFormat, values};
use crate::connect::{self, ConnectError, ConnectOptions, Listen};
use crate::serve::logging;
use clap::Args;
use consigner_gate::{ClientTls, HostAllowlist};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `consigner connect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConnectArgs {
    /// Where the validator client connects, without TLS: IP:PORT or unix:PATH
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900", value_parser = listen)]
    listen: Listen,
    /// URL of a node, e.g. https://node1.example:9000; all of them, with commas
    #[arg(long, value_name = "URL", value_delimiter = ',', requires_all = ["ca", "cert", "key"])]
    endpoint: Vec<String>,
    /// CA certificates that issued the nodes' certificates, PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The validator client's certificate, PEM
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Directory of `consigner dev`, in place of the four above
    #[arg(long, value_name = "DIR", conflicts_with_all = ["endpoint", "ca", "cert", "key"])]
    dir: Option<PathBuf>,
    /// From a request to its answer, retries included; below the patience of the client (Nimbus: 3 s)
    #[arg(long, value_name = "TIME", default_value = "2800ms", value_parser = duration)]
    deadline: Duration,
    /// After so much silence another node is asked, too
    #[arg(long, value_name = "TIME", default_value = "400ms", value_parser = duration)]
    try_timeout: Duration,
    /// Follow redirects to nodes that are not among the endpoints, if the CA vouches for them
    #[arg(long)]
    follow_any: bool,
    /// Listen on an address that other machines reach. Whoever connects there signs with this certificate
    #[arg(long)]
    allow_non_loopback: bool,
    /// Host names that clients may use besides localhost and loopback addresses
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    host_allowlist: Vec<String>,
    /// Where metrics are read: http://IP:PORT/metrics
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    metrics_listen: Option<SocketAddr>,
    /// Least severity that is logged: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "CONSIGNER_LOG_LEVEL", value_parser = level)]
    log_level: String,
}

const EXAMPLES: &str = "Examples:
  consigner connect --endpoint https://n1:9000,https://n2:9000,https://n3:9000 \\
    --ca ca.pem --cert vc.pem --key vc-key.pem
  consigner connect --dir ./consigner-dev
  consigner connect --listen unix:/run/consigner/connect.sock --dir ./consigner-dev

Then, on the same machine:
  Prysm      --validators-external-signer-url=http://127.0.0.1:9900
             --validators-external-signer-public-keys=http://127.0.0.1:9900/api/v1/eth2/publicKeys
  Nimbus     --web3-signer-url=http://127.0.0.1:9900
  Lodestar   --externalSigner.url http://127.0.0.1:9900 --externalSigner.fetch
  Grandine   --web3signer-urls http://127.0.0.1:9900
  Vero       --remote-signer-url http://127.0.0.1:9900
  Teku       --validators-external-signer-url=http://127.0.0.1:9900
             --validators-external-signer-public-keys=external-signer
  Lighthouse url: http://127.0.0.1:9900 in validator_definitions.yml

SIGHUP reads the certificates again; SIGTERM lets requests finish.
Exit codes: 0 stopped as asked, 1 failed, 2 usage (also: an address that is not loopback).";

/// The hosts that every client on this machine uses.
const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

fn listen(text: &str) -> Result<Listen, String> {
    Listen::parse(text).ok_or_else(|| "neither IP:PORT nor unix:PATH".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    values::listen(text).ok_or_else(|| "not IP:PORT".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    values::duration(text).ok_or_else(|| "not a time with a unit, such as 400ms or 2s".to_owned())
}

fn level(text: &str) -> Result<String, String> {
    let known = values::word(text, &["error", "warn", "info", "debug", "trace"]);
    known.map(str::to_owned).ok_or_else(|| "none of error, warn, info, debug, trace".to_owned())
}

impl ConnectArgs {
    fn options(self) -> Result<ConnectOptions, Exit> {
        let (endpoints, tls) = self.cluster()?;
        Ok(ConnectOptions {
            hosts: self.hosts()?,
            listen: self.listen,
            metrics: self.metrics_listen,
            allow_non_loopback: self.allow_non_loopback,
            endpoints,
            tls,
            deadline: self.deadline,
            try_timeout: self.try_timeout,
            follow_any: self.follow_any,
        })
    }

    fn cluster(&self) -> Result<(Vec<String>, ClientTls), Exit> {
        if let Some(dir) = &self.dir {
            let deployment = Deployment::read(dir).map_err(|error| fail(&error))?;
            let endpoints = deployment.endpoints();
            let Deployment { ca, client_cert: cert, client_key: key, .. } = deployment;
            return Ok((endpoints, ClientTls { cert, key, ca }));
        }
        match (&self.ca, &self.cert, &self.key) {
            (Some(ca), Some(cert), Some(key)) if !self.endpoint.is_empty() => {
                let tls = ClientTls { cert: cert.clone(), key: key.clone(), ca: ca.clone() };
                Ok((self.endpoint.clone(), tls))
            }
            _ => {
                output::complain(
                    "say which cluster: --endpoint with --ca, --cert and --key, or --dir of `consigner dev`",
                );
                Err(Exit::Usage)
            }
        }
    }

    /// Ours, the address itself, and what was added; `*` stands alone.
    fn hosts(&self) -> Result<HostAllowlist, Exit> {
        let wildcard = matches!(self.host_allowlist.as_slice(), [only] if matches!(only.as_str(), "*" | "all"));
        let mut hosts = self.host_allowlist.clone();
        if !wildcard {
            hosts.extend(OWN_HOSTS.map(str::to_owned));
            let addresses = match &self.listen {
                Listen::Tcp(addr) => Some(*addr),
                Listen::Unix(_) => None,
            };
            let addresses = addresses.into_iter().chain(self.metrics_listen);
            // Bare, an IPv6 address is understood, too.
            hosts.extend(addresses.map(|addr| addr.ip().to_string()));
        }
        HostAllowlist::parse(&hosts).map_err(|error| {
            output::complain(&error.to_string());
            Exit::Usage
        })
    }
}

/// Runs the command.
pub async fn main(args: ConnectArgs) -> Exit {
    logging::start(&LogConfig { level: args.log_level.clone(), format: LogFormat::Text });
    // It holds the client's private key.
    let hardening = consigner_keys::harden_process();
    if !hardening.complete() {
        tracing::warn!("{hardening}");
    }
    let options = match args.options() {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    let announce = |sidecar: &connect::Sidecar| {
        output::line(&format!("connect: listening on {}, {} nodes", sidecar.listen(), sidecar.node_count()));
        if let Some(metrics) = sidecar.metrics() {
            output::line(&format!("connect: metrics on http://{metrics}/metrics"));
        }
    };
    match connect::until_stopped(options, announce).await {
        Ok(()) => Exit::Done,
        Err(error) => report(&error),
    }
}

fn report(error: &ConnectError) -> Exit {
    let exit = fail(error);
    if error.is_usage() { Exit::Usage } else { exit }
}

#[cfg(test)]
mod tests {
    use super::duration;
    use crate::connect::{DEADLINE, TRY_TIMEOUT};

    #[test]
    fn the_defaults_in_the_help_are_the_ones_of_the_sidecar() {
        assert_eq!(duration("2800ms"), Ok(DEADLINE));
        assert_eq!(duration("400ms"), Ok(TRY_TIMEOUT));
    }
}
