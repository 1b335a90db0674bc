//! Opening: whose directory it is, where the chain ends, and whether it may go on there.
//!
//! | found | what happens |
//! |---|---|
//! | no lines, no head | the first line of all |
//! | a chain that reaches the head | goes on in the same file |
//! | behind the head: bytes that do not chain | a crash tore them: kept aside, cut, and a line says so; the chain goes on |
//! | an end before the head, another hash at the head, another key | a new segment in a new file; its first line says why |
//!
//! Behind the head nothing tells a torn write from a line that was damaged on purpose; the cluster's anchor does.
//! A broken chain never stops a node: an attacker could else stop it by a byte. Deliberately absent: repair.

use std::path::Path;

use super::files::{self, name};
use super::head::{self, Head};
use super::key::{AuditKey, READABLE};
use super::line::{Body, hash_of};
use super::options::BATCH_BYTES;
use super::scan::{Scan, Tip, scan};
use super::{AuditError, AuditOptions};
use crate::disk::{self, Disk, OpenMode};

/// Where the writer begins.
pub(crate) struct Found {
    pub(crate) key: AuditKey,
    /// Numbers of the files that stay.
    pub(crate) numbers: Vec<u64>,
    pub(crate) begin: Begin,
}

/// How the writer begins.
#[derive(Debug)]
pub(crate) enum Begin {
    /// Nothing was ever written.
    First,
    /// The chain goes on behind `at` in file `number`, first with these lines; the last `unsigned` lines of it stand
    /// behind the newest checkpoint.
    GoOn { number: u64, at: u64, tip: Tip, unsigned: u64, notes: Vec<Body> },
    /// A new segment after line `after` in file `number`.
    Segment { number: u64, after: u64, reason: String },
}

/// Reads the directory; cuts what a crash tore.
pub(crate) fn find(disk: &dyn Disk, options: &AuditOptions) -> Result<Found, AuditError> {
    let dir = &options.dir;
    files::remove_temporary(disk, dir).map_err(AuditError::io("removing temporary files"))?;
    let (key, why_new) = AuditKey::open(disk, dir)?;
    let mut numbers = files::list(disk, dir).map_err(AuditError::io("listing the files"))?;
    let head = head::read(disk, dir).map_err(AuditError::io("reading the head file"))?;
    whose(options, &key, head.as_ref())?;
    let newest = newest(disk, dir, &numbers, head.as_ref().and_then(|head| head.as_ref().ok()))?;
    let why = broken(&key, why_new, head.as_ref(), newest.scan.as_ref());
    let tip = newest.scan.as_ref().and_then(|(_, scan)| scan.tip);
    let begin = match (why, newest.scan) {
        (Some(reason), scan) => {
            let head_seq = head.and_then(Result::ok).map_or(0, |head| head.seq);
            let seen = tip.map_or(0, |tip| tip.seq).max(head_seq);
            let lost =
                newest.empty.iter().map(|(_, scan)| scan.lost).sum::<u64>() + scan.map_or(0, |(_, scan)| scan.lost);
            let number = numbers.last().copied().unwrap_or_default().saturating_add(1);
            Begin::Segment { number, after: seen.saturating_add(lost), reason }
        }
        (None, scan) => {
            let before = tip.map_or(1, |tip| tip.seq + 1);
            let mut notes = Vec::new();
            for (number, _) in &newest.empty {
                notes.push(set_aside(disk, dir, *number, before)?);
                numbers.retain(|kept| kept != number);
            }
            match (scan, tip) {
                (Some((number, scan)), Some(tip)) => {
                    notes.extend(mend(disk, dir, number, &scan, before)?);
                    Begin::GoOn { number, at: scan.good, tip, unsigned: scan.unsigned, notes }
                }
                (Some(_) | None, _) => Begin::First,
            }
        }
    };
    Ok(Found { key, numbers, begin })
}

/// Nothing is written to the log of another node: a wrong path in a configuration must not break its chain. What was
/// not signed with the key that lies here says nothing about whose it is.
fn whose(options: &AuditOptions, key: &AuditKey, head: Option<&Result<Head, &'static str>>) -> Result<(), AuditError> {
    let Some(Ok(head)) = head else { return Ok(()) };
    let (wanted, found) = ((options.cluster_id, options.node_id), (head.cluster, head.node));
    if head.public_key != key.public() || wanted == found {
        return Ok(());
    }
    let name = |(cluster, node): ([u8; 16], u64)| format!("node {node} of cluster {}", hex::encode(cluster));
    Err(AuditError::Foreign { dir: options.dir.clone(), found: name(found), wanted: name(wanted) })
}

/// The newest file with lines that hold, and the files after it, which have none.
struct Newest {
    scan: Option<(u64, Scan)>,
    empty: Vec<(u64, Scan)>,
}

