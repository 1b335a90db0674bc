//! New keys: from a mnemonic to keystores, deposits and files.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use consigner_keys::generate::{
    AMOUNT_GWEI_DEFAULT, Address, AddressError, DepositData, DepositTerms, GenerateError, Mnemonic, Seed,
    WithdrawalCredentials, deposit_data_file_name, deposit_data_json, keystore_file_name, write_private,
};
use consigner_keys::keystore::{Keystore, Password};
use consigner_keys::{SecretKey, verify};
use consigner_rules::{Network, SignRequest, SigningType};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::{WEAK, same};

/// The words of 256 bits of zeros.
fn mnemonic() -> Mnemonic {
    Mnemonic::parse(&format!("{}art", "abandon ".repeat(23))).unwrap()
}

fn seed() -> Seed {
    mnemonic().seed("")
}

fn network(name: &str) -> Network {
    Network::by_name(name).unwrap()
}

/// From the text of EIP-55.
const ADDRESS: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

fn execution() -> WithdrawalCredentials {
    WithdrawalCredentials::Execution(ADDRESS.parse().unwrap())
}

/// Computed by an independent implementation of EIP-2333 and EIP-2334 (Python, from the texts of the standards): index,
/// withdrawal secret, signing secret.
const DERIVED: &[(u32, &str, &str)] = &[
    (
        0,
        "068dce0c90cb428ab37a74af0191eac49648035f1aaef077734b91e05985ec55",
        "1eec38ed3bf5eadf50150c6e6b7ea444d98f7911446daeca3bfa669310398f32",
    ),
    (
        1,
        "25ab07a0d77a275a7363b0925798cdd13aa6bf73794b5e4601a3b223abd3bbac",
        "41e118fd8a94b4f5c82add7b76bb5e41cf12d280bf3cd41c65e46b991fbb154e",
    ),
    (
        u32::MAX,
        "0bf9de219a7c6a6c0ae06ec110e37e66b31c21f4456b540d4eb094fb4ce0ea34",
        "3d352a8aecb961cee9495a0e1f7a5a50c614915b9ff84d1385708ad3ec39253c",
    ),
];

#[test]
fn keys_lie_where_eip_2334_has_them() {
    for (index, withdrawal, signing) in DERIVED {
        let keys = seed().validator(*index).unwrap();
        assert!(same(keys.signing_key(), &signing.parse().unwrap()), "{index}");
        let withdrawal: SecretKey = withdrawal.parse().unwrap();
        assert_eq!(*keys.withdrawal_public_key(), withdrawal.public_key(), "{index}");
        assert_eq!(keys.path(), format!("m/12381/3600/{index}/0/0"));
        assert_eq!((keys.index(), keys.public_key()), (*index, keys.signing_key().public_key()));
    }
}

#[test]
fn a_new_mnemonic_has_24_words_of_its_own() {
    let all: BTreeSet<String> = (0..20).map(|_| Mnemonic::generate().unwrap().words().to_string()).collect();
    assert_eq!(all.len(), 20);
    for words in &all {
        assert_eq!(words.split(' ').count(), 24);
        let again = Mnemonic::parse(words).unwrap();
        assert_eq!(again.words().as_str(), words);
    }
}

#[test]
fn a_wrong_mnemonic_says_what_is_wrong() {
    let words = |count: usize, last: &str| format!("{}{last}", "abandon ".repeat(count - 1));
    for (text, refusal) in [
        (String::new(), "a mnemonic has 12, 15, 18, 21 or 24 words, not 0"),
        (words(11, "about"), "a mnemonic has 12, 15, 18, 21 or 24 words, not 11"),
        (words(25, "about"), "a mnemonic has 12, 15, 18, 21 or 24 words, not 25"),
        (words(24, "about"), "the checksum of the mnemonic does not match: a word is wrong, or two are exchanged"),
        (words(12, "secretword"), "word 12 of the mnemonic is in no word list of BIP-39 that has the words before it"),
        (
            format!("secretword {}", words(11, "about")),
            "word 1 of the mnemonic is in no word list of BIP-39 that has the words before it",
        ),
    ] {
        let error = Mnemonic::parse(&text).unwrap_err();
        assert_eq!(error.to_string(), refusal, "{text}");
        assert!(!format!("{error:?}").contains("secretword"));
    }
}

