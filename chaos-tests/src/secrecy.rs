//! Looks for secrets where none may be (S7).
//!
//! In: secrets in every form in which a slip would show them, files and texts to search. Out: findings, which name the
//! secret and never show it. Forms: the bytes, in either order; hexadecimal in either case; base64 at every alignment,
//! in either alphabet; the decimal lists of Rust's `Debug`; the arrays of `MessagePack`. Deliberately absent: cleverness
//! about formats; what is compressed or encrypted is not looked into.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Shorter secrets would be found by accident.
const BYTES_MIN: usize = 8;

/// So many zeros hold no beginning of a secret, but for their last few.
const NOTHING: [u8; 256] = [0; 256];

/// The largest file that is searched; a cluster of tests has some of 16 MiB.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// All secrets of a run.
#[derive(Default)]
pub struct Needles {
    needles: Vec<Needle>,
    /// By the first two bytes: what may begin here.
    beginnings: Vec<Vec<usize>>,
}

struct Needle {
    /// Which secret, in which form; for people.
    name: String,
    bytes: Vec<u8>,
}

/// A secret in a place where none may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Which secret, in which form.
    pub what: String,
    /// A file, or what kind of text.
    pub place: String,
}

impl Needles {
    /// Adds a secret of bytes: a key.
    ///
    /// # Panics
    /// It is so short that it would be found by accident.
    pub fn add_bytes(&mut self, name: &str, secret: &[u8]) {
        let reversed: Vec<u8> = secret.iter().rev().copied().collect();
        for (order, bytes) in [("", secret), (" reversed", &reversed)] {
            self.add(format!("{name}{order}, raw"), bytes);
            self.add(format!("{name}{order}, hexadecimal"), hex::encode(bytes).as_bytes());
            self.add(format!("{name}{order}, HEXADECIMAL"), hex::encode_upper(bytes).as_bytes());
            self.add_base64(&format!("{name}{order}"), bytes);
            for separator in [", ", ","] {
                let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
                self.add(format!("{name}{order}, decimal list"), list.join(separator).as_bytes());
            }
            self.add(format!("{name}{order}, MessagePack"), &message_pack(bytes));
        }
    }

    /// Adds a secret of text: a password, a token, a mnemonic.
    ///
    /// # Panics
    /// It is so short that it would be found by accident.
    pub fn add_text(&mut self, name: &str, secret: &str) {
        self.add(format!("{name}, text"), secret.as_bytes());
        self.add(format!("{name}, hexadecimal"), hex::encode(secret).as_bytes());
        self.add_base64(name, secret.as_bytes());
        self.add(format!("{name}, MessagePack"), &message_pack(secret.as_bytes()));
    }

    /// Inside of longer data a byte may stand at any of three places of a group; what depends on its neighbours is cut.
    fn add_base64(&mut self, name: &str, bytes: &[u8]) {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            for offset in 0..3_usize {
                let mut shifted = vec![0; offset];
                shifted.extend_from_slice(bytes);
                let text = engine.encode(&shifted);
                let whole = shifted.len() / 3 * 4;
                let begin = if offset == 0 { 0 } else { 4 };
                self.add(format!("{name}, base64"), text.as_bytes().get(begin..whole).unwrap_or_default());
            }
        }
    }

    fn add(&mut self, name: String, bytes: &[u8]) {
        assert!(bytes.len() >= BYTES_MIN, "{name} is too short to be searched for");
        if self.needles.iter().any(|needle| needle.bytes == bytes) {
            return;
        }
        if self.beginnings.is_empty() {
            self.beginnings = vec![Vec::new(); 1 << 16];
        }
        if let Some(beginning) = beginning(bytes).and_then(|beginning| self.beginnings.get_mut(beginning)) {
            beginning.push(self.needles.len());
        }
        self.needles.push(Needle { name, bytes: bytes.to_vec() });
    }

    /// How many forms are searched for.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.needles.len()
    }

    /// Whether nothing is searched for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// What stands in these bytes; each secret once.
    #[must_use]
    pub fn find(&self, place: &str, hay: &[u8]) -> BTreeSet<Finding> {
        let mut found = BTreeSet::new();
        let mut position = 0;
        while let Some(rest) = hay.get(position..).filter(|rest| rest.len() >= BYTES_MIN) {
            // Segments of the log are filled with zeros when they are made, and most stay so.
            if rest.starts_with(&NOTHING) {
                position += NOTHING.len() - BYTES_MIN;
                continue;
            }
            let candidates = beginning(rest).and_then(|beginning| self.beginnings.get(beginning));
            for needle in candidates.into_iter().flatten().filter_map(|index| self.needles.get(*index)) {
                if rest.starts_with(&needle.bytes) {
                    found.insert(Finding { what: needle.name.clone(), place: place.to_owned() });
                }
            }
            position += 1;
        }
        found
    }

    /// What stands in the files below a directory, but for those that `may_hold` lets pass. Links are not followed.
    ///
    /// # Errors
    /// A file cannot be read, other than one that has just vanished.
    pub fn find_below(&self, dir: &Path, may_hold: &dyn Fn(&Path) -> bool) -> io::Result<Searched> {
        let mut searched = Searched::default();
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    dirs.push(entry.path());
                } else if kind.is_file() && !may_hold(&entry.path()) {
                    searched.add(self, &entry.path())?;
                }
            }
        }
        Ok(searched)
    }
}

