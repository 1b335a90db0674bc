//! Signing with and without an archive, side by side: two clusters on one machine, asked by turns.
//!
//! ```text
//! database <- cluster A (archive.postgres)      phases: A, B, B, A, A, B, ... each `consigner bench`
//!             cluster B (segments only)         CPU of the three processes, signatures, time; Postgres apart
//! ```
//! In: how many phases. Out: microseconds of CPU per signature and signatures per second of either cluster. A phase of A
//! ends when all of it is archived, and the CPU for that is A's; only the time is that of the signing. Deliberately
//! absent: a limit; figures are of this machine at this time.

use super::database::Database;
use super::view::look;
use super::{ArchiveError, Way, cpu, must};
use crate::cli::Cli;
use crate::cluster::{Cluster, Setup};
use crate::oracle::history::Clock;
use crate::oracle::{Courier, History};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For all rows of a phase to be archived.
const ARCHIVED_MAX: Duration = Duration::from_secs(300);

/// How often that is looked at: a look costs the nodes CPU that would be A's.
const POLL: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(Debug, Clone)]
pub struct ThroughputOptions {
    /// The `consigner` to measure; a release build, or the figures say nothing.
    pub binary: PathBuf,
    /// Phases of each cluster.
    pub rounds: usize,
    /// Slots of a phase.
    pub slots: u64,
    /// Interop validators of each cluster.
    pub validators: u64,
    /// How the nodes come to the database.
    pub way: Way,
}

/// One phase.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PhaseReport {
    /// Whether its cluster had an archive.
    pub archived: bool,
    /// Signatures.
    pub signatures: u64,
    /// Per second, while it signed.
    pub per_second: f64,
    /// CPU of the three `consigner` processes per signature, microseconds.
    pub cpu_us: f64,
    /// CPU of Postgres per signature, microseconds; 0 without an archive.
    pub postgres_cpu_us: f64,
}

/// All phases.
#[derive(Debug, Clone, Serialize)]
pub struct ThroughputReport {
    /// In their order.
    pub phases: Vec<PhaseReport>,
    /// Signatures per second with an archive against without, percent more (less: negative), by medians.
    pub per_second_percent: f64,
    /// CPU per signature likewise.
    pub cpu_percent: f64,
}

/// A cluster that is measured.
struct Side<'d> {
    cluster: Cluster,
    courier: Courier,
    database: Option<&'d Database>,
}

/// Measures; `None`, after it was said why, where Postgres or `PgBouncer` is missing.
///
/// # Errors
/// See [`ArchiveError`].
pub async fn measure(options: &ThroughputOptions) -> Result<Option<ThroughputReport>, ArchiveError> {
    let way = options.way;
    let started = tokio::task::spawn_blocking(move || Database::start(way)).await;
    let Some(database) = started.map_err(std::io::Error::other)?? else { return Ok(None) };
    let flags = database.migrating();
    let mut arguments = vec!["archive", "migrate"];
    arguments.extend(flags.iter().map(String::as_str));
    let cli = Cli::new(&options.binary, std::path::Path::new("."));
    must("consigner archive migrate", cli.plainly(&arguments).await?)?;
    let mut with = side(options, Some(&database)).await?;
    let mut without = side(options, None).await?;
    // Warms both up, unmeasured: caches, connections, the first partitions.
    for side in [&with, &without] {
        phase(options, side).await?;
    }
    let mut phases = Vec::new();
    for round in 0..options.rounds {
        // Neither is always the first: a machine that becomes slower or faster meanwhile favours none.
        let order = if round % 2 == 0 { [&with, &without] } else { [&without, &with] };
        for side in order {
            phases.push(phase(options, side).await?);
        }
    }
    with.cluster.stop().await?;
    without.cluster.stop().await?;
    Ok(Some(ThroughputReport::new(phases)))
}

async fn side<'d>(options: &ThroughputOptions, database: Option<&'d Database>) -> Result<Side<'d>, ArchiveError> {
    let overlay = database.map(Database::overlay);
    let setup = Setup { validators: options.validators, overlay, ..Setup::default() };
    let cluster = Cluster::start_with(&options.binary, &setup).await?;
    let courier = Courier::new(cluster.manifest(), Arc::new(History::new(Clock::start())))?;
    Ok(Side { cluster, courier, database })
}

