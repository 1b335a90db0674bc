//! The transit sealer against a real server (OpenBao): wrapping, opening, refusals, and every way to log in.
#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod sealers_support;

use consigner_keys::development::interop_secret;
use consigner_keys::remote::{Failure, VaultAuth, VaultConfig};
use consigner_keys::sealing::UnwrapError;
use consigner_keys::{Sealer, SealerError, VaultTransitConfig, VaultTransitSealer, seal, unseal};
use consigner_rules::command::DataKey;
use sealers_support::bao::{Bao, SIGNER_POLICY};
use sealers_support::fake::{Fake, Reply};
use sealers_support::{CLUSTER, OTHER_CLUSTER, until};
use std::fs;
use std::path::{Path, PathBuf};

fn connect(bao: &Bao, auth: VaultAuth, key: &str) -> VaultTransitSealer {
    try_connect(bao, auth, None, key).unwrap()
}

fn try_connect(
    bao: &Bao,
    auth: VaultAuth,
    namespace: Option<&str>,
    key: &str,
) -> Result<VaultTransitSealer, SealerError> {
    let namespace = namespace.map(str::to_owned);
    let vault = VaultConfig { address: bao.address.clone(), namespace, ca: bao.ca.clone(), auth };
    VaultTransitSealer::connect(VaultTransitConfig { vault, mount: "transit".into(), key: key.into() })
}

