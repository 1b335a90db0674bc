//! Sealed keys and wrapped data keys: what opens, and that nothing else does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::development::interop_secret;
use consigner_rules::command::DataKey;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use tempfile::TempDir;

pub(crate) const CLUSTER: ClusterId = ClusterId([0xC1; 16]);
const OTHER_CLUSTER: ClusterId = ClusterId([0xC2; 16]);

/// An open data key of [`CLUSTER`], by the real way.
pub(crate) fn data_key() -> PlainDataKey {
    sealer().1.new_data_key(&CLUSTER).unwrap().1
}

/// A sealed key whose record names another validator than its secret's: authentic, and wrong.
pub(crate) fn sealed_under_a_foreign_name(
    public_key: PublicKey,
    data_key: &PlainDataKey,
    secret: &SecretKey,
) -> SealedKey {
    seal_as(public_key, data_key, secret).unwrap()
}

fn sealer() -> (TempDir, LocalSealer) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    LocalSealer::create_key_file(&path).unwrap();
    let sealer = LocalSealer::from_key_file(&path).unwrap();
    (folder, sealer)
}

#[test]
fn a_sealed_key_opens_to_its_secret() {
    let (data_key, secret) = (data_key(), interop_secret(1));
    let sealed = seal(&data_key, &CLUSTER, &secret).unwrap();
    assert_eq!(sealed.public_key, secret.public_key());
    let opened = unseal(&data_key, &CLUSTER, &sealed).unwrap();
    assert_eq!(opened.to_bytes(), secret.to_bytes());
    let again = seal(&data_key, &CLUSTER, &secret).unwrap();
    assert_ne!((again.nonce, again.ciphertext), (sealed.nonce, sealed.ciphertext));
}

#[test]
fn every_flipped_bit_of_a_sealed_key_is_noticed() {
    let data_key = data_key();
    let sealed = seal(&data_key, &CLUSTER, &interop_secret(1)).unwrap();
    let altered = |sealed: &SealedKey| {
        let public_key = sealed.public_key;
        assert_eq!(unseal(&data_key, &CLUSTER, sealed).map(drop), Err(UnsealError::Altered { public_key }));
    };
    for bit in 0..8 * sealed.ciphertext.len() {
        let mut flipped = sealed.clone();
        flipped.ciphertext[bit / 8] ^= 1 << (bit % 8);
        altered(&flipped);
    }
    for bit in 0..8 * sealed.nonce.len() {
        let mut flipped = sealed.clone();
        flipped.nonce[bit / 8] ^= 1 << (bit % 8);
        altered(&flipped);
    }
    for bit in 0..8 * PublicKey::LENGTH {
        let mut flipped = sealed.clone();
        flipped.public_key.0[bit / 8] ^= 1 << (bit % 8);
        altered(&flipped);
    }
}

#[test]
fn swapped_records_do_not_open() {
    let data_key = data_key();
    let [first, second] = [1, 2].map(|index| seal(&data_key, &CLUSTER, &interop_secret(index)).unwrap());
    let swapped = SealedKey { public_key: first.public_key, ..second };
    let error = UnsealError::Altered { public_key: first.public_key };
    assert_eq!(unseal(&data_key, &CLUSTER, &swapped).map(drop), Err(error));
}

#[test]
fn wrong_data_key_cluster_format_and_length_are_told_apart() {
    let (data_key, other) = (data_key(), data_key());
    let sealed = seal(&data_key, &CLUSTER, &interop_secret(1)).unwrap();
    let public_key = sealed.public_key;
    let opened = |sealed: &SealedKey, data_key, cluster| unseal(data_key, cluster, sealed).map(drop);

    let error = UnsealError::OtherDataKey { public_key, data_key: data_key.id };
    assert_eq!(opened(&sealed, &other, &CLUSTER), Err(error));
    let forged = SealedKey { data_key: other.id, ..sealed.clone() };
    assert_eq!(opened(&forged, &other, &CLUSTER), Err(UnsealError::Altered { public_key }));

    let error = UnsealError::OtherCluster { public_key, data_key_cluster: CLUSTER, cluster: OTHER_CLUSTER };
    assert_eq!(opened(&sealed, &data_key, &OTHER_CLUSTER), Err(error));
    // Even an equal data key of another cluster does not open it: the cluster is part of the context.
    let twin = PlainDataKey::new(data_key.id, OTHER_CLUSTER, &data_key.secret.read());
    assert_eq!(opened(&sealed, &twin, &OTHER_CLUSTER), Err(UnsealError::Altered { public_key }));

    let later = SealedKey { format: 2, ..sealed.clone() };
    assert_eq!(opened(&later, &data_key, &CLUSTER), Err(UnsealError::Format { public_key, format: 2 }));
    for got in [0, 15, 16, 47, 49] {
        let mut cut = sealed.clone();
        cut.ciphertext.resize(got, 0);
        let error = UnsealError::Length { public_key, expected: 48, got };
        assert_eq!(opened(&cut, &data_key, &CLUSTER), Err(error));
    }
}

