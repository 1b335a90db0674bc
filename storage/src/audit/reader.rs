//! Lines of a file, one after the other, in bounded memory.
//!
//! In: an open file. Out: each line's bytes without the newline, its number and place. A last line without a newline
//! is given too, marked as such. Deliberately absent: judgement.

use std::io;
use std::path::Path;

use super::options::LINE_BYTES_MAX;
use crate::disk::{Disk, DiskFile, OpenMode};

/// Reads one file.
pub(crate) struct LineReader {
    file: Box<dyn DiskFile>,
    len: u64,
    /// Where the next read from the file begins.
    at: u64,
    buffer: Vec<u8>,
    /// What of the buffer was given out.
    used: usize,
    number: u64,
}

/// One line, as it stands.
pub(crate) struct RawLine<'a> {
    /// Without its newline; of a line that is too long, its beginning.
    pub(crate) bytes: &'a [u8],
    /// From 1.
    pub(crate) number: u64,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Whether a newline ends it.
    pub(crate) finished: bool,
    /// Whether it goes on beyond what a line may have; nothing behind it can be read.
    pub(crate) too_long: bool,
}

impl LineReader {
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> io::Result<LineReader> {
        let file = disk.open(path, OpenMode::Read)?;
        let len = file.len()?;
        Ok(LineReader { file, len, at: 0, buffer: Vec::new(), used: 0, number: 0 })
    }

    /// Length of the file when it was opened, bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.at - (self.buffer.len() - self.used) as u64
    }

    /// The next line.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<RawLine<'_>>> {
        let mut searched = 0;
        let end = loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            if let Some(end) = rest.iter().skip(searched).position(|byte| *byte == b'\n') {
                break Some(searched + end);
            }
            searched = rest.len();
            if searched > LINE_BYTES_MAX || !self.fill()? {
                break None;
            }
        };
        let offset = self.offset();
        let rest = self.buffer.len() - self.used;
        if end.is_none() && rest == 0 {
            return Ok(None);
        }
        self.number += 1;
        let begin = self.used;
        self.used += end.map_or(rest, |end| end + 1);
        let too_long = end.is_none() && rest > LINE_BYTES_MAX;
        let bytes = self.buffer.get(begin..begin + end.unwrap_or(rest)).unwrap_or_default();
        Ok(Some(RawLine { bytes, number: self.number, offset, finished: end.is_some(), too_long }))
    }

    /// Reads on; whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        let more = usize::try_from(self.len - self.at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        if more == 0 {
            return Ok(false);
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + more, 0);
        let result = self.file.read_exact_at(self.buffer.get_mut(held..).unwrap_or_default(), self.at);
        if result.is_err() {
            self.buffer.truncate(held);
        }
        result?;
        self.at += more as u64;
        Ok(true)
    }
}

/// Read from the file at once.
const CHUNK_BYTES: usize = 256 * 1024;
