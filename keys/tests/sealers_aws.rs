//! The KMS sealer against a real KMS API (moto): wrapping, opening, moved aliases, and the standard chain of credentials.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod sealers_support;

use aws_config::{BehaviorVersion, Region};
use consigner_keys::development::interop_secret;
use consigner_keys::remote::{AwsConfig, Failure};
use consigner_keys::sealing::UnwrapError;
use consigner_keys::{AwsKmsConfig, AwsKmsSealer, Sealer, SealerError, seal, unseal};
use consigner_rules::command::DataKey;
use sealers_support::fake::{Fake, Reply};
use sealers_support::{CLUSTER, Component, OTHER_CLUSTER, component, free_port, in_child};
use std::ffi::OsString;
use std::fs;

const REGION: &str = "us-east-1";

/// moto, and where it is. Its KMS looks at no credentials but wants a signature.
struct Moto {
    /// None when another process started it.
    _process: Option<Component>,
    address: String,
}

fn moto() -> Option<Moto> {
    let program = component("CONSIGNER_MOTO", "moto_server")?;
    let port = free_port();
    let process = Component::start(&program, port, &["-H", "127.0.0.1", "-p", &port.to_string()]);
    Some(Moto { _process: Some(process), address: format!("http://127.0.0.1:{port}") })
}

impl Moto {
    /// A client of whoever administers the keys.
    fn admin(&self) -> aws_sdk_kms::Client {
        let credentials = aws_sdk_kms::config::Credentials::new("admin", "admin", None, None, "test");
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .endpoint_url(&self.address)
            .credentials_provider(credentials)
            .build();
        aws_sdk_kms::Client::from_conf(config)
    }

    async fn new_key(&self) -> String {
        self.admin().create_key().send().await.unwrap().key_metadata.unwrap().arn.unwrap()
    }

    async fn sealer(&self, key_id: &str) -> AwsKmsSealer {
        sealer(&self.address, key_id, None).await
    }
}

async fn sealer(address: &str, key_id: &str, profile: Option<&str>) -> AwsKmsSealer {
    let aws =
        AwsConfig { region: Some(REGION.into()), endpoint: Some(address.into()), profile: profile.map(str::to_owned) };
    AwsKmsSealer::connect(AwsKmsConfig { key_id: key_id.into(), aws }).await.unwrap()
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "node"), ("AWS_SECRET_ACCESS_KEY", "node")];

fn record_error(error: SealerError) -> UnwrapError {
    assert!(!error.may_pass(), "{error}");
    match error {
        SealerError::Record(error) => error,
        SealerError::Call(_) | SealerError::NewDataKey(_) | SealerError::Config(_) => panic!("{error}"),
    }
}

fn call_failure(error: &SealerError) -> Failure {
    match error {
        SealerError::Call(error) => error.failure,
        SealerError::Record(_) | SealerError::NewDataKey(_) | SealerError::Config(_) => panic!("{error}"),
    }
}

#[tokio::test]
async fn kms_wraps_and_opens_data_keys() {
    if !in_child("kms_wraps_and_opens_data_keys", &KEYS) {
        return;
    }
    let Some(moto) = moto() else { return };
    let arn = moto.new_key().await;
    let sealer = moto.sealer(&arn).await;
    let (data_key, open) = sealer.generate(&CLUSTER).await.unwrap();
    assert_eq!((data_key.sealer.as_str(), sealer.kind(), sealer.master()), ("aws-kms", "aws-kms", arn.clone()));
    let sealed = seal(&open, &CLUSTER, &interop_secret(1)).unwrap();

    // Another node, another process, the same key.
    let elsewhere = moto.sealer(&arn).await;
    assert!(elsewhere.is_current(&data_key));
    let reopened = elsewhere.unwrap(&data_key, &CLUSTER).await.unwrap();
    assert_eq!(unseal(&reopened, &CLUSTER, &sealed).unwrap().public_key(), interop_secret(1).public_key());
    let by_id = moto.sealer(arn.rsplit('/').next().unwrap()).await;
    assert!(by_id.is_current(&data_key), "the id of a key is the end of its ARN");
}