fn write(bao: &Bao, name: &str, content: &str) -> PathBuf {
    let path = bao.folder().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn token(bao: &Bao, token: &str) -> VaultAuth {
    VaultAuth::Token { file: Some(write(bao, "token", &format!("{token}\n"))) }
}

/// An `AppRole` for the signer policy with the given life of its tokens.
fn app_role(bao: &Bao, life: &str) -> VaultAuth {
    bao.run(&["auth", "enable", "approle"]);
    let life = [format!("token_ttl={life}"), format!("token_max_ttl={life}")];
    bao.run(&["write", "auth/approle/role/signer", "token_policies=signer", &life[0], &life[1]]);
    let role_id = bao.field("role_id", &["read", "auth/approle/role/signer/role-id"]);
    let secret_id = bao.field("secret_id", &["write", "-f", "auth/approle/role/signer/secret-id"]);
    VaultAuth::AppRole {
        mount: "approle".into(),
        role_id_file: write(bao, "role-id", &role_id),
        secret_id_file: write(bao, "secret-id", &secret_id),
    }
}

fn record_error(error: SealerError) -> UnwrapError {
    assert!(!error.may_pass(), "{error}");
    match error {
        SealerError::Record(error) => error,
        SealerError::Call(error) => panic!("{}", error.chain()),
        SealerError::NewDataKey(_) | SealerError::Config(_) => panic!("{error}"),
    }
}

fn call_failure(error: &SealerError) -> Failure {
    match error {
        SealerError::Call(error) => error.failure,
        SealerError::Record(_) | SealerError::NewDataKey(_) | SealerError::Config(_) => panic!("{error}"),
    }
}

#[tokio::test]
async fn transit_wraps_and_opens_data_keys() {
    let Some(bao) = Bao::start() else { return };
    let sealer = connect(&bao, token(&bao, "root"), "signer");
    let (data_key, open) = sealer.generate(&CLUSTER).await.unwrap();
    assert_eq!((data_key.sealer.as_str(), sealer.kind()), ("vault-transit", "vault-transit"));
    assert_eq!(sealer.master(), "transit/signer version 1");
    let sealed = seal(&open, &CLUSTER, &interop_secret(1)).unwrap();

    let elsewhere = connect(&bao, token(&bao, "root"), "signer");
    let reopened = elsewhere.unwrap(&data_key, &CLUSTER).await.unwrap();
    assert_eq!(unseal(&reopened, &CLUSTER, &sealed).unwrap().public_key(), interop_secret(1).public_key());

    // Derived keys want a context: they get one.
    bao.run(&["write", "-f", "transit/keys/derived", "derived=true"]);
    let derived = connect(&bao, token(&bao, "root"), "derived");
    let (data_key, _) = derived.generate(&CLUSTER).await.unwrap();
    derived.unwrap(&data_key, &CLUSTER).await.unwrap();
}

#[tokio::test]
async fn a_record_of_another_cluster_or_data_key_does_not_open() {
    let Some(bao) = Bao::start() else { return };
    let sealer = connect(&bao, token(&bao, "root"), "signer");
    let (first, _) = sealer.generate(&CLUSTER).await.unwrap();
    let (second, _) = sealer.generate(&CLUSTER).await.unwrap();
    let id = first.id;
    let error = record_error(sealer.unwrap(&first, &OTHER_CLUSTER).await.unwrap_err());
    assert_eq!(error, UnwrapError::OtherCluster { data_key: id, wrapped: CLUSTER, cluster: OTHER_CLUSTER });
    let mut forged = first.clone();
    forged.wrapped[1..17].copy_from_slice(OTHER_CLUSTER.as_bytes());
    let mut damaged = first.clone();
    damaged.wrapped.truncate(first.wrapped.len() - 8);
    let altered = UnwrapError::Altered { data_key: id };
    for (record, cluster) in [(&DataKey { id, ..second }, CLUSTER), (&forged, OTHER_CLUSTER), (&damaged, CLUSTER)] {
        assert_eq!(record_error(sealer.unwrap(record, &cluster).await.unwrap_err()), altered);
    }
    // A path that would lead out of the engine is no record at all.
    let mut stray = first.wrapped[..17].to_vec();
    stray.extend_from_slice(&[0, 9]);
    stray.extend_from_slice(b"../sys/axvault:v1:AAAA");
    let stray = DataKey { wrapped: stray, ..first.clone() };
    let error = record_error(sealer.unwrap(&stray, &CLUSTER).await.unwrap_err());
    assert!(matches!(error, UnwrapError::Length { .. }), "{error}");
    let foreign = DataKey { sealer: "local".into(), ..first };
    let error = record_error(sealer.unwrap(&foreign, &CLUSTER).await.unwrap_err());
    assert!(matches!(error, UnwrapError::OtherSealer { own: "vault-transit", .. }), "{error}");
}

#[tokio::test]
async fn a_rotated_key_makes_data_keys_old_but_they_open() {
    let Some(bao) = Bao::start() else { return };
    let sealer = connect(&bao, token(&bao, "root"), "signer");
    let (data_key, _) = sealer.generate(&CLUSTER).await.unwrap();
    bao.run(&["write", "-f", "transit/keys/signer/rotate"]);
    sealer.refresh(&CLUSTER).await.unwrap();
    assert!(!sealer.is_current(&data_key), "there is something to rewrap");
    assert_eq!(sealer.master(), "transit/signer version 2");
    sealer.unwrap(&data_key, &CLUSTER).await.unwrap();

    bao.run(&["write", "-f", "transit/keys/other"]);
    let other = connect(&bao, token(&bao, "root"), "other");
    assert!(!other.is_current(&data_key));
    other.unwrap(&data_key, &CLUSTER).await.expect("the record names its key");

    bao.run(&["write", "transit/keys/signer/config", "min_decryption_version=2"]);
    let error = sealer.unwrap(&data_key, &CLUSTER).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::Disabled, "{error}");
    assert!(error.to_string().contains("min_decryption_version"), "{error}");
}

#[tokio::test]
async fn a_missing_right_is_named_and_helps_once_it_is_granted() {
    let Some(bao) = Bao::start() else { return };
    bao.policy("signer", "path \"transit/encrypt/signer\" { capabilities = [\"update\"] }");
    let auth = app_role(&bao, "1h");
    let sealer = connect(&bao, auth, "signer");
    let (data_key, _) = sealer.generate(&CLUSTER).await.unwrap();
    let error = sealer.unwrap(&data_key, &CLUSTER).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::Denied, "{error}");
    assert!(error.may_pass());
    let text = error.to_string();
    assert!(text.starts_with("vault:transit/decrypt for transit/signer was refused: access denied"), "{text}");
    assert!(text.contains("path \"transit/decrypt/signer\" { capabilities = [\"update\"] }"), "{text}");

    bao.policy("signer", SIGNER_POLICY);
    sealer.unwrap(&data_key, &CLUSTER).await.unwrap();
    // With `update` alone a mistyped name creates no key.
    let typo = connect(&bao, app_role_again(&bao), "singer");
    let error = typo.generate(&CLUSTER).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::Denied, "{error}");
}

