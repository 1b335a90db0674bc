//! Keys in a real Secrets Manager (moto): in bulk by names and tags, several in a secret, one by name.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod sealers_support;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::config::Credentials;
use aws_sdk_secretsmanager::primitives::Blob;
use aws_sdk_secretsmanager::types::Tag;
use consigner_keys::remote::AwsConfig;
use consigner_keys::source::{
    AwsSecretCredentials, AwsSecretSpec, AwsSecretsSource, RemoteSecret, fetch_aws_secret, fetcher,
};
use consigner_keys::{Candidate, Material, SecretKey, SourceError};
use consigner_rules::PublicKey;
use sealers_support::fake::{Fake, Reply};
use sealers_support::{Component, component, free_port, in_child};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

const REGION: &str = "us-east-1";
const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "node"), ("AWS_SECRET_ACCESS_KEY", "node")];

struct Moto {
    _process: Component,
    address: String,
    admin: aws_sdk_secretsmanager::Client,
}

fn moto() -> Option<Moto> {
    let program = component("CONSIGNER_MOTO", "moto_server")?;
    let port = free_port();
    let process = Component::start(&program, port, &["-H", "127.0.0.1", "-p", &port.to_string()]);
    let address = format!("http://127.0.0.1:{port}");
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .endpoint_url(&address)
        .credentials_provider(Credentials::new("admin", "admin", None, None, "test"))
        .build();
    Some(Moto { _process: process, address, admin: aws_sdk_secretsmanager::Client::from_conf(config) })
}

impl Moto {
    async fn put(&self, name: &str, text: &str, tags: &[(&str, &str)]) {
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect();
        self.admin.create_secret().name(name).secret_string(text).set_tags(Some(tags)).send().await.unwrap();
    }

    fn source(&self, prefixes: &[&str], tags: &[(&str, &str)]) -> AwsSecretsSource {
        source(&self.address, prefixes, tags)
    }
}

fn source(address: &str, prefixes: &[&str], tags: &[(&str, &str)]) -> AwsSecretsSource {
    AwsSecretsSource {
        aws: AwsConfig { region: Some(REGION.into()), endpoint: Some(address.into()), profile: None },
        prefixes: prefixes.iter().map(ToString::to_string).collect(),
        tags: tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
    }
}

/// A secret key in hexadecimal: small numbers are secret keys too.
fn key(index: u64) -> String {
    format!("{:064x}", index + 1)
}

