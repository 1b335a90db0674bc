//! What the archive must be, judged from requests, answers and its own rows.
//!
//! | | must hold |
//! |---|---|
//! | complete | every acknowledged signature stands in it, exactly once; so does every refusal that was answered |
//! | nothing else | each further row is of a request whose reply was lost, or that could not be answered |
//! | S1 | no slashable pair among its rows |
//! | live state | the greatest numbers of its rows are the watermarks that every node exports |
//! | export | `history export --complete` is the same set |
//! | L2 | signatures were made in every outage of the database |
//!
//! In: [`Proof`]. Out: violations. Deliberately absent: databases, and the product's own `archive verify`.

use super::rows::{Claim, Row};
use crate::invariants::{Violation, s1};
use crate::oracle::{Content, Evidence, Exchange, Marks, Release};
use consigner_rules::{PublicKey, Signature};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Names in reports.
pub const COMPLETE: &str = "archive is complete";
/// See the table above.
pub const NOTHING_ELSE: &str = "archive has nothing else";
/// See the table above.
pub const SAFE: &str = "S1 in the archive";
/// See the table above.
pub const LIVE: &str = "archive agrees with the live state";
/// See the table above.
pub const EXPORT: &str = "export of the archive";
/// See the table above.
pub const L2: &str = "L2";

/// Offences of one kind that a report names; the number of all is named, too.
const NAMED_MAX: usize = 10;

/// An outage of the database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Outage {
    /// What was broken.
    pub what: &'static str,
    /// Signatures that clients got while it was.
    pub signed: u64,
    /// Whether nothing can be written while it lasts; else it is a moment.
    pub lasts: bool,
}

/// Everything that is judged.
#[derive(Debug, Default)]
pub struct Proof {
    /// Every request and answer.
    pub exchanges: Vec<Exchange>,
    /// Rows of signatures.
    pub signed: Vec<Row>,
    /// Rows of refusals.
    pub refused: Vec<Row>,
    /// What `history export --complete` gave.
    pub exported: Vec<Claim>,
    /// By node: the watermarks that it exports.
    pub live: BTreeMap<u64, BTreeMap<PublicKey, Marks>>,
    /// Outages.
    pub outages: Vec<Outage>,
}

/// What is known of one message.
#[derive(Debug, Default, Clone)]
struct Fate {
    acknowledged: usize,
    refused: usize,
    /// Requests of which the client does not know what became.
    open: usize,
    /// Nodes that were asked.
    nodes: BTreeSet<u64>,
}

/// Judges all of it.
#[must_use]
pub fn judge(proof: &Proof) -> Vec<Violation> {
    let fates = fates(&proof.exchanges);
    let mut violations = signatures(proof, &fates);
    violations.extend(refusals(proof, &fates));
    violations.extend(s1(proof));
    violations.extend(live(proof));
    violations.extend(export(proof));
    violations.extend(outages(proof));
    violations
}

/// How many rows of signatures no client was told of.
#[must_use]
pub fn untold(proof: &Proof) -> usize {
    let fates = fates(&proof.exchanges);
    proof.signed.iter().filter(|row| fates.get(&row.claim).is_none_or(|fate| fate.acknowledged == 0)).count()
}

fn fates(exchanges: &[Exchange]) -> BTreeMap<Claim, Fate> {
    let mut fates: BTreeMap<Claim, Fate> = BTreeMap::new();
    for exchange in exchanges {
        let message = &exchange.message;
        let fate = fates.entry((message.validator, message.content, message.root)).or_default();
        fate.nodes.insert(exchange.node);
        match exchange.status() {
            Some(200) => fate.acknowledged += 1,
            Some(412) => fate.refused += 1,
            // Answered, and nothing was decided: the client is to ask elsewhere, or differently.
            Some(300..500) => {}
            Some(_) | None => fate.open += 1,
        }
    }
    fates
}

