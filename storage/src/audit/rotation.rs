//! From file to file: the chain goes on across them, and the oldest go if that was asked for.

use super::AuditError;
use super::files::{self, name};
use super::key::READABLE;
use super::line::{self, Body, Why};
use super::pen::Pen;
use super::reader::LineReader;
use super::scan::Tip;
use super::writer::Writer;

impl Writer {
    /// Ends the file with a checkpoint, begins the next one with another, deletes the oldest if there are too many.
    pub(super) fn rotate(&mut self) -> Result<(), AuditError> {
        let mut pen = Pen::new(&self.ink, self.tip);
        pen.sign(Why::Full, String::new(), None)?;
        self.write(pen)?;
        self.new_file(self.next_number(), self.tip, Why::File, String::new(), None)?;
        let files_max = self.shared.options.files_max;
        while files_max > 0 && self.numbers.len() > files_max {
            self.delete_oldest()?;
        }
        Ok(())
    }

    /// The line about it is durable and signed before the file goes: a missing file without such a line was somebody
    /// else, and without the checkpoint right behind it anybody could write the line.
    fn delete_oldest(&mut self) -> Result<(), AuditError> {
        let [oldest, second, ..] = *self.numbers.as_slice() else { return Ok(()) };
        let (disk, dir) = (&*self.shared.disk, self.shared.dir());
        let path = dir.join(name(oldest));
        let io = |action: &str| AuditError::io(format!("{action} {}", path.display()));
        let next_path = dir.join(name(second));
        let mut reader = LineReader::open(disk, &next_path).map_err(io("looking behind"))?;
        let next = reader.next_line().map_err(io("looking behind"))?.and_then(|raw| line::claimed_seq(raw.bytes));
        let mut pen = Pen::new(&self.ink, self.tip);
        let upto = next.unwrap_or_default().saturating_sub(1);
        pen.note(&Body::Deleted { file: name(oldest), upto })?;
        pen.sign(Why::Deleted, String::new(), None)?;
        self.write(pen)?;
        let (disk, dir) = (&*self.shared.disk, self.shared.dir());
        disk.remove(&path).and_then(|()| disk.sync_dir(dir)).map_err(io("deleting"))?;
        self.numbers.remove(0);
        Ok(())
    }

    pub(super) fn next_number(&self) -> u64 {
        self.numbers.last().map_or(1, |last| last.saturating_add(1))
    }

    /// Begins a file with a checkpoint that follows `before`.
    pub(super) fn new_file(
        &mut self,
        number: u64,
        before: Tip,
        why: Why,
        reason: String,
        gap_after: Option<u64>,
    ) -> Result<(), AuditError> {
        let mut pen = Pen::new(&self.ink, before);
        pen.sign(why, reason, gap_after)?;
        let path = self.shared.dir().join(name(number));
        let made = files::create(&*self.shared.disk, &path, pen.text.as_bytes(), READABLE);
        let file = made.map_err(AuditError::io(format!("beginning {}", path.display())))?;
        (self.file, self.at) = (Some(file), 0);
        self.numbers.push(number);
        self.commit(&pen);
        Ok(())
    }
}
