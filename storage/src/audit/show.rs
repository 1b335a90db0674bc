//! Finding lines: who did what, and why something was refused.
//!
//! In: a directory and a [`Filter`]. Out: the lines that fit, oldest first, in bounded memory. A line that cannot be
//! read is counted, not hidden. Deliberately absent: proof that nothing is missing ([`super::verify`]).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::AuditError;
use super::files::{self, name};
use super::line;
use super::reader::LineReader;
use crate::disk::{Disk, RealDisk};

/// Which lines are wanted; what is `None` does not narrow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Public key of a validator, `0x` and 96 lower-case digits.
    pub key: Option<String>,
    /// Not before, milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Not after, milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// The operation, in any case; `x*` fits all that begin with `x`.
    pub operation: Option<String>,
    /// The outcome, in any case.
    pub outcome: Option<String>,
    /// A part of the identity, in any case.
    pub identity: Option<String>,
    /// Checkpoints and notes of the log itself, too.
    pub all: bool,
}

/// A line that fits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The file it stands in.
    pub file: PathBuf,
    /// Where, from 1.
    pub line: u64,
    /// Its text, one JSON object.
    pub text: String,
}

/// What a filter looks at.
#[derive(Deserialize)]
struct Looked {
    time_ms: u64,
    kind: String,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    identity: String,
}

impl Filter {
    fn fits(&self, line: &Looked) -> bool {
        let same = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| matches(wanted, found));
        let contains = |wanted: &String| line.identity.to_lowercase().contains(&wanted.to_lowercase());
        (line.kind == "event" || self.all)
            && self.since_ms.is_none_or(|since| line.time_ms >= since)
            && self.until_ms.is_none_or(|until| line.time_ms <= until)
            && (self.key.is_none() || self.key == line.key)
            && same(&self.operation, &line.operation)
            && same(&self.outcome, &line.outcome)
            && self.identity.as_ref().is_none_or(contains)
    }
}

fn matches(wanted: &str, found: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(begin) => found.get(..begin.len()).is_some_and(|found| found.eq_ignore_ascii_case(begin)),
        None => wanted.eq_ignore_ascii_case(found),
    }
}

/// The lines of a directory that fit a filter.
pub struct Shows {
    dir: PathBuf,
    filter: Filter,
    files: VecDeque<u64>,
    open: Option<(PathBuf, LineReader)>,
    /// Lines so far that could not be read, or do not give their own hash.
    pub unreadable: u64,
}

/// Begins to look.
///
/// # Errors
/// [`AuditError::Nothing`], [`AuditError::Io`].
pub fn show(dir: &Path, filter: Filter) -> Result<Shows, AuditError> {
    let listed = if dir.is_dir() { files::list(&RealDisk, dir) } else { Ok(Vec::new()) };
    let mut files = VecDeque::from(listed.map_err(AuditError::io(format!("listing {}", dir.display())))?);
    if files.is_empty() {
        return Err(AuditError::Nothing(dir.to_path_buf()));
    }
    // A file whose successor begins before the time that is asked for holds nothing that is.
    while let (Some(since), Some(second)) = (filter.since_ms, files.get(1)) {
        // Entries carry the time at which they happened, which may be a little before the line before them.
        let begins = begins_ms(&dir.join(name(*second)))?.map(|begins| begins.saturating_add(CLOCK_SLACK_MS));
        if begins.is_none_or(|begins| begins > since) {
            break;
        }
        files.pop_front();
    }
    Ok(Shows { dir: dir.to_path_buf(), filter, files, open: None, unreadable: 0 })
}

fn begins_ms(path: &Path) -> Result<Option<u64>, AuditError> {
    let io = || AuditError::io(format!("reading {}", path.display()));
    let mut reader = LineReader::open(&RealDisk, path).map_err(io())?;
    let first = reader.next_line().map_err(io())?;
    Ok(first.and_then(|raw| line::parse(raw.bytes).ok().map(|parsed| parsed.fields.time_ms)))
}

impl Shows {
    fn reader(&mut self) -> Result<Option<&mut (PathBuf, LineReader)>, AuditError> {
        if self.open.is_none() {
            let Some(number) = self.files.pop_front() else { return Ok(None) };
            let path = self.dir.join(name(number));
            let opened = LineReader::open(&RealDisk as &dyn Disk, &path);
            let reader = opened.map_err(AuditError::io(format!("opening {}", path.display())))?;
            self.open = Some((path, reader));
        }
        Ok(self.open.as_mut())
    }
}

impl Iterator for Shows {
    type Item = Result<Shown, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let filter = self.filter.clone();
            let (path, reader) = match self.reader() {
                Ok(open) => open?,
                Err(error) => return Some(Err(error)),
            };
            let raw = match reader.next_line() {
                Ok(Some(raw)) => raw,
                Ok(None) => {
                    self.open = None;
                    continue;
                }
                Err(error) => {
                    let failed = AuditError::io(format!("reading {}", path.display()))(error);
                    self.open = None;
                    return Some(Err(failed));
                }
            };
            // A line that does not give its own hash was altered: what it says is not shown as if the node had said it.
            let text = line::parse(raw.bytes).ok().map(|parsed| parsed.text);
            let looked: Option<Looked> = text.and_then(|text| serde_json::from_str(text).ok());
            match (looked, text) {
                (Some(looked), Some(text)) if filter.fits(&looked) => {
                    return Some(Ok(Shown { file: path.clone(), line: raw.number, text: text.to_owned() }));
                }
                (Some(_), Some(_)) => {}
                (None, _) | (_, None) => self.unreadable += 1,
            }
        }
    }
}

/// One minute: the time in an entry is when it happened, and clocks are set.
const CLOCK_SLACK_MS: u64 = 60_000;
