//! The proof of the archive: a real cluster signs, a real Postgres is broken under it, and in the end every decision
//! stands in it exactly once.
//!
//! ```text
//! database (Postgres, perhaps PgBouncer) <- archive migrate
//! cluster (three nodes) <- load (committees with rivals), script (troubles, dead leaders)
//!   -> all archived -> rows, exports, `archive verify`, `history export --complete` -> judge -> report
//! ```
//! | module | what it owns |
//! |---|---|
//! | [`database`] | the servers, what is broken in them, their rows |
//! | [`load`] | slot-shaped requests with rivals |
//! | [`script`] | what is broken when |
//! | [`view`] | how far the archive is, as nodes tell |
//! | [`rows`] | rows and records as the judge compares them |
//! | [`judge`] | what must hold |
//! | [`throughput`] | signing with and without an archive, by turns |
//!
//! In: a seed. Out: a report. Deliberately absent: the product's reader of the archive as a witness; its verdict
//! (`archive verify`) is one of the things that are judged.

mod cpu;
pub mod database;
pub mod judge;
pub mod load;
#[path = "../../../storage/tests/support/pgbouncer.rs"]
mod pgbouncer;
#[path = "../../../storage/tests/support/postgres.rs"]
mod postgres;
pub mod report;
pub mod rows;
pub mod script;
pub mod throughput;
pub mod view;

pub use database::{Trouble, Way};
pub use report::ArchiveReport;

use crate::cli::{Cli, Ended};
use crate::cluster::{Cluster, ClusterError, Setup, SignalError};
use crate::faults::FaultError;
use crate::invariants::{Violation, s1};
use crate::oracle::history::Clock;
use crate::oracle::observation::marks;
use crate::oracle::release::releases;
use crate::oracle::{Courier, Evidence, History};
use crate::storm::Chain;
use consigner_gate::TlsError;
use consigner_keys::development::interop_secret;
use consigner_rules::PublicKey;
use database::Database;
use judge::{Proof, judge, untold};
use load::{COMMITTEE, Load, Pace};
use script::{Stage, Step, steps};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What clients left behind is decided within seconds of their end.
const SETTLED_TRIES: usize = 10;

/// What `archive verify` must find.
const VERIFY: &str = "consigner archive verify";

/// What to run.
#[derive(Debug, Clone)]
pub struct ArchiveOptions {
    /// Chooses rivals, nodes and the order of faults.
    pub seed: u64,
    /// The `consigner` to test.
    pub binary: PathBuf,
    /// Decisions that clients are told of, at least.
    pub decisions: u64,
    /// How the nodes come to the database.
    pub way: Way,
    /// What happens to it.
    pub troubles: Vec<Trouble>,
    /// How often the leader is killed besides.
    pub leader_kills: usize,
    /// Committees of eight validators.
    pub committees: usize,
    /// Between two slots of a committee.
    pub pause: Duration,
}

