//! Bytes that must not change, bytes that lie, and reading from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use consigner_rules::archive::ArchiveMark;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Change, codec};

use super::format::{BLOCK_HEADER, BLOCK_PLAIN_MAX, BlockHeader, Header};
use super::*;
use crate::disk::{self, Disk, SimDisk};

const LINEAGE: ClusterId = ClusterId([9; 16]);
const DIR: &str = "/archive";

fn row(index: u64) -> Vec<u8> {
    codec::encode(&(index * 1000, vec![Change::PolicyRenewed(index)]))
}

fn sim() -> SimDisk {
    let sim = SimDisk::new(1);
    sim.create_dir(Path::new(DIR)).unwrap();
    sim
}

fn write(sim: &SimDisk, mark: ArchiveMark, after: u64, upto: u64) -> ArchiveMark {
    let mut writer = SegmentWriter::begin(sim, Path::new(DIR), LINEAGE, mark, after).unwrap();
    for index in after + 1..=upto {
        writer.add(index, &row(index)).unwrap();
    }
    let name = writer.finish(upto).unwrap();
    Segment::open(sim, Path::new(DIR), &name, &LINEAGE).unwrap().unwrap().info.end
}

fn reader(sim: &SimDisk) -> SegmentReader {
    SegmentReader::open_on(Arc::new(sim.clone()), Path::new(DIR), &LINEAGE).unwrap()
}

#[test]
fn rows_are_read_from_outside_and_faults_come_in_between() {
    let sim = sim();
    let mut mark = ArchiveMark::begin(&LINEAGE);
    for (after, upto) in [(0, 10), (10, 20), (25, 30)] {
        mark = write(&sim, mark, after, upto);
    }
    let rows: Vec<Row> = reader(&sim).after(5).map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (6..=20).chain(26..=30).collect::<Vec<_>>());
    assert!(rows.iter().all(|(index, found)| *found == row(*index)));
    assert_eq!(reader(&sim).holes().as_slice(), [(20, 25)]);
    assert_eq!(reader(&sim).segments().count(), 3);
    let mut seen = Vec::new();
    let report = verify_on(&sim, Path::new(DIR), &LINEAGE, &mut |progress| seen.push(progress)).unwrap();
    assert_eq!((report.mark, report.holes.as_slice(), report.damaged.len()), (mark, &[(20, 25)][..], 0));
    assert!(seen.last().is_some_and(|last| last.bytes <= last.of && last.bytes > 0));

    let path = Path::new(DIR).join("00000000000000000010-00000000000000000020.seg");
    sim.corrupt(&path, |bytes| bytes[200] ^= 1).unwrap();
    let mut reader = reader(&sim);
    let (mut rows, mut faults) = (0, Vec::new());
    for item in reader.by_ref() {
        match item {
            Ok(_) => rows += 1,
            Err(SegmentError::Fault(fault)) => faults.push(fault),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((rows, faults.len()), (15, 1), "{faults:?}");
    assert_eq!((faults[0].after, faults[0].upto), (10, 20));
    assert_eq!(reader.faults(), faults);
}

/// Two files that each check, but hold different rows of the same entry.
#[test]
fn files_that_contradict_each_other_are_named() {
    let sim = sim();
    let begin = ArchiveMark::begin(&LINEAGE);
    write(&sim, begin, 0, 10);
    let mut writer = SegmentWriter::begin(&sim, Path::new(DIR), LINEAGE, begin, 5).unwrap();
    writer.add(8, &row(80)).unwrap();
    writer.finish(12).unwrap();
    let report = verify_on(&sim, Path::new(DIR), &LINEAGE, &mut |_| {}).unwrap();
    assert!(report.damaged.iter().any(|fault| fault.why.contains("log index 8")), "{report:?}");
    let error = reader(&sim).find_map(Result::err);
    assert!(matches!(error, Some(SegmentError::Conflict(8))), "{error:?}");
}

/// The chain of another past under the name of the right one.
#[test]
fn a_file_that_does_not_continue_the_one_before_is_named() {
    let sim = sim();
    write(&sim, ArchiveMark::begin(&LINEAGE), 0, 10);
    let other = ArchiveMark { index: 10, ..ArchiveMark::begin(&LINEAGE) };
    write(&sim, other, 10, 20);
    let report = verify_on(&sim, Path::new(DIR), &LINEAGE, &mut |_| {}).unwrap();
    assert!(report.damaged.iter().any(|fault| fault.why.contains("does not continue")), "{report:?}");
}

#[test]
fn a_segment_that_goes_away_while_it_is_read_is_passed_over() {
    let sim = sim();
    let mut mark = ArchiveMark::begin(&LINEAGE);
    for (after, upto) in [(0, 10), (10, 20), (20, 30)] {
        mark = write(&sim, mark, after, upto);
    }
    let reader = reader(&sim);
    sim.remove(&Path::new(DIR).join("00000000000000000000-00000000000000000010.seg")).unwrap();
    let rows: Vec<u64> = reader.map(|row| row.unwrap().0).collect();
    assert_eq!(rows, (11..=30).collect::<Vec<_>>());
}

#[test]
fn a_bomb_is_not_unpacked() {
    let header = Header { lineage: LINEAGE, before: ArchiveMark::begin(&LINEAGE), gap_from: 0 };
    let content = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 3).unwrap();
    let compressed = u32::try_from(content.len()).unwrap();
    let block = |plain: usize| BlockHeader {
        compressed,
        plain: u32::try_from(plain).unwrap(),
        entries: 1,
        first: 1,
        last: 1,
        number: 0,
    };
    let honest = block(64 * 1024 * 1024).encode(&header, &content);
    let refused = BlockHeader::decode(&honest).unwrap_err();
    assert!(refused.contains("67108864"), "{refused}");
    let lying = block(BLOCK_PLAIN_MAX).encode(&header, &content);
    assert_eq!(lying.len(), BLOCK_HEADER);
    let refused = BlockHeader::decode(&lying).unwrap().open(&header, &lying, &content).unwrap_err();
    assert!(refused.contains("zstd"), "{refused}");
}

