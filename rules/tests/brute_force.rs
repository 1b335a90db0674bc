//! Every sequence of small messages, signed and imported in every order, against an oracle that forgets nothing.
//!
//! A refused message changes neither side, so a sequence that holds one behaves as the shorter sequence without it: only
//! messages that change something are extended, and at every position every message is tried. Equal positions (same
//! watermarks, same set of records) are visited once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod slashing_common;

use consigner_rules::command::{ImportedAttestation, ImportedBlock};
use consigner_rules::slashing::History;
use consigner_rules::{HistoryImport, Root, Ruling};
use slashing_common::oracle::{Demand, Message, Oracle};
use slashing_common::{key, root};
use std::collections::BTreeSet;

/// What may happen at one position.
struct Moves {
    signable: Vec<Message>,
    importable: Vec<Message>,
}

#[derive(Clone, Default)]
struct Position {
    rule: History,
    oracle: Oracle,
}

/// Counts of what was compared, so that a test can show that it tested something.
#[derive(Debug, Default)]
struct Tally {
    positions: usize,
    refused: usize,
    fresh: usize,
    repeats: usize,
}

#[test]
fn blocks_signed_and_imported() {
    let roots = [Some(root(1)), Some(root(2))];
    let moves = Moves { signable: blocks(6, &roots), importable: blocks(6, &[Some(root(1)), Some(root(2)), None]) };
    let tally = explore(&moves, 4);
    println!("blocks: {tally:?}");
    assert!(tally.positions > 5_000 && tally.repeats > 1_000 && tally.fresh > 1_000, "{tally:?}");
}

#[test]
fn attestations_signed() {
    let moves = Moves { signable: votes(6, &[Some(root(1)), Some(root(2))]), importable: Vec::new() };
    let tally = explore(&moves, 4);
    println!("attestations, signed only: {tally:?}");
    assert!(tally.positions > 10_000 && tally.repeats > 1_000 && tally.fresh > 1_000, "{tally:?}");
}

#[test]
fn attestations_signed_and_imported() {
    let moves =
        Moves { signable: votes(4, &[Some(root(1)), Some(root(2))]), importable: votes(4, &[Some(root(1)), None]) };
    let tally = explore(&moves, 3);
    println!("attestations, signed and imported: {tally:?}");
    assert!(tally.positions > 10_000 && tally.repeats > 1_000 && tally.fresh > 1_000, "{tally:?}");
}

#[test]
fn wide_attestations_after_one_import() {
    let signable = votes(6, &[Some(root(1)), Some(root(2))]);
    let moves = Moves { signable, importable: votes(6, &[Some(root(1)), Some(root(2)), None]) };
    let tally = explore(&moves, 2);
    println!("attestations, epochs to 6: {tally:?}");
    assert!(tally.positions > 5_000 && tally.repeats > 1_000 && tally.fresh > 1_000, "{tally:?}");
}

fn blocks(last_slot: u64, roots: &[Option<Root>]) -> Vec<Message> {
    (0..=last_slot).flat_map(|slot| roots.iter().map(move |root| Message::Block { slot, root: *root })).collect()
}

/// All votes of epochs up to the last, those with the source after the target included.
fn votes(last_epoch: u64, roots: &[Option<Root>]) -> Vec<Message> {
    let pairs = (0..=last_epoch).flat_map(|source| (0..=last_epoch).map(move |target| (source, target)));
    pairs
        .flat_map(|(source, target)| roots.iter().map(move |root| Message::Attestation { source, target, root: *root }))
        .collect()
}

/// Visits every position that `depth` moves reach, and tries every message at each.
fn explore(moves: &Moves, depth: usize) -> Tally {
    let mut tally = Tally::default();
    let mut level = vec![Position::default()];
    for remaining in (0..=depth).rev() {
        let mut next = Vec::new();
        let mut seen = BTreeSet::new();
        for position in &level {
            tally.positions += 1;
            for message in &moves.signable {
                next.extend(try_signing(position, message, &mut tally));
            }
            next.extend(moves.importable.iter().map(|message| importing(position, message)));
            if remaining == 0 {
                next.clear();
            }
        }
        next.retain(|position| seen.insert(fingerprint(position)));
        level = next;
    }
    tally
}

/// Judges the message, compares with the oracle, and answers the position after it if there is a new one.
fn try_signing(position: &Position, message: &Message, tally: &mut Tally) -> Option<Position> {
    let mut after = position.clone();
    let ruling = after.rule.judge(&message.duty(), &message.root().unwrap(), None);
    let demand = position.oracle.demand(message);
    let agrees = match (&ruling, demand) {
        (Ruling::Refused(_), Demand::Refuse | Demand::NotFresh | Demand::Either)
        | (Ruling::Safe, Demand::AllowFresh | Demand::Either)
        | (Ruling::Repeat, Demand::AllowRepeat | Demand::NotFresh) => true,
        (
            Ruling::Safe
            | Ruling::Repeat
            | Ruling::Refused(_)
            | Ruling::Stale { .. }
            | Ruling::UnknownKey
            | Ruling::AwaitingFloor,
            _,
        ) => false,
    };
    assert!(agrees, "{message:?} after {:?}: ruled {ruling:?}, oracle demands {demand:?}", position.oracle);
    match ruling {
        Ruling::Safe => {
            tally.fresh += 1;
            after.oracle.signed.push(*message);
            // A repeat of what was just signed must succeed at once.
            let again = after.rule.judge(&message.duty(), &message.root().unwrap(), None);
            assert_eq!(again, Ruling::Repeat, "{message:?}");
            Some(after)
        }
        Ruling::Repeat | Ruling::Refused(_) | Ruling::Stale { .. } | Ruling::UnknownKey | Ruling::AwaitingFloor => {
            tally.repeats += usize::from(ruling == Ruling::Repeat);
            tally.refused += usize::from(ruling != Ruling::Repeat);
            assert_eq!(after.rule, position.rule, "only a safe message changes the history");
            None
        }
    }
}

fn importing(position: &Position, message: &Message) -> Position {
    let mut after = position.clone();
    let (block, attestation) = match *message {
        Message::Block { slot, root } => (Some(ImportedBlock { slot, signing_root: root }), None),
        Message::Attestation { source, target, root } => {
            let at_max_target = root.map(|root| (source, root));
            let maxima = ImportedAttestation { max_source_epoch: source, max_target_epoch: target, at_max_target };
            (None, Some(maxima))
        }
    };
    after.rule.merge(&HistoryImport { public_key: key(1), block, attestation });
    after.oracle.imported.push(*message);
    after
}

/// Positions of equal future: same watermarks, same records, same newest signed message.
fn fingerprint(position: &Position) -> (Vec<u8>, Vec<Message>, Vec<Message>) {
    let mut imported = position.oracle.imported.clone();
    imported.sort_unstable();
    imported.dedup();
    (consigner_rules::codec::encode(&position.rule), position.oracle.signed.clone(), imported)
}
