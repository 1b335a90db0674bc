//! The bytes of a segment file (format version 1). Integers are little-endian.
//!
//! ```text
//! header, 128:  0..8 magic CNSGNarc | 8..12 version | 12..16 zero | 16..32 lineage | 32..40 after | 40..48 gap from
//!               48..56 rows before | 56..88 chain before | 88..124 zero | 124..128 CRC32 of 0..124
//! block:        0..4 magic | 4..8 compressed length | 8..12 plain length | 12..16 entries | 16..24 first index
//!               24..32 last index | 32..36 number | 36..40 CRC32 of lineage, after, 0..36 and the compressed bytes
//!               then one zstd frame; plain: per entry its index (8), the length of its row (4), its row
//! directory:    per block 0..8 offset | 8..16 first index | 16..24 last index | 24..28 entries | 28..32 zero
//! footer, 192:  0..8 magic CNSGNare | 8..12 version | 12..16 blocks | 16..24 offset of the directory | 24..32 after
//!               32..40 upto | 40..48 entries | 48..56 rows until here | 56..88 chain | 88..96 oldest ms
//!               96..104 newest ms | 104..112 plain bytes | 112..120 first index | 120..128 last index
//!               128..136 length of the file | 136..168 SHA-256 of header, blocks and directory
//!               168..172 CRC32 of the directory | 172..188 zero | 188..192 CRC32 of 0..188
//! ```
//! In: values. Out: bytes, and the same values from bytes that check; lengths are bounded before anything is allocated.
//! Deliberately absent: files.

use consigner_rules::Root;
use consigner_rules::archive::ArchiveMark;
use consigner_rules::primitives::ClusterId;

/// Version of the layout. Readers: 1 reads 1. Writers: 1 writes 1.
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER: usize = 128;
pub(super) const BLOCK_HEADER: usize = 40;
pub(super) const PLACE: usize = 32;
pub(super) const FOOTER: usize = 192;
/// Plain bytes after which a block ends: large enough that the keys of some hundred validators repeat in it, small
/// enough that reading one row does not cost more than some milliseconds.
pub(super) const BLOCK_PLAIN: usize = 1024 * 1024;
/// The longest row that is taken. What an entry changes is bounded by its command (256 KiB); this is far above.
pub(super) const ROW_BYTES_MAX: usize = 8 * 1024 * 1024;
/// More is never decompressed, whatever a block says of itself.
pub(super) const BLOCK_PLAIN_MAX: usize = BLOCK_PLAIN + ROW_BYTES_MAX + ENTRY_HEADER;
/// zstd never makes more of it than this.
const BLOCK_COMPRESSED_MAX: usize = BLOCK_PLAIN_MAX + BLOCK_PLAIN_MAX / 128 + 1024;
/// Index and length before each row.
pub(super) const ENTRY_HEADER: usize = 12;
/// A directory of more is not believed: a segment ends long before.
const BLOCKS_MAX: u32 = 1 << 20;

const HEADER_MAGIC: [u8; 8] = *b"CNSGNarc";
const FOOTER_MAGIC: [u8; 8] = *b"CNSGNare";
const BLOCK_MAGIC: u32 = u32::from_le_bytes(*b"Sblk");

/// What stands before the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) lineage: ClusterId,
    /// The mark after which the segment begins, `after` its index.
    pub(super) before: ArchiveMark,
    /// Where the gap begins that `before` skipped; its own index if there was none.
    pub(super) gap_from: u64,
}

/// What stands behind the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) blocks: u32,
    pub(super) directory: u64,
    pub(super) after: u64,
    /// The mark with which the segment ends, `upto` its index.
    pub(super) end: ArchiveMark,
    pub(super) entries: u64,
    pub(super) oldest_ms: u64,
    pub(super) newest_ms: u64,
    pub(super) plain_bytes: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) file_len: u64,
    pub(super) sha256: [u8; 32],
    pub(super) directory_crc: u32,
}

/// What a block says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) compressed: u32,
    pub(super) plain: u32,
    pub(super) entries: u32,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) number: u32,
}

