//! Random damage to real bodies: parsing answers, never panics, and what it accepts it computed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests read vectors"
)]

mod message_support;

use consigner_rules::{Network, SignRequest};
use message_support::{PUBLIC_KEY, kats};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;

/// Damage to one body.
#[derive(Debug, Clone)]
enum Damage {
    Replace(usize, u8),
    Insert(usize, u8),
    Remove(usize, usize),
    Copy(usize, usize, usize),
    Truncate(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    // Mostly bytes that mean something to JSON, hexadecimal or numbers.
    let byte = prop_oneof![
        4 => prop::sample::select(b"{}[]\",:0123456789abcdefx.-+ntu\\".to_vec()),
        1 => any::<u8>(),
    ];
    let place = 0..100_000_usize;
    prop_oneof![
        4 => (place.clone(), byte.clone()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        3 => (place.clone(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        2 => (place.clone(), 1..80_usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        2 => (place.clone(), place.clone(), 1..200_usize).prop_map(|(from, to, length)| Damage::Copy(from, to, length)),
        1 => place.prop_map(Damage::Truncate),
    ]
}

fn apply(body: &mut Vec<u8>, damage: &Damage) {
    let length = body.len().max(1);
    match *damage {
        Damage::Replace(at, byte) => {
            if let Some(place) = body.get_mut(at % length) {
                *place = byte;
            }
        }
        Damage::Insert(at, byte) => body.insert((at % length).min(body.len()), byte),
        Damage::Remove(at, count) => {
            let start = (at % length).min(body.len());
            let end = (start + count).min(body.len());
            body.drain(start..end);
        }
        Damage::Copy(from, to, count) => {
            let start = (from % length).min(body.len());
            let part = body[start..(start + count).min(body.len())].to_vec();
            let to = (to % length).min(body.len());
            body.splice(to..to, part);
        }
        Damage::Truncate(at) => body.truncate(at % length),
    }
}

fn networks() -> [Network; 4] {
    ["mainnet", "minimal", "gnosis", "hoodi"].map(|name| Network::by_name(name).unwrap())
}

#[test]
fn damaged_bodies_are_answered() {
    let Some(kats) = kats() else { return };
    let networks = networks();
    let bodies: Vec<Vec<u8>> = kats.iter().map(|kat| serde_json::to_vec(&kat.request).unwrap()).collect();
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 20_000, failure_persistence: None, ..Config::default() });
    let strategy = (0..bodies.len(), 0..networks.len(), prop::collection::vec(damage(), 1..6));
    runner
        .run(&strategy, |(body, network, damages)| {
            let mut body = bodies[body].clone();
            for damage in &damages {
                apply(&mut body, damage);
            }
            match SignRequest::parse(PUBLIC_KEY, &body, &networks[network]) {
                // A refusal says something, and little.
                Err(error) => {
                    refused.set(refused.get() + 1);
                    prop_assert!((1..2000).contains(&error.to_string().len()));
                }
                // Deterministic: the same bytes mean the same thing.
                Ok(request) => {
                    accepted.set(accepted.get() + 1);
                    prop_assert_eq!(SignRequest::parse(PUBLIC_KEY, &body, &networks[network]), Ok(request));
                }
            }
            Ok(())
        })
        .unwrap();
    // Both answers occurred, so both were tested.
    assert!(accepted.get() > 10 && refused.get() > 1000, "{} accepted, {} refused", accepted.get(), refused.get());
}

/// Well-formed JSON with values in the wrong places: what byte damage rarely leaves alive.
#[test]
fn bodies_with_values_of_other_bodies_are_answered() {
    let Some(kats) = kats() else { return };
    let networks = networks();
    let places: Vec<Vec<String>> = kats.iter().map(|kat| message_support::places(&kat.request)).collect();
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 20_000, failure_persistence: None, ..Config::default() });
    let index = any::<prop::sample::Index>;
    let strategy = (index(), index(), prop::collection::vec((index(), index(), index()), 1..4));
    runner
        .run(&strategy, |(body, network, moves)| {
            let body = body.index(kats.len());
            let network = network.get(&networks);
            let mut request = kats[body].request.clone();
            request.as_object_mut().unwrap().remove("signingRoot");
            for (to, other, from) in moves {
                let other = other.index(kats.len());
                let value = kats[other].request.pointer(from.get(places[other].as_slice()).as_str()).unwrap().clone();
                if let Some(place) = request.pointer_mut(to.get(places[body].as_slice()).as_str()) {
                    *place = value;
                }
            }
            match message_support::parse(&request, network) {
                Err(error) => {
                    refused.set(refused.get() + 1);
                    prop_assert!((1..2000).contains(&error.to_string().len()));
                }
                Ok(parsed) => {
                    accepted.set(accepted.get() + 1);
                    prop_assert_eq!(message_support::parse(&request, network), Ok(parsed));
                }
            }
            Ok(())
        })
        .unwrap();
    // Both answers occurred, so both were tested.
    assert!(accepted.get() > 10 && refused.get() > 1000, "{} accepted, {} refused", accepted.get(), refused.get());
}
