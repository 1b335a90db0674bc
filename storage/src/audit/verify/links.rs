//! One line in its chain: whose it is, what it follows, who signed it, who else remembers it.

use super::super::files::name;
use super::super::line::{FORMAT, NO_HASH, Parsed, Why};
use super::fault::Fault;
use super::walk::{CLUSTER_WITNESS, Deletion, HEAD_WITNESS, Place, Walk};

impl Walk<'_> {
    /// Of one node and cluster.
    pub(super) fn whose(&mut self, parsed: &Parsed<'_>) -> Result<(), Fault> {
        let fields = &parsed.fields;
        if let Some(node) = self.expect.node.filter(|node| *node != fields.node) {
            return Err(Fault::NotExpected {
                found: format!("node {}", fields.node),
                expected: format!("node {node}"),
            });
        }
        if self.last.is_none() {
            self.report.node = fields.node;
            let anchors = self.expect.anchors.iter().flatten().filter(|anchor| anchor.node == fields.node);
            self.anchors = anchors.map(|anchor| (anchor.sequence, *anchor)).collect();
            self.known_keys = self.anchors.values().map(|anchor| anchor.public_key).collect();
        }
        if fields.node != self.report.node {
            let (found, expected) = (format!("node {}", fields.node), format!("node {}", self.report.node));
            return Err(Fault::Foreign { found, expected });
        }
        Ok(())
    }

    /// Behind the line before it.
    pub(super) fn in_place(&mut self, parsed: &Parsed<'_>, place: &Place, number: u64) -> Result<(), Fault> {
        let fields = &parsed.fields;
        let (expected, prev) = match &self.last {
            Some((seq, hash, _)) => (seq + 1, *hash),
            None if number == 1 && self.expect.from.is_none() => (1, NO_HASH),
            None => return self.begin_late(parsed, place, number),
        };
        if place.line == 1 && fields.why == Some(Why::Break) && fields.seq > expected {
            return Err(Fault::Recorded { reason: fields.reason.clone(), expected });
        }
        let gap = place.line == 1
            && fields.why == Some(Why::Gap)
            && fields.after.and_then(|after| after.checked_add(1)) == Some(expected);
        if fields.seq > expected && !gap {
            return Err(Fault::Missing { expected, upto: fields.seq - 1 });
        }
        if fields.seq < expected {
            return Err(Fault::Repeated { expected });
        }
        if fields.why == Some(Why::Break) {
            return Err(Fault::Recorded { reason: fields.reason.clone(), expected });
        }
        if !parsed.follows(&prev) {
            return Err(Fault::Replaced);
        }
        if place.line == 1 && !parsed.is_checkpoint() {
            return Err(Fault::NoCheckpoint);
        }
        Ok(())
    }

    /// The first line that is looked at is not the first that was written.
    fn begin_late(&mut self, parsed: &Parsed<'_>, place: &Place, number: u64) -> Result<(), Fault> {
        if !parsed.is_checkpoint() {
            return Err(Fault::NoCheckpoint);
        }
        let seq = parsed.fields.seq;
        if self.expect.from.is_some() {
            self.notice(place, Some(seq), format!("verified from here on, as asked: from line {seq}"));
        } else {
            let before = place.file.with_file_name(name(number.saturating_sub(1)));
            self.missing = Some((before, seq.saturating_sub(1)));
        }
        Ok(())
    }

    /// That a file was deleted counts when the checkpoint right behind says so, too.
    pub(super) fn deletion(&mut self, parsed: &Parsed<'_>, place: &Place) -> Result<(), Fault> {
        if parsed.is_deletion() && self.expect.files_max == Some(0) {
            return Err(Fault::NeverDeletes);
        }
        if let Some(Deletion { seq, upto, .. }) = self.deletion.take() {
            if seq.checked_add(1) != Some(parsed.fields.seq) || !parsed.is_checkpoint() {
                return Err(Fault::UnsignedDeletion);
            }
            self.deleted.extend(upto);
        }
        if parsed.is_deletion() {
            let (place, seq, upto) = (place.clone(), parsed.fields.seq, parsed.fields.upto);
            self.deletion = Some(Deletion { place, seq, upto });
        }
        Ok(())
    }

    pub(super) fn checkpoint(&mut self, parsed: &Parsed<'_>, place: &Place) -> Result<(), Fault> {
        let fields = &parsed.fields;
        if let Some(format) = fields.format.filter(|format| *format != FORMAT) {
            return Err(Fault::Format(format));
        }
        let since = || self.last_checkpoint.map_or_else(|| "the beginning".to_owned(), |seq| format!("line {seq}"));
        let signer = parsed.signed_by().ok_or_else(|| Fault::Forged { since: since() })?;
        let key = *self.key.get_or_insert(signer);
        if signer != key {
            return Err(Fault::ForeignKey { found: hex::encode(signer), expected: hex::encode(key) });
        }
        if !self.known_keys.is_empty() && !self.known_keys.contains(&signer) {
            let expected = self.known_keys.iter().map(hex::encode).collect::<Vec<_>>().join(" or ");
            return Err(Fault::ForeignKey { found: hex::encode(signer), expected });
        }
        let cluster = fields.cluster.clone().unwrap_or_default();
        if let Some(wanted) = self.expect.cluster.map(hex::encode).filter(|wanted| *wanted != cluster) {
            let (found, expected) = (format!("cluster {cluster}"), format!("cluster {wanted}"));
            return Err(Fault::NotExpected { found, expected });
        }
        if self.report.cluster.is_empty() {
            self.report.cluster = cluster;
        } else if cluster != self.report.cluster {
            let (found, expected) = (format!("cluster {cluster}"), format!("cluster {}", self.report.cluster));
            return Err(Fault::Foreign { found, expected });
        }
        self.first_checkpoint.get_or_insert_with(|| (place.clone(), fields.seq));
        self.last_checkpoint = Some(fields.seq);
        self.report.checkpoints += 1;
        self.report.unsigned = 0;
        Ok(())
    }

    /// What the head file and the cluster remember of this line.
    pub(super) fn witnesses(&mut self, parsed: &Parsed<'_>) -> Result<(), Fault> {
        let seq = parsed.fields.seq;
        if let Some(head) = self.head.filter(|head| head.seq == seq && head.hash != parsed.hash) {
            return Err(Fault::Rewritten { witness: HEAD_WITNESS, expected: hex::encode(head.hash) });
        }
        let Some(anchor) = self.anchors.remove(&seq) else { return Ok(()) };
        if anchor.hash != parsed.hash {
            return Err(Fault::Rewritten { witness: CLUSTER_WITNESS, expected: hex::encode(anchor.hash) });
        }
        self.report.anchor = Some(seq);
        Ok(())
    }
}
