//! The writer thread: one batch, one write, one fdatasync, then the callbacks.
//!
//! In: batches from the queue. Out: lines on the disk, checkpoints, the head file, the callers' answers.
//! After a write or fsync that failed nothing is known about the file's end: it is never written to again. A fresh file
//! begins after a pause, its first line says from where to where numbers are missing, and the next how many lines.
//! Deliberately absent: a second fsync of the same bytes.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::files::name;
use super::line::{Body, NO_HASH, Why};
use super::log::Written;
use super::open::{Begin, Found};
use super::options::RETRY_PAUSE_MAX;
use super::pen::{Ink, Pen};
use super::queue::{Item, LeftOut, Shared, Work, add};
use super::scan::Tip;
use super::{AuditEntry, AuditError, AuditHead, AuditOptions, head};
use crate::disk::{Disk, DiskFile, OpenMode};

/// State of the thread: what is on the disk, and where the next line goes.
pub(crate) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) ink: Arc<Ink>,
    /// Files of lines that stand, ascending; the last holds `tip`.
    pub(super) numbers: Vec<u64>,
    /// Where to write; `None` after a failure.
    pub(super) file: Option<Box<dyn DiskFile>>,
    /// Length of that file.
    pub(super) at: u64,
    /// The newest line on the disk.
    pub(super) tip: Tip,
    /// Numbers given to lines that may or may not lie behind `tip` in a file that failed.
    skipped: u64,
    /// Lines since the last checkpoint, and when the first of them was written.
    unsigned: u64,
    unsigned_since: Instant,
    /// After a failure: when to try again, and how long the next pause is.
    retry: Option<(Instant, Duration)>,
    /// Why the head file could not be replaced the last time that it could not.
    head_error: Option<std::io::Error>,
}

/// Tells who waits if the thread panics.
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.bury(&AuditError::Failing("the writer thread panicked".to_owned()));
        }
    }
}

impl Writer {
    /// Writes the first lines of this start: whatever was found, and a checkpoint.
    pub(crate) fn begin(disk: Arc<dyn Disk>, options: AuditOptions, found: Found) -> Result<Writer, AuditError> {
        let Found { key, numbers, begin } = found;
        let nothing = Tip { seq: 0, hash: NO_HASH };
        let head = AuditHead { sequence: 0, hash: NO_HASH, public_key: key.public() };
        let ink = Arc::new(Ink { key, node: options.node_id, cluster: options.cluster_id });
        let shared = Arc::new(Shared::new(disk, options, head));
        let (file, at, tip, now) = (None, 0, nothing, Instant::now());
        let mut writer = Writer {
            shared,
            ink,
            numbers,
            file,
            at,
            tip,
            skipped: 0,
            unsigned: 0,
            unsigned_since: now,
            retry: None,
            head_error: None,
        };
        match begin {
            Begin::First => writer.new_file(1, nothing, Why::First, String::new(), None)?,
            Begin::GoOn { number, at, tip, unsigned, notes } => writer.go_on(number, at, (tip, unsigned), &notes)?,
            Begin::Segment { number, after, reason } => writer.segment(number, after, reason)?,
        }
        // Each of these ended with a checkpoint, so the head file was replaced; here it must have worked.
        match writer.head_error.take() {
            Some(error) => Err(AuditError::io("writing the head file")(error)),
            None => Ok(writer),
        }
    }

    fn go_on(&mut self, number: u64, at: u64, (tip, unsigned): (Tip, u64), notes: &[Body]) -> Result<(), AuditError> {
        let path = self.shared.dir().join(name(number));
        let opened = self.shared.disk.open(&path, OpenMode::ReadWrite);
        self.file = Some(opened.map_err(AuditError::io(format!("opening {}", path.display())))?);
        (self.at, self.tip) = (at, tip);
        add(&self.shared.counters.torn, notes.len() as u64);
        let mut pen = Pen::new(&self.ink, self.tip);
        for note in notes {
            pen.note(note)?;
        }
        pen.sign(Why::Start, adopted(tip, unsigned), None)?;
        self.write(pen)
    }