fn app_role_again(bao: &Bao) -> VaultAuth {
    let file = |name: &str| bao.folder().join(name);
    VaultAuth::AppRole { mount: "approle".into(), role_id_file: file("role-id"), secret_id_file: file("secret-id") }
}

#[tokio::test]
async fn a_sealed_server_says_so_and_works_once_it_is_unsealed() {
    let Some(bao) = Bao::start() else { return };
    let sealer = connect(&bao, token(&bao, "root"), "signer");
    let (data_key, _) = sealer.generate(&CLUSTER).await.unwrap();
    bao.run(&["operator", "seal"]);
    let error = sealer.unwrap(&data_key, &CLUSTER).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::Sealed, "{error}");
    assert!(error.to_string().contains(&format!("unseal the Vault at {}", bao.address)), "{error}");
    assert!(error.may_pass());
    bao.unseal();
    let opens = async || sealer.unwrap(&data_key, &CLUSTER).await.map(drop);
    until("it opens again", opens, Result::is_ok).await.unwrap();
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let Some(mut bao) = Bao::start() else { return };
    let sealer = connect(&bao, token(&bao, "root"), "signer");
    bao.stop();
    let error = sealer.generate(&CLUSTER).await.unwrap_err();
    let failure = call_failure(&error);
    assert!(matches!(failure, Failure::Unreachable | Failure::CircuitOpen(_)), "{error}");
    assert!(error.to_string().contains(&bao.address), "{error}");
    assert!(error.may_pass());
    bao.start_again();
    let generates = async || sealer.generate(&CLUSTER).await.map(drop);
    until("it answers again", generates, Result::is_ok).await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_id_is_named_and_a_new_one_is_taken_from_the_file() {
    let Some(bao) = Bao::start() else { return };
    let auth = app_role(&bao, "1h");
    let VaultAuth::AppRole { secret_id_file, .. } = &auth else { panic!("an AppRole") };
    let good = fs::read_to_string(secret_id_file).unwrap();
    fs::write(secret_id_file, "00000000-0000-0000-0000-000000000000").unwrap();
    let file = secret_id_file.clone();
    let sealer = connect(&bao, auth, "signer");
    let error = sealer.generate(&CLUSTER).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::Unauthenticated, "{error}");
    assert!(error.to_string().starts_with("vault:auth/approle/login for auth/approle was refused"), "{error}");
    assert!(error.may_pass());
    fs::remove_file(&file).unwrap();
    let error = sealer.generate(&CLUSTER).await.unwrap_err();
    assert!(error.to_string().contains(&format!("cannot read the AppRole secret id {}", file.display())), "{error}");
    fs::write(&file, good).unwrap();
    sealer.generate(&CLUSTER).await.unwrap();
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_a_new_login() {
    let Some(bao) = Bao::start() else { return };
    let sealer = connect(&bao, app_role(&bao, "1h"), "signer");
    let (data_key, _) = sealer.generate(&CLUSTER).await.unwrap();
    bao.run(&["token", "revoke", "-mode=path", "auth/approle"]);
    // For some seconds after a login a refusal is believed.
    let opens = async || sealer.unwrap(&data_key, &CLUSTER).await.map(drop);
    until("it logs in again", opens, Result::is_ok).await.unwrap();
}

#[tokio::test]
async fn a_token_is_renewed_while_nobody_calls() {
    let Some(bao) = Bao::start() else { return };
    let periodic = bao.field("token", &["token", "create", "-policy=signer", "-period=20s", "-orphan"]);
    let sealer = connect(&bao, token(&bao, &periodic), "signer");
    // Two thirds of a life pass before each renewal: after the second it lives longer than it could have.
    let renewals = async || bao.last_renewal(&periodic);
    let first = until("it is renewed", renewals, |renewed: &Option<u64>| renewed.is_some()).await.unwrap();
    until("it is renewed again", renewals, |renewed| renewed.is_some_and(|renewed| renewed > first)).await;
    sealer.generate(&CLUSTER).await.unwrap();
}

