#![allow(clippy::unwrap_used, reason = "tests")]

use super::escape::{escaped, escaped_json};
use super::place::{PlaceArgs, find};
use super::show::{moment_at, sentence, validator};
use crate::cli::Exit;

#[test]
fn times_and_durations_are_understood() {
    let now = 1_767_225_600_000;
    for (text, wanted) in [
        ("2026-01-01", now),
        ("2025-12-31T23:00:00Z", now - 3_600_000),
        ("90s", now - 90_000),
        ("15min", now - 900_000),
        ("15m", now - 900_000),
        ("2h", now - 7_200_000),
        ("7d", now - 604_800_000),
        ("999999999999d", 0),
    ] {
        assert_eq!(moment_at(text, now).unwrap(), wanted, "{text}");
    }
    for wrong in ["", "h", "2 h", "yesterday", "2026-01-32", "99999999999999999999d"] {
        assert!(moment_at(wrong, now).is_err(), "{wrong}");
    }
}

#[test]
fn public_keys_are_taken_in_any_case_and_with_or_without_their_prefix() {
    let key = "AB".repeat(48);
    assert_eq!(validator(&key).unwrap(), format!("0x{}", "ab".repeat(48)));
    assert_eq!(validator(&format!("0x{key}")).unwrap(), validator(&key).unwrap());
    assert!(validator("0xab").is_err());
}

#[test]
fn a_line_is_a_sentence_that_says_why() {
    let line = r#"{"seq":7,"prev":"","time_ms":1,"time":"1970-01-01T00:00:00.001Z","node":2,"kind":"event","door":"api","identity":"vc\u001b[31m","proof":"certificate","address":"10.0.0.1:5","operation":"BLOCK_V2","key":"0xab","log_index":9,"outcome":"refused","reason":"double proposal","hash":""}"#;
    assert_eq!(
        sentence(line),
        "1970-01-01T00:00:00.001Z node 2 seq 7 BLOCK_V2 REFUSED by vc\\u{1b}[31m (certificate) from 10.0.0.1:5 at api key \
         0xab log 9: double proposal"
    );
    let note = r#"{"seq":8,"time":"t","node":2,"kind":"left-out","count":3,"reason":"the queue was full"}"#;
    assert_eq!(sentence(note), "t node 2 seq 8 [left-out] reason=\"the queue was full\" count=3");
}

#[test]
fn nothing_that_a_caller_wrote_steers_the_reader() {
    let evil = "a\u{1b}[31m\u{9b}2J\u{202e}b\u{2066}c\u{7f}é";
    assert_eq!(escaped(evil), "a\\u{1b}[31m\\u{9b}2J\\u{202e}b\\u{2066}c\\u{7f}é");
    let json = serde_json::to_string(evil).unwrap();
    let shown = escaped_json(&json);
    assert_eq!(shown, "\"a\\u001b[31m\\u009b2J\\u202eb\\u2066c\\u007fé\"");
    assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), evil);
}

#[test]
fn a_data_directory_or_the_lines_themselves_may_be_named() {
    let dir = tempfile::tempdir().unwrap();
    let args = PlaceArgs { data_dir: Some(dir.path().to_owned()), config: None };
    assert_eq!(find(&args, None).unwrap()[0].dir, dir.path());
    std::fs::create_dir(dir.path().join("audit")).unwrap();
    assert_eq!(find(&args, None).unwrap()[0].dir, dir.path().join("audit"));
    assert_eq!(find(&PlaceArgs { data_dir: None, config: None }, None).unwrap_err(), Exit::Usage);
}
