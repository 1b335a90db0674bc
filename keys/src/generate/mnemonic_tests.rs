#![allow(clippy::unwrap_used, reason = "tests")]

use super::{Mnemonic, SecretKey};
use crate::vectors;
use serde_json::Value;

/// The words of 256 bits of zeros.
fn art() -> String {
    format!("{}art", "abandon ".repeat(23))
}

fn seed(words: &str, passphrase: &str) -> String {
    hex::encode(Mnemonic::parse(words).unwrap().seed(passphrase).0.as_slice())
}

#[test]
fn the_vectors_of_bip_39() {
    for (words, passphrase, expected) in [
        (
            art(),
            "TREZOR",
            "bda85446c68413707090a52022edd26a1c9462295029f2e60cd7c4f2bbd30971\
             70af7a4d73245cafa9c3cca8d561a7c3de6f5d4a10be8ed2a5e608d68f92fcc8",
        ),
        (
            format!("{}about", "abandon ".repeat(11)),
            "TREZOR",
            "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e5349553\
             1f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04",
        ),
        (
            // Wide spaces, and a passphrase that is not in NFKD.
            format!("{}あおぞら", "あいこくしん\u{3000}".repeat(11)),
            "㍍ガバヴァぱばぐゞちぢ十人十色",
            "a262d6fb6122ecf45be09c50492b31f92e9beb7d9a845987a02cefda57a15f9c\
             467a17872029a9e92299b5cbdf306e3a0ee620245cbd508959b6cb7ca637bd55",
        ),
    ] {
        assert_eq!(seed(&words, passphrase), expected, "{words}");
    }
    assert_ne!(seed(&art(), "TREZOR"), seed(&art(), ""));
}

#[test]
fn case_and_space_do_not_matter() {
    let words = format!("  Abandon\tABANDON\n{}art\r\n", "abandon  ".repeat(21));
    assert_eq!(seed(&words, ""), seed(&art(), ""));
}

/// A decimal number of up to 256 bits, big-endian.
fn number(decimal: &str) -> [u8; 32] {
    let mut bytes = [0_u8; 32];
    for digit in decimal.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 10;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        assert_eq!(carry, 0, "{decimal}");
    }
    bytes
}

#[test]
fn the_vectors_of_eip_2333() {
    let Some(files) = vectors::load("eip2333") else { return };
    let cases: Vec<Value> = files.into_iter().flat_map(|(_, file)| file.as_array().unwrap().clone()).collect();
    assert!(cases.len() >= 4);
    for case in cases {
        let text = |name: &str| vectors::text(&case, &format!("/{name}")).to_owned();
        let seed = hex::decode(&text("seed")[2..]).unwrap();
        let master = SecretKey::derive_master(&seed).unwrap();
        assert_eq!(*master.to_bytes(), number(&text("master_SK")));
        let child = master.derive_child(text("child_index").parse().unwrap()).unwrap();
        assert_eq!(*child.to_bytes(), number(&text("child_SK")));
    }
    assert!(SecretKey::derive_master(&[7; 31]).is_none(), "EIP-2333 wants at least 32 bytes");
}
