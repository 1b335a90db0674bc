//! The eight traps of DESIGN 8, one test or more each.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::disk::Fault;
use crate::log::frame::{self, FRAME_HEADER, SECTOR};
use crate::log::tail::Tail;
use crate::log::{recover, repair};

/// Kills the process after the vote and an entry reached the page cache and before any fsync of them.
fn killed_before_fsync(seed: u64) -> SimDisk {
    let disk = disk(seed);
    let wal = open(&disk).unwrap();
    vote(&wal, "term 1").unwrap();
    append(&wal, entries(1, 0..3)).unwrap();
    disk.die_after(1); // the write of the next frame; its fsync finds the machine off
    assert!(vote(&wal, "term 2 for node 3").is_err());
    drop(wal);
    disk.process_restart();
    disk
}

#[test]
fn trap_1_what_a_restart_serves_from_the_page_cache_is_durable_first() {
    for seed in 0..200 {
        let disk = killed_before_fsync(seed);
        let wal = open(&disk).unwrap();
        assert_eq!(wal.vote().unwrap(), "term 2 for node 3", "the page cache still holds the vote");
        drop(wal);
        // openraft does not save an equal vote again: whatever was served must survive the power cut by itself.
        disk.power_cut();
        let wal = open(&disk).unwrap();
        assert_eq!(wal.vote().unwrap(), "term 2 for node 3", "seed {seed}: the node would vote twice");
        assert_eq!(all(&wal), entries(1, 0..3));
    }
}

#[test]
fn trap_1_is_a_real_one_without_the_step_the_vote_is_lost() {
    let lost = (0..50).filter(|seed| {
        let disk = killed_before_fsync(*seed);
        let recovered = recover::recover(&disk, dir(), &small()).unwrap();
        assert_eq!(recovered.checkpoint.vote.unwrap(), "term 2 for node 3");
        disk.power_cut(); // recovered and served, but `repair::make_durable` never ran
        open(&disk).unwrap().vote().unwrap() != "term 2 for node 3"
    });
    assert!(lost.count() > 5, "the simulated power cut takes nothing back: the test above proves nothing");
}

#[test]
fn trap_2_a_flipped_bit_in_a_length_of_the_last_segment_is_corruption() {
    let disk = disk(2);
    let wal = open(&disk).unwrap();
    let mut heads = Vec::new();
    for index in 0..4 {
        heads.push(used(&disk, &last_segment(&disk)));
        append(&wal, vec![entry(1, index)]).unwrap();
    }
    drop(wal);
    let path = last_segment(&disk);
    for head in heads {
        // The frame's length, and the length of the record in it.
        for place in [head + 28, head + FRAME_HEADER + 4] {
            for bit in 0..32 {
                let copy = disk.fork();
                copy.corrupt(&path, |bytes| bytes[place + bit / 8] ^= 1 << (bit % 8)).unwrap();
                let refused = open(&copy).unwrap_err();
                assert!(matches!(refused, WalError::Corrupt(_)), "frame at {head}, bit {bit}: {refused}");
            }
        }
    }
}

/// A log with three acknowledged entries; returns the disk and where the next frame goes.
fn three() -> (SimDisk, usize) {
    let disk = disk(3);
    let wal = open(&disk).unwrap();
    append(&wal, entries(1, 0..3)).unwrap();
    drop(wal);
    let end = used(&disk, &last_segment(&disk));
    (disk, end)
}

/// The bytes the next frame of [`three`] would have.
fn next_frame(disk: &SimDisk, payload: &[u8]) -> Vec<u8> {
    let next = recover::recover(disk, dir(), &small()).unwrap().next;
    let entry = (at(1, 3), Bytes::copy_from_slice(payload));
    frame::encode(next, &[crate::log::record::Record::Entry(entry.0, entry.1)]).0
}