/// Every byte of a small segment, changed: it is noticed, and nothing that is read is another row.
#[test]
fn no_changed_byte_goes_unnoticed() {
    let sim = sim();
    write(&sim, ArchiveMark::begin(&LINEAGE), 0, 3);
    let path = Path::new(DIR).join("00000000000000000000-00000000000000000003.seg");
    let good = disk::read_file(&sim, &path).unwrap();
    for at in 0..good.len() {
        sim.corrupt(&path, |bytes| {
            bytes.clone_from(&good);
            bytes[at] ^= 0x20;
        })
        .unwrap();
        let report = verify_on(&sim, Path::new(DIR), &LINEAGE, &mut |_| {}).unwrap();
        assert!(!report.damaged.is_empty(), "byte {at} of {}", good.len());
        let rows = reader(&sim).filter_map(Result::ok);
        assert!({ rows }.all(|(index, found)| found == row(index)), "byte {at}");
    }
}

/// A file of format 1 as the first version wrote it: every later version reads it.
#[test]
fn format_1_is_pinned() {
    let path = Path::new(DIR).join("00000000000000000005-00000000000000000009.seg");
    let pinned = hex::decode(PINNED.concat()).unwrap();
    // What is written today is the same, but for what another zstd may make of the rows.
    let again = sim();
    let mark = ArchiveMark { index: 5, rows: 4, ..ArchiveMark::begin(&LINEAGE) };
    let mut writer = SegmentWriter::begin(&again, Path::new(DIR), LINEAGE, mark, 5).unwrap();
    writer.add(7, &row(7)).unwrap();
    writer.add(8, &row(8)).unwrap();
    writer.finish(9).unwrap();
    let written = disk::read_file(&again, &path).unwrap();
    let ends = |bytes: &[u8]| (bytes[..128].to_vec(), bytes[bytes.len() - 192..][24..128].to_vec());
    assert_eq!(
        ends(&written),
        ends(&pinned),
        "header, and what the footer says of the rows: {}",
        hex::encode(&written)
    );

    let sim = sim();
    disk::write_file_durably(&sim, &path, &pinned).unwrap();
    let rows: Vec<Row> = reader(&sim).map(Result::unwrap).collect();
    assert_eq!(rows, [(7, row(7)), (8, row(8))]);
    let report = verify_on(&sim, Path::new(DIR), &LINEAGE, &mut |_| {}).unwrap();
    assert_eq!((report.damaged.len(), report.holes.as_slice(), report.mark.index), (0, &[(0, 5)][..], 9), "{report:?}");
}

const PINNED: [&str; 10] = [
    "434e53474e61726301000000000000000909090909090909090909090909090905000000000000000500000000000000",
    "04000000000000004f416d61f8a7e1214a0a6a28d2d038dabae7e5795a194c26161b8ad9be6846ec0000000000000000",
    "000000000000000000000000000000000000000000000000000000001c18152153626c6b370000004400000002000000",
    "0700000000000000080000000000000000000000611913a328b52ffd204475010014020700160000000192cd1b589181",
    "ad506f6c69637952656e657765640708001f400804000061513900861b00168000000000000000070000000000000008",
    "000000000000000200000000000000434e53474e6172650100000001000000df00000000000000050000000000000009",
    "0000000000000002000000000000000600000000000000cf4ce7358475552eeb15a0deebadfa5760132655ea09d8277a",
    "ea746ab2f4af57581b000000000000401f000000000000440000000000000007000000000000000800000000000000bf",
    "01000000000000faf38f3bc759cd3cd319efbdf72402ce7fb3a5e784ecf4fea2298edfae0d7ba7a08deff30000000000",
    "0000000000000000000000f7138505",
];
