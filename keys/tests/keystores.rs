//! EIP-2335 keystores against the official vectors, and every way in which one can be unusable.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::development::interop_secret;
use consigner_keys::keystore::{KEYSTORE_BYTES_MAX, Kdf, Keystore, KeystoreError, Password};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use support::{ERC_PASSWORD, ERC_SECRET, WEAK, keystore, same, vectors};

fn parse(document: &Value) -> Result<Keystore, KeystoreError> {
    Keystore::parse(document.to_string().as_bytes())
}

fn message(document: &Value) -> String {
    parse(document).unwrap_err().to_string()
}

/// A keystore that opens with "password"; tests break one thing at a time.
fn document() -> Value {
    serde_json::from_str(&keystore(0, "password").to_json()).unwrap()
}

fn scrypt_document() -> Value {
    let kdf = Kdf::Scrypt { log_n: 2, r: 8, p: 1 };
    let keystore = Keystore::encrypt(&interop_secret(0), &Password::new("password"), "", kdf).unwrap();
    serde_json::from_str(&keystore.to_json()).unwrap()
}

#[test]
fn the_test_cases_of_erc_2335_open() {
    let Some(folder) = vectors("keystore-v4") else { return };
    let expected = ERC_SECRET.parse().unwrap();
    for file in ["erc2335_scrypt.json", "erc2335_pbkdf2.json"] {
        let keystore = Keystore::parse(&fs::read(folder.join(file)).unwrap()).unwrap();
        let secret = keystore.decrypt(&Password::new(ERC_PASSWORD)).unwrap();
        assert!(same(&secret, &expected), "{file}");
        assert_eq!(keystore.public_key(), Some(expected.public_key()), "{file}");
        assert_eq!(keystore.decrypt(&Password::new("testpassword")).unwrap_err(), KeystoreError::WrongPassword);
    }
}

/// File, and its refusal or nothing if it opens.
const CASES: &[(&str, Option<&str>)] = &[
    ("missingCrypto.json", Some("crypto is missing")),
    ("missingKdfSectionTestVector.json", Some("crypto.kdf.params is missing")),
    ("missingVersion.json", Some("version is missing")),
    ("pbkdf2TestVector.json", None),
    ("scryptExtraFieldTestVector.json", None),
    ("scryptTestVector.json", None),
    ("scryptTestVectorWithMissingPathAndUUID.json", None),
    (
        "unsupportedChecksumFunction.json",
        Some("crypto.checksum.function \"sha128\" is not supported; supported: sha256"),
    ),
    (
        "unsupportedCipherFunction.json",
        Some("crypto.cipher.function \"aes-256-ctr\" is not supported; supported: aes-128-ctr"),
    ),
    ("unsupportedDkLen.json", Some("crypto.kdf.params.dklen \"31\" is not supported; supported: 32")),
    ("unsupportedKdfFunction.json", Some("crypto.kdf.function \"pbkdf3\" is not supported; supported: scrypt, pbkdf2")),
    (
        "unsupportedPBKDF2Prf.json",
        Some("crypto.kdf.params.prf \"hmac-sha512\" is not supported; supported: hmac-sha256"),
    ),
    (
        "v3TestVector.json",
        Some(
            "version 3 is a Web3 secret storage file of an execution-layer account, not an EIP-2335 keystore \
             (version 4)",
        ),
    ),
];

#[test]
fn every_vector_opens_or_is_refused_with_its_reason() {
    let Some(folder) = vectors("keystore-v4/valid-and-invalid") else { return };
    let there: BTreeSet<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let listed: BTreeSet<String> = CASES.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(there, listed, "a vector that no test knows");
    let (password, expected) = (Password::new(ERC_PASSWORD), ERC_SECRET.parse().unwrap());
    for (file, refusal) in CASES {
        let parsed = Keystore::parse(&fs::read(folder.join(file)).unwrap());
        match (parsed, refusal) {
            (Ok(keystore), None) => assert!(same(&keystore.decrypt(&password).unwrap(), &expected), "{file}"),
            (Err(error), Some(refusal)) => assert_eq!(error.to_string(), *refusal, "{file}"),
            (parsed, _) => panic!("{file}: {parsed:?}"),
        }
    }
}

#[test]
fn path_and_uuid_may_be_absent() {
    let mut bare = document();
    for field in ["path", "uuid", "description", "pubkey"] {
        bare.as_object_mut().unwrap().remove(field);
    }
    let keystore = parse(&bare).unwrap();
    assert_eq!((keystore.path(), keystore.public_key()), (None, None));
    assert!(same(&keystore.decrypt(&Password::new("password")).unwrap(), &interop_secret(0)));
}

#[test]
fn a_public_key_may_have_a_prefix() {
    let mut document = document();
    document["pubkey"] = json!(interop_secret(0).public_key().to_string());
    assert_eq!(parse(&document).unwrap().public_key(), Some(interop_secret(0).public_key()));
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
    let mut altered: Value = serde_json::from_str(&keystore(0, "password").to_json()).unwrap();
    altered["crypto"]["cipher"]["params"]["iv"] = json!("00000000000000000000000000000000");
    let error = parse(&altered).unwrap().decrypt(&Password::new("password")).unwrap_err();
    assert!(matches!(error, KeystoreError::WrongPublicKey { .. } | KeystoreError::BadSecret(_)), "{error}");
}

