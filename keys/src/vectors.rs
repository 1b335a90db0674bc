//! Finds the official test vectors, which are not part of the project.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// All JSON files of one folder of vectors with their names, or nothing (said plainly) when there are no vectors here.
pub(crate) fn load(folder: &str) -> Option<Vec<(String, Value)>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("CONSIGNER_VECTORS").map_or_else(beside, PathBuf::from).join(folder);
    if !folder.is_dir() {
        eprintln!("SKIPPED: no vectors at {} (set CONSIGNER_VECTORS)", folder.display());
        return None;
    }
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
    };
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| read(entry.unwrap().path())).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    Some(files)
}

/// A member that is text.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).expect(pointer)
}
