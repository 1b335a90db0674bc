//! Every client's directory of keystores, and what happens to directories that are not quite one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::keystore::DecryptPool;
use consigner_keys::source::{
    Candidate, DirectorySource, Material, Outcome, Passwords, SourceError, Warning, load_all,
};
use consigner_rules::PublicKey;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use support::{keystore, name, vectors, write};

fn source(keystores: impl Into<PathBuf>, passwords: Passwords) -> DirectorySource {
    DirectorySource { keystores: keystores.into(), passwords }
}

fn read(keystores: &Path, passwords: Passwords) -> Vec<Candidate> {
    source(keystores, passwords).read().unwrap()
}

fn refusal(keystores: &Path, passwords: Passwords) -> String {
    source(keystores, passwords).read().unwrap_err().to_string()
}

/// The file, and why it failed or nothing.
fn outcomes(root: &Path, candidates: &[Candidate]) -> Vec<(String, Option<String>)> {
    let outcome = |candidate: &Candidate| {
        let file = candidate.origin.strip_prefix(&format!("{}/", root.display())).unwrap().to_owned();
        match &candidate.material {
            Material::Keystore { .. } => (file, None),
            Material::Failed(error) => (file, Some(error.to_string())),
            Material::Wallet { .. } | Material::Raw(_) | Material::Remote(_) => panic!("{candidate:?}"),
        }
    };
    candidates.iter().map(outcome).collect()
}

/// Opens everything; fails on anything that is not a secret.
async fn open(candidates: Vec<Candidate>) -> BTreeSet<PublicKey> {
    let loaded = load_all(candidates, DecryptPool::default(), None, |_| false, |_, _| {}).await;
    let secret = |loaded: &consigner_keys::source::Loaded| match &loaded.outcome {
        Outcome::Secret(secret) => secret.public_key(),
        Outcome::Known | Outcome::Duplicate { .. } | Outcome::Failed(_) => panic!("{loaded:?}"),
    };
    loaded.iter().map(secret).collect()
}

#[tokio::test]
async fn every_layout_of_the_vectors_gives_all_keys() {
    let Some(root) = vectors("keystore-layouts") else { return };
    let expected: BTreeSet<PublicKey> = serde_json::from_slice(&fs::read(root.join("pubkeys.json")).unwrap()).unwrap();
    let directory = |folder: &str| Passwords::Directory(root.join(folder));
    for (client, keystores, passwords) in [
        ("Lighthouse", "keys", directory("secrets")),
        ("Lighthouse, passwords found", "keys", Passwords::Beside),
        ("Teku, Web3Signer", "teku-keys", directory("teku-secrets")),
        ("Nimbus", "nimbus-keys", directory("secrets")),
        ("Lodestar", "keys", directory("lodestar-secrets")),
        ("Prysm, the wallet", "prysm", Passwords::File(root.join("prysm/empty_pass"))),
        ("Prysm, below the wallet", "prysm/direct", Passwords::File(root.join("prysm/empty_pass"))),
        (
            "Prysm, the file",
            "prysm/direct/accounts/all-accounts.keystore.json",
            Passwords::File(root.join("prysm/empty_pass")),
        ),
    ] {
        assert_eq!(open(read(&root.join(keystores), passwords)).await, expected, "{client}");
    }
}