#[test]
fn passwords_are_normalised() {
    //= EIP-2335: the password of its test cases is "testpassword🔑" after normalisation
    let one = |password: &str, other: &str| {
        let keystore = Keystore::encrypt(&interop_secret(0), &Password::new(password), "", WEAK).unwrap();
        keystore.decrypt(&Password::new(other)).is_ok()
    };
    assert!(one(ERC_PASSWORD, "testpassword🔑"));
    assert!(one("Å ﬁ", "A\u{30a} fi"));
    assert!(one("pass\u{0}wo\u{1f}rd\u{7f}\u{80}\u{9f}\r\n", "password"));
    assert!(one("", "\n"));
    // A space is no control code, and letters keep their case.
    assert!(!one("password ", "password"));
    assert!(!one("password", "PASSWORD"));
    assert!(!one("\u{a0}a", "a"));
    assert!(Password::new("\u{7f}\n").is_empty() && !Password::new(" ").is_empty());
    let worst = "\u{fdfa}".repeat(50);
    assert!(one(&worst, &worst));
}

#[test]
fn a_new_keystore_is_complete_and_never_the_same() {
    let secret = interop_secret(3);
    let make = || Keystore::encrypt(&secret, &Password::new("p"), "m/12381/3600/3/0/0", WEAK).unwrap();
    let (one, other): (Value, Value) =
        (serde_json::from_str(&make().to_json()).unwrap(), serde_json::from_str(&make().to_json()).unwrap());
    for pointer in ["/crypto/kdf/params/salt", "/crypto/cipher/params/iv", "/crypto/cipher/message", "/uuid"] {
        assert_ne!(one.pointer(pointer).unwrap(), other.pointer(pointer).unwrap(), "{pointer}");
    }
    assert_eq!(one["version"], 4);
    assert_eq!(one["path"], "m/12381/3600/3/0/0");
    assert_eq!(one["pubkey"], hex::encode(secret.public_key().as_bytes()));
    assert_eq!(one["crypto"]["kdf"]["message"], "");
    assert_eq!(one["crypto"]["checksum"]["params"], json!({}));
    let uuid = one["uuid"].as_str().unwrap();
    assert!(uuid.len() == 36 && uuid.as_bytes()[14] == b'4' && uuid.as_bytes()[8] == b'-', "{uuid}");
    let keystore = make();
    assert_eq!(Keystore::parse(keystore.to_json().as_bytes()).unwrap(), keystore);
}

#[test]
fn the_defaults_are_those_of_the_standard() {
    for (kdf, memory, shown) in [
        (Kdf::SCRYPT, 256 << 20, json!({"dklen": 32, "n": 262_144, "r": 8, "p": 1})),
        (Kdf::PBKDF2, 0, json!({"dklen": 32, "c": 262_144, "prf": "hmac-sha256"})),
    ] {
        assert_eq!(kdf.memory_bytes(), memory);
        let keystore = Keystore::encrypt(&interop_secret(0), &Password::new("p"), "", kdf).unwrap();
        let mut document: Value = serde_json::from_str(&keystore.to_json()).unwrap();
        let params = document.pointer_mut("/crypto/kdf/params").unwrap();
        assert_eq!(params.as_object_mut().unwrap().remove("salt").unwrap().as_str().unwrap().len(), 64);
        assert_eq!(*params, shown);
    }
}

#[test]
fn parameters_that_could_not_be_read_are_not_written() {
    let kdf = Kdf::Scrypt { log_n: 40, r: 8, p: 1 };
    let error = Keystore::encrypt(&interop_secret(0), &Password::new("p"), "", kdf).unwrap_err();
    assert!(matches!(error, KeystoreError::Cost { .. }), "{error}");
}

#[test]
fn nothing_shows_a_secret() {
    let (secret, password) = (interop_secret(0), Password::new("open sesame"));
    let keystore = Keystore::encrypt(&secret, &password, "", WEAK).unwrap();
    let document: Value = serde_json::from_str(&keystore.to_json()).unwrap();
    let ciphertext = document["crypto"]["cipher"]["message"].as_str().unwrap();
    let error = keystore.decrypt(&Password::new("open barley")).unwrap_err();
    let shown = format!("{keystore:?} {keystore:#?} {password:?} {secret:?} {error:?} {error}");
    for hidden in ["sesame", "barley", ciphertext, "25295f0d1d592a90"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn what_is_encrypted_is_decrypted(
        index in 0_u64..1000,
        password in "\\PC{0,40}",
        kdf in prop_oneof![
            (1_u8..6, 1_u32..4, 1_u32..3).prop_map(|(log_n, r, p)| Kdf::Scrypt { log_n, r, p }),
            (1_u32..20).prop_map(|c| Kdf::Pbkdf2 { c }),
        ],
    ) {
        let (secret, password) = (interop_secret(index), Password::new(&password));
        let keystore = Keystore::encrypt(&secret, &password, "", kdf).unwrap();
        let read = Keystore::parse(keystore.to_json().as_bytes()).unwrap();
        prop_assert_eq!(&read, &keystore);
        prop_assert_eq!(read.kdf(), kdf);
        prop_assert!(same(&read.decrypt(&password).unwrap(), &secret));
        prop_assert_eq!(read.decrypt(&Password::new("another one")).unwrap_err(), KeystoreError::WrongPassword);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Keystore::parse(&bytes).is_err());
    }
}
