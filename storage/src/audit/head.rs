//! The head file: which checkpoint was the newest, so that lines cannot be cut from the end without it saying so.
//!
//! One line: `{"format":1,"cluster":..,"node":..,"seq":..,"hash":..,"public_key":..,"signature":..}`; what is signed is
//! [`HEAD_PURPOSE`], a newline, and its bytes up to `,"signature":"`. Replaced after the checkpoint is durable: it may
//! be older than the newest checkpoint, never newer.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::write_durably;
use super::key::{AuditKey, READABLE, is_signed};
use super::line::{FORMAT, Hash, SEQ_MAX};
use super::text::unhex;
use crate::disk::{self, Disk};

/// What the head file says, its signature checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) cluster: [u8; 16],
    pub(crate) node: u64,
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
    pub(crate) public_key: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Text {
    format: u32,
    cluster: String,
    node: u64,
    seq: u64,
    hash: String,
    public_key: String,
}

/// Replaces the head file.
pub(crate) fn write(
    disk: &dyn Disk,
    dir: &Path,
    key: &AuditKey,
    (cluster, node): ([u8; 16], u64),
    (seq, hash): (u64, &Hash),
) -> io::Result<()> {
    let (hash, public_key) = (hex::encode(hash), hex::encode(key.public()));
    let text = Text { format: FORMAT, cluster: hex::encode(cluster), node, seq, hash, public_key };
    let mut text = serde_json::to_string(&text)?;
    text.pop(); // the closing brace
    let signature = hex::encode(key.sign(HEAD_PURPOSE, &text));
    let text = format!("{text}{SIGNATURE_FIELD}{signature}\"}}\n");
    write_durably(disk, &dir.join(HEAD), text.as_bytes(), READABLE)
}

/// Reads the head file; `Ok(None)`: there is none. The inner error says why it is not one.
pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Result<Head, &'static str>>> {
    let path = dir.join(HEAD);
    if !disk.exists(&path)? {
        return Ok(None);
    }
    Ok(Some(parse(&disk::read_file(disk, &path)?)))
}

fn parse(bytes: &[u8]) -> Result<Head, &'static str> {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix("\"}\n"));
    let (signed, signature) = text.and_then(|text| text.rsplit_once(SIGNATURE_FIELD)).ok_or("it is not a head file")?;
    let signature = unhex::<64>(signature).ok_or("its signature is not one")?;
    let fields: Text = serde_json::from_str(&format!("{signed}}}")).map_err(|_| "it is not a head file")?;
    let hash = unhex::<32>(&fields.hash).ok_or("its hash is not one")?;
    let public_key = unhex::<32>(&fields.public_key).ok_or("its public key is not one")?;
    let cluster = unhex::<16>(&fields.cluster).ok_or("its cluster is not one")?;
    if !is_signed(&public_key, HEAD_PURPOSE, signed, &signature) {
        return Err("its signature does not fit: it was altered");
    }
    if fields.seq > SEQ_MAX {
        return Err("its number is none that a line can have");
    }
    Ok(Head { cluster, node: fields.node, seq: fields.seq, hash, public_key })
}

/// Name of the file.
pub(crate) const HEAD: &str = "head";

/// What a signature under a head is for.
const HEAD_PURPOSE: &str = "consigner audit head 1";

const SIGNATURE_FIELD: &str = r#","signature":""#;
