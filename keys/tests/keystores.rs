//! EIP-2335 keystores against the official vectors, and what is encrypted is decrypted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::development::interop_secret;
use consigner_keys::keystore::{Kdf, Keystore, KeystoreError, Password};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use support::{ERC_PASSWORD, ERC_SECRET, WEAK, document, parse, same, vectors};

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
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

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

    /// One damaged byte is refused somewhere, or was in a place that does not matter; it never yields another key.
    #[test]
    fn a_damaged_keystore_never_opens_as_another_key(place in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut text = document().to_string().into_bytes();
        let place = place.index(text.len());
        text[place] = byte;
        let opened = Keystore::parse(&text).and_then(|keystore| keystore.decrypt(&Password::new("password")));
        if let Ok(secret) = opened {
            prop_assert!(same(&secret, &interop_secret(0)));
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Keystore::parse(&bytes).is_err());
    }
}
