//! Keys in a real KV engine (OpenBao): everything below a folder, one secret by path, and what is in the way.
#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod sealers_support;

use consigner_keys::remote::{VaultAuth, VaultConfig};
use consigner_keys::source::{
    RemoteSecret, VaultKvSource, VaultSecretAuth, VaultSecretSpec, fetch_vault_secret, fetcher,
};
use consigner_keys::{Candidate, Material, SecretKey, SourceError};
use consigner_rules::PublicKey;
use sealers_support::bao::Bao;
use std::collections::BTreeSet;
use std::ops::Add as _;
use std::time::Duration;
use zeroize::Zeroizing;

/// A secret key in hexadecimal: small numbers are secret keys too.
fn key(index: u64) -> String {
    format!("{:064x}", index + 1)
}

fn public_key(index: u64) -> PublicKey {
    key(index).parse::<SecretKey>().unwrap().public_key()
}

fn put(bao: &Bao, path: &str, fields: &[&str]) {
    let all: Vec<&str> = ["kv", "put", path].into_iter().chain(fields.iter().copied()).collect();
    bao.run(&all);
}

fn source(bao: &Bao, token: &str, path: &str) -> VaultKvSource {
    let auth = VaultAuth::TokenText(Zeroizing::new(token.to_owned()));
    let vault = VaultConfig { address: bao.address.clone(), namespace: None, ca: None, auth };
    VaultKvSource { vault, mount: "secret".into(), path: path.into() }
}

fn found(candidates: &[Candidate]) -> BTreeSet<PublicKey> {
    let raw = |candidate: &&Candidate| matches!(candidate.material, Material::Raw(_));
    candidates.iter().filter(raw).map(|candidate| candidate.public_key.unwrap()).collect()
}

fn errors(candidates: Vec<Candidate>) -> Vec<(String, SourceError)> {
    let error = |candidate: Candidate| match candidate.material {
        Material::Failed(error) => Some((candidate.origin, error)),
        Material::Raw(_) | Material::Keystore { .. } | Material::Wallet { .. } | Material::Remote(_) => None,
    };
    candidates.into_iter().filter_map(error).collect()
}

#[tokio::test]
async fn everything_below_a_folder_is_found() {
    let Some(bao) = Bao::start() else { return };
    let value = |index: u64| format!("value={}", key(index));
    put(&bao, "secret/validators/one", &[&value(1), "comment=not a key"]);
    put(&bao, "secret/validators/deep/er/two", &[&value(2)]);
    put(&bao, "secret/validators/with a space", &[&value(3)]);
    put(&bao, "secret/validators/fields", &[&format!("a={}", key(4)), &format!("b=0x{}", key(5))]);
    put(&bao, "secret/validators/many", &[&format!("value={}\n\n{}\n", key(6), key(7))]);
    put(&bao, "secret/elsewhere", &[&value(8)]);
    put(&bao, "secret/validators/deleted", &[&value(9)]);
    bao.run(&["kv", "delete", "secret/validators/deleted"]);

    let candidates = source(&bao, "root", "/validators/").read().await.unwrap();
    assert_eq!(found(&candidates), (1..8).map(public_key).collect());
    assert_eq!(candidates.len(), 7, "a deleted secret is none: {candidates:?}");
    let origins: Vec<&str> = candidates.iter().map(|candidate| candidate.origin.as_str()).collect();
    for origin in [
        "secret/validators/one",
        "secret/validators/deep/er/two",
        "secret/validators/fields, field b",
        "secret/validators/many, line 3",
    ] {
        assert!(origins.contains(&origin), "{origins:?}");
    }
    let all = source(&bao, "root", "").read().await.unwrap();
    assert_eq!(found(&all), (1..9).map(public_key).collect());
}