async fn phase(options: &ThroughputOptions, side: &Side<'_>) -> Result<PhaseReport, ArchiveError> {
    let before = (nodes_us(side)?, postgres_us(side));
    let cli = Cli::new(&options.binary, side.cluster.dir());
    let (slots, validators) = (options.slots.to_string(), options.validators.to_string());
    let more = ["--slots", &slots, "--validators", &validators, "--json"];
    let ended = must("consigner bench", cli.run(&["bench"], &more).await?)?;
    let bench: serde_json::Value = serde_json::from_str(&ended.stdout)
        .map_err(|error| ArchiveError::Broken { what: "the answer of bench", why: error.to_string() })?;
    if side.database.is_some() {
        archived(side).await?;
    }
    let after = (nodes_us(side)?, postgres_us(side));
    let signatures = bench["signatures"].as_u64().filter(|count| *count > 0);
    let signatures = signatures.ok_or(ArchiveError::Broken { what: "bench", why: "it signed nothing".to_owned() })?;
    Ok(PhaseReport {
        archived: side.database.is_some(),
        signatures,
        per_second: bench["signatures_per_second"].as_f64().unwrap_or_default(),
        cpu_us: per(after.0 - before.0, signatures),
        postgres_cpu_us: per(after.1.saturating_sub(before.1), signatures),
    })
}

async fn archived(side: &Side<'_>) -> Result<(), ArchiveError> {
    let until = Instant::now() + ARCHIVED_MAX;
    loop {
        let views = look(&side.courier).await;
        if views.is_archived(side.courier.nodes().len()) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(ArchiveError::Late { what: "a phase in the archive", seen: format!("{views:?}") });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn nodes_us(side: &Side<'_>) -> Result<u64, ArchiveError> {
    let mut sum = 0;
    for node in &side.cluster.manifest().nodes {
        let pid = side.cluster.pid(node.id)?;
        let used = cpu::process_us(pid);
        sum += used.ok_or(ArchiveError::Broken { what: "a node's CPU time", why: format!("process {pid} is gone") })?;
    }
    Ok(sum)
}

fn postgres_us(side: &Side<'_>) -> u64 {
    side.database.and_then(Database::cpu_us).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "counts of one run")]
fn per(sum_us: u64, signatures: u64) -> f64 {
    sum_us as f64 / signatures as f64
}

impl ThroughputReport {
    fn new(phases: Vec<PhaseReport>) -> Self {
        let of = |archived: bool, figure: fn(&PhaseReport) -> f64| {
            median(phases.iter().filter(|phase| phase.archived == archived).map(figure).collect())
        };
        let percent = |figure: fn(&PhaseReport) -> f64| (of(true, figure) / of(false, figure) - 1.0) * 100.0;
        let (per_second_percent, cpu_percent) = (percent(|phase| phase.per_second), percent(|phase| phase.cpu_us));
        Self { phases, per_second_percent, cpu_percent }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match (figures.get(middle), figures.get(middle.wrapping_sub(1))) {
        (Some(one), Some(other)) if figures.len().is_multiple_of(2) => f64::midpoint(*one, *other),
        (Some(one), _) => *one,
        (None, _) => f64::NAN,
    }
}

impl fmt::Display for ThroughputReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "archive   signatures  per second  CPU us/signature  Postgres us/signature")?;
        for PhaseReport { archived, signatures, per_second, cpu_us, postgres_cpu_us } in &self.phases {
            let archive = if *archived { "postgres" } else { "segments" };
            writeln!(
                formatter,
                "{archive}  {signatures:>10}  {per_second:>10.0}  {cpu_us:>16.1}  {postgres_cpu_us:>21.1}"
            )?;
        }
        write!(formatter, "with against without (medians): {:+.1} % signatures per second", self.per_second_percent)?;
        write!(formatter, ", {:+.1} % CPU per signature", self.cpu_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comparison_is_of_medians() {
        let phase = |archived, per_second, cpu_us| PhaseReport {
            archived,
            signatures: 10,
            per_second,
            cpu_us,
            postgres_cpu_us: 0.0,
        };
        let phases = vec![
            phase(true, 99.0, 103.0),
            phase(false, 100.0, 100.0),
            phase(false, 1.0, 900.0),
            phase(true, 97.0, 101.0),
            phase(true, 500.0, 102.0),
            phase(false, 200.0, 100.0),
        ];
        let report = ThroughputReport::new(phases);
        assert!((report.per_second_percent - -1.0).abs() < 1e-9, "{}", report.per_second_percent);
        assert!((report.cpu_percent - 2.0).abs() < 1e-9, "{}", report.cpu_percent);
        assert!((median(vec![3.0, 1.0]) - 2.0).abs() < 1e-9);
    }
}