#[test]
fn a_keystore_opens_with_its_password() {
    let keys = seed().validator(1).unwrap();
    let password = Password::new("correct horse");
    let keystore = Keystore::parse(keys.keystore(&password, WEAK).unwrap().to_json().as_bytes()).unwrap();
    assert!(same(&keystore.decrypt(&password).unwrap(), keys.signing_key()));
    assert_eq!(keystore.path(), Some("m/12381/3600/1/0/0"));
    assert_eq!(keystore.public_key(), Some(keys.public_key()));
}

/// The signing root as the rules compute it for a validator client that asks for a `DEPOSIT`.
fn request(deposit: &DepositData) -> SignRequest {
    let body = json!({
        "type": "DEPOSIT",
        "deposit": {
            "pubkey": deposit.public_key,
            "withdrawal_credentials": format!("0x{}", hex::encode(deposit.withdrawal_credentials)),
            "amount": deposit.amount_gwei.to_string(),
            "genesis_fork_version": format!("0x{}", hex::encode(deposit.fork_version.0)),
        }
    });
    SignRequest::parse(deposit.public_key, body.to_string().as_bytes(), &network("mainnet")).unwrap()
}

#[test]
fn deposits_are_what_the_rules_take_for_deposits() {
    let keys = seed().validator(0).unwrap();
    for name in ["mainnet", "hoodi", "sepolia", "gnosis"] {
        for credentials in [WithdrawalCredentials::Bls, execution()] {
            let network = network(name);
            let deposit = keys.deposit(&DepositTerms::new(credentials, &network)).unwrap();
            assert_eq!(deposit.fork_version, network.genesis_fork_version());
            let request = request(&deposit);
            assert_eq!(request.signing_type, SigningType::Deposit);
            assert!(verify(&keys.public_key(), &request.signing_root, &deposit.signature), "{name}");
        }
    }
}

#[test]
fn a_deposit_signature_is_bound_to_everything_it_says() {
    let keys = seed().validator(0).unwrap();
    let deposit = keys.deposit(&DepositTerms::new(execution(), &network("hoodi"))).unwrap();
    let change = |change: fn(&mut DepositData)| {
        let mut other = deposit.clone();
        change(&mut other);
        verify(&deposit.public_key, &request(&other).signing_root, &deposit.signature)
    };
    assert!(change(|_| {}));
    assert!(!change(|deposit| deposit.amount_gwei -= 1));
    assert!(!change(|deposit| deposit.withdrawal_credentials[31] ^= 1));
    assert!(!change(|deposit| deposit.fork_version.0[0] ^= 1));
    assert!(!change(|deposit| deposit.public_key.0[47] ^= 1));
}

#[test]
fn withdrawal_credentials_have_their_three_forms() {
    let keys = seed().validator(0).unwrap();
    let of = |credentials: WithdrawalCredentials| hex::encode(credentials.to_bytes(keys.withdrawal_public_key()));
    let address = ADDRESS[2..].to_lowercase();
    assert_eq!(of(execution()), format!("010000000000000000000000{address}"));
    let compounding = WithdrawalCredentials::Compounding(ADDRESS.parse().unwrap());
    assert_eq!(of(compounding), format!("020000000000000000000000{address}"));
    let hash = hex::encode(Sha256::digest(keys.withdrawal_public_key().as_bytes()));
    assert_eq!(of(WithdrawalCredentials::Bls), format!("00{}", &hash[2..]));
}

