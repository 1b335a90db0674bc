//! Which files are refused because of their permissions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::development::interop_secret;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn refused(candidate: &Candidate) -> Option<String> {
    match &candidate.material {
        Material::Failed(error @ SourceError::OpenToOthers { .. }) => Some(error.to_string()),
        Material::Failed(other) => panic!("{other}"),
        Material::Keystore { .. } | Material::Wallet { .. } | Material::Raw(_) | Material::Remote(_) => None,
    }
}

#[test]
fn whose_bits_count() {
    let reader = Reader { uid: 1000, groups: vec![1000, 2000] };
    for (mode, owner, group, foreign) in [
        (0o600, 1000, 1000, 0),
        (0o400, 1000, 1000, 0),
        (0o700, 1000, 1000, 0),
        // The owner needs no group.
        (0o640, 1000, 1000, 0o040),
        (0o640, 1000, 2000, 0o040),
        // fsGroup of Kubernetes: root's file, read by the group.
        (0o440, 0, 2000, 0),
        (0o460, 0, 2000, 0o020),
        (0o444, 0, 2000, 0o004),
        // Another group's.
        (0o440, 0, 3000, 0o040),
        (0o604, 0, 2000, 0o004),
    ] {
        assert_eq!(reader.foreign_bits(mode, owner, group), foreign, "{mode:o} {owner}:{group}");
    }
    // Root reads by no group.
    assert_eq!(Reader { uid: 0, groups: vec![0] }.foreign_bits(0o440, 1000, 0), 0o040);
}

#[test]
fn a_key_configuration_with_a_secret_that_others_can_read_is_refused_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let secret = interop_secret(3).expose_hex();
    let raw = format!("type: file-raw\nprivateKey: \"{}\"\n", secret.as_str());
    write(&root.join("open.yaml"), &raw, 0o644);
    write(&root.join("private.yaml"), &raw, 0o600);
    let source = KeyConfigSource { directory: root.to_path_buf() };
    let candidates = source.read_with(LooseFiles::Refuse).unwrap();
    let said = refused(&candidates[0]).expect("it is refused");
    let file = root.join("open.yaml").display().to_string();
    assert!(said.starts_with(&format!("{file} has mode 644")) && said.contains(&format!("chmod 600 {file}")), "{said}");
    assert!(!said.contains(secret.as_str()));
    assert_eq!(refused(&candidates[1]), None);
    let candidates = source.read_with(LooseFiles::Warn).unwrap();
    assert!(candidates.iter().all(|candidate| refused(candidate).is_none()));
    assert_eq!(candidates[0].warnings.len(), 1);
}

#[test]
fn keystores_and_passwords_that_others_can_read_are_refused_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let keystore = |index: u64| {
        let cost = crate::keystore::Kdf::Pbkdf2 { c: 2 };
        Keystore::encrypt(&interop_secret(index), &Password::new("p"), "", cost).unwrap().to_json()
    };
    for (name, index, keystore_mode, password_mode) in
        [("a", 1, 0o600, 0o600), ("b", 2, 0o440, 0o600), ("c", 3, 0o600, 0o604), ("d", 4, 0o644, 0o600)]
    {
        write(&root.join(format!("{name}.json")), &keystore(index), keystore_mode);
        write(&root.join(format!("{name}.txt")), "p", password_mode);
    }
    let source = DirectorySource { keystores: root.to_path_buf(), passwords: Passwords::Beside };
    let named = |name: &str| Some(root.join(name).display().to_string());
    let candidates = source.read_with(LooseFiles::Refuse).unwrap();
    let file =
        |candidate: &Candidate| refused(candidate).map(|said| said.split(" has mode").next().unwrap().to_owned());
    let files: Vec<_> = candidates.iter().map(file).collect();
    assert_eq!(files, [None, named("b.json"), named("c.txt"), named("d.json")]);

    let candidates = source.read_with(LooseFiles::Warn).unwrap();
    assert!(candidates.iter().all(|candidate| refused(candidate).is_none()));
    let said = candidates[0].warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(said.len() == 1 && said[0].starts_with("2 keystore(s)") && said[0].contains("b.json"), "{said:?}");
    assert_eq!(candidates[2].warnings.len(), 1);
    // One password for all: nothing can be opened without it.
    let passwords = Passwords::File(root.join("c.txt"));
    let error = DirectorySource { keystores: root.to_path_buf(), passwords }.read_with(LooseFiles::Refuse).unwrap_err();
    assert!(matches!(error, SourceError::OpenToOthers { .. }), "{error}");
}