fn public_key(index: u64) -> PublicKey {
    key(index).parse::<SecretKey>().unwrap().public_key()
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
async fn secrets_are_found_by_name_and_tags_and_hold_one_or_many_keys() {
    if !in_child("secrets_are_found_by_name_and_tags_and_hold_one_or_many_keys", &KEYS) {
        return;
    }
    let Some(moto) = moto() else { return };
    let many: Vec<String> = (100..300).map(key).collect();
    moto.put("validators/one", &key(1), &[("team", "a"), ("net", "main")]).await;
    moto.put("validators/two", &format!("0x{}\n", key(2)), &[("team", "b"), ("net", "main")]).await;
    moto.put("validators/many", &many.join("\n"), &[("team", "a")]).await;
    moto.put("other/three", &key(3), &[("team", "a"), ("net", "main")]).await;
    moto.put("unrelated", "password", &[]).await;

    let read = async |prefixes: &[&str], tags: &[(&str, &str)]| moto.source(prefixes, tags).read().await.unwrap();
    let all = read(&["validators/"], &[]).await;
    assert_eq!(all.len(), 202);
    assert_eq!(found(&all), [1, 2].into_iter().chain(100..300).map(public_key).collect());
    assert!(all.iter().any(|candidate| candidate.origin == "validators/many, line 200"));
    assert_eq!(found(&read(&[], &[("team", "a"), ("net", "main")]).await), [1, 3].map(public_key).into());
    assert_eq!(found(&read(&["validators/t", "other/"], &[]).await), [2, 3].map(public_key).into());
    assert_eq!(found(&read(&["validators/"], &[("team", "b")]).await), [public_key(2)].into());
    assert!(read(&["nothing/"], &[]).await.is_empty());
    let failed = errors(read(&[], &[]).await);
    assert!(matches!(&failed[..], [(origin, SourceError::Secret(_))] if origin == "unrelated"), "{failed:?}");
}

#[tokio::test]
async fn more_secrets_than_a_page_are_all_found_and_bad_ones_do_not_stop_the_others() {
    if !in_child("more_secrets_than_a_page_are_all_found_and_bad_ones_do_not_stop_the_others", &KEYS) {
        return;
    }
    let Some(moto) = moto() else { return };
    for index in 0..130 {
        moto.put(&format!("v/{index:03}"), &key(index), &[]).await;
    }
    moto.admin.create_secret().name("v/binary").secret_binary(Blob::new([1, 2])).send().await.unwrap();
    moto.put("v/blank", " ", &[]).await;
    moto.put("v/zero", &"0".repeat(64), &[]).await;
    let candidates = moto.source(&["v/"], &[]).read().await.unwrap();
    assert_eq!(found(&candidates), (0..130).map(public_key).collect());
    let mut failed: Vec<String> = errors(candidates).into_iter().map(|(origin, _)| origin).collect();
    failed.sort();
    assert_eq!(failed, ["v/binary", "v/blank", "v/zero"]);
}

#[tokio::test]
async fn one_secret_of_a_key_configuration_is_fetched_with_its_own_credentials() {
    // Without credentials in the environment.
    let none = [("AWS_EC2_METADATA_DISABLED", "true"), ("HOME", "/nonexistent")];
    if !in_child("one_secret_of_a_key_configuration_is_fetched_with_its_own_credentials", &none) {
        return;
    }
    let Some(moto) = moto() else { return };
    moto.put("mine", &key(7), &[]).await;
    let spec = |name: &str, credentials: bool| AwsSecretSpec {
        region: REGION.into(),
        secret_name: name.into(),
        credentials: credentials.then(|| AwsSecretCredentials {
            access_key_id: "AKIA".into(),
            secret_access_key: Zeroizing::new("secret access key".to_owned()),
        }),
        endpoint_override: Some(moto.address.clone()),
    };
    assert_eq!(found(&fetch_aws_secret(&spec("mine", true)).await), [public_key(7)].into());
    let fetch = fetcher();
    for _ in 0..2 {
        assert_eq!(found(&fetch(RemoteSecret::Aws(Box::new(spec("mine", true)))).await), [public_key(7)].into());
    }
    let failed = errors(fetch(RemoteSecret::Aws(Box::new(spec("missing", true)))).await);
    let [(origin, SourceError::Remote { call, may_pass, .. })] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!((origin.as_str(), call.as_str()), ("missing", "secretsmanager:GetSecretValue for missing"));
    assert!(may_pass);
    let failed = errors(fetch(RemoteSecret::Aws(Box::new(spec("mine", false)))).await);
    let [(_, error @ SourceError::Remote { .. })] = &failed[..] else { panic!("{failed:?}") };
    assert!(error.to_string().contains("no valid AWS credentials in the standard chain"), "{error}");
}

#[tokio::test]
async fn without_the_right_to_fetch_many_at_once_secrets_are_fetched_one_by_one() {
    if !in_child("without_the_right_to_fetch_many_at_once_secrets_are_fetched_one_by_one", &KEYS) {
        return;
    }
    let server = Fake::start(|_, request| {
        let target = request.headers.iter().find_map(|header| header.strip_prefix("x-amz-target: secretsmanager."));
        let denied = r#"{"__type":"AccessDeniedException","message":"not you"}"#;
        match target {
            Some("listsecrets") => {
                Reply::Json(200, r#"{"SecretList":[{"Name":"a"},{"Name":"b"},{"Name":"c"}]}"#.into())
            }
            Some("getsecretvalue") if request.body.contains("\"b\"") => Reply::Json(400, denied.into()),
            Some("getsecretvalue") => Reply::Json(200, format!(r#"{{"Name":"x","SecretString":"{}"}}"#, key(1))),
            _ => Reply::Json(400, denied.into()),
        }
    });
    let candidates = source(&server.address(), &[], &[]).read().await.unwrap();
    assert_eq!(candidates.len(), 3);
    let failed = errors(candidates);
    let [(origin, error @ SourceError::Remote { .. })] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!(origin, "b");
    assert!(error.to_string().contains("allow the IAM action secretsmanager:GetSecretValue"), "{error}");
    assert!(!format!("{failed:?}").contains(&key(1)));
}

#[tokio::test]
async fn a_list_that_is_refused_is_an_error_of_the_whole_source() {
    if !in_child("a_list_that_is_refused_is_an_error_of_the_whole_source", &KEYS) {
        return;
    }
    let server = Fake::start(|_, _| Reply::Json(400, r#"{"__type":"AccessDeniedException","message":"no"}"#.into()));
    let error = source(&server.address(), &["v/"], &[]).read().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("secretsmanager:ListSecrets for names [\"v/\"] and tags []"), "{text}");
    assert!(text.contains("allow the IAM action secretsmanager:ListSecrets"), "{text}");
}