#[test]
fn the_launchpads_file_has_its_fields() {
    let keys = seed().validator(0).unwrap();
    let deposit = keys.deposit(&DepositTerms::new(execution(), &network("mainnet"))).unwrap();
    let file: Value = serde_json::from_str(&deposit_data_json(std::slice::from_ref(&deposit))).unwrap();
    let element = file[0].as_object().unwrap();
    let expected = [
        ("amount", json!(AMOUNT_GWEI_DEFAULT)),
        ("deposit_cli_version", json!("2.7.0")),
        ("deposit_data_root", json!(hex::encode(deposit.data_root.as_bytes()))),
        ("deposit_message_root", json!(hex::encode(deposit.message_root.as_bytes()))),
        ("fork_version", json!("00000000")),
        ("network_name", json!("mainnet")),
        ("pubkey", json!(hex::encode(keys.public_key().as_bytes()))),
        ("signature", json!(hex::encode(deposit.signature.as_bytes()))),
        ("withdrawal_credentials", json!(hex::encode(deposit.withdrawal_credentials))),
    ];
    let found: Vec<_> = element.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(found, expected);
    assert_eq!(deposit_data_json(&[]), "[]");
}

#[test]
fn amounts_have_bounds() {
    let keys = seed().validator(0).unwrap();
    let compounding = WithdrawalCredentials::Compounding(ADDRESS.parse().unwrap());
    const ETH: u64 = 1_000_000_000;
    for (credentials, amount_gwei, allowed) in [
        (execution(), ETH - 1, false),
        (execution(), ETH, true),
        (execution(), 32 * ETH, true),
        (execution(), 32 * ETH + 1, false),
        (WithdrawalCredentials::Bls, 33 * ETH, false),
        (compounding, 2048 * ETH, true),
        (compounding, 2048 * ETH + 1, false),
        (compounding, 0, false),
    ] {
        let terms = DepositTerms { amount_gwei, ..DepositTerms::new(credentials, &network("mainnet")) };
        match keys.deposit(&terms) {
            Ok(deposit) => assert_eq!((allowed, deposit.amount_gwei), (true, amount_gwei)),
            Err(error) => assert!(!allowed && matches!(error, GenerateError::Amount { .. }), "{error}"),
        }
    }
}

#[test]
fn addresses_with_typing_errors_are_noticed() {
    //= EIP-55, "Test Cases"
    for text in [
        ADDRESS,
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
    ] {
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        assert!(Address::is_checksummed(text));
        let lower = text.to_lowercase();
        assert_eq!(lower.parse::<Address>().unwrap(), address, "without a checksum");
    }
    assert!(!Address::is_checksummed(&ADDRESS.to_lowercase()));
    let expected = ADDRESS.parse().unwrap();
    let wrong_case = ADDRESS.replace("aAe", "aae");
    assert_eq!(wrong_case.parse::<Address>().unwrap_err(), AddressError::Checksum { expected });
    let wrong_digit = ADDRESS.replace("F3E", "F4E");
    assert!(matches!(wrong_digit.parse::<Address>().unwrap_err(), AddressError::Checksum { .. }));
    for text in ["", "0x", &ADDRESS[2..], &ADDRESS[..41], "0xzz", "vitalik.eth"] {
        assert_eq!(text.parse::<Address>().unwrap_err(), AddressError::Form, "{text}");
    }
    let zero = format!("0x{}", "0".repeat(40));
    assert_eq!(zero.parse::<Address>().unwrap_err(), AddressError::Zero);
}

#[test]
fn files_are_private_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let keys = seed().validator(7).unwrap();
    let name = keystore_file_name(&keys, 1_700_000_000);
    assert_eq!(name, "keystore-m_12381_3600_7_0_0-1700000000.json");
    assert_eq!(deposit_data_file_name(1_700_000_000), "deposit_data-1700000000.json");
    let path = folder.path().join(&name);
    write_private(&path, b"content").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = write_private(&path, b"other").unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
    assert_eq!(fs::read(&path).unwrap(), b"content");
    assert!(write_private(&folder.path().join("none/file"), b"content").is_err());
}

#[test]
fn nothing_shows_a_secret() {
    let mnemonic = mnemonic();
    let keys = mnemonic.seed("").validator(0).unwrap();
    let shown = format!("{mnemonic:?} {:?} {keys:?} {:?}", mnemonic.seed(""), keys.signing_key());
    assert!(!shown.contains("abandon") && !shown.contains(DERIVED[0].2), "{shown}");
    assert!(shown.contains("Mnemonic(hidden)") && shown.contains("Seed(hidden)"));
}
