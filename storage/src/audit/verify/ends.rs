//! What surrounds the chain: head file, key files, the cluster's anchor.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use super::super::AuditError;
use super::super::head::{self, HEAD, Head};
use super::super::key::{AuditKey, KEY, PUBLIC_KEY, public_text};
use super::fault::{Fault, VerifyError};
use super::walk::{CLUSTER_WITNESS, HEAD_WITNESS, Place, Walked, broken};
use super::{Expect, Notice, VerifyReport};
use crate::disk::{self, Disk};

/// Reads the head file before the lines: they may go on meanwhile.
pub(super) fn read_head(disk: &dyn Disk, dir: &Path) -> Result<Option<Head>, VerifyError> {
    match head::read(disk, dir).map_err(AuditError::io("reading the head file"))? {
        Some(Ok(head)) => Ok(Some(head)),
        Some(Err(why)) => Err(broken(whole(dir, HEAD), None, Fault::HeadDamaged(why))),
        None => Ok(None),
    }
}

fn whole(dir: &Path, file: &str) -> Place {
    Place { file: dir.join(file), line: 0 }
}

/// Whether everything around the chain fits it.
pub(super) fn check(
    disk: &dyn Disk,
    dir: &Path,
    expect: &Expect,
    head: Option<&Head>,
    mut walked: Walked,
) -> Result<VerifyReport, VerifyError> {
    check_head(dir, head, &walked)?;
    check_keys(disk, dir, &mut walked)?;
    check_anchors(dir, expect, &mut walked)?;
    Ok(walked.report)
}

fn check_head(dir: &Path, head: Option<&Head>, walked: &Walked) -> Result<(), VerifyError> {
    let last = walked.report.last_seq;
    let Some(head) = head else {
        return Err(broken(whole(dir, HEAD), Some(last), Fault::HeadGone));
    };
    if head.public_key != walked.key {
        let (found, expected) = (hex::encode(head.public_key), hex::encode(walked.key));
        return Err(broken(whole(dir, HEAD), Some(head.seq), Fault::KeyReplaced { found, expected }));
    }
    let (of_head, of_lines) = ((head.node, hex::encode(head.cluster)), (walked.report.node, &walked.report.cluster));
    if (of_head.0, &of_head.1) != of_lines {
        let name = |node, cluster: &str| format!("node {node} of cluster {cluster}");
        let (found, expected) = (name(of_head.0, &of_head.1), name(of_lines.0, of_lines.1));
        return Err(broken(whole(dir, HEAD), Some(head.seq), Fault::NotExpected { found, expected }));
    }
    if head.seq > last {
        return Err(cut_off(walked, head.seq, HEAD_WITNESS));
    }
    Ok(())
}

/// No line at all: nothing to verify, or all of it is gone and somebody remembers it.
pub(super) fn nothing(dir: &Path, expect: &Expect, head: Option<&Head>) -> VerifyError {
    let of_node = |node| expect.anchors.iter().flatten().filter(move |anchor| anchor.node == node);
    let node = expect.node.or(head.map(|head| head.node));
    let anchored = node.and_then(|node| of_node(node).map(|anchor| anchor.sequence).max());
    let (upto, witness) = match (anchored, head) {
        (Some(upto), _) => (upto, CLUSTER_WITNESS),
        (None, Some(head)) => (head.seq, HEAD_WITNESS),
        (None, None) => return AuditError::Nothing(dir.to_path_buf()).into(),
    };
    let place = Place { file: dir.to_path_buf(), line: 0 };
    broken(place, Some(1), Fault::CutOff { from: 1, upto, witness })
}

/// Behind the last line lines are missing.
fn cut_off(walked: &Walked, upto: u64, witness: &'static str) -> VerifyError {
    let from = walked.report.last_seq + 1;
    let place = Place { line: walked.end.line + 1, ..walked.end.clone() };
    broken(place, Some(from), Fault::CutOff { from, upto, witness })
}

/// The key files hold the key that signed. A copy of the lines may come without them.
fn check_keys(disk: &dyn Disk, dir: &Path, walked: &mut Walked) -> Result<(), VerifyError> {
    let (first, seq) = walked.first_checkpoint.clone();
    let replaced = |file: &str, found: String| {
        let fault = Fault::KeyReplaced { found, expected: hex::encode(walked.key) };
        Err(broken(whole(dir, file), Some(seq), fault))
    };
    let mut absent = Vec::new();
    match AuditKey::read(disk, dir) {
        Ok(key) if key.public() != walked.key => return replaced(KEY, hex::encode(key.public())),
        Ok(_) => {}
        Err(AuditError::Io { source, .. })
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
        {
            absent.push(format!("the key file was not compared: {source}"));
        }
        Err(AuditError::Key { .. }) => return Err(broken(whole(dir, KEY), Some(seq), Fault::KeyDamaged)),
        Err(error) => return Err(error.into()),
    }
    let path = dir.join(PUBLIC_KEY);
    if disk.exists(&path).map_err(AuditError::io("looking for key.pub"))? {
        let found = disk::read_file(disk, &path).map_err(AuditError::io("reading key.pub"))?;
        if found != public_text(&walked.key).as_bytes() {
            return replaced(PUBLIC_KEY, String::from_utf8_lossy(&found).trim().chars().take(64).collect());
        }
    } else {
        absent.push("key.pub was not compared: it is not here".to_owned());
    }
    let notices =
        absent.into_iter().map(|what| Notice { file: first.file.clone(), line: first.line, seq: Some(seq), what });
    walked.report.notices.extend(notices);
    Ok(())
}

/// What the cluster remembers and no line was compared with.
fn check_anchors(dir: &Path, expect: &Expect, walked: &mut Walked) -> Result<(), VerifyError> {
    let (first, last) = (walked.report.first_seq, walked.report.last_seq);
    let mut notice = |what| walked.report.notices.push(Notice { file: dir.to_path_buf(), line: 0, seq: None, what });
    let known: BTreeSet<u64> = expect.anchors.iter().flatten().map(|anchor| anchor.node).collect();
    let node = walked.report.node;
    if !known.is_empty() && !known.contains(&node) {
        let known = known.iter().map(|node| format!("node {node}")).collect::<Vec<_>>().join(", ");
        return Err(broken(walked.first_checkpoint.0.clone(), None, Fault::NotAnchored { node, known }));
    }
    if expect.anchors.is_some() && walked.anchors.is_empty() && walked.report.anchor.is_none() {
        notice(format!("the cluster holds no anchor of node {} yet", walked.report.node));
    }
    for anchor in std::mem::take(&mut walked.anchors).into_values() {
        let upto = anchor.sequence;
        if upto > last {
            return Err(cut_off(walked, upto, CLUSTER_WITNESS));
        }
        if upto >= first {
            // A number that no line has: those between a failed write and the fresh file.
            let fault = Fault::Rewritten { witness: CLUSTER_WITNESS, expected: hex::encode(anchor.hash) };
            return Err(broken(walked.end.clone(), Some(upto), fault));
        }
        let what = format!("the cluster knows line {upto}, which is before the first line that is here");
        walked.report.notices.push(Notice { file: dir.to_path_buf(), line: 0, seq: None, what });
    }
    Ok(())
}
