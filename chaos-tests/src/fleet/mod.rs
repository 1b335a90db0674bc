//! Nodes with configuration files of their own, each a process of its own, as an operator runs them.
//!
//! ```text
//! Fleet  directory, certificates of all seats, sealing key, ports
//!   seat(3) -> Seat  node 3: what its configuration says, where its disk is     disk  copy, wipe, put back
//!   start(&seat) -> Node  its process: frozen, thawed, stopped, killed          Cli   commands of an operator
//! ```
//! In: the binary, a number of seats. Out: files, processes, addresses; all processes end with this value, also when a
//! test panics. Deliberately absent: a supervisor (what died stays dead until a test starts it), and judgement.

pub mod disk;
mod node;
mod seat;

pub use node::{Node, NodeError};
pub use seat::Seat;

use crate::cli::{Cli, Ended};
use crate::cluster::ports;
use crate::oracle::courier::Address;
use crate::oracle::{Courier, History};
use crate::perimeter::credentials::{Credentials, CredentialsError, lay};
use crate::perimeter::pki::PkiError;
use consigner_gate::{ClientTls, TlsError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A quiet machine needs a second; a loaded one with debug binaries much longer.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The key file that all nodes open their data keys with, below the fleet's directory.
pub const SEALING_KEY: &str = "sealing.key";

/// Why there is no fleet, or no node of it.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A file, a process, a port.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No range of ports is free.
    #[error("no free ports for {0} nodes on 127.0.0.1")]
    Ports(u16),
    /// Certificates.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Certificates cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Certificates cannot be used.
    #[error("the certificates cannot be used")]
    Tls(#[from] TlsError),
    /// The system gives no random bytes.
    #[error("no random bytes")]
    Random(#[from] getrandom::Error),
    /// Not in time.
    #[error("{what} did not happen within {} s; last seen: {seen}", DEADLINE.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// What was there instead.
        seen: String,
    },
}

/// The nodes of a test, running or not.
#[derive(Debug)]
pub struct Fleet {
    binary: PathBuf,
    dir: PathBuf,
    base: u16,
    seats: u16,
    cluster_id: String,
    /// Removed last.
    _home: TempDir,
}

impl Fleet {
    /// A directory with certificates and ports for nodes `1..=seats`; starts nothing.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub fn new(binary: &Path, seats: u16) -> Result<Self, FleetError> {
        let base = ports::free_base_for(seats).ok_or(FleetError::Ports(seats))?;
        let home = tempfile::Builder::new().prefix("consigner-fleet-").tempdir().map_err(system("a directory"))?;
        let dir = home.path().canonicalize().map_err(system("a directory"))?;
        let ids: Vec<u64> = (1..=u64::from(seats)).collect();
        let mut files = Credentials::new("fleet")?.files_of(&ids)?;
        files.push((SEALING_KEY.to_owned(), random_hex::<32>()?));
        lay(&dir, &files)?;
        let (binary, cluster_id) = (binary.to_owned(), new_cluster_id()?);
        Ok(Self { binary, dir, base, seats, cluster_id, _home: home })
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The program that nodes are started from.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// From now on nodes are started from another program, as in an upgrade.
    pub fn upgrade(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// Node `id` at its own place, of this fleet's cluster.
    #[must_use]
    pub fn seat(&self, id: u64) -> Seat {
        Seat::new(id, self.port_of(id), &self.cluster_id)
    }

    /// The first port of a place.
    fn port_of(&self, id: u64) -> u16 {
        let place = u16::try_from(id.saturating_sub(1)).unwrap_or(u16::MAX);
        self.base.saturating_add(place.saturating_mul(ports::PORTS_PER_NODE))
    }

    /// Another process that takes itself for node `id`, on the ports of place `place`, with a directory of its own.
    #[must_use]
    pub fn twin(&self, id: u64, place: u64) -> Seat {
        Seat { name: format!("twin-of-node{id}"), ..Seat::new(id, self.port_of(place), &self.cluster_id) }
    }

    /// Writes the configuration of a seat; its disk stays as it is.
    ///
    /// # Errors
    /// What the system said.
    pub fn configure(&self, seat: &Seat) -> Result<PathBuf, FleetError> {
        let (dir, file) = (seat.dir(&self.dir), seat.config_file(&self.dir));
        std::fs::create_dir_all(&dir).map_err(system(&seat.name))?;
        std::fs::write(&file, seat.config()).map_err(system(&seat.name))?;
        Ok(file)
    }

    /// Writes the configuration and starts the process.
    ///
    /// # Errors
    /// What the system said. That the process runs does not mean that it goes on.
    pub fn start(&self, seat: &Seat) -> Result<Node, FleetError> {
        let config = self.configure(seat)?;
        let log = seat.log_file(&self.dir);
        Node::start(&self.binary, &config, &log, &self.dir).map_err(system(&seat.name))
    }

    /// Where the disk of a seat is.
    #[must_use]
    pub fn data(&self, seat: &Seat) -> PathBuf {
        seat.dir(&self.dir).join("data")
    }

    /// The certificate that may sign.
    #[must_use]
    pub fn signer(&self) -> ClientTls {
        self.tls("client")
    }

    /// The certificate that may do everything.
    #[must_use]
    pub fn operator(&self) -> ClientTls {
        self.tls("admin")
    }

    fn tls(&self, stem: &str) -> ClientTls {
        let file = |name: String| self.dir.join("certs").join(name);
        ClientTls { cert: file(format!("{stem}.pem")), key: file(format!("{stem}-key.pem")), ca: file("ca.pem".into()) }
    }

    /// The way to every seat, whether somebody sits there or not.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn courier(&self, history: Arc<History>) -> Result<Courier, FleetError> {
        let address = |id: u64| Address { node: id, url: self.seat(id).api_url() };
        let nodes = (1..=u64::from(self.seats)).map(address).collect();
        Ok(Courier::to(nodes, &self.signer(), &self.operator(), history)?)
    }

    /// Commands through these nodes.
    #[must_use]
    pub fn cli(&self, ids: &[u64]) -> Cli {
        let endpoints: Vec<String> = ids.iter().map(|id| self.seat(*id).api_url()).collect();
        Cli::at(&self.binary, &endpoints, &self.operator())
    }

    /// `consigner cluster init` through the first of these nodes, repeated until all of them have come up.
    ///
    /// # Errors
    /// Not in time.
    pub async fn init(&self, ids: &[u64]) -> Result<(), FleetError> {
        let mut more = Vec::new();
        for id in ids {
            more.extend(["--member".to_owned(), self.seat(*id).member()]);
        }
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let cli = self.cli(ids.get(..1).unwrap_or(ids));
        let until = Instant::now() + DEADLINE;
        loop {
            let ended = cli.run(&["cluster", "init"], &more).await.map_err(system("cluster init"))?;
            if ended.code == Some(0) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(FleetError::Late { what: "cluster init".to_owned(), seen: said(&ended) });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until these nodes are ready.
    ///
    /// # Errors
    /// Not in time.
    pub async fn until_ready(&self, courier: &Courier, ids: &[u64]) -> Result<(), FleetError> {
        let until = Instant::now() + DEADLINE;
        loop {
            let mut missing = Vec::new();
            for id in ids {
                match courier.look(&self.seat(*id).api_url(), "/ready").await {
                    Ok(answer) if answer.status == 200 => {}
                    Ok(answer) => missing.push(format!("node {id}: {}", String::from_utf8_lossy(&answer.body))),
                    Err(error) => missing.push(format!("node {id}: {error}")),
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                let tails: Vec<String> = ids.iter().map(|id| self.tail(*id)).collect();
                let seen = format!("{}\n{}", missing.join("; "), tails.join("\n"));
                return Err(FleetError::Late { what: format!("readiness of nodes {ids:?}"), seen });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The node that says it leads.
    ///
    /// # Errors
    /// Nobody, in time.
    pub async fn leader(&self, courier: &Courier, ids: &[u64]) -> Result<u64, FleetError> {
        let until = Instant::now() + DEADLINE;
        loop {
            for id in ids {
                let answer = courier.look(&self.seat(*id).api_url(), "/leader").await;
                if matches!(answer, Ok(answer) if answer.status == 200) {
                    return Ok(*id);
                }
            }
            if Instant::now() > until {
                return Err(FleetError::Late { what: "an election".to_owned(), seen: format!("nodes {ids:?}") });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The end of a node's log: a hint for people, never evidence.
    #[must_use]
    pub fn tail(&self, id: u64) -> String {
        node::tail(&self.seat(id).log_file(&self.dir))
    }
}

/// A random cluster id, as the configuration wants it.
///
/// # Errors
/// The system gives no random bytes.
pub fn new_cluster_id() -> Result<String, getrandom::Error> {
    random_hex::<16>()
}

fn random_hex<const LENGTH: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

fn said(ended: &Ended) -> String {
    format!("exit {:?}: {}{}", ended.code, ended.stdout, ended.stderr)
}

fn system(what: &str) -> impl FnOnce(std::io::Error) -> FleetError {
    let what = what.to_owned();
    move |source| FleetError::System { what, source }
}