#[tokio::test]
async fn the_data_directories_of_clients_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let key = |file: &str, index| write(&root.join(file), keystore(index, "p").to_json());
    let password = |file: &str| write(&root.join(file), "p\n");
    for (place, secrets, file) in [
        ("lighthouse/validators", "lighthouse/secrets", "voting-keystore.json"),
        ("imported/validators", "imported/secrets", "keystore-m_12381_3600_0_0_0-1700000000.json"),
        ("nimbus/validators", "nimbus/secrets", "keystore.json"),
        ("lodestar/keystores", "lodestar/secrets", "voting-keystore.json"),
        ("inside/keys", "inside/keys/secrets", "voting-keystore.json"),
    ] {
        for index in [1, 2] {
            key(&format!("{place}/{}/{file}", name(index)), index);
            password(&format!("{secrets}/{}", name(index)));
        }
    }
    for (keys, passwords) in [("teku/keys", "teku/passwords"), ("flat/validator_keys", "flat/validator_keys")] {
        for index in [1, 2] {
            key(&format!("{keys}/key-{index}.json"), index);
            password(&format!("{passwords}/key-{index}.txt"));
        }
    }
    // What clients put beside their keystores is no keystore.
    write(&root.join("nimbus/validators").join(name(3)).join("remote_keystore.json"), "{\"version\": 3}");
    write(&root.join("lighthouse/validators/validator_definitions.yml"), "- enabled: true");
    write(&root.join("flat/validator_keys/deposit_data-1700000000.json"), "[{}]");
    write(&root.join("flat/validator_keys/pubkeys.json"), "[\"0x\"]");
    let interchange = "{\"metadata\": {\"interchange_format_version\": \"5\"}, \"data\": []}";
    write(&root.join("flat/validator_keys/slashing-protection.json"), interchange);
    write(&root.join("flat/validator_keys/.key-1.json.swp.json"), "rest of an editor");
    let expected = BTreeSet::from([1, 2].map(|index| name(index).parse().unwrap()));
    for client in ["lighthouse", "imported", "nimbus", "lodestar", "inside", "teku", "flat"] {
        assert_eq!(open(read(&root.join(client), Passwords::Beside)).await, expected, "{client}");
    }
}

#[tokio::test]
async fn the_nearest_password_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("keys");
    write(&root.join("a.json"), keystore(1, "p").to_json());
    let places = ["keys/a.txt", "keys/secrets/a.txt", "keys/passwords/a.txt", "secrets/a.txt", "passwords/a"];
    // From the farthest to the nearest: each new file takes precedence over those before it.
    for (index, place) in places.iter().enumerate().rev() {
        for (other, path) in places.iter().enumerate().skip(index) {
            write(&folder.path().join(path), if other == index { "p" } else { "wrong" });
        }
        let opened = open(read(&root, Passwords::Beside)).await;
        assert_eq!(opened, BTreeSet::from([name(1).parse().unwrap()]), "{place}");
    }
}

#[tokio::test]
async fn a_single_file_is_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let (file, password) = (folder.path().join("one.json"), folder.path().join("password"));
    write(&file, keystore(1, "p").to_json());
    write(&password, "p");
    let opened = open(read(&file, Passwords::File(password))).await;
    assert_eq!(opened, BTreeSet::from([name(1).parse().unwrap()]));
}

#[tokio::test]
async fn mounted_kubernetes_secrets_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(&root.join("..2026_11_22/a.json"), keystore(1, "p").to_json());
    write(&root.join("..2026_11_22/a.txt"), "p");
    symlink("..2026_11_22", root.join("..data")).unwrap();
    symlink("..data/a.json", root.join("a.json")).unwrap();
    symlink("..data/a.txt", root.join("a.txt")).unwrap();
    let candidates = read(root, Passwords::Beside);
    assert_eq!(candidates.len(), 1);
    assert_eq!(open(candidates).await, BTreeSet::from([name(1).parse().unwrap()]));
}

#[test]
fn one_bad_file_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let text = keystore(1, "p").to_json();
    write(&root.join("a-good.json"), &text);
    write(&root.join("a-good.txt"), "p");
    write(&root.join("b-truncated.json"), &text[..100]);
    write(&root.join("c-empty.json"), "");
    write(&root.join("d-no-password.json"), &text);
    write(&root.join("e-object.json"), "{\"some\": \"thing\"}");
    write(&root.join("f-large.json"), vec![b' '; 65_537]);
    symlink("nowhere", root.join("g-dangling.json")).unwrap();
    write(&root.join("h-binary-password.json"), &text);
    write(&root.join("h-binary-password.txt"), [0xff, 0xfe]);
    write(&root.join("i-long-password.json"), &text);
    write(&root.join("i-long-password.txt"), vec![b'p'; 4097]);
    fs::create_dir(root.join("j-directory.json")).unwrap();
    let root_shown = root.display();
    let public_key = name(1);
    let expected = [
        ("a-good.json", None),
        ("b-truncated.json", Some("the keystore is truncated: its JSON ends at line 1 column 100".to_owned())),
        ("c-empty.json", Some("the keystore is empty".to_owned())),
        (
            "d-no-password.json",
            Some(format!(
                "no password; looked for {root_shown}/d-no-password.txt, {root_shown}/d-no-password, \
                 {root_shown}/{public_key}, {root_shown}/{public_key}.txt"
            )),
        ),
        ("e-object.json", Some("version is missing".to_owned())),
        ("f-large.json", Some(format!("{root_shown}/f-large.json is larger than 65536 bytes"))),
        ("g-dangling.json", Some(format!("cannot read {root_shown}/g-dangling.json"))),
        ("h-binary-password.json", Some(format!("{root_shown}/h-binary-password.txt is not UTF-8 text"))),
        ("i-long-password.json", Some(format!("{root_shown}/i-long-password.txt is larger than 4096 bytes"))),
    ];
    let expected = expected.map(|(file, outcome)| (file.to_owned(), outcome));
    assert_eq!(outcomes(root, &read(root, Passwords::Beside)), expected);
}

