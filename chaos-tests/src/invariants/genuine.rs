//! Every signature that came is the validator's over the root computed here, and every 200 brought one.
//!
//! Without this the other checks would judge bytes instead of signatures.

use super::Violation;
use crate::oracle::{Evidence, Exchange};
use std::collections::BTreeSet;

/// Name in reports.
pub const NAME: &str = "genuine";

/// Complains about signatures that do not verify, and acknowledgements without a signature.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let forged = evidence.releases.iter().filter(|release| !release.is_genuine).map(|release| {
        Violation::new(NAME, "a signature does not verify against key and root", vec![release.to_string()])
    });
    let signed: BTreeSet<usize> = evidence.releases.iter().map(|release| release.exchange).collect();
    let empty = evidence
        .exchanges
        .iter()
        .enumerate()
        .filter(|(index, exchange)| Exchange::is_ok(exchange) && !signed.contains(index))
        .map(|(_, exchange)| Violation::new(NAME, "a 200 without a signature", vec![exchange.to_string()]));
    forged.chain(empty).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::fixture::{block, exchange, nothing, release};
    use crate::oracle::{Phase, Release};

    #[test]
    fn a_signature_that_does_not_verify_is_caught() {
        let mut evidence = nothing();
        evidence.releases = vec![release(block(5), 1, 1), Release { is_genuine: false, ..release(block(6), 2, 1) }];
        assert_eq!(check(&evidence).len(), 1);
    }

    #[test]
    fn an_acknowledgement_without_a_signature_is_caught() {
        let mut evidence = nothing();
        let ok = exchange(1, Phase::Storm, block(5), 1, 1, 200);
        evidence.exchanges = vec![ok.clone(), ok, exchange(1, Phase::Storm, block(5), 1, 1, 412)];
        evidence.releases = vec![release(block(5), 1, 1)];
        assert_eq!(check(&evidence).len(), 1);
    }
}