#[tokio::test]
async fn a_record_of_another_cluster_or_data_key_does_not_open() {
    if !in_child("a_record_of_another_cluster_or_data_key_does_not_open", &KEYS) {
        return;
    }
    let Some(moto) = moto() else { return };
    let sealer = moto.sealer(&moto.new_key().await).await;
    let (first, _) = sealer.generate(&CLUSTER).await.unwrap();
    let (second, _) = sealer.generate(&CLUSTER).await.unwrap();
    let id = first.id;

    let error = record_error(sealer.unwrap(&first, &OTHER_CLUSTER).await.unwrap_err());
    assert_eq!(error, UnwrapError::OtherCluster { data_key: id, wrapped: CLUSTER, cluster: OTHER_CLUSTER });
    // A forged cluster id in clear: KMS knows better.
    let mut forged = first.clone();
    forged.wrapped[1..17].copy_from_slice(OTHER_CLUSTER.as_bytes());
    let error = record_error(sealer.unwrap(&forged, &OTHER_CLUSTER).await.unwrap_err());
    assert_eq!(error, UnwrapError::Altered { data_key: id });
    let swapped = DataKey { id, ..second };
    assert_eq!(
        record_error(sealer.unwrap(&swapped, &CLUSTER).await.unwrap_err()),
        UnwrapError::Altered { data_key: id }
    );
    let mut damaged = first.clone();
    *damaged.wrapped.last_mut().unwrap() ^= 1;
    assert_eq!(
        record_error(sealer.unwrap(&damaged, &CLUSTER).await.unwrap_err()),
        UnwrapError::Altered { data_key: id }
    );
    for length in [0, 1, 16, 18, 19, 40] {
        let cut = DataKey { wrapped: first.wrapped[..length].to_vec(), ..first.clone() };
        let error = record_error(sealer.unwrap(&cut, &CLUSTER).await.unwrap_err());
        assert_eq!(error, UnwrapError::Length { data_key: id, got: length });
    }
    let later = DataKey { wrapped: vec![2; 100], ..first.clone() };
    let error = record_error(sealer.unwrap(&later, &CLUSTER).await.unwrap_err());
    assert_eq!(error, UnwrapError::Format { data_key: id, format: 2, own: 1 });
    let foreign = DataKey { sealer: "local".into(), ..first };
    let error = record_error(sealer.unwrap(&foreign, &CLUSTER).await.unwrap_err());
    assert_eq!(error, UnwrapError::OtherSealer { data_key: id, sealer: "local".into(), own: "aws-kms" });
}

#[tokio::test]
async fn a_moved_alias_makes_data_keys_old_but_they_open() {
    if !in_child("a_moved_alias_makes_data_keys_old_but_they_open", &KEYS) {
        return;
    }
    let Some(moto) = moto() else { return };
    let (old, new) = (moto.new_key().await, moto.new_key().await);
    let admin = moto.admin();
    admin.create_alias().alias_name("alias/consigner").target_key_id(&old).send().await.unwrap();
    let sealer = moto.sealer("alias/consigner").await;
    let (data_key, _) = sealer.generate(&CLUSTER).await.unwrap();
    assert!(sealer.is_current(&data_key));
    assert_eq!(sealer.master(), format!("alias/consigner ({old})"));

    admin.update_alias().alias_name("alias/consigner").target_key_id(&new).send().await.unwrap();
    sealer.refresh(&CLUSTER).await.unwrap();
    assert!(!sealer.is_current(&data_key), "there is something to rewrap");
    sealer.unwrap(&data_key, &CLUSTER).await.expect("the record names its key");
    let (fresh, _) = sealer.generate(&CLUSTER).await.unwrap();
    assert!(sealer.is_current(&fresh));

    let other = moto.sealer(&new).await;
    assert!(!other.is_current(&data_key));
    other.unwrap(&data_key, &CLUSTER).await.expect("although the configuration names another key");
}

#[tokio::test]
async fn a_key_that_is_not_there_is_not_found() {
    if !in_child("a_key_that_is_not_there_is_not_found", &KEYS) {
        return;
    }
    let Some(moto) = moto() else { return };
    let sealer = moto.sealer("alias/nowhere").await;
    let error = sealer.generate(&CLUSTER).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::NotFound, "{error}");
    assert!(error.may_pass(), "it may be created");
    assert!(error.to_string().contains("kms:GenerateDataKey for alias/nowhere"), "{error}");
    let error = AwsKmsSealer::connect(AwsKmsConfig { key_id: " ".into(), aws: AwsConfig::default() }).await;
    assert!(matches!(error, Err(SealerError::Config(_))));
}

/// Generates under the chain of this process's environment; what moto saw is not checked, it accepts anybody.
async fn generates(address: &str, profile: Option<&str>) -> Result<(), SealerError> {
    let arn = Moto { _process: None, address: address.to_owned() }.new_key().await;
    sealer(address, &arn, profile).await.generate(&CLUSTER).await.map(drop)
}

