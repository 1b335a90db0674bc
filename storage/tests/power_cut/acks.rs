//! The acknowledgements: a file outside the image, one line each, the newest of a kind counts.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// What was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Acks {
    /// Index of the newest log entry.
    pub log: Option<u64>,
    /// Number of the newest vote.
    pub vote: Option<u64>,
    /// Index that the flushed state covers.
    pub state: Option<u64>,
    /// Index that a snapshot covers.
    pub snapshot: Option<u64>,
    /// Index up to which the log was purged.
    pub purged: Option<u64>,
}

impl Acks {
    /// Reads the file; a last line without its end does not count.
    pub fn read(path: &Path) -> Acks {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut acks = Acks::default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let (kind, number) = line.split_once(' ').unwrap();
            let number = Some(number.parse().unwrap());
            match kind {
                "log" => acks.log = number,
                "vote" => acks.vote = number,
                "state" => acks.state = number,
                "snapshot" => acks.snapshot = number,
                "purged" => acks.purged = number,
                _ => panic!("{line}"),
            }
        }
        acks
    }
}

/// The writing end. Each line is one write, at once visible to the reader.
pub struct AckFile(File);

impl AckFile {
    pub fn open(path: &Path) -> AckFile {
        AckFile(OpenOptions::new().append(true).create(true).open(path).unwrap())
    }

    pub fn note(&self, kind: &str, number: u64) {
        (&self.0).write_all(format!("{kind} {number}\n").as_bytes()).unwrap();
    }
}
