//! What lies in the directory of the archive.
//!
//! In: a directory. Out: the good segments in log order, the base, and the name of everything else that should have been
//! a segment. Changes nothing, so that it can be used beside a running node.

use std::io;
use std::path::Path;
use std::sync::Arc;

use consigner_rules::archive::ArchiveMark;
use consigner_rules::primitives::ClusterId;

use super::error::{SegmentError, SegmentFault, io_error};
use super::segment::{Segment, Unfit, range_of};
use super::writer::SUFFIX;
use super::{Ranges, read_base};
use crate::disk::Disk;

/// The archive's directory, looked through.
#[derive(Default, Debug)]
pub(crate) struct Catalog {
    /// Those whose frame is good, by where they begin.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// What is not used, and why.
    pub(crate) faults: Vec<SegmentFault>,
    /// Where what was removed ended.
    pub(crate) base: Option<ArchiveMark>,
    /// Whether the file says so too.
    pub(crate) is_base_durable: bool,
}

impl Catalog {
    /// Looks through `dir`.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path, lineage: &ClusterId) -> Result<Self, SegmentError> {
        let mut catalog = Self::default();
        for name in disk.list(dir).map_err(io_error("listing", dir))? {
            if name.ends_with(SUFFIX) {
                catalog.take(disk, dir, name, lineage);
            }
        }
        match read_base(disk, dir, lineage) {
            Ok(base) => (catalog.base, catalog.is_base_durable) = (base, base.is_some()),
            Err(fault) => catalog.faults.push(fault),
        }
        catalog.sort();
        for fault in &catalog.all_faults() {
            tracing::error!(%fault, dir = %dir.display(), "part of the archive is not used; the file is kept");
        }
        Ok(catalog)
    }

    fn take(&mut self, disk: &dyn Disk, dir: &Path, name: String, lineage: &ClusterId) {
        let why = match Segment::open(disk, dir, &name, lineage) {
            Ok(Ok(segment)) => return self.segments.push(Arc::new(segment)),
            Ok(Err(Unfit::Foreign(other))) => {
                let why = format!("it is of another cluster, {other}: it does not belong into this directory");
                return self.faults.push(SegmentFault { name, after: 0, upto: 0, why });
            }
            Ok(Err(Unfit::Damaged(why))) => why,
            // Removed by the running node meanwhile.
            Err(SegmentError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                format!("{error}: {}", std::error::Error::source(&error).map_or_else(String::new, ToString::to_string))
            }
        };
        let (after, upto) = range_of(&name).unwrap_or_default();
        self.faults.push(SegmentFault { name, after, upto, why });
    }

    /// Puts segments in their order.
    pub(crate) fn sort(&mut self) {
        self.segments.sort_by_key(|segment| (segment.info.after, segment.info.upto));
    }

    /// All that can be read of them.
    pub(crate) fn coverage(&self) -> Ranges {
        let mut ranges = Ranges::default();
        for segment in &self.segments {
            ranges.add_all(&segment.coverage());
        }
        ranges
    }

    /// Everything up to and with this log index was removed on purpose.
    pub(crate) fn floor(&self) -> u64 {
        self.base.map_or(0, |base| base.index)
    }

    /// The mark behind which rows after `after` go on, and where it stands: at `after`, or before a gap.
    pub(crate) fn mark_before(&self, after: u64, lineage: &ClusterId) -> ArchiveMark {
        let ends = self.segments.iter().map(|segment| segment.info.end).chain(self.base);
        let newest = ends.filter(|mark| mark.index <= after).max_by_key(|mark| mark.index);
        newest.unwrap_or_else(|| ArchiveMark::begin(lineage))
    }

    /// All faults, those found while reading included.
    pub(crate) fn all_faults(&self) -> Vec<SegmentFault> {
        let read = self.segments.iter().flat_map(|segment| segment.faults().clone());
        self.faults.iter().cloned().chain(read).collect()
    }
}
