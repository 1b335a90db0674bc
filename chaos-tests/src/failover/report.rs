//! What was measured, for people and for scripts.

use super::FailoverOptions;
use crate::invariants::Violation;
use crate::oracle::Exchange;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// SIGKILL of the leader.
    Kill,
    /// SIGTERM of the leader.
    Stop,
    /// SIGSTOP of the leader, SIGCONT some seconds later.
    FreezeLeader,
    /// SIGSTOP of a follower, SIGCONT some seconds later.
    FreezeFollower,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// What.
    pub fault: Fault,
    /// To which node.
    pub victim: u64,
    /// When the signal was sent.
    pub at: Duration,
    /// Until when pauses are counted: leadership moves at once, what comes later is the start of the victim.
    pub settled: Duration,
    /// When the cluster was whole again.
    pub until: Duration,
    /// By how much the highest term rose.
    pub terms: u64,
}

/// Percentiles, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Millis {
    /// Half took no longer.
    pub p50: f64,
    /// Nine of ten took no longer.
    pub p90: f64,
    /// None took longer.
    pub max: f64,
}

/// All rounds of one fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultReport {
    /// What.
    pub fault: Fault,
    /// How often.
    pub rounds: usize,
    /// From the signal until the first signature, at any node, for a request that was sent after it.
    pub gap: Millis,
    /// The longest pause between two signatures, anywhere in the cluster, from the signal until leadership has settled.
    pub pause: Millis,
    /// By how much the term rose, over all rounds.
    pub terms: u64,
    /// The most in one round.
    pub terms_max: u64,
    /// Requests that got no signature at the first node that was asked, over all rounds.
    pub failed_requests: usize,
    /// The first of them.
    pub failed_examples: Vec<String>,
}

/// The whole measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailoverReport {
    /// Nodes of the cluster.
    pub nodes: u16,
    /// Clients, one for each validator.
    pub validators: u64,
    /// Signatures.
    pub signatures: usize,
    /// The longest pause between two signatures while nothing was broken, in milliseconds: what the load itself costs.
    pub calm_gap_ms: f64,
    /// Load average of the machine before the first round and after the last.
    pub load: (Option<f64>, Option<f64>),
    /// The longest that the machine kept this program itself from running, in milliseconds.
    pub starved_ms: f64,
    /// By fault.
    pub faults: Vec<FaultReport>,
    /// Duties that were refused or given up.
    pub given_up: Vec<String>,
    /// What must never be.
    pub violations: Vec<Violation>,
}

impl Millis {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { p50: percentile(&times, 50), p90: percentile(&times, 90), max: percentile(&times, 100) }
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {} / {}", self.p50, self.p90, self.max)
    }
}

/// As many failures as are shown.
const EXAMPLES: usize = 5;

impl FailoverReport {
    pub(super) fn new(
        options: &FailoverOptions,
        rounds: Vec<Round>,
        exchanges: &[Exchange],
        given_up: Vec<String>,
        violations: Vec<Violation>,
    ) -> Self {
        let mut signed: Vec<Duration> =
            exchanges.iter().filter(|one| one.is_ok()).filter_map(Exchange::answered_at).collect();
        signed.sort_unstable();
        let kinds = [Fault::Kill, Fault::Stop, Fault::FreezeLeader, Fault::FreezeFollower];
        let faults = kinds
            .into_iter()
            .filter_map(|fault| {
                let of: Vec<&Round> = rounds.iter().filter(|round| round.fault == fault).collect();
                (!of.is_empty()).then(|| fault_report(fault, &of, &signed, exchanges))
            })
            .collect();
        let calm = rounds.first().map_or(Duration::ZERO, |first| {
            longest_pause(&signed, signed.first().copied().unwrap_or_default(), first.at)
        });
        Self {
            nodes: options.nodes,
            validators: options.validators,
            signatures: signed.len(),
            calm_gap_ms: millis(calm),
            load: (None, None),
            starved_ms: 0.0,
            faults,
            given_up,
            violations,
        }
    }

    pub(super) fn under_load(mut self, before: Option<f64>, after: Option<f64>, starved: Duration) -> Self {
        (self.load, self.starved_ms) = ((before, after), millis(starved));
        self
    }

