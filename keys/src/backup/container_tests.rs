#![allow(clippy::unwrap_used, reason = "tests")]

use super::container::{BackupFileError, BackupPassphrase, decrypt, encrypt_at_cost};
use proptest::prelude::*;
use zeroize::Zeroizing;

/// Cheap, because nobody attacks a test.
const LOG_N: u8 = 1;
const PART: usize = 64 * 1024 + 16;
const HEADER: usize = 88;

fn passphrase(text: &str) -> BackupPassphrase {
    BackupPassphrase::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
}

fn good() -> BackupPassphrase {
    passphrase("correct horse battery staple")
}

fn file(bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let plain: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    let file = encrypt_at_cost(&good(), &plain, LOG_N).unwrap();
    (plain, file)
}

#[test]
fn what_was_written_is_read_whatever_its_length() {
    for bytes in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let (plain, file) = file(bytes);
        assert_eq!(*decrypt(&good(), &file).unwrap(), plain, "{bytes} bytes");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_header_is_named_and_nothing_is_read() {
    let (_, file) = file(100);
    for bit in 0..HEADER * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = decrypt(&good(), &damaged).unwrap_err();
        let fits = match bit / 8 {
            0..8 => error == BackupFileError::NotABackup,
            8..12 => matches!(error, BackupFileError::Version { .. }),
            _ => error == BackupFileError::Header,
        };
        assert!(fits, "bit {bit}: {error}");
    }
}

#[test]
fn a_wrong_passphrase_is_told_from_damage() {
    let (_, file) = file(100);
    let error = decrypt(&passphrase("correct horse battery stable"), &file).unwrap_err();
    assert_eq!(error, BackupFileError::WrongPassphrase);
    assert!(error.to_string().contains("passphrase"), "{error}");
}

#[test]
fn a_newer_format_is_named() {
    let (_, mut file) = file(100);
    file[8] = 2;
    let error = decrypt(&good(), &file).unwrap_err();
    assert_eq!(error, BackupFileError::Version { found: 2 });
    assert!(error.to_string().contains("format 2; this version reads 1"), "{error}");
}

#[test]
fn every_cut_is_noticed() {
    let (_, file) = file(150_000);
    let cuts = [0, 7, 11, 50, HEADER - 1, HEADER, HEADER + 1, HEADER + PART - 1, HEADER + PART, HEADER + 2 * PART];
    for cut in cuts.into_iter().chain([file.len() - 17, file.len() - 1]) {
        let error = decrypt(&good(), &file[..cut]).unwrap_err();
        let whole_parts = cut >= HEADER && (cut - HEADER).is_multiple_of(PART);
        assert_eq!(matches!(error, BackupFileError::CutShort { .. }), whole_parts, "cut at {cut}: {error}");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert!(decrypt(&good(), &longer).is_err());
    // Behind a last part of full length, what follows is a part of its own.
    let (_, full) = self::file(131_072);
    let longer = [full.as_slice(), &[0; 20]].concat();
    assert_eq!(decrypt(&good(), &longer).unwrap_err(), BackupFileError::Trailing { part: 2 });
}

#[test]
fn parts_keep_their_places() {
    let (_, file) = file(300_000);
    let part = |number: usize| &file[HEADER + number * PART..HEADER + (number + 1) * PART];
    let header = &file[..HEADER];
    let rest = &file[HEADER + 3 * PART..];
    let swapped = [header, part(1), part(0), part(2), rest].concat();
    assert_eq!(decrypt(&good(), &swapped).unwrap_err(), BackupFileError::Altered { part: 1, parts: 5 });
    let repeated = [header, part(0), part(1), part(1), part(2), rest].concat();
    assert_eq!(decrypt(&good(), &repeated).unwrap_err(), BackupFileError::Altered { part: 3, parts: 6 });
    let left_out = [header, part(0), part(2), rest].concat();
    assert_eq!(decrypt(&good(), &left_out).unwrap_err(), BackupFileError::Altered { part: 2, parts: 4 });
    // The end of another file of the same passphrase.
    let (_, other) = self::file(300_000);
    let mixed = [&file[..HEADER + 3 * PART], &other[HEADER + 3 * PART..]].concat();
    assert_eq!(decrypt(&good(), &mixed).unwrap_err(), BackupFileError::Altered { part: 4, parts: 5 });
}

#[test]
fn a_header_that_asks_for_too_much_memory_is_refused_before_it_is_taken() {
    use sha2::{Digest, Sha256};
    let (_, mut file) = file(10);
    file[12] = 40;
    let hash = Sha256::digest(&file[..56]);
    file[56..88].copy_from_slice(&hash);
    assert_eq!(decrypt(&good(), &file).unwrap_err(), BackupFileError::Header);
}

#[test]
fn a_passphrase_has_a_least_length_and_loses_one_line_end() {
    let new = |text: &str| BackupPassphrase::new(Zeroizing::new(text.as_bytes().to_vec()));
    assert_eq!(new("too short\n").unwrap_err(), BackupFileError::PassphraseLength);
    assert_eq!(new(&"x".repeat(1025)).unwrap_err(), BackupFileError::PassphraseLength);
    let file = encrypt_at_cost(&new("sixteen bytes it\r\n").unwrap(), b"plain", LOG_N).unwrap();
    assert_eq!(decrypt(&new("sixteen bytes it").unwrap(), &file).unwrap().as_slice(), b"plain");
    assert_eq!(format!("{:?}", good()), "BackupPassphrase");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_flipped_bit_in_the_body_is_found_in_its_part(at in 0_usize..(150_000 + 3 * 16), bit in 0_u8..8) {
        let (_, mut file) = file(150_000);
        file[HEADER + at] ^= 1 << bit;
        let part = (at / PART) as u64 + 1;
        prop_assert_eq!(decrypt(&good(), &file).unwrap_err(), BackupFileError::Altered { part, parts: 3 });
    }
}
