//! Measures what the archive of a node takes: bytes per attestation, compressed, and how fast it is written and read.
//!
//! `cargo run --release -p consigner-storage --example segment_sizes [VALIDATORS] [EPOCHS]`
//!
//! In: so many validators that attest once an epoch, in entries of [`PER_ENTRY`], their roots random as hashes are. Out:
//! one line. Deliberately absent: blocks and refusals, which are rare.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "prints a report; stops on any failure"
)]

use std::sync::Arc;
use std::time::Instant;

use consigner_rules::primitives::ClusterId;
use consigner_rules::slashing::AgreedDuty;
use consigner_rules::{Change, PublicKey, Root, codec};
use consigner_storage::outbox::SpillLimits;
use consigner_storage::{Outbox, StateStore, StateWrite, verify_segments};

/// Requests that arrive together share an entry.
const PER_ENTRY: u64 = 8;

/// splitmix64, as bytes.
fn random<const N: usize>(state: &mut u64) -> [u8; N] {
    std::array::from_fn(|_| {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u8::try_from(z >> 56).unwrap_or_default()
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1).map_while(|argument| argument.parse::<u64>().ok());
    let (validators, epochs) = (arguments.next().unwrap_or(1000), arguments.next().unwrap_or(50));
    let mut state = 7;
    let keys: Vec<PublicKey> = (0..validators).map(|_| PublicKey(random(&mut state))).collect();
    let home = tempfile::tempdir().expect("a directory");
    let (store, _) = StateStore::open(&home.path().join("state")).expect("the store opens");
    store.outbox_begins(0).expect("the store is written");
    let (store, lineage) = (Arc::new(store), ClusterId([1; 16]));
    let outbox = Outbox::open(store.clone(), &home.path().join("archive"), lineage).expect("the outbox opens");
    let mut index = 0;
    for epoch in 0..epochs {
        for keys in keys.chunks(usize::try_from(PER_ENTRY).expect("a small number")) {
            index += 1;
            let changes: Vec<Change> = keys.iter().map(|key| signed(*key, epoch, &mut state)).collect();
            let row = codec::encode(&(1_800_000_000_000 + epoch * 384_000 + index % 4000, changes));
            store.commit(StateWrite { outbox: Some((index, row)), ..StateWrite::default() }).expect("committed");
        }
    }
    let (attestations, in_store) = ((validators * epochs) as f64, store.outbox_bytes() as f64);
    let started = Instant::now();
    while outbox.spill(SpillLimits { rows: 0, bytes: 0 }, index).expect("spilled").rows > 0 {}
    let spilling = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let report = verify_segments(&home.path().join("archive"), &lineage, &mut |_| {}).expect("verified");
    println!(
        "{validators} validators, {epochs} epochs: {:.0} bytes per attestation in the store, {:.0} in segments ({:.2}); \
         spilled {:.0}, verified {:.0} per second; complete: {}",
        in_store / attestations,
        report.bytes as f64 / attestations,
        report.bytes as f64 / in_store,
        attestations / spilling,
        attestations / started.elapsed().as_secs_f64(),
        report.is_complete()
    );
}

fn signed(public_key: PublicKey, epoch: u64, state: &mut u64) -> Change {
    let epoch = 400_000 + epoch;
    let duty = AgreedDuty::Attestation { source_epoch: epoch - 1, target_epoch: epoch };
    let (signing_root, peer) = (Root(random(state)), "validator-client-1".to_owned());
    Change::SignedVia { public_key, duty, signing_root, peer, node: epoch % 3 }
}
