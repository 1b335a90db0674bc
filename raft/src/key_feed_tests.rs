//! What keyrings are told of one batch.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use consigner_rules::command::{ClusterIdentity, ResealedKey};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, CommandBatch, Root};
use std::sync::Mutex;

const KEY: PublicKey = PublicKey([1; 48]);
const OTHER: PublicKey = PublicKey([2; 48]);

fn data_key(number: u8) -> Command {
    Command::AddDataKey(DataKey { id: [number; 16], sealer: "test".to_owned(), wrapped: vec![number] })
}

fn sealed(public_key: PublicKey, data_key: u8) -> SealedKey {
    SealedKey { format: 1, public_key, data_key: [data_key; 16], nonce: [0; 12], ciphertext: vec![0; 48] }
}

fn import(public_key: PublicKey, data_key: u8) -> Command {
    Command::ImportKey { sealed: sealed(public_key, data_key), history: None, deletions_seen: u64::MAX }
}

fn delete_key(public_key: PublicKey) -> Command {
    Command::DeleteKey { public_key, deletions_seen: u64::MAX }
}

/// Applies one batch and answers what the keyrings are told.
fn told(state: &mut State, commands: Vec<Command>) -> Vec<String> {
    let applied = state.apply(&CommandBatch { proposed_at_ms: 0, checkpoint: None, commands });
    let told = Mutex::new(Vec::new());
    let note = |fed: KeyFeed<'_>| {
        told.lock().unwrap().push(match fed {
            KeyFeed::Added { sealed, data_key } => {
                assert_eq!(sealed.data_key, data_key.id);
                format!("key {} under {}", sealed.public_key.0[0], data_key.id[0])
            }
            KeyFeed::Removed(public_key) => format!("no key {}", public_key.0[0]),
            KeyFeed::DataKeyAdded(data_key) => format!("data key {}", data_key.id[0]),
            KeyFeed::DataKeyRemoved(id) => format!("no data key {}", id[0]),
            KeyFeed::Replaced(_) => "replaced".to_owned(),
        });
    };
    feed(&note, state, &applied.touched);
    told.into_inner().unwrap()
}

fn state() -> State {
    let identity = ClusterIdentity {
        cluster_id: ClusterId([7; 16]),
        network: "test".to_owned(),
        genesis_validators_root: Root([9; 32]),
    };
    let mut state = State::default();
    let told = told(&mut state, vec![Command::Initialise(identity), data_key(1), import(KEY, 1)]);
    assert_eq!(told, ["data key 1", "key 1 under 1"]);
    state
}

#[test]
fn of_a_key_that_comes_and_goes_in_one_batch_only_its_end_is_told() {
    let mut state = state();
    assert_eq!(told(&mut state, vec![import(OTHER, 1), delete_key(OTHER)]), ["no key 2"]);
    assert_eq!(told(&mut state, vec![delete_key(KEY), import(KEY, 1)]), ["key 1 under 1"]);
    assert_eq!(told(&mut state, vec![delete_key(KEY), import(OTHER, 1)]), ["no key 1", "key 2 under 1"]);
    assert!(told(&mut state, vec![delete_key(KEY), Command::RenewPolicy]).is_empty());
}

#[test]
fn data_keys_come_before_the_keys_under_them_and_go_after_them() {
    let mut state = state();
    let moved = vec![
        data_key(2),
        Command::Reseal(vec![ResealedKey { from: [1; 16], sealed: sealed(KEY, 2) }]),
        Command::RemoveDataKey([1; 16]),
    ];
    assert_eq!(told(&mut state, moved), ["data key 2", "key 1 under 2", "no data key 1"]);
    let gone = vec![delete_key(KEY), Command::RemoveDataKey([2; 16]), data_key(3)];
    assert_eq!(told(&mut state, gone), ["data key 3", "no key 1", "no data key 2"]);
}
