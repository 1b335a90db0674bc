//! Tests of the sections about keys: sealers, sources, decryption, the key manager API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::keymanager::KeyManagerConfig;
use super::perimeter::Rate;
use super::sealer::{LocalSecret, SealerKind};
use super::tests::{MINIMAL, loaded};
use super::vault::VaultAuth;
use super::{Config, ConfigError, load};
use crate::certs::CertificateDir;
use consigner_gate::tls::ClientAuth;
use consigner_keys::source::Passwords;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A configuration whose `keys` and `keymanager` sections are these lines.
fn with(keys: &str) -> Result<Config, ConfigError> {
    loaded(&text(keys), &[], &[])
}

fn text(keys: &str) -> String {
    MINIMAL.replace("keys: {sealer: {local: {key-file: sealing.key}}}\n", keys)
}

fn named(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn by_default_a_local_key_file_seals_and_nothing_else_is_set_up() {
    let config = loaded(MINIMAL, &[], &[]).unwrap();
    let sealer = config.keys.sealer;
    assert_eq!((sealer.in_use, sealer.aws_kms, sealer.vault_transit), (SealerKind::Local, None, None));
    let local = sealer.local.unwrap();
    assert!(matches!(&local.secret, LocalSecret::KeyFile(file) if named(file) == "sealing.key"));
    assert!(local.previous_key_files.is_empty() && local.previous_passphrase_files.is_empty());
    assert!(config.keys.source.is_empty());
    assert_eq!(config.keys.decrypt.threads.get(), 1);
    assert_eq!(config.keys.decrypt.memory_max, 512 << 20);
    assert_eq!(config.keymanager, None);
}

#[test]
fn every_kind_of_sealer_is_understood() {
    let config = with(
        "keys: {sealer: {use: vault-transit,
          local: {passphrase-file: pass, previous-key-files: [a.key, /b.key],
            previous-passphrase-files: [/old]},
          aws-kms: {key-id: alias/signer, region: eu-central-1, endpoint: \"http://127.0.0.1:5555\", profile: p},
          vault-transit: {address: \"https://vault:8200/\", key: signer, mount: t, namespace: n, ca: ca.pem,
            auth: approle, role-id-file: r, secret-id-file: s}}}\n",
    );
    let sealer = config.unwrap().keys.sealer;
    assert_eq!((sealer.in_use, sealer.in_use.word()), (SealerKind::VaultTransit, "vault-transit"));
    let local = sealer.local.unwrap();
    assert!(matches!(&local.secret, LocalSecret::PassphraseFile(file) if named(file) == "pass"));
    assert_eq!(local.previous_key_files[1], Path::new("/b.key"));
    assert_eq!(local.previous_passphrase_files, [Path::new("/old")]);
    let kms = sealer.aws_kms.unwrap();
    assert_eq!(kms.key_id, "alias/signer");
    assert_eq!(kms.access.endpoint.as_deref(), Some("http://127.0.0.1:5555"));
    let transit = sealer.vault_transit.unwrap();
    assert_eq!((transit.access.address.as_str(), transit.mount.as_str()), ("https://vault:8200", "t"));
    let VaultAuth::AppRole { mount, role_id_file, .. } = &transit.access.auth else { panic!("not approle") };
    assert_eq!((mount.as_str(), named(role_id_file)), ("approle", "r"));
}

