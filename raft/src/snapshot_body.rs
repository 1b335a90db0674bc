//! The body of a snapshot: the records of the state, each as length, key, length, value (lengths u32 little-endian).
//!
//! Version, checksum and total length are the snapshot file's; see [`consigner_storage::SnapshotStore`].

use consigner_rules::state::Record;

/// The body ends inside a record.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot body ends inside a record, at byte {0}")]
pub struct Truncated(usize);

/// Encodes records.
pub fn encode(records: impl Iterator<Item = Record>) -> Vec<u8> {
    let mut body = Vec::new();
    for record in records {
        for field in [&record.key, &record.value] {
            // A record is far below 4 GiB: commands, and thus records, are capped at 256 KiB.
            body.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes());
            body.extend_from_slice(field);
        }
    }
    body
}

/// Key and value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// Decodes all records, or none.
///
/// # Errors
/// [`Truncated`] when the body ends early.
pub fn decode(body: &[u8]) -> Result<Vec<KeyValue>, Truncated> {
    let mut rest = body;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let at = body.len() - rest.len();
        let (key, after) = field(rest).ok_or(Truncated(at))?;
        let (value, after) = field(after).ok_or(Truncated(at))?;
        records.push((key.to_vec(), value.to_vec()));
        rest = after;
    }
    Ok(records)
}

fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_cut_is_noticed() {
        let record = |byte: u8| Record { key: vec![byte; 3], value: vec![byte; 200] };
        let body = encode([record(1), record(2)].into_iter());
        assert_eq!(decode(&body).unwrap().len(), 2);
        let whole = body.len() / 2;
        for cut in (1..body.len()).filter(|cut| *cut != whole) {
            assert!(decode(&body[..cut]).is_err(), "cut at {cut}");
        }
    }
}