const ADDRESS: &str = "CONSIGNER_TEST_MOTO";

/// Runs a test of credentials in a child that knows where moto is.
fn with_moto(name: &str, environment: &[(&str, OsString)]) -> Option<String> {
    if let Ok(address) = std::env::var(ADDRESS) {
        return Some(address);
    }
    let moto = moto()?;
    let mut all = vec![(ADDRESS, OsString::from(&moto.address)), ("AWS_EC2_METADATA_DISABLED", "true".into())];
    for (variable, value) in environment {
        let value = value.to_str().unwrap().replace("{moto}", &moto.address);
        all.retain(|(known, _)| known != variable);
        all.push((variable, value.into()));
    }
    in_child(name, &all);
    None
}

#[tokio::test]
async fn credentials_come_from_a_profile() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    fs::write(&file, "[signer]\naws_access_key_id = node\naws_secret_access_key = node\n").unwrap();
    let environment = [
        ("AWS_SHARED_CREDENTIALS_FILE", file.clone().into_os_string()),
        ("AWS_CONFIG_FILE", folder.path().join("none").into_os_string()),
    ];
    let Some(address) = with_moto("credentials_come_from_a_profile", &environment) else { return };
    generates(&address, Some("signer")).await.unwrap();
    let error = generates(&address, None).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::Unauthenticated, "{error}");
}

#[tokio::test]
async fn credentials_come_from_a_web_identity() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJub2RlIn0.").unwrap();
    let environment = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.clone().into_os_string()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/signer".into()),
        ("AWS_ROLE_SESSION_NAME", "node1".into()),
        ("AWS_REGION", REGION.into()),
        ("AWS_ENDPOINT_URL_STS", "{moto}".into()),
        ("HOME", folder.path().as_os_str().to_owned()),
    ];
    let Some(address) = with_moto("credentials_come_from_a_web_identity", &environment) else { return };
    generates(&address, None).await.unwrap();
}

#[tokio::test]
async fn credentials_come_from_the_instance_role() {
    let metadata = Fake::start(|_, request| match (request.method.as_str(), request.path.as_str()) {
        ("PUT", "/latest/api/token") => Reply::Text(200, "token".into()),
        (_, "/latest/meta-data/iam/security-credentials/") => Reply::Text(200, "signer".into()),
        (_, "/latest/meta-data/iam/security-credentials/signer") => Reply::Json(
            200,
            r#"{"Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC","AccessKeyId":"ASIAROLE",
                "SecretAccessKey":"role","Token":"role","Expiration":"2099-01-01T00:00:00Z"}"#
                .into(),
        ),
        _ => Reply::Text(404, String::new()),
    });
    let folder = tempfile::tempdir().unwrap();
    let environment = [
        ("AWS_EC2_METADATA_DISABLED", "false".into()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.address().into()),
        ("HOME", folder.path().as_os_str().to_owned()),
    ];
    let name = "credentials_come_from_the_instance_role";
    let Some(address) = with_moto(name, &environment) else {
        let asked = metadata.requests().iter().any(|request| request.path.ends_with("/signer"));
        assert!(asked || component("CONSIGNER_MOTO", "moto_server").is_none());
        return;
    };
    generates(&address, None).await.unwrap();
}

#[tokio::test]
async fn without_credentials_the_error_says_where_they_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let name = "without_credentials_the_error_says_where_they_are_looked_for";
    let Some(address) = with_moto(name, &[("HOME", folder.path().as_os_str().to_owned())]) else { return };
    let error = generates(&address, None).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::Unauthenticated, "{error}");
    assert!(error.to_string().contains("environment, profile, web identity (IRSA)"), "{error}");
    assert!(error.may_pass());
}

#[tokio::test]
async fn without_a_region_there_is_no_sealer() {
    let folder = tempfile::tempdir().unwrap();
    let environment = [("AWS_EC2_METADATA_DISABLED", "true".into()), ("HOME", folder.path().as_os_str().to_owned())];
    if !in_child("without_a_region_there_is_no_sealer", &environment) {
        return;
    }
    let config = AwsKmsConfig { key_id: "alias/x".into(), aws: AwsConfig::default() };
    let error = AwsKmsSealer::connect(config).await.unwrap_err();
    let SealerError::Config(cause) = &error else { panic!("{error}") };
    assert!(cause.to_string().contains("AWS_REGION"), "{cause}");
}
