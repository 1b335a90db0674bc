//! Sealers against servers that fail on purpose: refusals, throttling, outages, silence, nonsense.
#![cfg(all(feature = "aws", feature = "vault"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod sealers_support;

use consigner_keys::remote::{AwsConfig, Failure, VaultAuth, VaultConfig};
use consigner_keys::sealing::UnwrapError;
use consigner_keys::{AwsKmsConfig, AwsKmsSealer, Sealer, SealerError, VaultTransitConfig, VaultTransitSealer};
use consigner_rules::command::DataKey;
use sealers_support::fake::{Fake, Reply};
use sealers_support::{CLUSTER, in_child};
use std::time::Duration;
use zeroize::Zeroizing;

const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "not a secret")];
/// 32 bytes, and a blob.
const PLAINTEXT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const BLOB: &str = "YmxvYg==";

async fn kms(server: &Fake) -> AwsKmsSealer {
    let aws = AwsConfig { region: Some("eu-central-1".into()), endpoint: Some(server.address()), profile: None };
    AwsKmsSealer::connect(AwsKmsConfig { key_id: ARN.into(), aws }).await.unwrap()
}

fn kms_error(code: &str) -> Reply {
    Reply::Json(400, format!(r#"{{"__type":"{code}","message":"said by the server"}}"#))
}

fn kms_data_key() -> Reply {
    Reply::Json(200, format!(r#"{{"KeyId":"{ARN}","Plaintext":"{PLAINTEXT}","CiphertextBlob":"{BLOB}"}}"#))
}

fn vault(server: &Fake) -> VaultTransitSealer {
    let auth = VaultAuth::TokenText(Zeroizing::new("s.test".to_owned()));
    let vault = VaultConfig { address: server.address(), namespace: None, ca: None, auth };
    VaultTransitSealer::connect(VaultTransitConfig { vault, mount: "transit".into(), key: "test".into() }).unwrap()
}

/// Answers of a Vault: a token without end, and for the rest what the test says.
fn vault_server(answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Fake {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    Fake::start(move |_, request| {
        if request.path == "/v1/auth/token/lookup-self" {
            let data = r#"{"accessor":"a","creation_time":1,"creation_ttl":0,"display_name":"t","entity_id":"",
                "expire_time":null,"explicit_max_ttl":0,"id":"s.test","num_uses":0,"orphan":true,"path":"p",
                "policies":[],"renewable":false,"ttl":0}"#;
            return Reply::Json(200, envelope(data));
        }
        answer(calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
    })
}

fn envelope(data: &str) -> String {
    format!(r#"{{"request_id":"","lease_id":"","renewable":false,"lease_duration":0,"data":{data}}}"#)
}

fn call_error(error: SealerError) -> consigner_keys::remote::CallError {
    match error {
        SealerError::Call(error) => error,
        SealerError::Record(_) | SealerError::NewDataKey(_) | SealerError::Config(_) => panic!("{error}"),
    }
}

fn failure(result: Result<(DataKey, consigner_keys::PlainDataKey), SealerError>) -> consigner_keys::remote::CallError {
    call_error(result.unwrap_err())
}

#[tokio::test]
async fn kms_refusals_name_call_key_and_cure_and_are_not_repeated() {
    if !in_child("kms_refusals_name_call_key_and_cure_and_are_not_repeated", &KEYS) {
        return;
    }
    let cases = [
        ("AccessDeniedException", Failure::Denied, "allow the IAM action kms:GenerateDataKey on this resource"),
        ("NotFoundException", Failure::NotFound, "is the id right, and does it exist at http://127.0.0.1:"),
        ("DisabledException", Failure::Disabled, "enable the key, or cancel its deletion"),
        ("KMSInvalidStateException", Failure::Disabled, "enable the key"),
        ("UnrecognizedClientException", Failure::Unauthenticated, "no valid AWS credentials in the standard chain"),
        ("ExpiredTokenException", Failure::Unauthenticated, "is the clock right?"),
        ("ValidationException", Failure::Refused, ""),
    ];
    for (code, expected, hint) in cases {
        let server = Fake::start(move |_, _| kms_error(code));
        let error = failure(kms(&server).await.generate(&CLUSTER).await);
        assert_eq!(error.failure, expected, "{code}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("kms:GenerateDataKey for {ARN} was refused")), "{text}");
        assert!(text.contains(hint), "{text}");
        assert!(error.chain().contains(&format!("{code}: said by the server")), "{}", error.chain());
        assert_eq!(error.may_pass(), expected != Failure::Refused, "{code}");
        assert_eq!(server.requests().len(), 1, "{code} is not tried again");
    }
}

#[tokio::test]
async fn kms_throttling_and_hiccups_pass() {
    if !in_child("kms_throttling_and_hiccups_pass", &KEYS) {
        return;
    }
    for code in ["ThrottlingException", "KMSInternalException", "KeyUnavailableException", "DependencyTimeoutException"]
    {
        let server = Fake::start(move |number, _| if number < 2 { kms_error(code) } else { kms_data_key() });
        let sealer = kms(&server).await;
        let (data_key, open) = sealer.generate(&CLUSTER).await.unwrap();
        assert_eq!((data_key.id, data_key.sealer.as_str()), (*open.id(), "aws-kms"));
        assert_eq!(server.requests().len(), 3, "{code}");
        assert!(sealer.is_current(&data_key));
    }
}

#[tokio::test]
async fn the_encryption_context_names_cluster_and_data_key() {
    if !in_child("the_encryption_context_names_cluster_and_data_key", &KEYS) {
        return;
    }
    let server = Fake::start(|_, request| {
        let decrypts = request.headers.iter().any(|header| header == "x-amz-target: trentservice.decrypt");
        if decrypts {
            return Reply::Json(200, format!(r#"{{"KeyId":"{ARN}","Plaintext":"{PLAINTEXT}"}}"#));
        }
        kms_data_key()
    });
    let sealer = kms(&server).await;
    let (data_key, _) = sealer.generate(&CLUSTER).await.unwrap();
    sealer.unwrap(&data_key, &CLUSTER).await.unwrap();
    let bodies: Vec<serde_json::Value> =
        server.requests().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect();
    for body in &bodies {
        let context = &body["EncryptionContext"];
        assert_eq!(context["consigner:cluster-id"], hex::encode([0xC1; 16]));
        assert_eq!(context["consigner:data-key-id"], hex::encode(data_key.id));
        assert_eq!(body["KeyId"], ARN);
    }
    assert_eq!(
        (bodies.len(), &bodies[0]["KeySpec"], &bodies[1]["CiphertextBlob"]),
        (2, &"AES_256".into(), &BLOB.into())
    );
}

#[tokio::test]
async fn a_kms_that_fails_opens_the_circuit() {
    if !in_child("a_kms_that_fails_opens_the_circuit", &KEYS) {
        return;
    }
    let server = Fake::start(|_, _| Reply::Text(500, "<html>down</html>".into()));
    let sealer = kms(&server).await;
    let first = failure(sealer.generate(&CLUSTER).await);
    assert_eq!(first.failure, Failure::Service);
    let second = failure(sealer.generate(&CLUSTER).await);
    assert_eq!((second.failure, server.requests().len()), (Failure::Service, 5));
    let third = failure(sealer.generate(&CLUSTER).await);
    assert!(matches!(third.failure, Failure::CircuitOpen(_)), "{third}");
    assert!(third.to_string().contains("last failure: kms:GenerateDataKey"), "{third}");
    assert!(third.may_pass());
    assert_eq!(server.requests().len(), 5, "nothing was sent");
}

/// The clock is paused: whenever everybody waits it jumps to the next deadline.
#[tokio::test(start_paused = true)]
async fn a_kms_that_says_nothing_costs_bounded_time() {
    if !in_child("a_kms_that_says_nothing_costs_bounded_time", &KEYS) {
        return;
    }
    let server = Fake::start(|_, _| Reply::Silence);
    let sealer = kms(&server).await;
    let began = tokio::time::Instant::now();
    let error = failure(sealer.generate(&CLUSTER).await);
    assert!(matches!(error.failure, Failure::TimedOut(_)), "{error}");
    assert!(error.to_string().contains(&server.address()), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_unreachable_kms_is_named() {
    if !in_child("an_unreachable_kms_is_named", &KEYS) {
        return;
    }
    let address = {
        let server = Fake::start(|_, _| Reply::Silence);
        server.address()
    };
    let aws = AwsConfig { region: Some("eu-central-1".into()), endpoint: Some(address.clone()), profile: None };
    let sealer = AwsKmsSealer::connect(AwsKmsConfig { key_id: ARN.into(), aws }).await.unwrap();
    let error = failure(sealer.generate(&CLUSTER).await);
    assert_eq!(error.failure, Failure::Unreachable, "{}", error.chain());
    assert!(error.to_string().contains(&format!("is {address} up, and reachable from this node?")), "{error}");
}

#[tokio::test]
async fn answers_of_kms_that_make_no_sense_are_not_trusted() {
    if !in_child("answers_of_kms_that_make_no_sense_are_not_trusted", &KEYS) {
        return;
    }
    let replies = [
        format!(r#"{{"KeyId":"{ARN}","Plaintext":"AAEC","CiphertextBlob":"{BLOB}"}}"#),
        format!(r#"{{"KeyId":"{ARN}","CiphertextBlob":"{BLOB}"}}"#),
        format!(r#"{{"KeyId":"{ARN}","Plaintext":"{PLAINTEXT}"}}"#),
        format!(r#"{{"Plaintext":"{PLAINTEXT}","CiphertextBlob":"{BLOB}"}}"#),
        format!(r#"{{"KeyId":"{ARN}","Plaintext":"{PLAINTEXT}"#),
        "{}".to_owned(),
    ];
    for reply in replies {
        let said = reply.clone();
        let server = Fake::start(move |_, _| Reply::Json(200, said.clone()));
        let error = failure(kms(&server).await.generate(&CLUSTER).await);
        assert_eq!(error.failure, Failure::Malformed, "{reply}");
        let everything = format!("{error} {error:?} {}", error.chain());
        assert!(!everything.contains(&PLAINTEXT[..12]), "an error shows a secret: {everything}");
    }
}

#[tokio::test]
async fn a_foreign_blob_is_damage_and_not_an_outage() {
    if !in_child("a_foreign_blob_is_damage_and_not_an_outage", &KEYS) {
        return;
    }
    for code in ["InvalidCiphertextException", "IncorrectKeyException"] {
        let server = Fake::start(move |number, _| if number == 0 { kms_data_key() } else { kms_error(code) });
        let sealer = kms(&server).await;
        let (data_key, _) = sealer.generate(&CLUSTER).await.unwrap();
        for _ in 0..6 {
            let error = sealer.unwrap(&data_key, &CLUSTER).await.unwrap_err();
            assert!(!error.may_pass());
            assert!(matches!(&error, SealerError::Record(UnwrapError::Altered { data_key: id }) if *id == data_key.id));
        }
    }
}

#[tokio::test]
async fn vault_refusals_name_call_key_and_cure() {
    let cases: [(u16, &str, Failure, &str); 8] = [
        (
            403,
            "permission denied",
            Failure::Denied,
            "a policy with: path \"transit/encrypt/test\" { capabilities = [\"update\"] }",
        ),
        (503, "Vault is sealed", Failure::Sealed, "unseal the Vault at http://127.0.0.1:"),
        (404, "no handler for route", Failure::NotFound, "is transit/encrypt/test right"),
        (400, "encryption key not found", Failure::NotFound, "is its engine mounted?"),
        (400, "associated_data not supported", Failure::Refused, ""),
        (503, "under maintenance", Failure::Service, ""),
        (429, "rate limit quota exceeded", Failure::Throttled, ""),
        (500, "internal error", Failure::Service, ""),
    ];
    for (status, text, expected, hint) in cases {
        let body = format!(r#"{{"errors":["1 error occurred:\n\t* {text}\n\n"]}}"#);
        let server = vault_server(move |_| Reply::Json(status, body.clone()));
        let error = failure(vault(&server).generate(&CLUSTER).await);
        assert_eq!(error.failure, expected, "{text}");
        let said = error.to_string();
        assert!(said.starts_with("vault:transit/encrypt for transit/test "), "{said}");
        assert!(said.contains(hint), "{said}");
        assert!(error.chain().contains(text), "{}", error.chain());
        let calls = server.requests().iter().filter(|request| request.path.contains("encrypt")).count();
        assert_eq!(calls, if expected.retry_helps() { 4 } else { 1 }, "{text}");
    }
}

#[tokio::test]
async fn vault_hiccups_pass_and_outages_open_the_circuit() {
    let good = envelope(r#"{"ciphertext":"vault:v1:AAAA","key_version":1}"#);
    let said = good.clone();
    let server = vault_server(move |number| match number {
        0 => Reply::Json(429, r#"{"errors":["slow down"]}"#.into()),
        1 => Reply::Text(502, "<html>bad gateway</html>".into()),
        _ => Reply::Json(200, said.clone()),
    });
    let sealer = vault(&server);
    let (data_key, _) = sealer.generate(&CLUSTER).await.unwrap();
    assert!(sealer.is_current(&data_key));

    let server = vault_server(|_| Reply::Text(502, "<html>bad gateway</html>".into()));
    let sealer = vault(&server);
    for _ in 0..2 {
        assert_eq!(failure(sealer.generate(&CLUSTER).await).failure, Failure::Service);
    }
    let error = failure(sealer.generate(&CLUSTER).await);
    assert!(matches!(error.failure, Failure::CircuitOpen(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_says_nothing_costs_bounded_time() {
    let server = Fake::start(|_, _| Reply::Silence);
    let error = failure(vault(&server).generate(&CLUSTER).await);
    assert!(matches!(error.failure, Failure::TimedOut(_) | Failure::CircuitOpen(_)), "{error}");
}

#[tokio::test]
async fn answers_of_vault_that_make_no_sense_are_not_trusted() {
    let secret = "c2VjcmV0IG1hdGVyaWFsIG9mIGFuIGFuc3dlcg==";
    let answers = [
        envelope(r#"{"ciphertext":"plain"}"#),
        envelope("null"),
        envelope(&format!(r#"{{"plaintext":"{secret}"}}"#)),
        format!(r#"{{"data":"{secret}"#),
        secret.to_owned(),
    ];
    for answer in answers {
        let said = answer.clone();
        let server = vault_server(move |_| Reply::Json(200, said.clone()));
        let error = failure(vault(&server).generate(&CLUSTER).await);
        assert_eq!(error.failure, Failure::Malformed, "{answer}");
        let everything = format!("{error} {error:?} {}", error.chain());
        assert!(!everything.contains(&secret[..16]), "an error shows what was answered: {everything}");
    }
}

#[tokio::test]
async fn a_vault_that_returns_another_data_key_deceives_nobody() {
    // A server that ignores associated data and returns a plaintext of another cluster.
    let plain = "wsLCwsLCwsLCwsLCwsLCwgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
    let plain = envelope(&format!(r#"{{"plaintext":"{plain}"}}"#));
    let wrapped = envelope(r#"{"ciphertext":"vault:v1:AAAA"}"#);
    let server = vault_server(move |number| Reply::Json(200, if number == 0 { &wrapped } else { &plain }.clone()));
    let sealer = vault(&server);
    let (data_key, _) = sealer.generate(&CLUSTER).await.unwrap();
    let error = sealer.unwrap(&data_key, &CLUSTER).await.unwrap_err();
    assert!(matches!(error, SealerError::Record(UnwrapError::Altered { .. })), "{error}");
}

#[tokio::test]
async fn the_token_travels_in_its_header_alone() {
    let server = vault_server(|_| Reply::Json(200, envelope(r#"{"ciphertext":"vault:v1:AAAA"}"#)));
    vault(&server).generate(&CLUSTER).await.unwrap();
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.headers.iter().any(|header| header == "x-vault-token: s.test")));
    assert!(requests.iter().all(|request| !request.path.contains("s.test") && !request.body.contains("s.test")));
}