/// What was searched, and found.
#[derive(Debug, Default)]
pub struct Searched {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Bytes of them.
    pub bytes: u64,
    /// Secrets.
    pub found: BTreeSet<Finding>,
}

impl Searched {
    fn add(&mut self, needles: &Needles, file: &Path) -> io::Result<()> {
        let content = match std::fs::metadata(file) {
            Ok(known) if known.len() > FILE_BYTES_MAX => return Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => std::fs::read(file),
            Err(error) => Err(error),
        };
        match content {
            Ok(content) => {
                self.found.extend(needles.find(&file.display().to_string(), &content));
                self.bytes += content.len() as u64;
                self.files.push(file.to_owned());
                Ok(())
            }
            // A node may remove what it does not need any more while it is searched.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn beginning(bytes: &[u8]) -> Option<usize> {
    Some(usize::from(*bytes.first()?) << 8 | usize::from(*bytes.get(1)?))
}

/// The items of an array of numbers: small ones as they are, others behind a marker.
fn message_pack(bytes: &[u8]) -> Vec<u8> {
    const U8: u8 = 0xcc;
    bytes.iter().flat_map(|byte| if *byte < 0x80 { vec![*byte] } else { vec![U8, *byte] }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SECRET: [u8; 32] = [
        7, 0xfe, 130, 4, 91, 200, 0, 33, 0x7f, 0x80, 5, 6, 250, 77, 1, 9, 17, 0xfe, 130, 4, 91, 201, 0, 33, 0x7f, 0x81,
        5, 6, 250, 77, 1, 10,
    ];

    fn needles() -> Needles {
        let mut needles = Needles::default();
        needles.add_bytes("key", &SECRET);
        needles.add_text("password", "correct horse battery");
        needles
    }

    #[test]
    fn every_form_is_found_wherever_it_stands() {
        let forms: Vec<Vec<u8>> = vec![
            SECRET.to_vec(),
            SECRET.iter().rev().copied().collect(),
            hex::encode(SECRET).into(),
            hex::encode_upper(SECRET).into(),
            STANDARD_NO_PAD.encode(SECRET).into(),
            STANDARD_NO_PAD.encode([&[1_u8][..], &SECRET, &[2]].concat()).into(),
            URL_SAFE_NO_PAD.encode([&[1_u8, 2][..], &SECRET].concat()).into(),
            format!("{SECRET:?}").into(),
            message_pack(&SECRET),
            b"correct horse battery".to_vec(),
            STANDARD_NO_PAD.encode("user:correct horse battery").into(),
            hex::encode("correct horse battery").into(),
        ];
        for form in forms {
            let hay = [b"level=info message=\"", form.as_slice(), b"\" more"].concat();
            assert!(!needles().find("a line", &hay).is_empty(), "{:?}", String::from_utf8_lossy(&form));
            assert!(needles().find("a line", &form[..form.len() / 2]).is_empty(), "half of it is not it");
        }
    }

    #[test]
    fn a_finding_names_the_secret_and_does_not_show_it() {
        let found = needles().find("the log", b"password=correct horse battery");
        let expected = Finding { what: "password, text".to_owned(), place: "the log".to_owned() };
        assert_eq!(found, BTreeSet::from([expected]));
    }

    #[test]
    fn files_below_a_directory_are_searched_but_for_those_that_may_hold_secrets() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/b/planted"), SECRET).unwrap();
        std::fs::write(dir.path().join("a/the.key"), SECRET).unwrap();
        std::fs::write(dir.path().join("clean"), "nothing").unwrap();
        let searched = needles().find_below(dir.path(), &|path| path.ends_with("the.key")).unwrap();
        assert_eq!((searched.files.len(), searched.found.len()), (2, 1));
        assert!(searched.found.first().unwrap().place.ends_with("a/b/planted"));
    }
}
