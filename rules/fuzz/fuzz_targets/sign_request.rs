//! A request body from anybody: understood or refused, never a panic; understood twice alike.
#![no_main]

use consigner_rules::{Network, PublicKey, SignRequest};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static NETWORK: LazyLock<Option<Network>> = LazyLock::new(|| Network::by_name("mainnet"));

fuzz_target!(|body: &[u8]| {
    if let Some(network) = NETWORK.as_ref() {
        let once = SignRequest::parse(PublicKey([7; 48]), body, network);
        assert_eq!(once, SignRequest::parse(PublicKey([7; 48]), body, network));
    }
});