#[test]
fn a_failed_file_names_its_validator_if_its_place_does() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(&root.join(name(1)).join("voting-keystore.json"), "{");
    write(&root.join(format!("{}.json", name(2))), "{");
    let candidates = read(root, Passwords::Beside);
    let named: BTreeSet<_> = candidates.iter().map(|candidate| candidate.public_key.unwrap().to_string()).collect();
    assert_eq!(named, BTreeSet::from([name(1), name(2)]));
}

#[test]
fn what_concerns_every_keystore_is_an_error_of_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let shown = root.display();
    let looked_for = "looked for *.json, <public key>/*.json, both also below validators, keystores, keys and \
                      validator_keys, and Prysm's all-accounts.keystore.json";
    assert_eq!(refusal(root, Passwords::Beside), format!("no keystore in {shown}; {looked_for}"));
    write(&root.join("list.json"), "[]");
    assert_eq!(refusal(root, Passwords::Beside), format!("no keystore in {shown}; {looked_for}"));
    assert_eq!(refusal(&root.join("none"), Passwords::Beside), format!("cannot read {shown}/none"));
    write(&root.join("a.json"), keystore(1, "p").to_json());
    let missing = root.join("none");
    for passwords in [Passwords::File(missing.clone()), Passwords::Directory(missing)] {
        assert_eq!(refusal(root, passwords), format!("cannot read {shown}/none"));
    }
    let directory = Passwords::File(root.to_path_buf());
    assert_eq!(refusal(root, directory), format!("{shown} is not a regular file"));
}

#[test]
fn files_that_others_can_read_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for index in [1, 2] {
        write(&root.join(format!("{index}.json")), keystore(index, "p").to_json());
        write(&root.join(format!("{index}.txt")), "p");
    }
    let open_file = root.join("1.txt");
    fs::set_permissions(&open_file, fs::Permissions::from_mode(0o644)).unwrap();
    let candidates = read(root, Passwords::Beside);
    let warning = Warning::OpenToOthers { path: open_file.clone(), mode: 0o644 };
    assert_eq!(candidates[0].warnings, std::slice::from_ref(&warning));
    assert_eq!(candidates[1].warnings, []);
    let shown = format!("{} holds a secret and has mode 644; others can read it: chmod 600 it", open_file.display());
    assert_eq!(warning.to_string(), shown);
    // One file for all is said once.
    let candidates = read(root, Passwords::File(open_file.clone()));
    assert_eq!(candidates.iter().map(|candidate| candidate.warnings.len()).collect::<Vec<_>>(), [1, 0]);
    write(&open_file, "\n");
    let blank = Warning::BlankPassword { path: open_file };
    assert_eq!(read(root, Passwords::Beside)[0].warnings, [blank]);
}

#[tokio::test]
async fn the_folder_of_a_key_is_a_claim_that_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut document: serde_json::Value = serde_json::from_str(&keystore(1, "p").to_json()).unwrap();
    document.as_object_mut().unwrap().remove("pubkey");
    write(&root.join(name(2)).join("voting-keystore.json"), document.to_string());
    write(&root.join("secrets").join(name(2)), "p");
    let loaded = load_all(read(root, Passwords::Beside), DecryptPool::default(), None, |_| false, |_, _| {}).await;
    let Outcome::Failed(error @ SourceError::WrongPublicKey { .. }) = &loaded[0].outcome else {
        panic!("{loaded:?}");
    };
    assert_eq!(error.to_string(), format!("the source names {} but holds the key of {}", name(2), name(1)));
}
