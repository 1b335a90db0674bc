//! Nothing at or below a history that came with a key is signed from then on.
//!
//! Part of S1, seen from outside: what another signer has signed is known here only from the import. A repeat of a
//! message that this cluster itself had signed before is none of that; nor is one that it had recorded for signing when
//! the key went, so that no signature left, but the history that it handed out names the root.

use super::Violation;
use crate::oracle::{Content, Evidence, Exchange, Import, Marks, Release};

/// Name in reports.
pub const NAME: &str = "imported";

/// Complains about every signature at or below an imported mark.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let pairs = evidence.imports.iter().filter_map(|import| Some((import, import.marks?)));
    pairs.flat_map(|(import, marks)| of_import(evidence, import, &marks)).collect()
}

fn of_import(evidence: &Evidence, import: &Import, marks: &Marks) -> Vec<Violation> {
    let later = evidence.genuine().filter(|one| one.validator == import.validator && one.sent_at >= import.sent_at);
    let is_own = |one: &Release| was_signed_before(evidence, one, import) || was_recorded_before(evidence, one, import);
    let below = later.filter(|one| is_below(one.content, marks) && !is_own(one));
    let violation = |release: &Release| {
        let line = format!("imported at {:.3} s by node {}: {marks:?}", import.sent_at.as_secs_f64(), import.node);
        Violation::new(NAME, "signed at or below an imported mark", vec![release.to_string(), line])
    };
    below.map(violation).collect()
}

fn is_below(content: Content, marks: &Marks) -> bool {
    match content {
        Content::Block { slot } => marks.block.is_some_and(|(imported, _)| slot <= imported),
        //= EIP-3076: "Refuse to sign any attestation with source epoch less than the minimum source epoch", and "with
        //= target epoch less than or equal to the minimum target epoch", where the maxima of the history are kept
        Content::Attestation { source, target } => {
            marks.source.is_some_and(|imported| source < imported)
                || marks.target.is_some_and(|(imported, _)| target <= imported)
        }
        Content::Unslashable { .. } => false,
    }
}

fn was_signed_before(evidence: &Evidence, release: &Release, import: &Import) -> bool {
    let mut same =
        evidence.genuine().filter(|other| other.validator == release.validator && other.root == release.root);
    same.any(|other| other.at < import.sent_at)
}

fn was_recorded_before(evidence: &Evidence, release: &Release, import: &Import) -> bool {
    let named = import.marks.is_some_and(|marks| {
        [marks.block, marks.target].into_iter().flatten().any(|(_, root)| root == Some(release.root))
    });
    let is_same = |one: &Exchange| one.message.validator == release.validator && one.message.root == release.root;
    named && evidence.exchanges.iter().any(|one| is_same(one) && one.sent_at < import.sent_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::fixture::{KEY, at, block, exchange, marks, nothing, release, vote};
    use crate::oracle::Phase;

    fn with(releases: Vec<Release>) -> Vec<Violation> {
        let import =
            |sent, marks| Import { node: 2, validator: KEY, marks, sent_at: at(sent), answered_at: Some(at(sent + 1)) };
        let imports = vec![import(5, None), import(10, Some(marks(7, 1, 3, 4, 2)))];
        check(&Evidence { releases, imports, ..nothing() })
    }

    #[test]
    fn what_is_above_the_imported_history_passes() {
        assert_eq!(with(vec![release(block(8), 1, 12), release(vote(3, 5), 2, 12), release(vote(4, 6), 3, 12)]), []);
    }

    #[test]
    fn each_mark_is_watched() {
        for content in [block(7), block(6), vote(2, 9), vote(3, 4), vote(3, 3)] {
            assert_eq!(with(vec![release(content, 9, 10)]).len(), 1, "{content}");
        }
    }

    #[test]
    fn what_was_recorded_here_and_is_named_may_be_repeated() {
        let import =
            Import { node: 2, validator: KEY, marks: Some(marks(7, 1, 3, 4, 2)), sent_at: at(10), answered_at: None };
        let asked = |number, seconds| exchange(1, Phase::Storm, block(7), number, seconds, 404);
        let with = |release, asked: Exchange| {
            check(&Evidence {
                releases: vec![release],
                exchanges: vec![asked],
                imports: vec![import.clone()],
                ..nothing()
            })
        };
        assert_eq!(with(release(block(7), 1, 12), asked(1, 9)), []);
        assert_eq!(with(release(block(7), 1, 12), asked(1, 11)).len(), 1, "nobody had asked for it here");
        assert_eq!(with(release(block(7), 9, 12), asked(9, 9)).len(), 1, "another root than the named one");
    }

    #[test]
    fn what_was_signed_here_before_may_be_repeated_but_its_rival_not() {
        assert_eq!(with(vec![release(block(7), 1, 9), release(block(7), 1, 12)]), []);
        assert_eq!(with(vec![release(block(7), 1, 9), release(block(7), 2, 12)]).len(), 1);
    }
}