#[tokio::test]
async fn a_token_at_the_end_of_its_longest_life_is_replaced() {
    let Some(bao) = Bao::start() else { return };
    let sealer = connect(&bao, app_role(&bao, "3s"), "signer");
    // So short a life may be over before it is used, on a machine that is busy.
    let generates = async || sealer.generate(&CLUSTER).await.map(|(data_key, _)| data_key);
    let data_key = until("a data key", generates, Result::is_ok).await.unwrap();
    let tokens = async || bao.tokens_ever_made();
    let before = bao.tokens_ever_made();
    until("new logins while nobody calls", tokens, |tokens| *tokens >= before + 3).await;
    let opens = async || sealer.unwrap(&data_key, &CLUSTER).await.map(drop);
    until("it opens", opens, Result::is_ok).await.unwrap();
}

#[tokio::test]
async fn an_expired_token_is_named_and_a_new_one_is_taken_from_the_file() {
    let Some(bao) = Bao::start() else { return };
    let revoked = bao.field("token", &["token", "create", "-policy=signer"]);
    bao.run(&["token", "revoke", &revoked]);
    let sealer = connect(&bao, token(&bao, &revoked), "signer");
    let error = sealer.generate(&CLUSTER).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::Denied, "{error}");
    assert!(error.to_string().contains("the token is expired or revoked, or the token needs a policy with"), "{error}");
    let everything = format!("{error} {error:?}");
    assert!(!everything.contains(&revoked), "an error shows the token");
    token(&bao, &bao.field("token", &["token", "create", "-policy=signer"]));
    sealer.generate(&CLUSTER).await.unwrap();
    token(&bao, "two words");
    let broken = connect(&bao, VaultAuth::Token { file: Some(bao.folder().join("token")) }, "signer");
    let error = broken.generate(&CLUSTER).await.unwrap_err();
    assert!(error.to_string().contains("not one line of printable text"), "{error}");
}

#[tokio::test]
async fn a_namespace_has_its_own_keys() {
    let Some(bao) = Bao::start() else { return };
    bao.run(&["namespace", "create", "staking"]);
    bao.run(&["secrets", "enable", "-namespace=staking", "transit"]);
    bao.run(&["write", "-namespace=staking", "-f", "transit/keys/signer"]);
    let inside = try_connect(&bao, token(&bao, "root"), Some("staking"), "signer").unwrap();
    let (data_key, _) = inside.generate(&CLUSTER).await.unwrap();
    assert_eq!(inside.master(), "transit/signer version 1 in namespace staking");
    inside.unwrap(&data_key, &CLUSTER).await.unwrap();
    let outside = connect(&bao, token(&bao, "root"), "signer");
    let error = record_error(outside.unwrap(&data_key, &CLUSTER).await.unwrap_err());
    assert_eq!(error, UnwrapError::Altered { data_key: data_key.id }, "a key of the same name is another key");
}

#[tokio::test]
async fn only_the_configured_authority_is_trusted_and_a_certificate_logs_in() {
    let Some(bao) = Bao::start_tls() else { return };
    let (cert, key) = bao.client_certificate("signer");
    let (_, stranger_key) = bao.client_certificate("stranger");
    let auth = |role: Option<&str>, key: &Path| VaultAuth::Certificate {
        mount: "cert".into(),
        role: role.map(str::to_owned),
        cert: cert.clone(),
        key: key.to_path_buf(),
    };
    let sealer = connect(&bao, auth(None, &key), "signer");
    let (data_key, _) = sealer.generate(&CLUSTER).await.unwrap();
    connect(&bao, auth(Some("signer"), &key), "signer").unwrap(&data_key, &CLUSTER).await.unwrap();
    let error = connect(&bao, auth(Some("nobody"), &key), "signer").generate(&CLUSTER).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::Unauthenticated, "{error}");
    let error = connect(&bao, auth(None, &stranger_key), "signer").generate(&CLUSTER).await.unwrap_err();
    assert!(matches!(call_failure(&error), Failure::Unauthenticated | Failure::Unreachable), "{error}");

    // Another authority in the file, and the system's: neither vouches for this server.
    let other = write(&bao, "other-ca.pem", &Bao::another_authority());
    for ca in [Some(other), None] {
        let vault =
            VaultConfig { address: bao.address.clone(), namespace: None, ca, auth: VaultAuth::TokenText(root()) };
        let config = VaultTransitConfig { vault, mount: "transit".into(), key: "signer".into() };
        let error = VaultTransitSealer::connect(config).unwrap().generate(&CLUSTER).await.unwrap_err();
        let SealerError::Call(error) = error else { panic!("{error}") };
        assert!(matches!(error.failure, Failure::Unreachable | Failure::CircuitOpen(_)), "{}", error.chain());
        assert!(error.to_string().contains("its certificate of the right CA?"), "{error}");
    }
}

