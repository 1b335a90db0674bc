//! Bytes that nobody wrote: decoding them never panics and never yields a log.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::log::frame::{self, Expected};
use crate::log::record::Record;
use crate::log::segment::SegmentHead;
use crate::log::tail;

fn record() -> impl Strategy<Value = Record> {
    let position =
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(term, node, index)| LogPosition { term, node, index });
    let payload = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    prop_oneof![
        (position.clone(), payload.clone()).prop_map(|(position, payload)| Record::Entry(position, payload)),
        payload.prop_map(Record::Vote),
        any::<u64>().prop_map(Record::Truncate),
        position.clone().prop_map(Record::Purge),
        prop::option::of(position).prop_map(Record::Committed),
        prop::option::of(any::<u64>()).prop_map(Record::Last),
    ]
}

fn expected() -> impl Strategy<Value = Expected> {
    (any::<u64>(), any::<u64>(), any::<u32>()).prop_map(|(nonce, sequence, chain)| Expected { nonce, sequence, chain })
}

proptest! {
    #[test]
    fn random_bytes_decode_to_nothing(bytes in prop::collection::vec(any::<u8>(), 0..2000), expected in expected()) {
        let bytes = Bytes::from(bytes);
        prop_assert!(Record::decode(&bytes).is_err());
        prop_assert!(frame::decode_header(&bytes).is_none());
        prop_assert!(SegmentHead::decode(&bytes, 1).is_err());
        let _ = tail::classify(&bytes, expected);
    }

    #[test]
    fn frames_decode_to_what_was_encoded(records in prop::collection::vec(record(), 1..12), expected in expected()) {
        let (bytes, crc) = frame::encode(expected, &records);
        let header = frame::decode_header(&bytes).unwrap();
        prop_assert_eq!(header.expected, expected);
        prop_assert_eq!(header.extent(), bytes.len());
        prop_assert_eq!(frame::check_body(&header, &bytes), Some(crc));
        let decoded = frame::decode_records(&header, &Bytes::from(bytes)).unwrap();
        prop_assert_eq!(decoded.into_iter().map(|(_, record)| record).collect::<Vec<_>>(), records);
    }

    #[test]
    fn damaged_frames_never_pass(
        records in prop::collection::vec(record(), 1..6),
        expected in expected(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..8),
    ) {
        let (whole, _) = frame::encode(expected, &records);
        let mut bytes = whole.clone();
        for (place, change) in changes {
            let place = place.index(bytes.len());
            bytes[place] ^= change;
        }
        prop_assume!(bytes != whole);
        let header = frame::decode_header(&bytes);
        prop_assert!(header.is_none_or(|header| frame::check_body(&header, &bytes).is_none()));
        let _ = tail::classify(&bytes, expected);
    }

    #[test]
    fn a_segment_with_random_bytes_behind_its_checkpoint_keeps_or_refuses(
        junk in prop::collection::vec(any::<u8>(), 0..4000),
        place in 1024_usize..8000,
    ) {
        let disk = disk(1);
        let wal = open(&disk).unwrap();
        append(&wal, entries(1, 0..3)).unwrap();
        drop(wal);
        let end = used(&disk, &last_segment(&disk));
        disk.corrupt(&last_segment(&disk), |bytes| {
            let to = (place + junk.len()).min(bytes.len());
            bytes[place..to].copy_from_slice(&junk[..to - place]);
        }).unwrap();
        if let Ok(wal) = open(&disk) {
            let found = all(&wal);
            // The documented limit: junk over the whole last frame reads as a write that never finished.
            prop_assert!(found == entries(1, 0..3) || (place < end && found.is_empty()));
        }
    }
}