    /// A new segment: its first line follows none.
    fn segment(&mut self, number: u64, after: u64, reason: String) -> Result<(), AuditError> {
        tracing::error!(after, reason, "the chain of the audit log is broken; a new segment begins");
        add(&self.shared.counters.breaks, 1);
        let seq = after.max(self.tip.seq + self.skipped);
        self.new_file(number, Tip { seq, hash: NO_HASH }, Why::Break, reason, None)
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Works until the log is closed and its queue empty.
    pub(crate) fn run(mut self) {
        let _guard = PanicGuard(self.shared());
        loop {
            match self.shared.next(self.due(), self.retry.is_some()) {
                Work::Batch(items) => self.batch(items),
                Work::Due if self.retry.is_some() => self.try_again(),
                Work::Due => self.checkpoint(Why::Periodic),
                Work::Close if self.retry.is_some() => {
                    self.try_again();
                    if self.retry.is_some() {
                        break;
                    }
                }
                Work::Close => {
                    self.checkpoint(Why::Stop);
                    break;
                }
            }
        }
        self.shared.bury(&AuditError::Closed);
    }

    fn due(&self) -> Option<Instant> {
        let signing = || (self.unsigned > 0).then(|| self.unsigned_since + self.shared.options.checkpoint_every);
        self.retry.map(|(at, _)| at).or_else(signing)
    }

    fn batch(&mut self, mut items: Vec<Item>) {
        if let [Item::Segment { .. }] = items.as_slice()
            && let Some(Item::Segment { after, reason, done }) = items.pop()
        {
            return self.asked_segment(after, reason, done);
        }
        let left_out = std::mem::take(&mut self.shared.lock().left_out);
        let (entries, waiting): (Vec<_>, Vec<_>) = items.into_iter().filter_map(split).unzip();
        let first = self.tip.seq + 1;
        let mut pen = Pen::new(&self.ink, self.tip);
        let result = self.compose(&mut pen, entries, left_out);
        let lines = pen.lines;
        match result.and_then(|()| self.write(pen)) {
            Ok(()) => {
                for (seq, done) in (first..).zip(waiting) {
                    if let Some(done) = done {
                        done(Ok(seq));
                    }
                }
                self.after_batch();
            }
            Err(error) => {
                let lost = waiting.len() as u64;
                {
                    let mut state = self.shared.lock();
                    // Their own line was not written either.
                    state.left_out.full += left_out.full;
                    state.left_out.failed += left_out.failed;
                }
                self.failed(&error, lines, lost);
                waiting.into_iter().flatten().for_each(|done| done(Err(error.clone())));
            }
        }
    }

    fn compose(&self, pen: &mut Pen, entries: Vec<AuditEntry>, left_out: LeftOut) -> Result<(), AuditError> {
        for entry in entries {
            pen.put(entry.time_ms, &Body::Event(entry))?;
        }
        let reasons = [(left_out.full, "the queue was full"), (left_out.failed, "the disk failed")];
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            pen.note(&Body::LeftOut { count, reason: reason.to_owned() })?;
        }
        if self.unsigned + pen.unsigned >= self.shared.options.checkpoint_lines {
            pen.sign(Why::Periodic, String::new(), None)?;
        }
        Ok(())
    }

    /// Rotation and the head file, whose failure is not the batch's.
    fn after_batch(&mut self) {
        if self.at >= self.shared.options.rotate_bytes
            && let Err(error) = self.rotate()
        {
            self.failed(&error, ROTATION_WRITE_LINES, 0);
        }
        if self.unsigned > 0 && self.unsigned_since.elapsed() >= self.shared.options.checkpoint_every {
            self.checkpoint(Why::Periodic);
        }
    }

    fn checkpoint(&mut self, why: Why) {
        let mut pen = Pen::new(&self.ink, self.tip);
        let result = pen.sign(why, String::new(), None).and_then(|()| self.write(pen));
        if let Err(error) = result {
            self.failed(&error, 1, 0);
        }
    }

    fn asked_segment(&mut self, after: u64, reason: String, done: Written) {
        let number = self.next_number();
        match self.segment(number, after, reason) {
            Ok(()) => done(Ok(self.tip.seq)),
            Err(error) => {
                self.failed(&error, 1, 0);
                done(Err(error));
            }
        }
    }

