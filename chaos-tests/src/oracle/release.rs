//! The signatures that left any node, found in the bytes of the answers and verified.
//!
//! In: exchanges. Out: one [`Release`] per signature per answer. A signature counts wherever it stands, also in the
//! body of a refusal. Deliberately absent: trust; a signature that does not verify stays in the list, marked so.

use super::history::Exchange;
use super::message::Content;
use consigner_keys::bls;
use consigner_rules::{PublicKey, Root, Signature};
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// Hexadecimal digits of a BLS signature.
const DIGITS: usize = 2 * Signature::LENGTH;

/// A signature that left a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which exchange.
    pub exchange: usize,
    /// Which node.
    pub node: u64,
    /// Whose.
    pub validator: PublicKey,
    /// Over what.
    pub content: Content,
    /// The root that the request asks to sign.
    pub root: Root,
    /// The bytes that came.
    pub signature: Signature,
    /// Whether they are the validator's signature over the root.
    pub is_genuine: bool,
    /// Whether the node acknowledged with 200.
    pub is_acknowledged: bool,
    /// When the request was sent.
    pub sent_at: Duration,
    /// When the answer was complete.
    pub at: Duration,
}

impl std::fmt::Display for Release {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node, content, validator, root, signature, .. } = self;
        let (sent_at, at) = (self.sent_at.as_secs_f64(), self.at.as_secs_f64());
        write!(formatter, "{content} of {validator} root {root}: node {node} sent {signature} ")?;
        write!(formatter, "(asked {sent_at:.3} s, answered {at:.3} s, exchange {})", self.exchange)
    }
}

/// What is verified once.
type Claim = (PublicKey, Root, Signature);

/// All signatures in the answers, each verified with BLS against the validator's key and the root computed here.
#[must_use]
pub fn releases(exchanges: &[Exchange]) -> Vec<Release> {
    let mut found: Vec<Release> =
        exchanges.iter().enumerate().flat_map(|(index, one)| of_exchange(index, one)).collect();
    let mut verdicts: BTreeMap<Claim, bool> = found.iter().map(|release| (release.claim(), false)).collect();
    verify(&mut verdicts);
    for release in &mut found {
        release.is_genuine = verdicts.get(&release.claim()).copied().unwrap_or(false);
    }
    found
}

impl Release {
    const fn claim(&self) -> Claim {
        (self.validator, self.root, self.signature)
    }
}

fn of_exchange(index: usize, exchange: &Exchange) -> Vec<Release> {
    let (Some(body), Some(at)) = (exchange.body(), exchange.answered_at()) else { return Vec::new() };
    let release = |signature| Release {
        exchange: index,
        node: exchange.node,
        validator: exchange.message.validator,
        content: exchange.message.content,
        root: exchange.message.root,
        signature,
        is_genuine: false,
        is_acknowledged: exchange.is_ok(),
        sent_at: exchange.sent_at,
        at,
    };
    signatures_in(body).into_iter().map(release).collect()
}

/// Every run of exactly 192 hexadecimal digits.
fn signatures_in(body: &[u8]) -> Vec<Signature> {
    body.split(|byte| !byte.is_ascii_hexdigit())
        .filter(|run| run.len() == DIGITS)
        .filter_map(|run| std::str::from_utf8(run).ok()?.parse().ok())
        .collect()
}

/// 1.3 ms each, on all processors.
fn verify(verdicts: &mut BTreeMap<Claim, bool>) {
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut claims: Vec<(&Claim, &mut bool)> = verdicts.iter_mut().collect();
    let share = claims.len().div_ceil(workers).max(1);
    thread::scope(|scope| {
        for part in claims.chunks_mut(share) {
            scope.spawn(move || {
                for ((key, root, signature), verdict) in part {
                    **verdict = bls::verify(key, root, signature);
                }
            });
        }
    });
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
