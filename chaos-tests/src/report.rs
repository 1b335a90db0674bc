//! What a run found, for people and for scripts.
//!
//! In: evidence, violations, facts about the run. Out: text or JSON. Numbers are measured, not promised.

use crate::invariants::{Violation, l1, s6};
use crate::oracle::{Content, Deletion, Evidence, Exchange, Fault, Import, Reply};
use crate::scenario::Options;
use crate::storm::Sent;
use consigner_rules::{PublicKey, Root};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How many violations, or unexpected answers, are shown of one kind.
const SHOWN_MAX: usize = 5;

/// How many violations of one invariant a report keeps; one bug shows in hundreds of pairs.
const KEPT_MAX: usize = 50;

/// A run, judged.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command that does it again.
    pub command: String,
    /// Length of the run, start and stop of the cluster and verification included.
    pub seconds: f64,
    /// What was sent.
    pub requests: usize,
    /// Requests that were not sent: their node had too many under way.
    pub shed: u64,
    /// Answers by status; `lost` without one.
    pub answers: BTreeMap<String, u64>,
    /// Why requests were not answered with a verdict, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Requests that got no verdict although nothing was broken at that moment.
    pub failed_in_calm: usize,
    /// Signatures that came, repeats included.
    pub signatures: usize,
    /// Messages that were signed.
    pub messages_signed: usize,
    /// Slots and targets for which several messages were asked.
    pub contested: usize,
    /// Exports that were compared.
    pub exports: usize,
    /// States that were compared.
    pub states: usize,
    /// Deletions that were acknowledged.
    pub deletions: usize,
    /// Milliseconds from sending to a 200.
    pub latency_ms: Latency,
    /// What was broken, and how long nothing was signed.
    pub faults: Vec<FaultLine>,
    /// The longest time between two signatures, in milliseconds.
    pub longest_silence_ms: u128,
    /// Invariants that did not hold, and how often.
    pub violated: BTreeMap<&'static str, usize>,
    /// The first violations of each.
    pub violations: Vec<Violation>,
    /// Answers that no client should get: neither 200, 307, 412 nor 503; answers that could not be read; requests that a
    /// node in good health lost.
    pub unexpected: Vec<String>,
    /// Where the cluster's files were kept, if there are violations.
    pub kept: Option<PathBuf>,
    /// The ends of the nodes' logs then: hints, not evidence.
    pub hints: Option<String>,
}

/// Quantiles in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: u128,
    /// 99 of 100.
    pub p99: u128,
    /// The longest.
    pub max: u128,
}

/// One fault.
#[derive(Debug, Clone, Serialize)]
pub struct FaultLine {
    /// Which.
    pub name: &'static str,
    /// To which nodes.
    pub nodes: Vec<u64>,
    /// Seconds into the run.
    pub at: f64,
    /// Milliseconds from the fault to the next signature asked for after it.
    pub gap_ms: Option<u128>,
    /// The same from when a quorum of processes was there again.
    pub gap_from_quorum_ms: Option<u128>,
    /// Milliseconds from the fault until every node was ready.
    pub healed_ms: Option<u128>,
}

/// What is known besides the evidence.
pub struct RunFacts<'o> {
    /// What was asked for.
    pub options: &'o Options,
    /// What the storm sent.
    pub sent: Sent,
    /// Length of the run.
    pub seconds: f64,
    /// Answers that could not be read, a supervisor that did not stop.
    pub problems: Vec<String>,
    /// Where files were kept, and the ends of the logs.
    pub kept: Option<(PathBuf, String)>,
}

