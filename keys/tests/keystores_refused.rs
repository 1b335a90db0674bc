//! Keystores that are damaged, dangerous or something else: each is refused with the field and the reason.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use consigner_keys::development::interop_secret;
use consigner_keys::keystore::{KEYSTORE_BYTES_MAX, Kdf, Keystore, KeystoreError, Password};
use serde_json::{Value, json};
use support::{document, keystore, parse};

fn message(document: &Value) -> String {
    parse(document).unwrap_err().to_string()
}

fn scrypt_document() -> Value {
    let kdf = Kdf::Scrypt { log_n: 2, r: 8, p: 1 };
    let keystore = Keystore::encrypt(&interop_secret(0), &Password::new("password"), "", kdf).unwrap();
    serde_json::from_str(&keystore.to_json()).unwrap()
}

#[test]
fn what_is_no_keystore_says_where() {
    let text = keystore(0, "password").to_json();
    let cut = &text.as_bytes()[..text.len() / 2];
    let truncated = KeystoreError::Truncated { line: 1, column: cut.len() };
    assert_eq!(Keystore::parse(cut).unwrap_err(), truncated);
    for (bytes, error) in [
        (&b""[..], KeystoreError::Empty),
        (b" \n", KeystoreError::Empty),
        (b"{\n  nonsense", KeystoreError::NotJson { line: 2, column: 3 }),
        (b"[]", KeystoreError::Field { field: "the keystore".to_owned(), expected: "an object" }),
        (b"\"text\"", KeystoreError::Field { field: "the keystore".to_owned(), expected: "an object" }),
        (b"\xff\xfe", KeystoreError::NotJson { line: 1, column: 1 }),
    ] {
        assert_eq!(Keystore::parse(bytes).unwrap_err(), error, "{bytes:?}");
    }
    let large = vec![b' '; KEYSTORE_BYTES_MAX + 1];
    let (bytes, bytes_max) = (KEYSTORE_BYTES_MAX as u64 + 1, KEYSTORE_BYTES_MAX as u64);
    assert_eq!(Keystore::parse(&large).unwrap_err(), KeystoreError::TooLarge { bytes, bytes_max });
}

#[test]
fn every_missing_or_malformed_field_is_named() {
    for pointer in [
        "/version",
        "/crypto",
        "/crypto/kdf",
        "/crypto/kdf/function",
        "/crypto/kdf/params",
        "/crypto/kdf/params/c",
        "/crypto/kdf/params/dklen",
        "/crypto/kdf/params/prf",
        "/crypto/kdf/params/salt",
        "/crypto/checksum",
        "/crypto/checksum/function",
        "/crypto/checksum/message",
        "/crypto/cipher",
        "/crypto/cipher/function",
        "/crypto/cipher/message",
        "/crypto/cipher/params",
        "/crypto/cipher/params/iv",
    ] {
        let name = pointer[1..].replace('/', ".");
        let mut missing = document();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        missing.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(field).unwrap();
        assert_eq!(message(&missing), format!("{name} is missing"));
        let mut wrong = document();
        *wrong.pointer_mut(pointer).unwrap() = json!([true]);
        assert!(message(&wrong).contains(if name == "version" { "keystore version" } else { &name }), "{name}");
    }
}

#[test]
fn values_out_of_form_are_refused() {
    for (pointer, value, refusal) in [
        ("/version", json!(5), "keystore version 5 is not supported; EIP-2335 is version 4"),
        ("/version", json!("4"), "keystore version 4 is not supported; EIP-2335 is version 4"),
        ("/pubkey", json!("0x12"), "pubkey is not a public key of 48 bytes of hexadecimal"),
        ("/pubkey", json!(7), "pubkey is not a text"),
        ("/path", json!(7), "path is not a text"),
        ("/crypto/cipher/params/iv", json!("00"), "crypto.cipher.params.iv is not 16 bytes of hexadecimal"),
        ("/crypto/cipher/message", json!("0g"), "crypto.cipher.message is not hexadecimal"),
        ("/crypto/checksum/message", json!("00"), "crypto.checksum.message is not 32 bytes of hexadecimal"),
        ("/crypto/kdf/params/salt", json!("abc"), "crypto.kdf.params.salt is not hexadecimal"),
        ("/crypto/kdf/params/c", json!(0), "crypto.kdf.params.c 0 is out of bounds: 1 to 16777216 rounds"),
        (
            "/crypto/kdf/params/c",
            json!(16_777_217),
            "crypto.kdf.params.c 16777217 is out of bounds: 1 to 16777216 rounds",
        ),
        ("/crypto/kdf/params/c", json!(-1), "crypto.kdf.params.c is not a whole number"),
        ("/crypto/kdf/params/c", json!(1.5), "crypto.kdf.params.c is not a whole number"),
    ] {
        let mut document = document();
        *document.pointer_mut(pointer).unwrap() = value;
        assert_eq!(message(&document), refusal);
    }
}