fn torn_opens(disk: &SimDisk, end: usize, tail: &[u8], what: &str) {
    let disk = disk.fork();
    let path = last_segment(&disk);
    disk.corrupt(&path, |bytes| bytes[end..end + tail.len()].copy_from_slice(tail)).unwrap();
    let wal = open(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(all(&wal), entries(1, 0..3), "{what}");
    let bytes = read_file(&disk, &path).unwrap();
    assert!(bytes[end..].iter().all(|byte| *byte == 0), "{what}: not cut exactly there");
    let copy = dir().join(format!("{:020}-{end:012}.torn", 1));
    let kept = read_file(&disk, &copy).unwrap();
    let significant = tail.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert_eq!(kept, tail[..significant], "{what}: the copy");
    append(&wal, vec![entry(2, 3)]).unwrap();
    drop(wal);
    disk.power_cut();
    let entries: Vec<_> = entries(1, 0..3).into_iter().chain([entry(2, 3)]).collect();
    assert_eq!(all(&open(&disk).unwrap()), entries, "{what}: afterwards");
}

#[test]
fn trap_3_a_torn_tail_is_cut_exactly_and_kept_aside() {
    let (disk, end) = three();
    let frame = next_frame(&disk, &[7; 2000]);
    torn_opens(&disk, end, &frame[..FRAME_HEADER], "record head, then zeros");
    torn_opens(&disk, end, &frame[..SECTOR], "first sector, then zeros");
    for len in 1..frame.len() {
        torn_opens(&disk, end, &frame[..len], &format!("short write of {len} bytes"));
    }
    torn_opens(&disk, end, &[0x5A; 3000], "junk");
    torn_opens(&disk, end, b"junk", "a little junk");
}

#[test]
fn trap_3_any_set_of_unwritten_sectors_is_a_torn_tail() {
    let (disk, end) = three();
    // Two sectors of the payload are zero by themselves.
    let payload = [vec![7; 600], vec![0; 1600], vec![7; 300]].concat();
    let frame = next_frame(&disk, &payload);
    let sectors = frame.len() / SECTOR;
    for set in 1..(1_u32 << sectors) - 1 {
        let mut tail = frame.clone();
        for sector in (0..sectors).filter(|sector| set & (1 << sector) == 0) {
            tail[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
        }
        if tail != frame && tail.iter().any(|byte| *byte != 0) {
            torn_opens(&disk, end, &tail, &format!("sectors {set:b}"));
        }
    }
}

#[test]
fn trap_3_junk_behind_the_end_of_the_file_is_cut() {
    let (disk, end) = three();
    let path = last_segment(&disk);
    disk.corrupt(&path, |bytes| bytes.extend_from_slice(&[0xAB; 700])).unwrap();
    assert_eq!(all(&open(&disk).unwrap()), entries(1, 0..3));
    assert_eq!(read_file(&disk, &path).unwrap().len() as u64, MIN_SEGMENT_BYTES);
    assert_eq!(used(&disk, &path), end);
}

#[test]
fn trap_3_a_valid_record_after_a_broken_one_is_corruption() {
    let disk = disk(3);
    let wal = open(&disk).unwrap();
    append(&wal, vec![entry(1, 0)]).unwrap();
    let broken = used(&disk, &last_segment(&disk));
    append(&wal, vec![entry(1, 1)]).unwrap();
    let valid = used(&disk, &last_segment(&disk));
    append(&wal, vec![entry(1, 2)]).unwrap();
    drop(wal);
    for junk in [0x00, 0x5A, 0xFF] {
        let copy = disk.fork();
        copy.corrupt(&last_segment(&copy), |bytes| bytes[broken..valid].fill(junk)).unwrap();
        let refused = open(&copy).unwrap_err();
        assert!(matches!(&refused, WalError::Corrupt(_)), "{junk}: {refused}");
        assert!(!exists(&copy, &format!("{:020}-{broken:012}.torn", 1)), "a refused log is left as it was");
    }
}

#[test]
fn trap_3_a_wholly_written_last_frame_that_went_bad_is_corruption() {
    let (disk, end) = three();
    let frame = next_frame(&disk, &[0; 2000]);
    for place in 0..frame.len() {
        let mut tail = frame.clone();
        tail[place] ^= 0x10;
        let next = recover::recover(&disk, dir(), &small()).unwrap().next;
        let verdict = crate::log::tail::classify(&tail, next);
        assert!(matches!(verdict, Tail::Corrupt(_)), "byte {place} of the frame at {end}: {verdict:?}");
    }
}

/// After the fault every call fails, the hook was told once, nothing more is acknowledged.
fn is_poisoned(wal: &Wal, told: &std::sync::Mutex<Vec<String>>) {
    assert!(matches!(vote(wal, "later"), Err(WalError::Poisoned(_))));
    assert!(matches!(append(wal, vec![entry(9, 9)]), Err(WalError::Poisoned(_))));
    assert!(matches!(wal.read(.., usize::MAX), Err(WalError::Poisoned(_))));
    assert!(wal.poisoned().is_some());
    assert_eq!(told.lock().unwrap().len(), 1, "{:?}", told.lock().unwrap());
}

#[test]
fn trap_4_the_first_error_stops_the_log_and_the_next_start_rewrites_it() {
    for fault in [Fault::Write, Fault::ShortWrite, Fault::Sync] {
        for seed in 0..40 {
            let disk = disk(seed);
            let (options, told) = hooked();
            let wal = Wal::open(Arc::new(disk.clone()), dir(), options).unwrap();
            append(&wal, entries(1, 0..40)).unwrap();
            append(&wal, entries(1, 40..41)).unwrap();
            disk.inject(fault, 0);
            let failed = append(&wal, entries(1, 41..42)).unwrap_err();
            assert!(matches!(failed, WalError::Io { .. }), "{failed}");
            is_poisoned(&wal, &told);
            drop(wal);
            assert!(exists(&disk, "suspect"), "{fault:?}: the mark");
            disk.process_restart();
            // The kernel calls the lost pages clean; they are read back here and are not on the disk.
            let served = all(&open(&disk).unwrap());
            assert!(served.len() >= 41);
            assert!(!exists(&disk, "suspect"));
            disk.power_cut();
            assert_eq!(all(&open(&disk).unwrap()), served, "{fault:?}, seed {seed}: served, then lost");
        }
    }
}

#[test]
fn trap_4_holds_even_when_the_mark_cannot_be_left() {
    for seed in 0..40 {
        let disk = disk(seed);
        let (options, told) = hooked();
        let wal = Wal::open(Arc::new(disk.clone()), dir(), options).unwrap();
        append(&wal, entries(1, 0..3)).unwrap();
        disk.inject(Fault::Sync, 0);
        disk.inject(Fault::Rename, 0); // the mark's
        assert!(append(&wal, entries(1, 3..4)).is_err());
        is_poisoned(&wal, &told);
        drop(wal);
        assert!(!repair::is_suspect(&disk, dir()).unwrap());
        disk.process_restart();
        let served = all(&open(&disk).unwrap());
        assert_eq!(served.len(), 4, "read back from the page cache");
        disk.power_cut();
        assert_eq!(all(&open(&disk).unwrap()), served, "seed {seed}: served, then lost");
    }
}

#[test]
fn trap_4_a_failed_directory_fsync_or_rename_of_a_new_segment_stops_the_log() {
    for fault in [Fault::SyncDir, Fault::Rename, Fault::Remove] {
        let disk = disk(4);
        let (options, told) = hooked();
        let wal = Wal::open(Arc::new(disk.clone()), dir(), options).unwrap();
        disk.inject(fault, 0);
        let mut acknowledged = 0;
        while append(&wal, vec![entry(1, acknowledged)]).is_ok() {
            acknowledged += 1;
            assert!(acknowledged < 1000, "{fault:?} never came: the step is missing");
            if fault == Fault::Remove && acknowledged == 60 {
                assert!(purge(&wal, at(1, 59)).is_err());
                break;
            }
        }
        is_poisoned(&wal, &told);
        drop(wal);
        assert!(acknowledged > 3, "{fault:?}");
        disk.power_cut();
        let wal = open(&disk).unwrap();
        let last = wal.last().unwrap().index + 1;
        assert!(last == acknowledged || last == acknowledged + 1, "{fault:?}: {last} of {acknowledged}");
    }
}

#[test]
fn trap_4_a_pending_callback_gets_the_error_too() {
    let disk = disk(4);
    let wal = open(&disk).unwrap();
    let (release, held) = mpsc::channel::<()>();
    let (answer, answers) = mpsc::channel();
    let (enter, entered) = mpsc::channel();
    // The writer is held in the first callback while more calls queue up behind it. Queued before it is there, they could
    // still share its first frame, which is lawfully durable.
    wal.append(
        entries(1, 0..1),
        Box::new(move |_| {
            enter.send(()).unwrap();
            held.recv().unwrap();
        }),
    );
    entered.recv_timeout(DEADLINE).unwrap();
    for index in 1..20 {
        let answer = answer.clone();
        // Too large for one frame all together: some calls fail with theirs, the others while they still wait.
        let large = vec![(at(1, index), bytes::Bytes::from(vec![7; 1 << 20]))];
        wal.append(large, Box::new(move |result| answer.send(result).unwrap()));
    }
    disk.inject(Fault::Sync, 0);
    release.send(()).unwrap();
    for _ in 1..20 {
        assert!(answers.recv_timeout(DEADLINE).unwrap().is_err());
    }
}

#[test]
fn trap_6_a_crash_at_any_step_of_a_roll_or_a_purge_loses_nothing() {
    for seed in 0..12 {
        let mut step = 0;
        loop {
            let disk = disk(seed * 1000 + step);
            let wal = open(&disk).unwrap();
            for index in 0..45 {
                append(&wal, vec![entry(1, index)]).unwrap();
            }
            assert!(segment::list(&disk, dir()).unwrap().len() > 2);
            disk.die_after(step);
            let purged = purge(&wal, at(1, 39));
            let more: Vec<_> = (45..75).map(|index| append(&wal, vec![entry(1, index)])).collect();
            drop(wal);
            disk.power_cut();
            let wal = open(&disk).unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
            let acknowledged = 45 + more.iter().filter(|result| result.is_ok()).count() as u64;
            let last = wal.last().unwrap().index + 1;
            assert!(last == acknowledged || last == acknowledged + 1, "seed {seed}, step {step}: {last}");
            let first = wal.first().unwrap().index;
            assert!(first == 40 || (first == 0 && purged.is_err()), "seed {seed}, step {step}: first {first}");
            if more.iter().all(Result::is_ok) {
                break;
            }
            step += 1;
        }
        assert!(step > 60, "the crash came at {step} steps only");
    }
}

#[test]
fn trap_6_segments_go_only_after_the_purge_record() {
    let disk = disk(6);
    let wal = open(&disk).unwrap();
    for index in 0..60 {
        append(&wal, vec![entry(1, index)]).unwrap();
    }
    let before = segment::list(&disk, dir()).unwrap();
    disk.inject(Fault::Sync, 0); // of the frame with the purge record
    assert!(purge(&wal, at(1, 59)).is_err());
    assert_eq!(segment::list(&disk, dir()).unwrap(), before, "unlinked although the purge is not durable");
    drop(wal);
    disk.process_restart();
    let wal = open(&disk).unwrap();
    purge(&wal, at(1, 59)).unwrap();
    drop(wal);
    let wal = open(&disk).unwrap();
    assert_eq!((wal.purged(), wal.last(), wal.entries()), (Some(at(1, 59)), Some(at(1, 59)), 0));
}

#[test]
fn trap_7_a_full_disk_acknowledges_nothing_and_opens_again_while_full() {
    let disk = disk(7);
    let (options, told) = hooked();
    let wal = Wal::open(Arc::new(disk.clone()), dir(), options).unwrap();
    disk.set_capacity(Some(3 * usize::try_from(MIN_SEGMENT_BYTES).unwrap() + 100));
    let mut acknowledged = 0;
    while append(&wal, vec![entry(1, acknowledged)]).is_ok() {
        acknowledged += 1;
    }
    is_poisoned(&wal, &told);
    assert!(told.lock().unwrap()[0].contains("No space left"), "{:?}", told.lock().unwrap());
    drop(wal);
    for cut in [false, true, false] {
        if cut {
            disk.power_cut()
        } else {
            disk.process_restart()
        }
        let wal = open(&disk).unwrap();
        assert_eq!(wal.last(), Some(at(1, acknowledged - 1)));
        assert_eq!(all(&wal).len() as u64, acknowledged);
        assert!(append(&wal, vec![entry(1, acknowledged)]).is_err(), "there is no room for it");
    }
    disk.process_restart();
    disk.set_capacity(None);
    let wal = open(&disk).unwrap();
    append(&wal, vec![entry(1, acknowledged)]).unwrap();
    assert_eq!(all(&wal).len() as u64, acknowledged + 1);
}

#[test]
fn trap_8_entries_at_or_below_the_purged_index_are_skipped() {
    let disk = disk(8);
    let wal = open(&disk).unwrap();
    append(&wal, entries(1, 0..5)).unwrap();
    purge(&wal, at(2, 9)).unwrap();
    assert_eq!(wal.last(), Some(at(2, 9)));
    append(&wal, entries(1, 3..8)).unwrap();
    assert_eq!((wal.entries(), wal.last()), (0, Some(at(2, 9))), "all of them are purged");
    append(&wal, entries(2, 7..13)).unwrap();
    assert_eq!(all(&wal), entries(2, 10..13));
    drop(wal);
    let wal = open(&disk).unwrap();
    assert_eq!(all(&wal), entries(2, 10..13));
    assert_eq!((wal.purged(), wal.last()), (Some(at(2, 9)), Some(at(2, 12))));
}
