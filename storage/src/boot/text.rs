//! Small text files with a name, a version and a checksum: readable with `cat`, checked by machine.
//!
//! In: a body of whole lines. Out: the same body, or why the file is not what was written. Deliberately absent: what the
//! lines mean.

use std::path::Path;

use super::{BootError, FORMAT, disk};
use crate::disk::Disk;

/// Writes the file so that after any crash the old one or the new one stands there.
pub fn write(disk: &dyn Disk, path: &Path, magic: &str, body: &str) -> Result<(), BootError> {
    Ok(disk::write_file_durably(disk, path, render(magic, body).as_bytes())?)
}

fn render(magic: &str, body: &str) -> String {
    let text = format!("{magic}\nformat {FORMAT}\n{body}");
    format!("{text}crc {:08x}\n", crc32fast::hash(text.as_bytes()))
}

/// Reads back the body.
pub fn read(disk: &dyn Disk, path: &Path, magic: &str) -> Result<String, BootError> {
    if !disk.exists(path)? {
        return Err(BootError::Lost);
    }
    let bytes = disk::read_file(disk, path)?;
    let text = String::from_utf8(bytes).map_err(|_| BootError::Damaged("it is not text"))?;
    let rest = text.strip_prefix(magic).and_then(|rest| rest.strip_prefix('\n'));
    let (format, rest) = rest.and_then(|rest| rest.split_once('\n')).ok_or(BootError::Damaged("it is another file"))?;
    // The version is read before the checksum: another version may continue in another way.
    let format = format.strip_prefix("format ").and_then(|version| version.parse().ok());
    match format {
        Some(FORMAT) => {}
        Some(other) => return Err(BootError::Format(other)),
        None => return Err(BootError::Damaged("it names no format")),
    }
    let body = rest.rfind("crc ").and_then(|at| rest.get(..at)).ok_or(BootError::Damaged("it is cut short"))?;
    if text == render(magic, body) { Ok(body.to_owned()) } else { Err(BootError::Damaged("its checksum is wrong")) }
}

/// 32 lower-case hexadecimal digits.
pub fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}
