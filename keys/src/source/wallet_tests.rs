#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::development::interop_secret;
use crate::keystore::{DecryptPool, Kdf, Keystore, Password};
use crate::source::{Candidate, Loaded, Material, Outcome, load_all};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The content of a Prysm wallet in a keystore.
fn wallet(private_keys: &[String], public_keys: &[String]) -> Candidate {
    let payload = serde_json::json!({"private_keys": private_keys, "public_keys": public_keys}).to_string();
    encrypted(payload.as_bytes())
}

fn encrypted(payload: &[u8]) -> Candidate {
    let password = Password::new("p");
    let keystore = Box::new(Keystore::encrypt_payload(payload, &password, Kdf::Pbkdf2 { c: 1 }).unwrap());
    Candidate::new("wallet", None, Material::Wallet { keystore, password })
}

#[tokio::test]
async fn every_key_of_a_wallet_is_a_result_of_its_own() {
    let one = STANDARD.encode(interop_secret(0).to_bytes());
    let public_key = |index| interop_secret(index).public_key();
    let name = |index| STANDARD.encode(public_key(index).as_bytes());
    let loaded = load(wallet(
        &[one.clone(), one.clone(), "AAAA".to_owned(), one.clone()],
        &[name(0), name(1), name(2), "?".to_owned()],
    ))
    .await;
    assert_eq!(
        shown(&loaded),
        [
            "wallet: secret",
            &format!("wallet: the source names {} but holds the key of {}", public_key(1), public_key(0)),
            "wallet: the decrypted Prysm wallet is not usable: a private key is not 32 bytes of base64",
            "wallet: the decrypted Prysm wallet is not usable: a public key is not 48 bytes of base64",
        ]
    );
    for (candidate, reason) in [
        (wallet(&[], &[]), "it holds no key"),
        (wallet(&[one], &[]), "1 private keys, but 0 public keys"),
        (encrypted(&[7; 32]), "not a list of private_keys and public_keys (line 1 column 1)"),
    ] {
        let loaded = load(candidate).await;
        assert_eq!(shown(&loaded), [format!("wallet: the decrypted Prysm wallet is not usable: {reason}")]);
    }
}

async fn load(candidate: Candidate) -> Vec<Loaded> {
    load_all(vec![candidate], DecryptPool::default(), None, |_| false, |_, _| {}).await
}

fn shown(loaded: &[Loaded]) -> Vec<String> {
    let one = |loaded: &Loaded| match &loaded.outcome {
        Outcome::Secret(_) => format!("{}: secret", loaded.origin),
        Outcome::Failed(error) => format!("{}: {error}", loaded.origin),
        Outcome::Known | Outcome::Duplicate { .. } => panic!("{loaded:?}"),
    };
    loaded.iter().map(one).collect()
}