#[tokio::test]
async fn bad_secrets_do_not_stop_the_others_and_say_why() {
    let Some(bao) = Bao::start() else { return };
    put(&bao, "secret/v/good", &[&format!("value={}", key(1))]);
    put(&bao, "secret/v/text", &["value=password"]);
    let path = bao.folder().join("number.json");
    std::fs::write(&path, r#"{"value": 5}"#).unwrap();
    put(&bao, "secret/v/number", &[&format!("@{}", path.display())]);
    put(&bao, "secret/v/secret", &[&format!("value={}", key(2))]);
    bao.policy(
        "reader",
        "path \"secret/metadata/v\" { capabilities = [\"list\"] }
         path \"secret/metadata/v/*\" { capabilities = [\"list\"] }
         path \"secret/data/v/*\" { capabilities = [\"read\"] }
         path \"secret/data/v/secret\" { capabilities = [\"deny\"] }",
    );
    let token = bao.field("token", &["token", "create", "-policy=reader"]);
    let candidates = source(&bao, &token, "v").read().await.unwrap();
    assert_eq!(found(&candidates), [public_key(1)].into());
    let mut failed = errors(candidates);
    failed.sort_by(|one, other| one.0.cmp(&other.0));
    let texts: Vec<String> = failed.iter().map(|(origin, error)| format!("{origin}: {error}")).collect();
    assert_eq!(failed.len(), 3, "{texts:?}");
    assert!(texts[0].contains("secret/v/number: the field value is not text"), "{texts:?}");
    assert!(texts[1].contains("path \"secret/data/v/secret\" { capabilities = [\"read\"] }"), "{texts:?}");
    assert!(texts[2].starts_with("secret/v/text: the secret is not usable"), "{texts:?}");
    assert!(!format!("{failed:?}").contains("password"), "an error shows the secret");

    let error = source(&bao, &token, "w").read().await.unwrap_err();
    assert!(error.to_string().contains("path \"secret/metadata/w\" { capabilities = [\"list\"] }"), "{error}");
    for path in ["..", "a/../b", "a//b"] {
        let error = source(&bao, "root", path).read().await.unwrap_err();
        assert!(matches!(error, SourceError::Unsupported(_)), "{error}");
    }
}

fn spec(bao: &Bao, key_path: &str, key_name: &str, token: &str) -> VaultSecretSpec {
    VaultSecretSpec {
        server_host: "127.0.0.1".into(),
        server_port: bao.address.rsplit(':').next().unwrap().parse().unwrap(),
        key_path: key_path.into(),
        key_name: key_name.into(),
        timeout: Duration::from_secs(10),
        tls_enabled: false,
        tls_known_servers_path: None,
        auth: VaultSecretAuth::Token(Zeroizing::new(token.to_owned())),
    }
}

#[tokio::test]
async fn one_secret_of_a_key_configuration_is_fetched() {
    let Some(bao) = Bao::start() else { return };
    put(&bao, "secret/validators/one", &[&format!("value={}", key(1)), &format!("second={}", key(2))]);
    let path = "/v1/secret/data/validators/one";
    assert_eq!(found(&fetch_vault_secret(&spec(&bao, path, "value", "root")).await), [public_key(1)].into());
    let fetch = fetcher();
    let vault =
        |key_path: &str, name: &str, token: &str| RemoteSecret::Vault(Box::new(spec(&bao, key_path, name, token)));
    assert_eq!(found(&fetch(vault(path, "second", "root")).await), [public_key(2)].into());

    let cases = [
        (vault(path, "third", "root"), "the secret has no field third"),
        (vault("/v1/secret/data/nowhere", "value", "root"), "not found"),
        (vault("/v1/secret/validators/one", "value", "root"), "keyPath has not the form"),
        (vault("/v1/secret/data/../../sys/mounts", "value", "root"), "keyPath has not the form"),
        (vault(path, "value", "wrong"), "the token is expired or revoked"),
    ];
    for (secret, expected) in cases {
        let failed = errors(fetch(secret).await);
        let [(_, error)] = &failed[..] else { panic!("{failed:?}") };
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn a_known_server_is_trusted_by_its_fingerprint() {
    let Some(bao) = Bao::start_tls() else { return };
    put(&bao, "secret/one", &[&format!("value={}", key(1))]);
    let file = bao.folder().join("known-servers");
    let spec = VaultSecretSpec {
        tls_enabled: true,
        tls_known_servers_path: Some(file.clone()),
        ..spec(&bao, "/v1/secret/data/one", "value", "root")
    };
    let known = |fingerprint: &str| std::fs::write(&file, format!("127.0.0.1:{} {fingerprint}\n", spec.server_port));
    known(&bao.fingerprint()).unwrap();
    assert_eq!(found(&fetch_vault_secret(&spec).await), [public_key(1)].into());
    known(&"00:".repeat(31).add("00")).unwrap();
    let failed = errors(fetch_vault_secret(&spec).await);
    let [(_, error @ SourceError::Remote { may_pass: true, .. })] = &failed[..] else { panic!("{failed:?}") };
    assert!(error.to_string().contains("is not reachable"), "{error}");
    std::fs::write(&file, "another:8200 00").unwrap();
    let failed = errors(fetch_vault_secret(&spec).await);
    assert!(matches!(&failed[..], [(_, SourceError::Remote { may_pass: false, .. })]), "{failed:?}");
    // Without known servers the system's authorities count, and they do not know this server.
    let spec = VaultSecretSpec { tls_known_servers_path: None, ..spec };
    let failed = errors(fetch_vault_secret(&spec).await);
    assert!(matches!(&failed[..], [(_, SourceError::Remote { .. })]), "{failed:?}");
}