impl Report {
    /// Counts and measures.
    #[must_use]
    pub fn new(facts: RunFacts<'_>, evidence: &Evidence, mut violations: Vec<Violation>) -> Self {
        let mut violated = BTreeMap::new();
        violations.retain(|violation| {
            let count = violated.entry(violation.invariant).or_default();
            *count += 1;
            *count <= KEPT_MAX
        });
        let signed: BTreeSet<(PublicKey, Root)> = evidence.genuine().map(|one| (one.validator, one.root)).collect();
        let (kept, hints) = facts.kept.unzip();
        let mut unexpected = facts.problems;
        unexpected.extend(unexpected_answers(evidence));
        Self {
            command: facts.options.command(),
            seconds: facts.seconds,
            requests: evidence.exchanges.len(),
            shed: facts.sent.shed,
            answers: answers(&evidence.exchanges),
            failures: failures(&evidence.exchanges),
            failed_in_calm: evidence.exchanges.iter().filter(|one| is_failed(one) && in_calm(one, evidence)).count(),
            signatures: evidence.genuine().count(),
            messages_signed: signed.len(),
            contested: contested(&evidence.exchanges),
            exports: evidence.exports.len(),
            states: evidence.statuses.len(),
            deletions: evidence.deletions.iter().filter(|deletion| deletion.promise.is_some()).count(),
            latency_ms: latency(evidence),
            faults: fault_lines(evidence),
            longest_silence_ms: longest_silence(evidence).as_millis(),
            violated,
            violations,
            unexpected,
            kept,
            hints,
        }
    }

    /// Whether every invariant held.
    #[must_use]
    pub fn held(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether every invariant held and no client got an answer that it should not get.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.held() && self.unexpected.is_empty()
    }
}