/// Where a block lies, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) entries: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        put(&mut bytes, 0, &HEADER_MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 16, self.lineage.as_bytes());
        put(&mut bytes, 32, &self.before.index.to_le_bytes());
        put(&mut bytes, 40, &self.gap_from.to_le_bytes());
        put(&mut bytes, 48, &self.before.rows.to_le_bytes());
        put(&mut bytes, 56, self.before.chain.as_bytes());
        seal(&mut bytes);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        check(bytes, HEADER, HEADER_MAGIC, "header")?;
        let (before, gap_from) = (mark(bytes, 32, 48), word(bytes, 40));
        Ok(Self { lineage: ClusterId(array(bytes, 16)), before, gap_from })
    }
}

impl Footer {
    pub(super) fn encode(&self) -> [u8; FOOTER] {
        let mut bytes = [0; FOOTER];
        put(&mut bytes, 0, &FOOTER_MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &self.blocks.to_le_bytes());
        let words = [self.directory, self.after, self.end.index, self.entries, self.end.rows];
        for (at, value) in (16..).step_by(8).zip(words) {
            put(&mut bytes, at, &value.to_le_bytes());
        }
        put(&mut bytes, 56, self.end.chain.as_bytes());
        let words = [self.oldest_ms, self.newest_ms, self.plain_bytes, self.first, self.last, self.file_len];
        for (at, value) in (88..).step_by(8).zip(words) {
            put(&mut bytes, at, &value.to_le_bytes());
        }
        put(&mut bytes, 136, &self.sha256);
        put(&mut bytes, 168, &self.directory_crc.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        check(bytes, FOOTER, FOOTER_MAGIC, "footer")?;
        let footer = Self {
            blocks: half(bytes, 12),
            directory: word(bytes, 16),
            after: word(bytes, 24),
            end: mark(bytes, 32, 48),
            entries: word(bytes, 40),
            oldest_ms: word(bytes, 88),
            newest_ms: word(bytes, 96),
            plain_bytes: word(bytes, 104),
            first: word(bytes, 112),
            last: word(bytes, 120),
            file_len: word(bytes, 128),
            sha256: array(bytes, 136),
            directory_crc: half(bytes, 168),
        };
        if footer.blocks > BLOCKS_MAX {
            return Err(format!("its footer speaks of {} blocks", footer.blocks));
        }
        Ok(footer)
    }

    /// Bytes of the directory.
    pub(super) fn directory_len(&self) -> usize {
        usize::try_from(self.blocks).unwrap_or(usize::MAX).saturating_mul(PLACE)
    }
}

impl BlockHeader {
    pub(super) fn encode(&self, header: &Header, content: &[u8]) -> [u8; BLOCK_HEADER] {
        let mut bytes = [0; BLOCK_HEADER];
        put(&mut bytes, 0, &BLOCK_MAGIC.to_le_bytes());
        put(&mut bytes, 4, &self.compressed.to_le_bytes());
        put(&mut bytes, 8, &self.plain.to_le_bytes());
        put(&mut bytes, 12, &self.entries.to_le_bytes());
        put(&mut bytes, 16, &self.first.to_le_bytes());
        put(&mut bytes, 24, &self.last.to_le_bytes());
        put(&mut bytes, 32, &self.number.to_le_bytes());
        let crc = block_crc(header, &bytes, content);
        put(&mut bytes, 36, &crc.to_le_bytes());
        bytes
    }