fn signatures(proof: &Proof, fates: &BTreeMap<Claim, Fate>) -> Vec<Violation> {
    let counts = counts(proof.signed.iter().map(|row| row.claim));
    let acknowledged = fates.iter().filter(|(_, fate)| fate.acknowledged > 0);
    let missing = acknowledged.filter(|(claim, _)| !counts.contains_key(claim)).map(|(claim, _)| text(claim));
    let doubled = counts.iter().filter(|(_, count)| **count > 1);
    let doubled = doubled.map(|(claim, count)| format!("{} stands there {count} times", text(claim)));
    let unasked = proof
        .signed
        .iter()
        .filter(|row| fates.get(&row.claim).is_none_or(|fate| fate.acknowledged == 0 && fate.open == 0));
    let elsewhere = proof
        .signed
        .iter()
        .filter(|row| row.node != 0 && fates.get(&row.claim).is_some_and(|fate| !fate.nodes.contains(&row.node)));
    [
        some(COMPLETE, "an acknowledged signature is not in the archive", missing),
        some(COMPLETE, "a signature is in the archive more than once", doubled),
        some(NOTHING_ELSE, "a row that nobody asked for, or that was refused", unasked.map(ToString::to_string)),
        some(NOTHING_ELSE, "a row through a node that was not asked", elsewhere.map(ToString::to_string)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A node may bring one refused request before the leader twice, so a refusal may stand there more often than it was
/// answered; never less often.
fn refusals(proof: &Proof, fates: &BTreeMap<Claim, Fate>) -> Vec<Violation> {
    let counts = counts(proof.refused.iter().map(|row| row.claim));
    let answered = fates.iter().filter(|(_, fate)| fate.refused > 0);
    let missing = answered.filter(|(claim, fate)| counts.get(claim).is_none_or(|count| *count < fate.refused));
    let missing = missing.map(|(claim, fate)| format!("{}, refused {} times", text(claim), fate.refused));
    let signed: BTreeMap<Claim, u64> = proof.signed.iter().map(|row| (row.claim, row.log_index)).collect();
    // A bid that a node had given up comes late, after another bid for the same request was signed: refused, and untold.
    let is_late = |row: &&Row| signed.get(&row.claim).is_some_and(|index| *index < row.log_index);
    let unasked = proof
        .refused
        .iter()
        .filter(|row| fates.get(&row.claim).is_none_or(|fate| fate.refused == 0 && fate.open == 0) && !is_late(row));
    [
        some(COMPLETE, "a refusal that was answered is not in the archive", missing),
        some(NOTHING_ELSE, "a refusal that nobody got or lost", unasked.map(ToString::to_string)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The judge of the signatures that left, over the rows.
fn s1(proof: &Proof) -> Vec<Violation> {
    let release = |row: &Row| Release {
        exchange: 0,
        node: row.node,
        validator: row.claim.0,
        content: row.claim.1,
        root: row.claim.2,
        signature: Signature([0; Signature::LENGTH]),
        // What the archive says was signed counts as signed.
        is_genuine: true,
        is_acknowledged: true,
        sent_at: Duration::ZERO,
        at: Duration::ZERO,
    };
    let evidence = Evidence { releases: proof.signed.iter().map(release).collect(), ..Evidence::default() };
    s1::check(&evidence).into_iter().map(|found| Violation { invariant: SAFE, ..found }).collect()
}

fn live(proof: &Proof) -> Vec<Violation> {
    let mut maxima: BTreeMap<PublicKey, Marks> = BTreeMap::new();
    for row in &proof.signed {
        let (key, content, root) = row.claim;
        let marks = maxima.entry(key).or_default();
        match content {
            Content::Block { slot } => {
                if marks.block.is_none_or(|(greatest, _)| slot > greatest) {
                    marks.block = Some((slot, Some(root)));
                }
            }
            Content::Attestation { source, target } => {
                marks.source = marks.source.max(Some(source));
                if marks.target.is_none_or(|(greatest, _)| target > greatest) {
                    marks.target = Some((target, Some(root)));
                }
            }
            Content::Unslashable { .. } => {}
        }
    }
    let mut differing = Vec::new();
    for (node, live) in &proof.live {
        // A key that has signed nothing stands in an export without records.
        let live: BTreeMap<_, _> = live.iter().filter(|(_, marks)| **marks != Marks::default()).collect();
        for key in maxima.keys().chain(live.keys().copied()).collect::<BTreeSet<_>>() {
            let (archived, known) = (maxima.get(key), live.get(key).copied());
            if archived != known {
                differing.push(format!("{key}: node {node} has {known:?}, the archive {archived:?}"));
            }
        }
    }
    let none = proof.live.is_empty().then(|| Violation::new(LIVE, "no node was asked", Vec::new()));
    none.into_iter().chain(some(LIVE, "watermarks differ", differing.into_iter())).collect()
}

fn export(proof: &Proof) -> Vec<Violation> {
    let (archived, exported) =
        (counts(proof.signed.iter().map(|row| row.claim)), counts(proof.exported.iter().copied()));
    let lacking = archived.keys().filter(|claim| !exported.contains_key(claim)).map(text);
    let extra = exported.keys().filter(|claim| !archived.contains_key(claim)).map(text);
    let doubled = exported.iter().filter(|(_, count)| **count > 1).map(|(claim, _)| text(claim));
    [
        some(EXPORT, "the complete export lacks a signature", lacking),
        some(EXPORT, "the complete export has a signature that the archive has not", extra),
        some(EXPORT, "the complete export has a signature twice", doubled),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn outages(proof: &Proof) -> Vec<Violation> {
    let silent = proof.outages.iter().filter(|outage| outage.lasts && outage.signed == 0);
    some(L2, "nothing was signed while the database was away", silent.map(|outage| outage.what.to_owned()))
        .into_iter()
        .collect()
}

fn counts(claims: impl Iterator<Item = Claim>) -> BTreeMap<Claim, usize> {
    let mut counts = BTreeMap::new();
    for claim in claims {
        *counts.entry(claim).or_insert(0) += 1;
    }
    counts
}

fn some(invariant: &'static str, what: &str, found: impl Iterator<Item = String>) -> Option<Violation> {
    let all: Vec<String> = found.collect();
    let what = format!("{what} ({} of them)", all.len());
    (!all.is_empty()).then(|| Violation::new(invariant, what, all.into_iter().take(NAMED_MAX).collect()))
}

fn text((key, content, root): &Claim) -> String {
    format!("{content} of {key} root {root}")
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
