//! Runs over candidates: what is known is not decrypted, what is twice is decrypted once, what fails does not stop.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::development::interop_secret;
use consigner_keys::keystore::{DecryptPool, Keystore, Password};
use consigner_keys::source::{
    AwsSecretSpec, Candidate, Fetch, Loaded, Loading, Material, Outcome, Progress, RemoteSecret, SourceError, load_all,
};
use consigner_rules::PublicKey;
use futures::FutureExt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use support::keystore;

fn candidate(origin: &str, index: u64, password: &str) -> Candidate {
    let keystore = Box::new(keystore(index, "right"));
    let public_key = keystore.public_key();
    Candidate::new(origin, public_key, Material::Keystore { keystore, password: Password::new(password) })
}

fn public_key(index: u64) -> PublicKey {
    interop_secret(index).public_key()
}

async fn load(candidates: Vec<Candidate>) -> Vec<Loaded> {
    load_all(candidates, DecryptPool::default(), None, |_| false, |_, _| {}).await
}

fn shown(loaded: &[Loaded]) -> Vec<String> {
    loaded
        .iter()
        .map(|loaded| {
            let origin = &loaded.origin;
            match &loaded.outcome {
                Outcome::Secret(secret) => {
                    assert_eq!(loaded.public_key, Some(secret.public_key()));
                    format!("{origin}: secret")
                }
                Outcome::Known => format!("{origin}: known"),
                Outcome::Duplicate { of } => format!("{origin}: duplicate of {of}"),
                Outcome::Failed(error) => format!("{origin}: {error}"),
            }
        })
        .collect()
}

const WRONG: &str = "wrong password, or the keystore was altered (its checksum does not match)";

