//! What stands where the next frame should be: nothing, a write that a crash interrupted, or damage.
//!
//! In: the bytes from the first place without a valid frame to the end of the last segment. Out: a [`Tail`].
//! The rule rests on how the log writes: segments are zero-filled and synced beforehand, one frame is on its way at a
//! time, a frame fills whole sectors, and a disk writes a sector whole or not at all.
//!
//! | found | verdict |
//! |---|---|
//! | zeros only | clean |
//! | a frame header of this log anywhere later | corrupt: a later frame means that this one was acknowledged |
//! | first sector zero, or nothing behind a piece of a header | torn |
//! | header good; last byte zero, or more all-zero sectors than were written | torn |
//! | header good, everything there, checksum wrong | corrupt: it was wholly written, then went bad |
//! | header bad but most of what it must say is there, or the frame's trailer is | corrupt (a flipped length, ...) |
//! | anything else (junk) | torn |
//!
//! Limit, stated: when the *last* acknowledged frame loses whole sectors to zeros, or is overwritten altogether,
//! nothing on this disk tells it from a torn write. Peers do: a node that came back with less than it acknowledged is
//! found by them (DESIGN 9).

use super::frame::{self, Expected, FRAME_HEADER, FRAME_TRAILER, SECTOR};

/// The verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tail {
    /// Nothing was written here.
    Clean,
    /// An unacknowledged write, interrupted; `used` bytes of it are not zero.
    Torn { used: usize, why: &'static str },
    /// Acknowledged bytes went bad: refuse to open.
    Corrupt(String),
}

/// Damaged headers differ in a few bits, junk in about 112 of 224 (standard deviation 7.5): far from both.
const DAMAGED_HEADER_BITS: u32 = 64;

/// Judges `tail`, which starts on a sector and holds no valid frame at its start.
pub(crate) fn classify(tail: &[u8], expected: Expected) -> Tail {
    let Some(last_used) = tail.iter().rposition(|byte| *byte != 0) else { return Tail::Clean };
    let used = last_used + 1;
    if let Some((offset, sequence)) = later_frame(tail, expected) {
        return Tail::Corrupt(format!(
            "frame {sequence} stands {offset} bytes behind the broken frame {}",
            expected.sequence
        ));
    }
    let torn = |why| Tail::Torn { used, why };
    if frame::zero_sectors(tail.get(..SECTOR).unwrap_or(tail)) == 1 {
        return torn("the frame's first sector was never written");
    }
    if used < FRAME_HEADER {
        return torn("the write ended inside the frame header");
    }
    match frame::decode_header(tail) {
        Some(header) => with_header(tail, used, &header, expected),
        None if frame::header_distance(tail, expected) < DAMAGED_HEADER_BITS => {
            Tail::Corrupt(format!("the header of frame {} is damaged", expected.sequence))
        }
        None if has_trailer(tail, expected) => {
            Tail::Corrupt(format!("frame {} was wholly written and its header is damaged", expected.sequence))
        }
        None => torn("bytes that are no frame"),
    }
}

fn with_header(tail: &[u8], used: usize, header: &frame::Header, expected: Expected) -> Tail {
    let sequence = expected.sequence;
    if header.expected != expected {
        return Tail::Corrupt(format!(
            "the frame in place of frame {sequence} belongs elsewhere: {:?}",
            header.expected
        ));
    }
    let extent = header.extent();
    let Some(bytes) = tail.get(..extent) else {
        return Tail::Corrupt(format!("frame {sequence} claims {extent} bytes, more than its segment has"));
    };
    if used > extent {
        return Tail::Corrupt(format!("bytes behind the broken frame {sequence}"));
    }
    if bytes.last() == Some(&0) {
        return Tail::Torn { used, why: "the frame's end was never written" };
    }
    if frame::zero_sectors(bytes) > header.zero_sectors {
        return Tail::Torn { used, why: "sectors of the frame were never written" };
    }
    Tail::Corrupt(format!("frame {sequence} was wholly written and its checksum is wrong"))
}

/// A header of this log on a later sector: offset and sequence.
fn later_frame(tail: &[u8], expected: Expected) -> Option<(usize, u64)> {
    (1..tail.len() / SECTOR).map(|sector| sector * SECTOR).find_map(|offset| {
        let header = frame::decode_header(tail.get(offset..)?)?;
        (header.expected.nonce == expected.nonce).then_some((offset, header.expected.sequence))
    })
}

/// Whether some sector ends with the trailer of the expected frame.
fn has_trailer(tail: &[u8], expected: Expected) -> bool {
    tail.chunks_exact(SECTOR)
        .filter_map(|sector| sector.get(SECTOR - FRAME_TRAILER..))
        .any(|end| frame::is_trailer(end, expected))
}