#[test]
fn an_authentic_record_without_a_secret_is_refused() {
    let (data_key, public_key) = (data_key(), PublicKey([7; 48]));
    let sealed = seal_as(public_key, &data_key, &SecretKey::from_scalar(&[0; 32])).unwrap();
    let error = UnsealError::NotASecret { public_key, source: BadSecret::Zero };
    assert_eq!(unseal(&data_key, &CLUSTER, &sealed).map(drop), Err(error));
}

#[test]
fn sealing_needs_the_right_cluster_and_stops_at_the_limit() {
    let (data_key, secret) = (data_key(), interop_secret(1));
    let error = seal(&data_key, &OTHER_CLUSTER, &secret).unwrap_err();
    assert!(matches!(error, SealError::OtherCluster { cluster: OTHER_CLUSTER, .. }), "{error}");
    data_key.seals.store(SEALS_PER_DATA_KEY_MAX - 1, Ordering::Relaxed);
    seal(&data_key, &CLUSTER, &secret).unwrap();
    let error = seal(&data_key, &CLUSTER, &secret).unwrap_err();
    assert!(matches!(error, SealError::Exhausted { .. }), "{error}");
    assert!(error.to_string().contains("has sealed 1048576 keys, its limit"), "{error}");
}

#[test]
fn a_wrapped_data_key_opens_on_every_node_with_the_file() {
    let (folder, sealer) = sealer();
    let (wrapped, open) = sealer.new_data_key(&CLUSTER).unwrap();
    assert_eq!((wrapped.id, wrapped.sealer.as_str()), (open.id, LOCAL_SEALER));
    assert_eq!(wrapped.wrapped.len(), 85);
    let sealed = seal(&open, &CLUSTER, &interop_secret(1)).unwrap();

    let elsewhere = LocalSealer::from_key_file(&folder.path().join("key")).unwrap();
    assert_eq!(elsewhere.fingerprint(), sealer.fingerprint());
    let reopened = elsewhere.unwrap_data_key(&wrapped, &CLUSTER).unwrap();
    let secret = unseal(&reopened, &CLUSTER, &sealed).unwrap();
    assert_eq!(secret.public_key(), interop_secret(1).public_key());
}

#[test]
fn every_flipped_bit_of_a_wrapped_data_key_is_noticed_and_named() {
    let (_folder, sealer) = sealer();
    let (wrapped, _) = sealer.new_data_key(&CLUSTER).unwrap();
    for bit in 0..8 * wrapped.wrapped.len() {
        let mut flipped = wrapped.clone();
        flipped.wrapped[bit / 8] ^= 1 << (bit % 8);
        let error = sealer.unwrap_data_key(&flipped, &CLUSTER).unwrap_err();
        let expected = match bit / 8 {
            0 => matches!(error, UnwrapError::Format { .. }),
            1..9 => matches!(error, UnwrapError::OtherKeyFile { .. }),
            9..25 => matches!(error, UnwrapError::OtherCluster { .. }),
            _ => error == UnwrapError::Altered { data_key: wrapped.id },
        };
        assert!(expected, "bit {bit}: {error}");
    }
}

