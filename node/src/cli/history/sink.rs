//! An interchange file that is written piece by piece, so that its size does not matter; whole under its name, or not
//! there.

use crate::client::records::Validator;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Where an export goes.
pub(in crate::cli) struct Sink {
    out: Box<dyn Write>,
    file: Option<Place>,
    validators: u64,
}

/// A file under construction.
struct Place {
    path: PathBuf,
    temporary: PathBuf,
    handle: File,
    done: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.done {
            let _gone_or_never_there = std::fs::remove_file(&self.temporary);
        }
    }
}

impl Sink {
    /// Begins a file, or writes to stdout.
    ///
    /// # Errors
    /// What the system said.
    pub(in crate::cli) fn new(path: Option<&Path>, metadata: &Value) -> io::Result<Self> {
        let (mut out, file): (Box<dyn Write>, _) = match path {
            None => (Box::new(BufWriter::new(io::stdout())), None),
            Some(path) => {
                let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
                name.push(format!(".{}.tmp", std::process::id()));
                let temporary = path.with_file_name(name);
                let handle = File::create(&temporary)?;
                let out = Box::new(BufWriter::new(handle.try_clone()?));
                (out, Some(Place { path: path.to_owned(), temporary, handle, done: false }))
            }
        };
        write!(out, "{{\n  \"metadata\": {metadata},\n  \"data\": [")?;
        Ok(Self { out, file, validators: 0 })
    }

    /// Adds a validator.
    ///
    /// # Errors
    /// What the system said.
    pub(in crate::cli) fn add(&mut self, validator: &Validator) -> io::Result<()> {
        self.out.write_all(if self.validators == 0 { b"\n    " } else { b",\n    " })?;
        self.validators += 1;
        serde_json::to_writer(&mut self.out, validator).map_err(io::Error::other)
    }

    /// Ends the file, makes it durable and gives it its name.
    ///
    /// # Errors
    /// What the system said; there is no file under the name then, or the former one.
    pub(in crate::cli) fn finish(mut self) -> io::Result<()> {
        self.out.write_all(b"\n  ]\n}\n")?;
        self.out.flush()?;
        let Some(place) = &mut self.file else { return Ok(()) };
        place.handle.sync_all()?;
        std::fs::rename(&place.temporary, &place.path)?;
        place.done = true;
        let parent = place.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::client::records;

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        let metadata = serde_json::json!({"interchange_format_version": "5"});
        let mut sink = Sink::new(Some(&path), &metadata).unwrap();
        let one = |key: &str| Validator { pubkey: key.into(), ..Validator::default() };
        sink.add(&one("0x01")).unwrap();
        drop(sink);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "an export that broke off leaves nothing");
        for count in 0..3 {
            let mut sink = Sink::new(Some(&path), &metadata).unwrap();
            (0..count).for_each(|_| sink.add(&one("0x01")).unwrap());
            sink.finish().unwrap();
            let file: records::File = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!((file.metadata, file.data.len()), (metadata.clone(), count));
        }
    }
}
