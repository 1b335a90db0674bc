//! What the bench found, for people and for scripts.

use super::BenchOptions;
use super::load::Tally;
use super::scrape::Counters;
use super::slot::{DUTIES, Measured};
use crate::cli::output::table;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything, with units in the names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Validators that took part.
    pub validators: usize,
    /// Slots played.
    pub slots: u64,
    /// Whether every attester saw another head.
    pub distinct_roots: bool,
    /// Requests under way per node.
    pub connections_per_node: usize,
    /// Signatures of all duties.
    pub signatures: u64,
    /// Requests without a signature.
    pub errors: u64,
    /// Signatures per second while the slots were played.
    pub signatures_per_second: f64,
    /// By duty.
    pub duties: BTreeMap<&'static str, Duty>,
    /// CPU microseconds per signature, by node.
    pub node_cpu_us_per_signature: BTreeMap<u64, f64>,
    /// The sum over all nodes.
    pub cpu_us_per_signature: f64,
    /// All nodes, during the attestation bursts, per attestation.
    pub cpu_us_per_attestation: f64,
    /// Median of one plain BLS signature, measured between the slots.
    pub plain_bls_us: f64,
    /// `cpu_us_per_attestation / plain_bls_us`.
    pub attestation_ratio: f64,
    /// fsyncs of the leader's log per slashable signature; absent when metrics are off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_fsyncs_per_slashable_signature: Option<f64>,
    /// Appends with entries, of all nodes, per entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_rpcs_per_entry: Option<f64>,
    /// If the leader was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kills: Option<Kills>,
}

/// One duty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Duty {
    /// Signatures.
    pub count: u64,
    /// Requests without one.
    pub errors: u64,
    /// Why, for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
    /// Signatures per second within the bursts.
    pub per_second: f64,
    /// Median latency.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// The worst.
    pub max_us: u64,
}

/// Gaps after the leader's death.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kills {
    /// How many.
    pub count: usize,
    /// Median, milliseconds.
    pub median_ms: f64,
    /// The worst, milliseconds.
    pub max_ms: f64,
    /// All, in order, milliseconds.
    pub gaps_ms: Vec<f64>,
}

impl Kills {
    /// From the measured gaps.
    #[must_use]
    pub fn new(gaps: Vec<Duration>) -> Self {
        let gaps_ms: Vec<f64> = gaps.iter().map(|gap| (gap.as_secs_f64() * 1e4).round() / 10.0).collect();
        let max_ms = gaps_ms.iter().copied().fold(0.0, f64::max);
        Self { count: gaps_ms.len(), median_ms: median(&gaps_ms), max_ms, gaps_ms }
    }
}

/// The middle value; 0 of nothing.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Divides, and gives 0 where there is nothing to divide by.
fn per(total: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { total / count as f64 }
}

pub(super) fn put_together(
    options: &BenchOptions,
    validators: usize,
    measured: &Measured,
    counters: Option<Counters>,
    kills: Option<Kills>,
) -> Report {
    let duties: BTreeMap<&'static str, Duty> =
        measured.tallies.iter().map(|(name, tally)| (*name, Duty::new(tally))).collect();
    let count = |name: &str| duties.get(name).map_or(0, |duty| duty.count);
    let signatures = duties.values().map(|duty| duty.count).sum();
    let slashable = count("attestation") + count("block");
    let cpu_us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    let node_cpu_us_per_signature: BTreeMap<u64, f64> = measured
        .pids
        .iter()
        .map(|(id, pid)| (*id, per(cpu_us(measured.cpu.get(pid).copied().unwrap_or(0)), signatures)))
        .collect();
    let cpu_us_per_attestation = per(cpu_us(measured.attestation_cpu), count("attestation"));
    let plain_bls_us = median(&measured.plain_us);
    Report {
        validators,
        slots: options.slots,
        distinct_roots: options.distinct_roots,
        connections_per_node: options.connections,
        signatures,
        errors: duties.values().map(|duty| duty.errors).sum(),
        signatures_per_second: rate(signatures, measured.elapsed),
        cpu_us_per_signature: node_cpu_us_per_signature.values().sum(),
        node_cpu_us_per_signature,
        cpu_us_per_attestation,
        plain_bls_us,
        attestation_ratio: if plain_bls_us > 0.0 { cpu_us_per_attestation / plain_bls_us } else { 0.0 },
        leader_fsyncs_per_slashable_signature: counters.map(|counters| per(counters.leader_fsyncs, slashable)),
        append_rpcs_per_entry: counters
            .filter(|counters| counters.leader_entries > 0.0)
            .map(|counters| counters.append_rpcs / counters.leader_entries),
        duties,
        kills,
    }
}

fn rate(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

impl Duty {
    fn new(tally: &Tally) -> Self {
        Self {
            count: tally.signed,
            errors: tally.errors,
            first_error: tally.first_error.clone(),
            per_second: rate(tally.signed, tally.elapsed),
            p50_us: tally.latency.value_at_quantile(0.5),
            p99_us: tally.latency.value_at_quantile(0.99),
            max_us: tally.latency.max(),
        }
    }
}

impl Report {
    /// The report as people read it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!(
                "{} validators, {} slots, {} roots, {} requests under way per node",
                self.validators,
                self.slots,
                if self.distinct_roots { "distinct" } else { "shared" },
                self.connections_per_node
            ),
            table(&["DUTY", "SIGNED", "ERRORS", "PER SECOND", "P50 MS", "P99 MS", "MAX MS"], &self.rows()),
            format!(
                "signatures: {} ({:.0} per second), errors: {}",
                self.signatures, self.signatures_per_second, self.errors
            ),
        ];
        for (name, duty) in &self.duties {
            if let Some(error) = &duty.first_error {
                lines.push(format!("first error of {name}: {error}"));
            }
        }
        let nodes: Vec<String> =
            self.node_cpu_us_per_signature.iter().map(|(id, cpu)| format!("node {id}: {cpu:.0}")).collect();
        lines.push(format!("CPU us per signature: {:.0} in total ({})", self.cpu_us_per_signature, nodes.join(", ")));
        lines.push(format!(
            "CPU us per attestation, all nodes: {:.0}; one plain BLS signature: {:.0}; ratio {:.2}",
            self.cpu_us_per_attestation, self.plain_bls_us, self.attestation_ratio
        ));
        if let Some(fsyncs) = self.leader_fsyncs_per_slashable_signature {
            lines.push(format!("leader fsyncs per slashable signature: {fsyncs:.3}"));
        }
        if let Some(appends) = self.append_rpcs_per_entry {
            lines.push(format!("append RPCs per Raft entry: {appends:.2}"));
        }
        if let Some(kills) = &self.kills {
            let Kills { count, median_ms, max_ms, .. } = kills;
            lines.push(format!(
                "leader SIGKILL to next signature, {count} kills: median {median_ms:.0} ms, max {max_ms:.0} ms"
            ));
        }
        lines.join("\n")
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let milliseconds = |us: u64| format!("{:.2}", us as f64 / 1e3);
        let known = DUTIES.iter().filter_map(|name| Some((name, self.duties.get(name)?)));
        known
            .map(|(name, duty)| {
                vec![
                    (*name).to_owned(),
                    duty.count.to_string(),
                    duty.errors.to_string(),
                    format!("{:.0}", duty.per_second),
                    milliseconds(duty.p50_us),
                    milliseconds(duty.p99_us),
                    milliseconds(duty.max_us),
                ]
            })
            .collect()
    }
}