fn root() -> zeroize::Zeroizing<String> {
    zeroize::Zeroizing::new("root".to_owned())
}

#[tokio::test]
async fn a_service_account_logs_in() {
    let Some(bao) = Bao::start() else { return };
    // What the API server of Kubernetes says of the pod's token.
    let reviewer = Fake::start(|_, request| {
        let good = request.path == "/apis/authentication.k8s.io/v1/tokenreviews" && request.body.contains("eyJ");
        let status = r#"{"authenticated":true,"audiences":["vault"],"user":{"username":"system:serviceaccount:staking:signer","uid":"u-1",
            "groups":["system:serviceaccounts","system:serviceaccounts:staking"]}}"#;
        let body = format!(r#"{{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{status}}}"#);
        if good { Reply::Json(201, body) } else { Reply::Json(404, "{}".into()) }
    });
    bao.run(&["auth", "enable", "kubernetes"]);
    let host = format!("kubernetes_host={}", reviewer.address());
    let authority = format!("kubernetes_ca_cert={}", Bao::another_authority());
    bao.run(&["write", "auth/kubernetes/config", &host, &authority, "token_reviewer_jwt=eyJ"]);
    let bound = ["bound_service_account_names=signer", "bound_service_account_namespaces=staking"];
    let role = ["write", "auth/kubernetes/role/signer", bound[0], bound[1], "token_policies=signer", "audience=vault"];
    bao.run(&role);
    let jwt = write(&bao, "jwt", &service_account_token());
    let auth =
        |role: &str| VaultAuth::Kubernetes { mount: "kubernetes".into(), role: role.into(), jwt_file: jwt.clone() };
    connect(&bao, auth("signer"), "signer").generate(&CLUSTER).await.unwrap();
    let error = connect(&bao, auth("nobody"), "signer").generate(&CLUSTER).await.unwrap_err();
    assert_eq!(call_failure(&error), Failure::Unauthenticated, "{error}");
    assert!(error.to_string().starts_with("vault:auth/kubernetes/login for auth/kubernetes was refused"), "{error}");
}

/// As Kubernetes mints them, but for the signature: the reviewer looks at that.
fn service_account_token() -> String {
    use base64::Engine as _;
    let part = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    let claims = r#"{"aud":["vault"],"exp":4102444800,"iat":1700000000,"nbf":1700000000,"iss":"https://kubernetes.default.svc",
        "kubernetes.io":{"namespace":"staking","serviceaccount":{"name":"signer","uid":"u-1"}},
        "sub":"system:serviceaccount:staking:signer"}"#;
    format!("{}.{}.{}", part(r#"{"alg":"RS256","kid":"k"}"#), part(claims), part("signature"))
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_once() {
    let ca = tempfile::NamedTempFile::new().unwrap();
    let config = |address: &str, ca: Option<&Path>, mount: &str, key: &str| VaultTransitConfig {
        vault: VaultConfig {
            address: address.into(),
            namespace: None,
            ca: ca.map(Path::to_path_buf),
            auth: VaultAuth::TokenText(root()),
        },
        mount: mount.into(),
        key: key.into(),
    };
    let good = "https://vault.example:8200";
    VaultTransitSealer::connect(config(good, None, "team/transit/", "signer")).unwrap();
    let bad = [
        config("vault.example:8200", None, "transit", "signer"),
        config("ftp://vault.example", None, "transit", "signer"),
        config("https://vault.example/v1", None, "transit", "signer"),
        config("https://user@vault.example", None, "transit", "signer"),
        config(good, Some(ca.path()), "transit", "signer"),
        config(good, Some(Path::new("/nowhere/ca.pem")), "transit", "signer"),
        config(good, None, "", "signer"),
        config(good, None, "transit", "a/b"),
        config(good, None, "transit/..", "signer"),
        config(good, None, "transit", ""),
    ];
    for config in bad {
        let shown = format!("{config:?}");
        let error = VaultTransitSealer::connect(config).unwrap_err();
        assert!(matches!(error, SealerError::Config(_)), "{shown}: {error}");
        assert!(!error.may_pass() && !shown.contains("root"), "{shown}");
    }
}
