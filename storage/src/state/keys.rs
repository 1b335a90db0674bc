//! Layout of the one tree (version 1): the first byte of a key says what it is.
//!
//! | key | value |
//! |---|---|
//! | `f` | format version, `u32` little-endian |
//! | `m` | meta, opaque |
//! | `d` | digest, 32 bytes |
//! | `s` | log index after which no outbox row is missing, `u64` big-endian; absent: not known |
//! | `i` | older ranges without a missing row: per range the index before it and its last, `u64` big-endian each |
//! | `r` + key | record, opaque |
//! | `o` + log index, `u64` big-endian | CRC32 of index and row, then the row |

/// Version of this layout. Readers: 1 reads 1. Writers: 1 writes 1. Another one is rebuilt.
pub(super) const VERSION: u32 = 1;
pub(super) const FORMAT: &[u8] = b"f";
pub(super) const META: &[u8] = b"m";
pub(super) const DIGEST: &[u8] = b"d";
pub(super) const SINCE: &[u8] = b"s";
pub(super) const ISLANDS: &[u8] = b"i";
pub(super) const RECORD: u8 = b'r';
pub(super) const OUTBOX: u8 = b'o';

/// Key of a record.
pub(super) fn record(key: &[u8]) -> Vec<u8> {
    [&[RECORD], key].concat()
}

/// Key of an outbox row. Big-endian, so that key order is log order.
pub(super) fn row(index: u64) -> [u8; 9] {
    let mut key = [OUTBOX; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Log index of an outbox row's key.
pub(super) fn row_index(key: &[u8]) -> Option<u64> {
    let (kind, index) = key.split_first()?;
    (*kind == OUTBOX).then(|| index.try_into().map(u64::from_be_bytes).ok())?
}

/// Value of an outbox row.
pub(super) fn encode_row(index: u64, row: &[u8]) -> Vec<u8> {
    [&row_crc(index, row).to_le_bytes(), row].concat()
}

/// The row in a value; `None` when it is damaged.
pub(super) fn decode_row(index: u64, value: &[u8]) -> Option<&[u8]> {
    let (crc, row) = value.split_first_chunk()?;
    (u32::from_le_bytes(*crc) == row_crc(index, row)).then_some(row)
}

fn row_crc(index: u64, row: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&index.to_le_bytes());
    crc.update(row);
    crc.finalize()
}