#[test]
fn wrong_file_cluster_record_sealer_and_length_are_told_apart() {
    let ((_one, sealer), (_two, other)) = (sealer(), sealer());
    let (wrapped, _) = sealer.new_data_key(&CLUSTER).unwrap();
    let (second, _) = sealer.new_data_key(&CLUSTER).unwrap();
    let id = wrapped.id;
    let opened =
        |data_key: &DataKey, sealer: &LocalSealer, cluster| sealer.unwrap_data_key(data_key, cluster).map(drop);

    let error = UnwrapError::OtherKeyFile { data_key: id, wrapped: sealer.fingerprint(), own: other.fingerprint() };
    assert_eq!(opened(&wrapped, &other, &CLUSTER), Err(error));
    let error = UnwrapError::OtherCluster { data_key: id, wrapped: CLUSTER, cluster: OTHER_CLUSTER };
    assert_eq!(opened(&wrapped, &sealer, &OTHER_CLUSTER), Err(error));
    let swapped = DataKey { id, ..second };
    assert_eq!(opened(&swapped, &sealer, &CLUSTER), Err(UnwrapError::Altered { data_key: id }));
    let foreign = DataKey { sealer: "vault".to_owned(), ..wrapped.clone() };
    let error = UnwrapError::OtherSealer { data_key: id, sealer: "vault".to_owned(), own: LOCAL_SEALER };
    assert_eq!(opened(&foreign, &sealer, &CLUSTER), Err(error));
    for got in [0, 1, 84, 86] {
        let mut cut = wrapped.clone();
        cut.wrapped.resize(got, 0);
        assert_eq!(opened(&cut, &sealer, &CLUSTER), Err(UnwrapError::Length { data_key: id, got }));
    }
}

#[test]
fn a_created_key_file_is_private_random_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["a", "b"].map(|name| folder.path().join(name));
    LocalSealer::create_key_file(&first).unwrap();
    LocalSealer::create_key_file(&second).unwrap();
    assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&first).unwrap();
    assert_eq!(text.len(), 65);
    assert_ne!(text, fs::read_to_string(&second).unwrap());

    let error = LocalSealer::create_key_file(&first).unwrap_err();
    assert!(
        matches!(&error, KeyFileError::Create { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists)
    );
    assert_eq!(fs::read_to_string(&first).unwrap(), text);
}

fn write_file(folder: &TempDir, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = folder.path().join(name);
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_key_file_may_be_raw_or_hexadecimal() {
    let folder = tempfile::tempdir().unwrap();
    let key: [u8; 32] = std::array::from_fn(|index| u8::try_from(7 * index + 130).unwrap_or(9));
    let digits = hex::encode(key);
    let forms = [key.to_vec(), digits.clone().into_bytes(), format!("0x{}\r\n", digits.to_uppercase()).into_bytes()];
    let fingerprints: Vec<String> = forms
        .iter()
        .enumerate()
        .map(|(number, form)| write_file(&folder, &number.to_string(), form, 0o400))
        .map(|path| LocalSealer::from_key_file(&path).unwrap().fingerprint())
        .collect();
    assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]), "{fingerprints:?}");
}

#[test]
fn a_key_file_that_others_can_read_or_that_holds_no_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = "4f".repeat(31) + "00";
    for mode in [0o644, 0o640, 0o604, 0o660, 0o601, 0o620] {
        let path = write_file(&folder, &format!("{mode:o}"), good.as_bytes(), mode);
        let error = LocalSealer::from_key_file(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Mode { mode: found, .. } if found == mode), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    let half_a_key = "4f".repeat(16);
    let contents: [&[u8]; 6] =
        [b"", &good.as_bytes()[1..], half_a_key.as_bytes(), &[0x81; 33], &[b'x'; 64], &[b'0'; 100_000]];
    for (number, content) in contents.iter().enumerate() {
        let path = write_file(&folder, &format!("content {number}"), content, 0o600);
        let error = LocalSealer::from_key_file(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Content { .. }), "{number}: {error}");
    }
    for (number, content) in [vec![0; 32], "11".repeat(32).into_bytes()].iter().enumerate() {
        let path = write_file(&folder, &format!("placeholder {number}"), content, 0o600);
        let error = LocalSealer::from_key_file(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::NotRandom { .. }), "{error}");
    }
    let error = LocalSealer::from_key_file(folder.path()).unwrap_err();
    assert!(matches!(error, KeyFileError::NotAFile { .. }), "{error}");
    let error = LocalSealer::from_key_file(&folder.path().join("missing")).unwrap_err();
    assert!(matches!(error, KeyFileError::Read { .. }), "{error}");
}