#[test]
fn every_login_to_vault_is_understood() {
    let auth = |login: &str| {
        let keys = format!(
            "keys: {{sealer: {{use: vault-transit, vault-transit: {{address: \"https://v\", key: k, {login}}}}}}}\n"
        );
        with(&keys).unwrap().keys.sealer.vault_transit.unwrap().access.auth
    };
    assert_eq!(auth("auth: token"), VaultAuth::Token { file: None });
    assert!(matches!(auth("token-file: t"), VaultAuth::Token { file: Some(_) }));
    let VaultAuth::Kubernetes { mount, role, jwt_file } = auth("auth: kubernetes, role: r, auth-mount: k8s") else {
        panic!("not kubernetes")
    };
    assert_eq!((mount.as_str(), role.as_str()), ("k8s", "r"));
    assert_eq!(jwt_file, Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token"));
    assert!(matches!(auth("auth: cert, cert: c, cert-key: k"), VaultAuth::Certificate { role: None, .. }));
}

#[test]
fn sources_are_understood() {
    let config = with(
        "keys:
  sealer: {local: {key-file: k}}
  source:
    key-config-path: yaml
    keystores-path: ks
    keystores-password-file: pw
    poll-interval: 5s
    aws-secrets: {enabled: true, prefixes-filter: [a/, b/], tags: [\"env=prod\", \"team=a=b\"]}
    vault-kv: {address: \"http://localhost:8200\", path: /validators/}
  decrypt: {threads: 4, memory-max: 2GiB}
",
    );
    let keys = config.unwrap().keys;
    let keystores = keys.source.keystores.unwrap();
    assert!(matches!(&keystores.passwords, Passwords::File(file) if named(file) == "pw"));
    let aws = keys.source.aws_secrets.unwrap();
    assert_eq!(aws.prefixes, ["a/", "b/"]);
    assert_eq!(aws.tags[1], ("team".to_owned(), "a=b".to_owned()));
    let kv = keys.source.vault_kv.unwrap();
    assert_eq!((kv.mount.as_str(), kv.path.as_str()), ("secret", "validators"));
    assert_eq!((keys.decrypt.threads.get(), keys.decrypt.memory_max), (4, 2 << 30));
}

#[test]
fn tags_may_be_written_as_web3signer_has_them() {
    let variables =
        [("CONSIGNER_KEYS_SOURCE_AWS_SECRETS_TAGS", "a=1|b=2"), ("CONSIGNER_KEYS_SOURCE_AWS_SECRETS_ENABLED", "true")];
    let config = loaded(MINIMAL, &variables, &[]).unwrap();
    let tags = config.keys.source.aws_secrets.unwrap().tags;
    assert_eq!(tags, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
}

#[test]
fn the_key_manager_has_a_door_of_its_own_or_none() {
    let on_api = loaded(&format!("{MINIMAL}keymanager: {{enabled: true}}\n"), &[], &[]).unwrap();
    assert_eq!(on_api.keymanager, Some(KeyManagerConfig { door: None, token_file: None, rate: Some(RATE) }));
    let own = "keymanager: {enabled: true, listen: 127.0.0.1:9003, token-file: t, tls: {client-certificate: optional}}";
    let own = loaded(&format!("{MINIMAL}{own}\n"), &[], &[]).unwrap().keymanager.unwrap();
    let door = own.door.unwrap();
    assert!(door.tls.client_auth == ClientAuth::Optional);
    let files: Vec<_> = door.tls.files().into_iter().map(|(word, file)| (word, named(file))).collect();
    assert_eq!(files, [("cert", "a.pem"), ("key", "a-key.pem"), ("client-ca", "ca.pem")], "the API's unless set");
    let off = loaded(&format!("{MINIMAL}keymanager: {{listen: 127.0.0.1:9003}}\n"), &[], &[]).unwrap();
    assert_eq!(off.keymanager, None);
}

/// Calls of one caller of the key manager API, unless the configuration says otherwise.
const RATE: Rate = Rate { per_second: 10, burst: 100 };

/// Sections, the key that is complained about, and a part of what is said.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("", "keys.sealer.local.key-file", "missing; keys.sealer.use is local"),
    ("keys: {sealer: {use: hsm}}", "keys.sealer.use", "one of local, aws-kms, vault-transit"),
    ("keys: {sealer: {use: aws-kms}}", "keys.sealer.aws-kms.key-id", "missing; keys.sealer.use is aws-kms"),
    ("keys: {sealer: {use: vault-transit}}", "keys.sealer.vault-transit.address", "missing; keys.sealer.use is"),
    (
        "keys: {sealer: {use: vault-transit, vault-transit: {address: \"https://v\"}}}",
        "keys.sealer.vault-transit.key",
        "missing; the name of the transit key",
    ),
    (
        "keys: {sealer: {local: {key-file: k}, vault-transit: {address: \"http://vault:8200\", key: k}}}",
        "keys.sealer.vault-transit.address",
        "http:// to this machine only",
    ),
    (
        "keys: {sealer: {local: {key-file: k}, vault-transit: {address: \"https://v\", key: k, auth: approle}}}",
        "keys.sealer.vault-transit.role-id-file",
        "missing; auth is approle",
    ),
    (
        "keys: {sealer: {local: {key-file: k}, vault-transit: {address: \"https://v\", key: k, auth: kubernetes}}}",
        "keys.sealer.vault-transit.role",
        "missing; auth is kubernetes",
    ),
    (
        "keys: {sealer: {local: {key-file: k, passphrase-file: p}}}",
        "keys.sealer.local.passphrase-file",
        "cannot be set together",
    ),
    (
        "keys: {sealer: {local: {key-file: k}}, source: {keystores-password-file: p}}",
        "keys.source.keystores-password-file",
        "without keys.source.keystores-path",
    ),
    (
        "keys: {sealer: {local: {key-file: k}}, source: {aws-secrets: {tags: [novalue]}}}",
        "keys.source.aws-secrets.tags",
        "a list of name=value",
    ),
    (
        "keys: {sealer: {local: {key-file: k}}, decrypt: {memory-max: 512}}",
        "keys.decrypt.memory-max",
        "an amount of memory",
    ),
    (
        "keys: {sealer: {local: {key-file: k}}, decrypt: {memory-max: 16MiB}}",
        "keys.decrypt.memory-max",
        "at least 256 MiB",
    ),
    (
        "keys: {sealer: {local: {key-file: k}}}\nkeymanager: {token-file: t, tls: {client-certificate: optional}}",
        "keymanager.tls.client-certificate",
        "never on the API port",
    ),
    (
        "keys: {sealer: {local: {key-file: k}}}\nkeymanager: {listen: \"127.0.0.1:1\", tls: {client-certificate: optional}}",
        "keymanager.tls.client-certificate",
        "only with keymanager.token-file",
    ),
    ("keys: {sealer: {local: {key-file: k}}}\nkeymanager: {tls: {cert: c}}", "keymanager.tls.key", "set together"),
];

#[test]
fn every_mistake_names_its_key_and_the_cure() {
    for (sections, key, said) in MISTAKES {
        let error = with(&format!("{sections}\n")).expect_err(sections);
        let problem = &error.0[0];
        assert_eq!(problem.key, *key, "{sections}: {error}");
        assert!(problem.what.contains(said), "{sections}: {error}");
    }
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_program_without_aws_says_so() {
    let error = with("keys: {sealer: {use: aws-kms, aws-kms: {key-id: k}}}\n").unwrap_err();
    assert_eq!(error.0[0].key, "keys.sealer.aws-kms.key-id");
    assert!(error.0[0].what.contains("built without `aws`"), "{error}");
}

#[cfg(not(feature = "vault"))]
#[test]
fn a_program_without_vault_says_so() {
    let sections = "keys: {sealer: {use: vault-transit, vault-transit: {address: \"https://v\", key: k}}}\n";
    let error = with(sections).unwrap_err();
    assert_eq!(error.0[0].key, "keys.sealer.vault-transit.address");
    assert!(error.0[0].what.contains("built without `vault`"), "{error}");
}

/// The files that the smallest configuration names.
fn certificates(dir: &Path) {
    let certificates = CertificateDir::new(dir.join("certs"));
    certificates.ensure(["node1"].into_iter()).unwrap();
    for (from, names) in [
        (certificates.cert("node1"), &["a.pem", "p.pem"][..]),
        (certificates.key("node1"), &["a-key.pem", "p-key.pem"]),
        (certificates.cert("ca"), &["ca.pem"]),
    ] {
        for name in names {
            std::fs::copy(&from, dir.join(name)).unwrap();
        }
    }
}

fn mode(dir: &Path, name: &str, bits: u32) {
    std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(bits)).unwrap();
}

#[test]
fn what_all_keys_hang_on_is_refused_or_remarked_and_private_keys_are_remarked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("consigner.yaml");
    certificates(dir.path());
    std::fs::create_dir(dir.path().join("stores")).unwrap();
    for (name, content, bits) in [("k", "x", 0o600), ("raw", "", 0o644), ("password", "x", 0o640)] {
        std::fs::write(dir.path().join(name), content).unwrap();
        mode(dir.path(), name, bits);
    }
    mode(dir.path(), "p-key.pem", 0o640);
    let check = |allowed: bool| {
        let source =
            format!("keystores-path: stores, keystores-password-file: password, allow-loose-permissions: {allowed}");
        let sections = format!(
            "keys: {{sealer: {{local: {{key-file: k}}}}, source: {{{source}}}, import: {{raw-keys-file: raw}}}}\n"
        );
        std::fs::write(&file, text(&sections)).unwrap();
        load(&file, [], &[]).unwrap().config.check_files(&file)
    };
    let error = check(false).unwrap_err();
    let keys: Vec<&str> = error.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["keys.import.raw-keys-file", "keys.source.keystores-password-file"], "{error}");
    assert!(error.0.iter().all(|problem| problem.what.contains("chmod 600")), "{error}");
    let remarks = check(true).unwrap();
    let said = [("peer.tls.key", "mode 640"), ("raw-keys-file", "mode 644"), ("keystores-password-file", "mode 640")];
    for ((key, bits), remark) in said.iter().zip(&remarks) {
        assert!(remark.contains(key) && remark.contains(bits), "{remarks:?}");
    }
    assert_eq!(remarks.len(), said.len(), "{remarks:?}");
}

#[test]
fn a_secret_that_others_may_read_is_refused_with_the_cure() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("consigner.yaml");
    let sections = "keys: {sealer: {local: {key-file: k, previous-key-files: [old]}}, source: {keystores-path: gone}}";
    std::fs::write(&file, text(&format!("{sections}\nkeymanager: {{enabled: true, token-file: t}}\n"))).unwrap();
    for name in ["k", "old", "t"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    certificates(dir.path());
    let mode = |name: &str, bits| mode(dir.path(), name, bits);
    mode("k", 0o600);
    mode("old", 0o640);
    mode("t", 0o604);
    let config = load(&file, [], &[]).unwrap().config;
    let error = config.check_files(&file).unwrap_err();
    let keys: Vec<&str> = error.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["keymanager.token-file", "keys.sealer.local.previous-key-files"], "{error}");
    assert!(error.0[1].what.contains("mode 640") && error.0[1].what.contains("chmod 600"), "{error}");
    mode("old", 0o600);
    mode("t", 0o600);
    let remarks = config.check_files(&file).unwrap();
    assert!(remarks.len() == 1 && remarks[0].contains("keys.source.keystores-path"), "{remarks:?}");
}