/// Why a run could not take place, or came to no end.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Certificates of the cluster.
    #[error("the cluster's certificates cannot be used")]
    Tls(#[from] TlsError),
    /// It did not break, or did not heal.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// A process.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The system.
    #[error("the system gives no directory or no process")]
    System(#[from] std::io::Error),
    /// The rules do not know mainnet.
    #[error("the network of the development cluster is not known")]
    Network,
    /// Something that must work did not.
    #[error("{what}: {why}")]
    Broken {
        /// What was wanted.
        what: &'static str,
        /// What came instead.
        why: String,
    },
    /// Something that must come about in the end did not.
    #[error("{what} did not come about; last seen: {seen}")]
    Late {
        /// What was waited for.
        what: &'static str,
        /// What was there instead.
        seen: String,
    },
}

impl ArchiveOptions {
    /// The command that does it again.
    #[must_use]
    pub fn command(&self) -> String {
        let way = match self.way {
            Way::Direct => "direct",
            Way::Pgbouncer => "pgbouncer",
        };
        let Self { seed, decisions, leader_kills, committees, .. } = self;
        format!(
            "consigner-chaos archive --seed {seed} --decisions {decisions} --way {way} --kills {leader_kills} \
             --committees {committees}"
        )
    }
}

/// Runs it to its end; `None`, after it was said why, where Postgres or `PgBouncer` is missing.
///
/// # Errors
/// See [`ArchiveError`].
pub async fn run(options: &ArchiveOptions) -> Result<Option<ArchiveReport>, ArchiveError> {
    let begun = Instant::now();
    let way = options.way;
    let started = tokio::task::spawn_blocking(move || Database::start(way)).await;
    let Some(database) = started.map_err(std::io::Error::other)?? else { return Ok(None) };
    migrate(options, &database).await?;
    let validators = options.committees * COMMITTEE;
    let setup = Setup { validators: validators as u64, overlay: Some(database.overlay()), ..Setup::default() };
    let mut cluster = Cluster::start_with(&options.binary, &setup).await?;
    let played = played(options, &database, &cluster, begun).await;
    let ended = cluster.stop().await;
    match played {
        Ok(report) if report.is_good() => {
            ended?;
            Ok(Some(report))
        }
        Ok(report) => {
            keep(&mut cluster);
            Ok(Some(report))
        }
        Err(error) => {
            keep(&mut cluster);
            Err(error)
        }
    }
}

#[expect(clippy::print_stderr, reason = "where the files of a run that failed are must be seen")]
fn keep(cluster: &mut Cluster) {
    eprintln!("the cluster's files are kept in {}\n{}", cluster.keep_files().display(), cluster.log_tails());
}

async fn migrate(options: &ArchiveOptions, database: &Database) -> Result<(), ArchiveError> {
    let cli = Cli::new(&options.binary, std::path::Path::new("."));
    let flags = database.migrating();
    let mut arguments = vec!["archive", "migrate"];
    arguments.extend(flags.iter().map(String::as_str));
    must("consigner archive migrate", cli.plainly(&arguments).await?).map(|_said| ())
}

fn must(what: &'static str, ended: Ended) -> Result<Ended, ArchiveError> {
    if ended.code == Some(0) {
        return Ok(ended);
    }
    let Ended { code, stdout, stderr } = ended;
    Err(ArchiveError::Broken { what, why: format!("exit {code:?}: {stdout}{stderr}") })
}

async fn played(
    options: &ArchiveOptions,
    database: &Database,
    cluster: &Cluster,
    begun: Instant,
) -> Result<ArchiveReport, ArchiveError> {
    let chain = Chain::mainnet().ok_or(ArchiveError::Network)?;
    let courier = Arc::new(Courier::new(cluster.manifest(), Arc::new(History::new(Clock::start())))?);
    let keys = keys(options.committees);
    let pace = Pace { seed: options.seed, pause: options.pause };
    let load = Load::start(&courier, &chain, &keys, chain.modern_epoch(), &pace);
    let stage = Stage { cluster, courier: &courier, database, load: &load };
    let steps = steps(options.seed, &options.troubles, options.leader_kills);
    let outages = stage.play(&steps, options.decisions).await?;
    let (signed, refused) = load.stop().await;
    // The clients are gone; what waits for the archive does not become more.
    let idle = Load::start(&courier, &chain, &[], 0, &pace);
    let stage = Stage { cluster, courier: &courier, database, load: &idle };
    let proof = Proof { outages, ..settled(options, &stage).await? };
    let views = stage.until_archived().await?;
    let verify = verified(options, database, cluster).await?;
    let mut violations = judge(&proof);
    violations.extend(of_answers(&proof));
    if verify.0 != Some(0) {
        violations.push(Violation { invariant: VERIFY, what: verify.1.clone(), evidence: vec![format!("{views:?}")] });
    }
    Ok(ArchiveReport {
        command: options.command(),
        way: options.way,
        seconds: begun.elapsed().as_secs_f64(),
        requests: proof.exchanges.len(),
        signed,
        refused,
        signed_rows: proof.signed.len(),
        refused_rows: proof.refused.len(),
        untold_rows: untold(&proof),
        batches: database.batches().await.map_err(|why| ArchiveError::Broken { what: "the batches", why })?,
        leader_kills: steps.iter().filter(|step| is_kill(**step)).count(),
        outages: proof.outages,
        verify,
        violations,
    })
}

fn is_kill(step: Step) -> bool {
    match step {
        Step::KillLeader => true,
        Step::Trouble(trouble) => trouble == Trouble::KillWithLeader,
    }
}

fn keys(committees: usize) -> Vec<PublicKey> {
    (0..committees * COMMITTEE).map(|number| interop_secret(number as u64).public_key()).collect()
}

/// The signatures that left are what they claim to be, and no two of them offend each other.
fn of_answers(proof: &Proof) -> Vec<Violation> {
    let releases = releases(&proof.exchanges);
    let evidence = Evidence { releases, ..Evidence::default() };
    let mut violations = crate::invariants::genuine::check(&evidence);
    violations.extend(s1::check(&evidence));
    violations
}

async fn verified(
    options: &ArchiveOptions,
    database: &Database,
    cluster: &Cluster,
) -> Result<(Option<i32>, String), ArchiveError> {
    let flags = database.reading();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let ended = Cli::new(&options.binary, cluster.dir()).run(&["archive", "verify"], &flags).await?;
    Ok((ended.code, format!("{}{}", ended.stdout, ended.stderr)))
}

/// Rows, watermarks and exports of one state: all was archived before they were read and after it, and nothing had come.
async fn settled(options: &ArchiveOptions, stage: &Stage<'_>) -> Result<Proof, ArchiveError> {
    for _ in 0..SETTLED_TRIES {
        stage.until_archived().await?;
        let found = proof(options, stage).await?;
        stage.until_archived().await?;
        let again = stage.database.rows().await.map_err(|why| ArchiveError::Broken { what: "the rows", why })?;
        if (&found.signed, &found.refused) == (&again.0, &again.1) {
            return Ok(found);
        }
    }
    Err(ArchiveError::Broken { what: "an archive at rest", why: "rows came after all clients were gone".to_owned() })
}

async fn proof(options: &ArchiveOptions, stage: &Stage<'_>) -> Result<Proof, ArchiveError> {
    let Stage { cluster, courier, database, .. } = stage;
    let broken = |what| move |why| ArchiveError::Broken { what, why };
    let (signed, refused) = database.rows().await.map_err(broken("the rows"))?;
    let mut live = BTreeMap::new();
    for address in courier.nodes() {
        let answer = courier.look(&address.url, "/admin/v1/history/export").await;
        let answer = answer.map_err(|error| broken("an export")(error.to_string()))?;
        live.insert(address.node, marks(&answer.body).map_err(broken("an export"))?);
    }
    let cli = Cli::new(&options.binary, cluster.dir());
    let complete = must("history export --complete", cli.run(&["history", "export", "--complete"], &[]).await?)?;
    let exported = rows::records(&complete.stdout).map_err(broken("the complete export"))?;
    let exchanges = courier.history().exchanges();
    Ok(Proof { exchanges, signed, refused, exported, live, outages: Vec::new() })
}
