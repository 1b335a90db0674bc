//! S7 for key services: at the most talkative log level, no log line, error or Debug form shows a token, a credential or
//! a data key.
#![cfg(all(feature = "aws", feature = "vault"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod sealers_support;

use consigner_keys::remote::{AwsConfig, VaultAuth, VaultConfig};
use consigner_keys::source::{AwsSecretsSource, VaultKvSource};
use consigner_keys::{AwsKmsConfig, AwsKmsSealer, Sealer, VaultTransitConfig, VaultTransitSealer};
use sealers_support::fake::{Fake, Reply, Request};
use sealers_support::{CLUSTER, in_child};
use std::io::Write;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

const TOKEN: &str = "s.CAESIJ9TokenOfThisTest";
const ACCESS_SECRET: &str = "wJalrXUtnFEMISecretOfThisTest";
const SESSION: &str = "IQoJb3JpZ2luSessionOfThisTest";
/// A data key in base64 and its bytes in hexadecimal.
const PLAINTEXT: &str = "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=";
const PLAINTEXT_HEX: &str = "deadbeefdeadbeefdeadbeefdeadbeef";
/// A validator's key in a secret.
const KEY: &str = "25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866";
const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn aws_answer(request: &Request) -> Reply {
    let target = request.headers.iter().find_map(|header| header.strip_prefix("x-amz-target: ")).unwrap_or_default();
    let answer = match target {
        "trentservice.generatedatakey" => {
            format!(r#"{{"KeyId":"{ARN}","Plaintext":"{PLAINTEXT}","CiphertextBlob":"YmxvYg=="}}"#)
        }
        "trentservice.decrypt" => format!(r#"{{"KeyId":"{ARN}","Plaintext":"{PLAINTEXT}"}}"#),
        "secretsmanager.listsecrets" => r#"{"SecretList":[{"Name":"a"}]}"#.to_owned(),
        "secretsmanager.batchgetsecretvalue" => {
            format!(r#"{{"SecretValues":[{{"Name":"a","SecretString":"{KEY}"}}],"Errors":[]}}"#)
        }
        _ => return Reply::Json(400, format!(r#"{{"__type":"ValidationException","message":"{target}"}}"#)),
    };
    Reply::Json(200, answer)
}

/// Wraps by returning the plaintext as ciphertext, so that the test knows it.
fn vault_answer(request: &Request) -> Reply {
    let data = match request.path.as_str() {
        "/v1/auth/token/lookup-self" => {
            return Reply::Json(403, r#"{"errors":["permission denied"]}"#.into());
        }
        "/v1/transit/encrypt/k" => {
            let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            format!(r#"{{"ciphertext":"vault:v1:{}"}}"#, body["plaintext"].as_str().unwrap())
        }
        "/v1/transit/decrypt/k" => {
            let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            let plaintext = body["ciphertext"].as_str().unwrap().strip_prefix("vault:v1:").unwrap();
            format!(r#"{{"plaintext":"{plaintext}"}}"#)
        }
        "/v1/secret/metadata/" => r#"{"keys":["a"]}"#.to_owned(),
        "/v1/secret/data/a" => format!(
            r#"{{"data":{{"value":"{KEY}"}},"metadata":{{"created_time":"","deletion_time":"","destroyed":false,
                "version":1}}}}"#
        ),
        _ => return Reply::Json(404, r#"{"errors":[]}"#.into()),
    };
    let head = r#""request_id":"","lease_id":"","renewable":false,"lease_duration":0"#;
    Reply::Json(200, format!(r#"{{{head},"data":{data}}}"#))
}

#[tokio::test]
async fn nothing_that_is_said_shows_a_secret() {
    let environment =
        [("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", ACCESS_SECRET), ("AWS_SESSION_TOKEN", SESSION)];
    if !in_child("nothing_that_is_said_shows_a_secret", &environment) {
        return;
    }
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).init();
    let mut said = String::new();

    let aws = Fake::start(|_, request| aws_answer(request));
    let access = AwsConfig { region: Some("eu-central-1".into()), endpoint: Some(aws.address()), profile: None };
    let kms = AwsKmsSealer::connect(AwsKmsConfig { key_id: ARN.into(), aws: access.clone() }).await.unwrap();
    let (data_key, open) = kms.generate(&CLUSTER).await.unwrap();
    let again = kms.unwrap(&data_key, &CLUSTER).await.unwrap();
    let source = AwsSecretsSource { aws: access, ..AwsSecretsSource::default() };
    let candidates = source.read().await.unwrap();
    assert_eq!(candidates.len(), 1);
    said += &format!("{kms:?} {data_key:?} {open:?} {again:?} {source:?} {candidates:?}");

    let server = Fake::start(|_, request| vault_answer(request));
    let auth = VaultAuth::TokenText(Zeroizing::new(TOKEN.to_owned()));
    let vault = VaultConfig { address: server.address(), namespace: None, ca: None, auth };
    let config = VaultTransitConfig { vault: vault.clone(), mount: "transit".into(), key: "k".into() };
    said += &format!("{config:?}");
    let transit = VaultTransitSealer::connect(config).unwrap();
    let (data_key, open) = transit.generate(&CLUSTER).await.unwrap();
    transit.unwrap(&data_key, &CLUSTER).await.unwrap();
    let source = VaultKvSource { vault, mount: "secret".into(), path: String::new() };
    let candidates = source.read().await.unwrap();
    assert_eq!(candidates.len(), 1, "{candidates:?}");
    said += &format!("{transit:?} {data_key:?} {open:?} {source:?} {candidates:?}");

    let encrypt = server.requests().into_iter().find(|request| request.path.contains("encrypt")).unwrap();
    let body: serde_json::Value = serde_json::from_str(&encrypt.body).unwrap();
    let wrapped = body["plaintext"].as_str().unwrap().to_owned();

    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.lines().count() > 20, "the log level is not the most talkative:\n{logged}");
    for text in [logged, said] {
        for secret in [TOKEN, ACCESS_SECRET, SESSION, PLAINTEXT, PLAINTEXT_HEX, KEY, wrapped.as_str()] {
            let at = text.find(secret);
            let context = at.map(|at| text[at.saturating_sub(300)..at].to_owned());
            assert!(at.is_none(), "{secret} after {context:?}");
        }
    }
}