#[test]
fn scrypt_parameters_have_bounds() {
    let memory =
        |taken: u64| format!("128 * n * r may be at most 1024 MiB of memory, and these parameters take {taken} MiB");
    let two = "a power of two, at least 2".to_owned();
    for (n, r, p, field, bound) in [
        (0_u64, 8_u64, 1_u64, "n 0", two.clone()),
        (1, 8, 1, "n 1", two.clone()),
        (262_143, 8, 1, "n 262143", two),
        (1 << 21, 8, 1, "n 2097152", memory(2048)),
        (1 << 20, 9, 1, "n 1048576", memory(1152)),
        (1 << 63, 8, 1, "n 9223372036854775808", memory(u64::MAX >> 20)),
        (1 << 10, u64::MAX, 1, "r 18446744073709551615", memory(u64::MAX >> 20)),
        (1 << 10, 8, 0, "p 0", "1 to 16".to_owned()),
        (1 << 10, 8, 17, "p 17", "1 to 16".to_owned()),
        (1 << 10, 0, 1, "r 0", "at least 1".to_owned()),
        (2, 1 << 22, 16, "n 2", memory(8192)),
    ] {
        let mut document = scrypt_document();
        let params = document.pointer_mut("/crypto/kdf/params").unwrap();
        (params["n"], params["r"], params["p"]) = (json!(n), json!(r), json!(p));
        assert_eq!(message(&document), format!("crypto.kdf.params.{field} is out of bounds: {bound}"));
    }
    let mut largest = scrypt_document();
    largest["crypto"]["kdf"]["params"]["n"] = json!(1 << 20);
    assert_eq!(parse(&largest).unwrap().memory_bytes(), 1 << 30);
}

#[test]
fn a_wrong_password_and_an_altered_file_look_alike() {
    let opened = |document: &Value| parse(document).unwrap().decrypt(&Password::new("password"));
    assert!(opened(&document()).is_ok());
    for pointer in ["/crypto/checksum/message", "/crypto/cipher/message", "/crypto/kdf/params/salt"] {
        let mut altered = document();
        let value = altered.pointer_mut(pointer).unwrap();
        let text = value.as_str().unwrap();
        let flipped = if text.starts_with('0') { "1" } else { "0" };
        *value = json!(format!("{flipped}{}", &text[1..]));
        assert_eq!(opened(&altered).unwrap_err(), KeystoreError::WrongPassword, "{pointer}");
    }
    let wrong = parse(&document()).unwrap().decrypt(&Password::new("Password")).unwrap_err();
    assert_eq!(wrong.to_string(), "wrong password, or the keystore was altered (its checksum does not match)");
}

#[test]
fn another_validators_key_is_refused_with_both_names() {
    let mut document = document();
    let (held, named) = (interop_secret(0).public_key(), interop_secret(1).public_key());
    document["pubkey"] = json!(hex::encode(named.as_bytes()));
    let error = parse(&document).unwrap().decrypt(&Password::new("password")).unwrap_err();
    assert_eq!(error, KeystoreError::WrongPublicKey { named, held });
    assert_eq!(error.to_string(), format!("the keystore names {named} but holds the key of {held}"));
    // The initialisation vector is not part of EIP-2335's checksum; the public key notices what the checksum cannot.
    let mut altered = self::document();
    altered["crypto"]["cipher"]["params"]["iv"] = json!("00000000000000000000000000000000");
    let error = parse(&altered).unwrap().decrypt(&Password::new("password")).unwrap_err();
    assert!(matches!(error, KeystoreError::WrongPublicKey { .. } | KeystoreError::BadSecret(_)), "{error}");
}

#[test]
fn parameters_that_could_not_be_read_are_not_written() {
    let kdf = Kdf::Scrypt { log_n: 40, r: 8, p: 1 };
    let error = Keystore::encrypt(&interop_secret(0), &Password::new("p"), "", kdf).unwrap_err();
    assert!(matches!(error, KeystoreError::Cost { .. }), "{error}");
}
