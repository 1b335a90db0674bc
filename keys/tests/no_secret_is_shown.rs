//! S7: no secret stands in what any public type says of itself, nor in any error.
#![allow(clippy::unwrap_used, reason = "tests")]

use consigner_keys::development::{Yardstick, interop_secret};
use consigner_keys::{BadSecret, Keyring, KeyringOptions, LocalSealer, SecretKey, SignError, seal, unseal};
use consigner_rules::primitives::ClusterId;
use std::fmt::{Debug, Display};

/// Interop key 0, and the content of the key file.
const SECRET: &str = "25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866";
const FILE_KEY: &str = "8c1f0e2d3b4a5968778695a4b3c2d1e0ffeeddccbbaa99887766554433221100";

/// Every way in which bytes are usually written: hexadecimal and lists of numbers, in either order.
fn forms(digits: &str) -> Vec<String> {
    let mut bytes = hex::decode(digits).unwrap();
    let mut forms = Vec::new();
    for _ in 0..2 {
        forms.push(hex::encode(&bytes));
        let list = |part: &[u8]| format!("{part:?}").trim_matches(['[', ']']).to_owned();
        forms.push(list(&bytes[..8]));
        bytes.reverse();
    }
    forms
}

fn check(text: &str) {
    for form in [SECRET, FILE_KEY].into_iter().flat_map(forms) {
        assert!(!text.to_lowercase().contains(&form), "shows a secret: {text}");
    }
}

fn check_debug(value: &impl Debug) {
    check(&format!("{value:?} {value:#?}"));
}

fn check_error(error: &(impl Debug + Display)) {
    check(&format!("{error} {error:?}"));
}

#[test]
fn the_check_itself_notices_a_secret() {
    let bytes = hex::decode(SECRET).unwrap();
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    for text in [format!("key {SECRET}"), format!("{bytes:?}"), format!("{reversed:?}"), SECRET.to_uppercase()] {
        assert!(std::panic::catch_unwind(|| check(&text)).is_err(), "{text}");
    }
}

#[test]
fn nothing_that_holds_a_secret_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    LocalSealer::create_key_file(&path).unwrap();
    std::fs::write(&path, FILE_KEY).unwrap();
    let sealer = LocalSealer::from_key_file(&path).unwrap();
    let (cluster, other) = (ClusterId([1; 16]), ClusterId([2; 16]));
    let (data_key, open) = sealer.new_data_key(&cluster).unwrap();
    let secret: SecretKey = SECRET.parse().unwrap();
    assert_eq!(secret.public_key(), interop_secret(0).public_key());
    let sealed = seal(&open, &cluster, &secret).unwrap();
    let keyring = Keyring::new(&KeyringOptions { threads: 1, ..KeyringOptions::default() }).unwrap();
    keyring.insert(&sealed, &open, &cluster).unwrap();

    check_debug(&secret);
    check_debug(&sealer);
    check_debug(&data_key);
    check_debug(&open);
    check_debug(&sealed);
    check_debug(&keyring);
    check_debug(&Yardstick::new());
    assert_eq!(format!("{secret:?}"), "SecretKey(hidden)");

    check_error(&unseal(&open, &other, &sealed).unwrap_err());
    let mut altered = sealed.clone();
    altered.ciphertext[0] ^= 1;
    check_error(&unseal(&open, &cluster, &altered).unwrap_err());
    check_error(&seal(&open, &other, &secret).unwrap_err());
    check_error(&sealer.unwrap_data_key(&data_key, &other).unwrap_err());
    check_error(&LocalSealer::create_key_file(&path).unwrap_err());
    std::fs::write(&path, &FILE_KEY[1..]).unwrap();
    check_error(&LocalSealer::from_key_file(&path).unwrap_err());
    check_error(&format!("{SECRET}00").parse::<SecretKey>().unwrap_err());
    for error in [BadSecret::Zero, BadSecret::TooLarge, BadSecret::Text] {
        check_error(&error);
    }
    for error in [SignError::UnknownKey, SignError::Mismatch, SignError::Overloaded, SignError::Stopped] {
        check_error(&error);
    }
}
