//! Web3Signer's key configuration files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::development::interop_secret;
use consigner_keys::source::{
    Candidate, KeyConfigSource, Material, RemoteSecret, VaultSecretAuth, VaultSecretSpec, Warning,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::{keystore, name, write};

/// Interop key 0.
const SECRET: &str = "25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866";

fn read(directory: &Path) -> Vec<Candidate> {
    KeyConfigSource { directory: directory.to_path_buf() }.read().unwrap()
}

/// The candidates of one file.
fn one(text: &str) -> Vec<Candidate> {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("key.yaml"), text);
    read(folder.path())
}

fn error(text: &str) -> String {
    let candidates = one(text);
    assert_eq!(candidates.len(), 1, "{candidates:?}");
    match &candidates[0].material {
        Material::Failed(error) => error.to_string(),
        Material::Keystore { .. } | Material::Wallet { .. } | Material::Raw(_) | Material::Remote(_) => {
            panic!("{text}: {candidates:?}")
        }
    }
}

fn remote(text: &str) -> RemoteSecret {
    match &one(text)[0].material {
        Material::Remote(secret) => secret.clone(),
        Material::Keystore { .. } | Material::Wallet { .. } | Material::Raw(_) | Material::Failed(_) => {
            panic!("{text}")
        }
    }
}

fn vault(text: &str) -> VaultSecretSpec {
    match remote(text) {
        RemoteSecret::Vault(spec) => *spec,
        RemoteSecret::Aws(_) => panic!("{text}"),
    }
}

#[test]
fn raw_keys_in_every_notation() {
    for value in [SECRET.to_owned(), format!("0x{SECRET}"), format!("\"0x{SECRET}\""), format!("'{SECRET}'")] {
        let candidates = one(&format!("type: file-raw\nkeyType: BLS\nprivateKey: {value}\n"));
        assert!(matches!(candidates[0].material, Material::Raw(_)), "{candidates:?}");
        assert_eq!(candidates[0].public_key, Some(interop_secret(0).public_key()));
    }
}

#[test]
fn digits_alone_are_no_number() {
    let digits = "0000000000000000000000000000000000000000000000000000000000000012";
    let candidates = one(&format!("type: file-raw\nprivateKey: {digits}\n"));
    assert_eq!(candidates[0].public_key, Some(digits.parse::<consigner_keys::SecretKey>().unwrap().public_key()));
    let scientific = "1234567890123456789012345678901234567890123456789012345678901e10";
    let candidates = one(&format!("type: file-raw\nprivateKey: {scientific}\n"));
    assert_eq!(candidates[0].public_key, Some(scientific.parse::<consigner_keys::SecretKey>().unwrap().public_key()));
}

#[test]
fn files_of_the_directory_and_documents_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let raw = format!("type: \"file-raw\"\nkeyType: \"BLS\"\nprivateKey: \"0x{SECRET}\"\nextra: {{deep: [1, 2]}}\n");
    write(&root.join("a.yaml"), format!("---\n{raw}---\n---\n# a comment\n{raw}...\n"));
    write(&root.join("b.yml"), &raw);
    write(&root.join("c.txt"), "no configuration");
    write(&root.join(".hidden.yaml"), &raw);
    write(&root.join("below/d.yaml"), &raw);
    let origins: Vec<String> = read(root).into_iter().map(|candidate| candidate.origin).collect();
    let shown = root.display();
    assert_eq!(
        origins,
        [format!("{shown}/a.yaml, document 1"), format!("{shown}/a.yaml, document 2"), format!("{shown}/b.yml")]
    );
}

#[test]
fn keystores_lie_relative_to_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(&root.join("keystores/a.json"), keystore(1, "first line").to_json());
    write(&root.join("passwords/a.txt"), "first line\r\nsecond line\n");
    let absolute = root.join("keystores/a.json");
    let text = |file: &str| {
        format!("type: file-keystore\nkeyType: BLS\nkeystoreFile: {file}\nkeystorePasswordFile: passwords/a.txt\n")
    };
    write(&root.join("a.yaml"), text("keystores/a.json"));
    write(&root.join("b.yaml"), text(absolute.to_str().unwrap()));
    for candidate in read(root) {
        assert_eq!(candidate.public_key, Some(interop_secret(1).public_key()));
        let Material::Keystore { keystore, password } = &candidate.material else { panic!("{candidate:?}") };
        assert_eq!(keystore.decrypt(password).unwrap().public_key().to_string(), name(1));
    }
    write(&root.join("passwords/a.txt"), " \nsecond line\n");
    let Material::Failed(error) = &read(root)[0].material else { panic!() };
    let blank = format!("the first line of the password file {}/passwords/a.txt is blank", root.display());
    assert_eq!(error.to_string(), blank);
}