fn answers(exchanges: &[Exchange]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for exchange in exchanges {
        let name = exchange.status().map_or_else(|| "lost".to_owned(), |status| status.to_string());
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// Reasons are cut here: they are grouped, and one may hold numbers.
const REASON_CHARS_MAX: usize = 120;

fn failures(exchanges: &[Exchange]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for exchange in exchanges.iter().filter(|exchange| is_failed(exchange)) {
        let reason = match &exchange.reply {
            None => "no answer when the run ended".to_owned(),
            Some((_, Reply::Lost(why))) => {
                format!("lost: {}", why.split_once(": ").map_or(why.as_str(), |(_url, reason)| reason))
            }
            Some((_, Reply::Answer { status, body, .. })) => format!("{status}: {}", String::from_utf8_lossy(body)),
        };
        *counts.entry(reason.chars().take(REASON_CHARS_MAX).collect()).or_default() += 1;
    }
    counts
}

fn is_failed(exchange: &Exchange) -> bool {
    !matches!(exchange.status(), Some(200 | 307 | 404 | 412))
}

/// Whether no fault, to whichever node, was between its beginning and its end while the request was under way.
fn in_calm(exchange: &Exchange, evidence: &Evidence) -> bool {
    !evidence.faults.iter().any(|fault| overlap(exchange, fault))
}

/// Whether the node itself was broken while the request was under way.
fn is_excused(exchange: &Exchange, evidence: &Evidence) -> bool {
    evidence.faults.iter().any(|fault| fault.nodes.contains(&exchange.node) && overlap(exchange, fault))
}

fn overlap(exchange: &Exchange, fault: &Fault) -> bool {
    let ended_before = exchange.answered_at().is_some_and(|at| at < fault.at);
    let began_after = fault.healed_at.is_some_and(|healed| exchange.sent_at > healed);
    !ended_before && !began_after
}

/// Answers that no client should get (404 only for a key that comes or goes), and requests to a node in good health that
/// were lost.
fn unexpected_answers(evidence: &Evidence) -> Vec<String> {
    let is_unexpected = |exchange: &&Exchange| match &exchange.reply {
        Some((_, Reply::Answer { status: 200 | 307 | 412 | 503, .. })) => false,
        Some((_, Reply::Answer { status: 404, .. })) => is_known(exchange, evidence),
        Some((_, Reply::Lost(_))) => !is_excused(exchange, evidence),
        Some((_, Reply::Answer { .. })) | None => true,
    };
    evidence.exchanges.iter().filter(is_unexpected).take(SHOWN_MAX).map(ToString::to_string).collect()
}

/// Whether a node that was asked must have known the key: nobody was about to bring it in or to take it away.
fn is_known(exchange: &Exchange, evidence: &Evidence) -> bool {
    let key = exchange.message.validator;
    let answered_at = exchange.answered_at().unwrap_or(Duration::MAX);
    let came_later = |import: &Import| import.validator == key && exchange.sent_at < import.known_from();
    let may_be_gone = |deletion: &Deletion| {
        let back = deletion.is_followed_by(&evidence.imports).map_or(Duration::MAX, Import::known_from);
        deletion.validator == key && deletion.sent_at <= answered_at && exchange.sent_at < back
    };
    let first = evidence.imports.iter().filter(|import| import.validator == key).min_by_key(|import| import.sent_at);
    !first.is_some_and(came_later) && !evidence.deletions.iter().any(may_be_gone)
}

fn contested(exchanges: &[Exchange]) -> usize {
    let mut roots: BTreeMap<(PublicKey, bool, u64), BTreeSet<Root>> = BTreeMap::new();
    for exchange in exchanges {
        let (is_block, number) = match exchange.message.content {
            Content::Block { slot } => (true, slot),
            Content::Attestation { target, .. } => (false, target),
            Content::Unslashable { .. } => continue,
        };
        roots.entry((exchange.message.validator, is_block, number)).or_default().insert(exchange.message.root);
    }
    roots.values().filter(|roots| roots.len() > 1).count()
}

fn latency(evidence: &Evidence) -> Latency {
    let mut times: Vec<u128> = evidence
        .exchanges
        .iter()
        .filter(|exchange| exchange.is_ok())
        .filter_map(|exchange| Some(exchange.answered_at()?.saturating_sub(exchange.sent_at).as_millis()))
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    Latency { p50: at(50), p99: at(99), max: times.last().copied().unwrap_or_default() }
}

fn fault_lines(evidence: &Evidence) -> Vec<FaultLine> {
    let line = |gap: l1::Gap<'_>| FaultLine {
        name: gap.fault.name,
        nodes: gap.fault.nodes.clone(),
        at: gap.fault.at.as_secs_f64(),
        gap_ms: gap.from_fault.map(|gap| gap.as_millis()),
        gap_from_quorum_ms: gap.from_quorum.map(|gap| gap.as_millis()),
        healed_ms: gap.fault.healed_at.map(|healed| healed.saturating_sub(gap.fault.at).as_millis()),
    };
    l1::gaps(evidence).into_iter().map(line).collect()
}

fn longest_silence(evidence: &Evidence) -> Duration {
    let mut times: Vec<Duration> = evidence.genuine().map(|release| release.at).collect();
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, shed, answers, signatures, messages_signed, contested, latency_ms, .. } = self;
        writeln!(f, "again: {}", self.command)?;
        writeln!(f, "{:.1} s; {requests} requests ({shed} not sent), answers {answers:?}", self.seconds)?;
        for (reason, count) in &self.failures {
            writeln!(f, "  {count} x {reason}")?;
        }
        writeln!(f, "  {} of these while nothing was broken", self.failed_in_calm)?;
        writeln!(f, "{signatures} signatures of {messages_signed} messages, {contested} contested slots and targets")?;
        writeln!(f, "{} exports and {} states compared", self.exports, self.states)?;
        if self.deletions > 0 {
            writeln!(f, "{} deletions acknowledged", self.deletions)?;
        }
        let Latency { p50, p99, max } = latency_ms;
        writeln!(
            f,
            "signed in p50 {p50} ms, p99 {p99} ms, max {max} ms; longest silence {} ms",
            self.longest_silence_ms
        )?;
        for FaultLine { name, nodes, at, gap_ms, gap_from_quorum_ms, healed_ms } in &self.faults {
            let ms = |time: &Option<u128>| time.map_or_else(|| "never".to_owned(), |time| format!("{time} ms"));
            let (gap, quorum, healed) = (ms(gap_ms), ms(gap_from_quorum_ms), ms(healed_ms));
            writeln!(f, "{at:7.2} s {name} {nodes:?}: next signature {gap} (quorum {quorum}), all ready {healed}")?;
        }
        for line in &self.unexpected {
            writeln!(f, "unexpected: {line}")?;
        }
        for (name, _) in crate::invariants::CHECKS {
            let held = if name == s6::NAME && self.deletions == 0 { "not tried" } else { "held" };
            let count = self.violated.get(name);
            writeln!(f, "{name}: {}", count.map_or_else(|| held.to_owned(), |count| format!("{count} VIOLATIONS")))?;
            let mut shown = self.violations.iter().filter(|violation| violation.invariant == name).take(SHOWN_MAX);
            shown.try_for_each(|violation| writeln!(f, "  {violation}"))?;
        }
        if let Some(kept) = &self.kept {
            writeln!(f, "files kept in {}\n{}", kept.display(), self.hints.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}