fn newest(disk: &dyn Disk, dir: &Path, numbers: &[u64], head: Option<&Head>) -> Result<Newest, AuditError> {
    let mut empty = Vec::new();
    for number in numbers.iter().rev() {
        let scan = scan(disk, &dir.join(name(*number)), head)?;
        if scan.tip.is_some() {
            return Ok(Newest { scan: Some((*number, scan)), empty });
        }
        empty.push((*number, scan));
    }
    Ok(Newest { scan: None, empty })
}

/// Why the chain cannot go on where it ends, if it cannot.
fn broken(
    key: &AuditKey,
    why_new: Option<String>,
    head: Option<&Result<Head, &'static str>>,
    newest: Option<&(u64, Scan)>,
) -> Option<String> {
    let head = match head {
        Some(Ok(head)) => Some(head),
        Some(Err(why)) => return Some(format!("the head file cannot be used: {why}")),
        None => None,
    };
    let tip = newest.and_then(|(_, scan)| scan.tip);
    if why_new.is_some() && (head.is_some() || tip.is_some()) {
        return why_new;
    }
    let signers = [head.map(|head| head.public_key), newest.and_then(|(_, scan)| scan.signer)];
    if signers.into_iter().flatten().any(|signer| signer != key.public()) {
        return Some("the key file holds another key than the one that signed before".to_owned());
    }
    match (head, newest) {
        (None, Some(_)) if tip.is_some_and(|tip| tip.seq > 1) => Some("the head file is gone".to_owned()),
        (Some(head), newest) => against_head(head, newest),
        (None, _) => None,
    }
}

fn against_head(head: &Head, newest: Option<&(u64, Scan)>) -> Option<String> {
    let at = head.seq;
    let Some((number, scan)) = newest else {
        return Some(format!("the lines are gone: the last checkpoint was line {at}"));
    };
    let (tip, first) = (scan.tip.map_or(0, |tip| tip.seq), scan.first.map_or(0, |(seq, _)| seq));
    if at > tip {
        let damage = scan.damage.as_ref().map(|why| format!(" ({} {why})", name(*number))).unwrap_or_default();
        return Some(format!("the lines end at {tip}, but the last checkpoint was line {at}{damage}"));
    }
    let known = if at.checked_add(1) == Some(first) { scan.first.map(|(_, prev)| prev) } else { scan.at_head };
    (at + 1 >= first && known != Some(head.hash)).then(|| format!("line {at} is not the one that the head file names"))
}

/// Cuts what does not chain from the end of a file, and makes the rest durable before anything rests on it.
fn mend(disk: &dyn Disk, dir: &Path, number: u64, scan: &Scan, before: u64) -> Result<Option<Body>, AuditError> {
    let path = dir.join(name(number));
    let io = |action: &str| AuditError::io(format!("{action} {}", path.display()));
    let file = disk.open(&path, OpenMode::ReadWrite).map_err(io("opening"))?;
    let read = |from: u64, to: u64| {
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, from).map(|()| bytes)
    };
    let mut note = None;
    if scan.good < scan.len {
        let bytes = read(scan.good, scan.len).map_err(io("reading the torn end of"))?;
        let kept = files::torn_name(disk, dir, number, before).map_err(io("naming the torn end of"))?;
        files::write_durably(disk, &dir.join(&kept), &bytes, READABLE).map_err(io("keeping the torn end of"))?;
        file.set_len(scan.good).map_err(io("cutting"))?;
        note = Some(torn(number, before, &bytes, kept));
    }
    // After an fsync that failed the kernel calls pages clean that never reached the disk: the last batches are
    // written once more, so that this fsync means them.
    let from = scan.good.saturating_sub(2 * BATCH_BYTES as u64);
    let bytes = read(from, scan.good).map_err(io("reading"))?;
    file.write_all_at(&bytes, from).and_then(|()| file.sync_data()).map_err(io("syncing"))?;
    Ok(note)
}

/// A file whose first line was never whole: a crash came while it was begun.
fn set_aside(disk: &dyn Disk, dir: &Path, number: u64, before: u64) -> Result<Body, AuditError> {
    let path = dir.join(name(number));
    let io = |action: &str| AuditError::io(format!("{action} {}", path.display()));
    let bytes = disk::read_file(disk, &path).map_err(io("reading"))?;
    let kept = files::torn_name(disk, dir, number, before).map_err(io("naming the rest of"))?;
    disk.rename(&path, &dir.join(&kept)).and_then(|()| disk.sync_dir(dir)).map_err(io("setting aside"))?;
    Ok(torn(number, before, &bytes, kept))
}

fn torn(number: u64, before: u64, bytes: &[u8], kept: String) -> Body {
    let (file, sha256) = (name(number), hex::encode(hash_of(bytes)));
    tracing::warn!(file, before, bytes = bytes.len(), kept, "the end of the audit log was torn and is cut");
    Body::Torn { file, before, bytes: bytes.len() as u64, kept, sha256 }
}