#[tokio::test]
async fn results_come_in_the_order_of_the_candidates() {
    let candidates: Vec<_> = (0..50).map(|index| candidate(&index.to_string(), index, "right")).collect();
    let mut seen = Vec::new();
    let note = |progress: &Progress, loaded: &Loaded| seen.push((progress.done, progress.total, loaded.origin.clone()));
    let loaded = load_all(candidates, DecryptPool::default(), None, |_| false, note).await;
    assert_eq!(shown(&loaded), (0..50).map(|index| format!("{index}: secret")).collect::<Vec<_>>());
    assert_eq!(seen, (0..50).map(|index| (index + 1, 50, index.to_string())).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_known_key_is_not_decrypted() {
    // A wrong password would show if it were.
    let candidates = vec![candidate("a", 1, "wrong"), candidate("b", 2, "right"), candidate("c", 2, "wrong")];
    let known = |key: &PublicKey| *key == public_key(1);
    let loaded = load_all(candidates, DecryptPool::default(), None, known, |_, _| {}).await;
    assert_eq!(shown(&loaded), ["a: known", "b: secret", "c: duplicate of b"]);
}

#[tokio::test]
async fn a_key_that_its_keystore_does_not_name_is_known_afterwards() {
    let mut document: serde_json::Value = serde_json::from_str(&keystore(1, "right").to_json()).unwrap();
    document.as_object_mut().unwrap().remove("pubkey");
    let keystore = Box::new(Keystore::parse(document.to_string().as_bytes()).unwrap());
    let unnamed = Candidate::new("a", None, Material::Keystore { keystore, password: Password::new("right") });
    let loaded = load_all(vec![unnamed], DecryptPool::default(), None, |_| true, |_, _| {}).await;
    assert_eq!((shown(&loaded), loaded[0].public_key), (vec!["a: known".to_owned()], Some(public_key(1))));
}

#[tokio::test]
async fn a_second_file_of_the_same_key_is_tried_when_the_first_does_not_open() {
    let candidates = vec![
        candidate("a", 1, "wrong"),
        candidate("other", 2, "right"),
        candidate("b", 1, "right"),
        candidate("c", 1, "wrong"),
    ];
    let loaded = load(candidates).await;
    assert_eq!(shown(&loaded), [&format!("a: {WRONG}"), "b: secret", "c: duplicate of b", "other: secret"]);
}

#[tokio::test]
async fn failures_are_reported_and_do_not_stop_the_others() {
    let failed = Candidate::failed("a", None, SourceError::Unsupported("no such thing".to_owned()));
    let raw = Candidate::raw("c", interop_secret(3));
    let mut lying = Candidate::raw("d", interop_secret(4));
    lying.public_key = Some(public_key(5));
    let loaded = load(vec![failed, candidate("b", 1, "wrong"), raw, lying]).await;
    let mismatch = format!("d: the source names {} but holds the key of {}", public_key(5), public_key(4));
    assert_eq!(shown(&loaded), ["a: no such thing", &format!("b: {WRONG}"), "c: secret", &mismatch]);
    assert_eq!(loaded[1].public_key, Some(public_key(1)));
}

#[tokio::test]
async fn nothing_to_load_is_no_error() {
    assert!(load(Vec::new()).await.is_empty());
}

fn remote(origin: &str, name: &str) -> Candidate {
    let spec = AwsSecretSpec {
        region: "eu-central-1".to_owned(),
        secret_name: name.to_owned(),
        credentials: None,
        endpoint_override: None,
    };
    Candidate::new(origin, None, Material::Remote(RemoteSecret::Aws(Box::new(spec))))
}

/// Answers by the name of the secret: so many keys.
fn fetch() -> Fetch {
    Arc::new(|secret| {
        async move {
            let RemoteSecret::Aws(spec) = secret else { panic!() };
            match spec.secret_name.as_str() {
                "loop" => vec![remote("inner", "1")],
                name => (0..name.parse().unwrap()).map(|index| Candidate::raw("key", interop_secret(index))).collect(),
            }
        }
        .boxed()
    })
}

#[tokio::test]
async fn remote_secrets_are_fetched_and_may_hold_several_keys() {
    let candidates = vec![remote("none", "0"), remote("three", "3"), remote("two", "2"), remote("loop", "loop")];
    let mut totals = Vec::new();
    let note = |progress: &Progress, _: &Loaded| totals.push((progress.done, progress.total));
    let loaded = load_all(candidates, DecryptPool::default(), Some(fetch()), |_| false, note).await;
    let followed = "loop: inner: a secret that leads to another wallet or secret is not followed";
    assert_eq!(
        shown(&loaded),
        [
            "none: the secret holds no key",
            "three: key: secret",
            "three: key: secret",
            "three: key: secret",
            "two: key: duplicate of three: key",
            "two: key: duplicate of three: key",
            followed,
        ]
    );
    assert_eq!(totals, [(1, 4), (2, 6), (3, 6), (4, 6), (5, 7), (6, 7), (7, 7)]);
    let loaded = load(vec![remote("a", "1")]).await;
    assert_eq!(shown(&loaded), ["a: secrets of vaults are not fetched here"]);
}

#[tokio::test]
async fn a_run_that_is_broken_off_has_handed_out_its_results() {
    let candidates: Vec<_> = (0..20).map(|index| candidate(&index.to_string(), index, "right")).collect();
    let mut loading = Loading::new(candidates, DecryptPool::default(), None, |_| false);
    assert_eq!(loading.progress().remaining(), None);
    for index in 0..5 {
        let loaded = loading.next().await.unwrap();
        assert_eq!(shown(&[loaded]), [format!("{index}: secret")]);
    }
    let progress = loading.progress();
    assert_eq!((progress.done, progress.total, progress.secrets), (5, 20, 5));
}

#[test]
fn progress_tells_rate_and_remaining_time() {
    let progress = Progress { done: 30, total: 100, secrets: 20, elapsed: Duration::from_secs(10) };
    assert!((progress.secrets_per_s() - 2.0).abs() < 1e-9);
    assert_eq!(progress.remaining(), Some(Duration::from_secs(35)));
    let none = Progress { done: 5, total: 100, secrets: 0, elapsed: Duration::from_secs(10) };
    assert_eq!(none.remaining(), None);
}

#[tokio::test]
async fn a_keystore_that_is_too_large_for_the_pool_fails_alone() {
    let mut document: serde_json::Value = serde_json::from_str(&keystore(1, "right").to_json()).unwrap();
    document["crypto"]["kdf"] = serde_json::json!({
        "function": "scrypt", "params": {"dklen": 32, "n": 262_144, "r": 8, "p": 1, "salt": "00"}, "message": ""
    });
    let keystore = Box::new(Keystore::parse(document.to_string().as_bytes()).unwrap());
    let large = Candidate::new("large", None, Material::Keystore { keystore, password: Password::new("p") });
    let pool = DecryptPool::new(NonZeroUsize::MIN, 64 << 20);
    let loaded = load_all(vec![large, candidate("small", 2, "right")], pool, None, |_| false, |_, _| {}).await;
    let refusal = "decrypting takes 256 MiB of memory, more than the 64 MiB allowed for all decryption at once";
    assert_eq!(shown(&loaded), [format!("large: {refusal}"), "small: secret".to_owned()]);
}