    /// Reads the header alone: its lengths are bounded, nothing else of it is checked yet.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < BLOCK_HEADER || half(bytes, 0) != BLOCK_MAGIC {
            return Err("no block begins there".into());
        }
        let block = Self {
            compressed: half(bytes, 4),
            plain: half(bytes, 8),
            entries: half(bytes, 12),
            first: word(bytes, 16),
            last: word(bytes, 24),
            number: half(bytes, 32),
        };
        let too_long = |len: u32, max: usize| usize::try_from(len).is_ok_and(|len| len > max);
        if too_long(block.plain, BLOCK_PLAIN_MAX) || too_long(block.compressed, BLOCK_COMPRESSED_MAX) {
            return Err(format!("it says it holds {} bytes in {}", block.plain, block.compressed));
        }
        Ok(block)
    }

    /// Checks header and content, and takes the entries out.
    pub(super) fn open(&self, header: &Header, bytes: &[u8], content: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, String> {
        if half(bytes, 36) != block_crc(header, bytes, content) {
            return Err("its checksum does not match".into());
        }
        let plain_len = usize::try_from(self.plain).unwrap_or(0);
        let plain = zstd::bulk::decompress(content, plain_len).map_err(|error| format!("zstd: {error}"))?;
        if plain.len() != plain_len {
            return Err(format!("it holds {} bytes, not {plain_len}", plain.len()));
        }
        let entries = entries(&plain)?;
        let ends = (entries.first().map(|(index, _)| *index), entries.last().map(|(index, _)| *index));
        let count = u32::try_from(entries.len()).ok();
        if ends != (Some(self.first), Some(self.last)) || count != Some(self.entries) {
            return Err("its entries are not those of its header".into());
        }
        Ok(entries)
    }
}

impl Place {
    pub(super) fn encode(&self) -> [u8; PLACE] {
        let mut bytes = [0; PLACE];
        put(&mut bytes, 0, &self.offset.to_le_bytes());
        put(&mut bytes, 8, &self.first.to_le_bytes());
        put(&mut bytes, 16, &self.last.to_le_bytes());
        put(&mut bytes, 24, &self.entries.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        Self { offset: word(bytes, 0), first: word(bytes, 8), last: word(bytes, 16), entries: half(bytes, 24) }
    }
}

/// The entries of a plain block; they rise strictly.
fn entries(mut plain: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, String> {
    let mut entries: Vec<(u64, Vec<u8>)> = Vec::new();
    while !plain.is_empty() {
        let (head, rest) = plain.split_at_checked(ENTRY_HEADER).ok_or("an entry is cut off")?;
        let (index, len) = (word(head, 0), usize::try_from(half(head, 8)).unwrap_or(usize::MAX));
        let (row, rest) = rest.split_at_checked(len).ok_or("a row is cut off")?;
        if entries.last().is_some_and(|(before, _)| *before >= index) {
            return Err("its entries are not in log order".into());
        }
        entries.push((index, row.to_vec()));
        plain = rest;
    }
    Ok(entries)
}

fn block_crc(header: &Header, bytes: &[u8], content: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    // A whole block of another file does not pass in its place.
    crc.update(header.lineage.as_bytes());
    crc.update(&header.before.index.to_le_bytes());
    crc.update(bytes.get(..36).unwrap_or_default());
    crc.update(content);
    crc.finalize()
}

/// Length, magic, checksum, version: in this order, so that damage is not called a newer version.
pub(super) fn check(bytes: &[u8], len: usize, magic: [u8; 8], what: &str) -> Result<(), String> {
    if bytes.len() != len {
        return Err(format!("its {what} is cut off"));
    }
    if bytes.get(..8) != Some(&magic) {
        return Err(format!("it has no {what}"));
    }
    if half(bytes, len - 4) != crc32fast::hash(bytes.get(..len - 4).unwrap_or_default()) {
        return Err(format!("the checksum of its {what} does not match"));
    }
    match half(bytes, 8) {
        VERSION => Ok(()),
        found => Err(format!("it is of format {found}; this binary reads {VERSION}")),
    }
}

/// Puts the checksum of all before into the last four bytes.
pub(super) fn seal(bytes: &mut [u8]) {
    let at = bytes.len().saturating_sub(4);
    let crc = crc32fast::hash(bytes.get(..at).unwrap_or_default());
    put(bytes, at, &crc.to_le_bytes());
}

pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// A mark: index here, rows and chain there.
pub(super) fn mark(bytes: &[u8], index: usize, rows: usize) -> ArchiveMark {
    ArchiveMark { index: word(bytes, index), rows: word(bytes, rows), chain: Root(array(bytes, rows + 8)) }
}

pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

pub(super) fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}