    /// The fresh file after a failure.
    fn try_again(&mut self) {
        let reason = self.shared.lock().failing.clone().unwrap_or_default();
        let (tip, number) = (self.tip, self.next_number());
        let before = Tip { seq: tip.seq + self.skipped, hash: tip.hash };
        match self.new_file(number, before, Why::Gap, reason, Some(tip.seq)) {
            Ok(()) => {
                tracing::warn!(file = name(number), after = tip.seq, "the audit log goes on in a fresh file");
                (self.retry, self.skipped) = (None, 0);
                self.shared.lock().failing = None;
            }
            Err(error) => self.failed(&error, 0, 0),
        }
    }

    /// Nothing is known about the end of the file any more. `written`: lines that may lie there; `lost`: entries among.
    fn failed(&mut self, error: &AuditError, written: u64, lost: u64) {
        tracing::error!(error = error.full_text(), lost, "the audit log cannot be written; a fresh file will be tried");
        self.file = None;
        self.skipped += written;
        let pause = self.retry.map_or(self.shared.options.retry_pause, |(_, pause)| pause);
        self.retry = Some((Instant::now() + pause, (pause * 2).min(RETRY_PAUSE_MAX)));
        self.shared.fail(error, lost);
    }

    /// One write, one fdatasync.
    pub(super) fn write(&mut self, pen: Pen) -> Result<(), AuditError> {
        if pen.lines == 0 {
            return Ok(());
        }
        let closed = || AuditError::Failing("no file is open".to_owned());
        let file = self.file.as_ref().ok_or_else(closed)?;
        let number = self.numbers.last().copied().unwrap_or_default();
        let what = |action: &str| AuditError::io(format!("{action} {}", name(number)));
        file.write_all_at(pen.text.as_bytes(), self.at).map_err(what("writing"))?;
        file.sync_data().map_err(what("syncing"))?;
        self.commit(&pen);
        Ok(())
    }

    /// What the pen wrote is on the disk.
    pub(super) fn commit(&mut self, pen: &Pen) {
        let counters = &self.shared.counters;
        add(&counters.lines, pen.lines);
        add(&counters.checkpoints, pen.signed_count);
        add(&counters.batches, 1);
        self.at += pen.text.len() as u64;
        self.tip = pen.tip;
        if pen.signed.is_some() {
            self.unsigned = 0;
        }
        if self.unsigned == 0 {
            self.unsigned_since = Instant::now();
        }
        self.unsigned += pen.unsigned;
        {
            let mut state = self.shared.lock();
            (state.head.sequence, state.head.hash) = (pen.tip.seq, pen.tip.hash);
        }
        if let Some(signed) = pen.signed
            && let Err(error) = self.write_head(signed)
        {
            // The lines are durable; only the proof that none was cut from the end is older than it could be.
            add(&self.shared.counters.write_errors, 1);
            tracing::error!(%error, "the head file of the audit log cannot be replaced");
            self.head_error = Some(error);
        }
    }

    fn write_head(&self, signed: Tip) -> std::io::Result<()> {
        let options = &self.shared.options;
        let whose = (options.cluster_id, options.node_id);
        head::write(&*self.shared.disk, &options.dir, &self.ink.key, whose, (signed.seq, &signed.hash))
    }
}

/// What the first checkpoint of a start says of lines that nobody signed: it signs them unseen, whoever wrote them.
fn adopted(tip: Tip, unsigned: u64) -> String {
    if unsigned == 0 {
        return String::new();
    }
    let first = tip.seq.saturating_sub(unsigned - 1);
    format!("{unsigned} lines that no checkpoint had signed were adopted, from line {first} to line {}", tip.seq)
}

/// Most lines in one write of a rotation: that a file is deleted, and the checkpoint behind it.
const ROTATION_WRITE_LINES: u64 = 2;

/// A line and who waits for it.
fn split(item: Item) -> Option<(AuditEntry, Option<Written>)> {
    match item {
        Item::Line(entry, done) => Some((*entry, done)),
        // Stands alone in its batch.
        Item::Segment { .. } => None,
    }
}
