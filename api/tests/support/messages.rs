//! Requests for tests: small, valid, on mainnet at Electra.

use consigner_rules::{Network, Root};
use serde_json::{Value, json};

/// An epoch of Electra.
pub const EPOCH: u64 = 370_000;

pub fn mainnet() -> (Network, Root) {
    let network = Network::by_name("mainnet").unwrap();
    let root = network.genesis_validators_root().unwrap();
    (network, root)
}

fn fork_info() -> Value {
    json!({
        "fork": {"previous_version": "0x04000000", "current_version": "0x05000000", "epoch": "364032"},
        "genesis_validators_root": mainnet().1,
    })
}

pub fn attestation(source: u64, target: u64, block: u8) -> Value {
    let root = |byte| Root([byte; 32]);
    json!({"type": "ATTESTATION", "fork_info": fork_info(), "attestation": {
        "slot": (target * 32).to_string(), "index": "0", "beacon_block_root": root(block),
        "source": {"epoch": source.to_string(), "root": root(1)},
        "target": {"epoch": target.to_string(), "root": root(2)},
    }})
}

pub fn block(slot: u64, state: u8) -> Value {
    let root = |byte| Root([byte; 32]);
    json!({"type": "BLOCK_V2", "fork_info": fork_info(), "beacon_block": {"version": "ELECTRA", "block_header": {
        "slot": slot.to_string(), "proposer_index": "5", "parent_root": root(1), "state_root": root(state),
        "body_root": root(3),
    }}})
}

pub fn randao(epoch: u64) -> Value {
    json!({"type": "RANDAO_REVEAL", "fork_info": fork_info(), "randao_reveal": {"epoch": epoch.to_string()}})
}
