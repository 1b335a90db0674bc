//! Tests of `oauth`, `limits` and `audit`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::tests::{MINIMAL, loaded};
use super::{BackOff, Config, ConfigError, Rate};
use consigner_gate::oauth::KeySet;
use std::time::Duration;

fn with(lines: &str) -> Result<Config, ConfigError> {
    loaded(&format!("{MINIMAL}{lines}\n"), &[], &[])
}

#[test]
fn by_default_validator_clients_are_not_limited_and_everything_is_recorded() {
    let config = with("").unwrap();
    assert_eq!((config.limits.identity, config.limits.api, config.limits.token_door), (None, None, None));
    let narrow = Some(Rate { per_second: 50, burst: 500 });
    assert_eq!((config.limits.keymanager, config.limits.admin), (narrow, narrow));
    let back_off = BackOff { free: 5, pause: Duration::from_secs(1), pause_max: Duration::from_secs(60) };
    assert_eq!(config.limits.failed_credentials, Some(back_off));
    let audit = config.audit.unwrap();
    assert_eq!(audit.dir, config.node.data_dir.join("audit"));
    assert_eq!((audit.rotate_bytes, audit.files_max, audit.attestation_sample), (64 << 20, 0, 0));
    assert!(!config.keys.source.allow_loose_permissions);
}

#[test]
fn limits_and_the_record_can_be_switched_off() {
    let config = with(
        "limits: {keymanager: {per-second: 0}, admin: {per-second: 0}, failed-credentials: {free: 0}, \
         identity: {per-second: 5, burst: 7}}\naudit: {enabled: false}\nkeymanager: {enabled: true, rate: {per-second: 0}}",
    );
    let config = config.unwrap();
    assert_eq!((config.limits.keymanager, config.limits.admin, config.limits.failed_credentials), (None, None, None));
    assert_eq!(config.limits.identity, Some(Rate { per_second: 5, burst: 7 }));
    assert_eq!((config.audit, config.keymanager.unwrap().rate), (None, None));
}

#[test]
fn keys_of_access_tokens_come_from_a_file_or_a_server() {
    let file = with("oauth: {issuer: \"https://idp\", audience: [consigner], jwks-file: jwks.json}").unwrap();
    let oauth = file.oauth.unwrap();
    assert!(matches!(&oauth.keys, KeySet::File(file) if file.ends_with("jwks.json")), "{oauth:?}");
    assert_eq!((oauth.leeway, oauth.refresh), (Duration::from_secs(30), Duration::from_secs(600)));
    for url in ["https://idp.example/realms/a/keys?x=1", "http://127.0.0.1:8080/keys", "https://idp.example"] {
        let lines = format!("oauth: {{issuer: i, audience: a, jwks-url: \"{url}\", ca: ca.pem, leeway: 5s}}");
        let oauth = with(&lines).unwrap().oauth.unwrap();
        let KeySet::Url { url: seen, ca: Some(_) } = &oauth.keys else { panic!("{oauth:?}") };
        assert_eq!((seen.as_str(), oauth.audiences.as_slice()), (url, ["a".to_owned()].as_slice()));
    }
}

/// Lines, the key that is complained about, and a part of what is said.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("oauth: {issuer: i, jwks-file: f}", "oauth.audience", "a token for another service would count"),
    ("oauth: {issuer: i, audience: a}", "oauth.jwks-url", "missing"),
    ("oauth: {issuer: i, audience: a, jwks-file: f, jwks-url: \"https://idp\"}", "oauth.jwks-url", "from one place"),
    ("oauth: {jwks-file: f}", "oauth.jwks-file", "set without oauth.issuer"),
    ("oauth: {audience: a}", "oauth.audience", "set without oauth.issuer"),
    ("oauth: {jwks-url: \"https://idp\"}", "oauth.jwks-url", "set without oauth.issuer"),
    ("oauth: {ca: c}", "oauth.ca", "set without oauth.issuer"),
    ("oauth: {leeway: 5s}", "oauth.leeway", "set without oauth.issuer"),
    ("oauth: {refresh: 1min}", "oauth.refresh", "set without oauth.issuer"),
    ("oauth: {issuer: i, audience: a, jwks-file: f, ca: c}", "oauth.ca", "set without oauth.jwks-url"),
    ("oauth: {issuer: i, audience: a, jwks-url: \"http://idp/keys\"}", "oauth.jwks-url", "https://HOST[:PORT]/PATH"),
    ("oauth: {issuer: i, audience: a, jwks-url: \"https://idp/ke ys\"}", "oauth.jwks-url", "https://HOST[:PORT]/PATH"),
    ("oauth: {issuer: i, audience: a, jwks-file: f, leeway: 10min}", "oauth.leeway", "more than 300s"),
    ("oauth: {issuer: i, audience: a, jwks-file: f, refresh: 1s}", "oauth.refresh", "not between"),
    ("limits: {api: {per-second: many}}", "limits.api.per-second", "a whole number from 0 up"),
    ("limits: {api: {per-second: 5, burst: 0}}", "limits.api.burst", "a whole number from 1 up"),
    (
        "limits: {failed-credentials: {pause: 10min}}",
        "limits.failed-credentials.pause-max",
        "at least limits.failed-credentials.pause",
    ),
    ("audit: {rotate-size: 1KiB}", "audit.rotate-size", "at least 64 KiB"),
    ("audit: {files-max: 1}", "audit.files-max", "at least 2"),
    ("audit: {checkpoint-lines: 0}", "audit.checkpoint-lines", "a whole number from 1 up"),
    (
        "keymanager: {enabled: true, listen: 127.0.0.1:9003, tls: {client-certificate: optional}}",
        "keymanager.tls.client-certificate",
        "only with keymanager.token-file or oauth.issuer",
    ),
];

#[test]
fn every_mistake_names_its_key_and_the_cure() {
    for (lines, key, said) in MISTAKES {
        let error = with(lines).expect_err(lines);
        let problem = &error.0[0];
        assert_eq!(problem.key, *key, "{lines}: {error}");
        assert!(problem.what.contains(said), "{lines}: {error}");
    }
}