    /// What is known of one fault.
    #[must_use]
    pub fn of(&self, fault: Fault) -> Option<&FaultReport> {
        self.faults.iter().find(|report| report.fault == fault)
    }

    /// Whether nothing happened that must never be.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.violations.is_empty() && self.given_up.is_empty()
    }
}

fn fault_report(fault: Fault, rounds: &[&Round], signed: &[Duration], exchanges: &[Exchange]) -> FaultReport {
    let gaps = rounds.iter().filter_map(|round| gap(exchanges, round.at)).collect();
    let pauses = rounds.iter().map(|round| longest_pause(signed, round.at, round.settled.min(round.until))).collect();
    let during = |one: &&Exchange| rounds.iter().any(|round| round.at <= one.sent_at && one.sent_at < round.until);
    let failed: Vec<String> =
        exchanges.iter().filter(|one| !one.is_ok()).filter(during).map(ToString::to_string).collect();
    FaultReport {
        fault,
        rounds: rounds.len(),
        gap: Millis::of(gaps),
        pause: Millis::of(pauses),
        terms: rounds.iter().map(|round| round.terms).sum(),
        terms_max: rounds.iter().map(|round| round.terms).max().unwrap_or_default(),
        failed_requests: failed.len(),
        failed_examples: failed.into_iter().take(EXAMPLES).collect(),
    }
}

/// How long after `from` the first request that was sent after it had its signature.
fn gap(exchanges: &[Exchange], from: Duration) -> Option<Duration> {
    let answers = exchanges.iter().filter(|one| one.sent_at >= from && one.is_ok()).filter_map(Exchange::answered_at);
    answers.min().map(|first| first.saturating_sub(from))
}

/// The longest time without an answer that holds a signature, from `from` on.
fn longest_pause(signed: &[Duration], from: Duration, until: Duration) -> Duration {
    let within = signed.iter().copied().filter(|at| (from..=until).contains(at));
    let (longest, last) = within.fold((Duration::ZERO, from), |(longest, last), at| (longest.max(at - last), at));
    longest.max(until.saturating_sub(last))
}

/// Nearest rank.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().map_or(0.0, millis)
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

impl fmt::Display for FailoverReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, validators, signatures, calm_gap_ms, load, starved_ms, .. } = self;
        writeln!(
            f,
            "{nodes} nodes, {validators} clients, {signatures} signatures; longest pause in calm {calm_gap_ms} ms"
        )?;
        writeln!(f, "load of the machine: {:?} before, {:?} after; it starved us for {starved_ms} ms", load.0, load.1)?;
        writeln!(f, "milliseconds p50 / p90 / max")?;
        for FaultReport { fault, rounds, gap, pause, terms, terms_max, failed_requests, failed_examples } in
            &self.faults
        {
            write!(f, "{fault:?}, {rounds} rounds: to the next signature {gap}; longest pause {pause}; ")?;
            writeln!(f, "{terms} terms, at most {terms_max} in a round; {failed_requests} failed requests")?;
            failed_examples.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        self.given_up.iter().try_for_each(|duty| writeln!(f, "given up: {duty}"))?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "{violation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: &[u64]) -> Vec<Duration> {
        millis.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn the_longest_pause_counts_from_the_fault_to_the_end() {
        let signed = at(&[10, 20, 100, 130]);
        let pause = |from, until| longest_pause(&signed, Duration::from_millis(from), Duration::from_millis(until));
        assert_eq!(pause(15, 135), Duration::from_millis(80));
        assert_eq!(pause(40, 135), Duration::from_millis(60), "what lay before the fault is not its fault");
        assert_eq!(pause(101, 300), Duration::from_millis(170), "nothing at the end is a pause, too");
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted = at(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 100]);
        assert!((percentile(&sorted, 50) - 5.0).abs() < f64::EPSILON);
        assert!((percentile(&sorted, 90) - 9.0).abs() < f64::EPSILON);
        assert!((percentile(&sorted, 100) - 100.0).abs() < f64::EPSILON);
        assert!((percentile(&sorted[..1], 90) - 1.0).abs() < f64::EPSILON);
    }
}