#[test]
fn vault_secrets_have_web3signers_defaults() {
    let base = "type: hashicorp\nserverHost: vault.example\nkeyPath: /v1/secret/data/key\n";
    let spec = vault(&format!("{base}token: s.abc\n"));
    assert_eq!((spec.server_host.as_str(), spec.server_port), ("vault.example", 8200));
    assert_eq!((spec.key_path.as_str(), spec.key_name.as_str()), ("/v1/secret/data/key", "value"));
    assert_eq!((spec.timeout, spec.tls_enabled), (Duration::from_secs(10), false));
    assert_eq!(spec.tls_known_servers_path, None);
    assert!(matches!(&spec.auth, VaultSecretAuth::Token(token) if token.as_str() == "s.abc"));
    assert!(!format!("{spec:?} {:?}", spec.auth).contains("s.abc"));

    let spec = vault(&format!(
        "{base}serverPort: 18200\ntimeout: 250\ntlsEnabled: true\ntlsKnownServersPath: /etc/known\nkeyName: bls\n\
         authMethod: KUBERNETES\nkubernetesRole: signer\nhttpProtocolVersion: HTTP_1_1\n"
    ));
    assert_eq!((spec.server_port, spec.key_name.as_str()), (18_200, "bls"));
    assert_eq!((spec.timeout, spec.tls_enabled), (Duration::from_millis(250), true));
    assert_eq!(spec.tls_known_servers_path, Some(PathBuf::from("/etc/known")));
    let VaultSecretAuth::Kubernetes { role, auth_path, token_path } = spec.auth else { panic!() };
    assert_eq!((role.as_str(), auth_path.as_str()), ("signer", "kubernetes"));
    assert_eq!(token_path, Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token"));
}

#[test]
fn aws_secrets_have_both_kinds_of_credentials() {
    let base = "type: aws-secret\nregion: eu-central-1\nsecretName: validators/1\n";
    let text = format!("{base}authenticationMode: SPECIFIED\naccessKeyId: AKIA\nsecretAccessKey: hidden+value\n");
    let RemoteSecret::Aws(spec) = remote(&text) else { panic!() };
    assert_eq!((spec.region.as_str(), spec.secret_name.as_str()), ("eu-central-1", "validators/1"));
    let credentials = spec.credentials.as_ref().unwrap();
    assert_eq!((credentials.access_key_id.as_str(), credentials.secret_access_key.as_str()), ("AKIA", "hidden+value"));
    assert!(!format!("{spec:?} {credentials:?}").contains("hidden"));
    let text = format!("{base}authenticationMode: ENVIRONMENT\nendpointOverride: http://localhost:4566\n");
    let RemoteSecret::Aws(spec) = remote(&text) else { panic!() };
    assert!(spec.credentials.is_none());
    assert_eq!(spec.endpoint_override.as_deref(), Some("http://localhost:4566"));
}

#[test]
fn what_cannot_be_used_says_why() {
    let zero = "0".repeat(64);
    for (text, expected) in [
        ("keyType: BLS", "type: missing"),
        ("type: file-raw", "privateKey: missing"),
        ("type: file-raw\nprivateKey:", "privateKey: missing"),
        ("type: file-raw\nprivateKey: 0x12", "the secret is not usable"),
        (&format!("type: file-raw\nprivateKey: {zero}"), "the secret is not usable"),
        ("type: file-keystore\nkeystoreFile: a.json", "keystorePasswordFile: missing"),
        ("type: hashicorp\nkeyPath: /v1/a\ntoken: t", "serverHost: missing"),
        ("type: hashicorp\nserverHost: h\ntoken: t", "keyPath: missing"),
        ("type: hashicorp\nserverHost: h\nkeyPath: /v1/a", "token: missing"),
        ("type: hashicorp\nserverHost: h\nkeyPath: /v1/a\ntoken: t\nserverPort: 0", "serverPort: not a port"),
        ("type: hashicorp\nserverHost: h\nkeyPath: /v1/a\ntoken: t\nserverPort: 65536", "serverPort: not a port"),
        ("type: hashicorp\nserverHost: h\nkeyPath: /v1/a\ntoken: t\ntimeout: soon", "timeout: not a whole number"),
        (
            "type: hashicorp\nserverHost: h\nkeyPath: /v1/a\ntoken: t\ntlsEnabled: perhaps",
            "tlsEnabled: neither true nor false",
        ),
        (
            "type: hashicorp\nserverHost: h\nkeyPath: /v1/a\nauthMethod: LDAP",
            "authMethod: neither TOKEN nor KUBERNETES",
        ),
        ("type: hashicorp\nserverHost: h\nkeyPath: /v1/a\nauthMethod: KUBERNETES", "kubernetesRole: missing"),
        ("type: aws-secret\nsecretName: s\nauthenticationMode: ENVIRONMENT", "region: missing"),
        ("type: aws-secret\nregion: r\nauthenticationMode: ENVIRONMENT", "secretName: missing"),
        ("type: aws-secret\nregion: r\nsecretName: s", "accessKeyId: missing"),
        ("type: aws-secret\nregion: r\nsecretName: s\naccessKeyId: a", "secretAccessKey: missing"),
        (
            "type: aws-secret\nregion: r\nsecretName: s\nauthenticationMode: GUESS",
            "authenticationMode: neither SPECIFIED nor ENVIRONMENT",
        ),
        (
            "type: file-raw\nkeyType: SECP256K1\nprivateKey: 0x12",
            "keyType SECP256K1 is no validator key; this program signs for validators (BLS) only",
        ),
        ("type: file-raw\nkeyType: RSA\nprivateKey: 0x12", "keyType: neither BLS nor SECP256K1"),
        (
            "type: azure-secret\nvaultName: v\nsecretName: s",
            "type azure-secret is not supported: bring the key by a keystore, Vault or AWS",
        ),
        ("type: aws-kms\nkmsKeyId: k", "type aws-kms: such a key never leaves its vault and is no validator key"),
        (
            "type: FILE-RAW\nprivateKey: 0x12",
            "type FILE-RAW is not known; known: file-raw, file-keystore, hashicorp, aws-secret",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn a_file_that_is_no_yaml_is_one_failure_without_its_content() {
    for text in [
        format!("type: file-raw\n  privateKey: [{SECRET}\n"),
        format!("type: file-raw\nprivateKey: {{nested: {SECRET}}}\n"),
        format!("privateKey: {SECRET}\nprivateKey: {SECRET}\n"),
        format!("- {SECRET}\n"),
        format!("{SECRET}\n"),
    ] {
        let shown = error(&text);
        assert!(shown.starts_with("not readable as YAML: line "), "{shown}");
        let candidates = one(&text);
        let Material::Failed(failed) = &candidates[0].material else { panic!() };
        assert!(!format!("{failed:?} {failed} {:?}", candidates[0]).contains(SECRET));
    }
}

#[test]
fn a_directory_without_configuration_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let source = KeyConfigSource { directory: folder.path().to_path_buf() };
    let shown = folder.path().display();
    let expected = format!("no keystore in {shown}; looked for *.yaml and *.yml");
    assert_eq!(source.read().unwrap_err().to_string(), expected);
    let source = KeyConfigSource { directory: folder.path().join("none") };
    assert_eq!(source.read().unwrap_err().to_string(), format!("cannot read {shown}/none"));
}

#[test]
fn only_files_with_secrets_must_be_private() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let raw = format!("type: file-raw\nprivateKey: {SECRET}\n");
    for (file, text) in [("raw.yaml", format!("{raw}---\n{raw}")), ("where.yaml", "type: file-keystore".to_owned())] {
        write(&root.join(file), text);
        fs::set_permissions(root.join(file), fs::Permissions::from_mode(0o640)).unwrap();
    }
    let warnings: Vec<_> = read(root).into_iter().map(|candidate| candidate.warnings).collect();
    let open = Warning::OpenToOthers { path: root.join("raw.yaml"), mode: 0o640 };
    assert_eq!(warnings, [vec![open], vec![], vec![]]);
}
