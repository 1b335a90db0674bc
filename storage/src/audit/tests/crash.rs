//! Power cuts at every operation: what was acknowledged stays, what stays verifies.

use super::*;
use std::sync::Mutex;

/// Cuts per run of the test.
const RUNS: u64 = 60;

/// Lines sent in one life.
const LINES: u64 = 40;

/// Sends lines until the machine is off; returns those acknowledged, and the anchor that the cluster had last.
fn live(disk: &SimDisk, life: u64, seed: u64) -> (Vec<(u64, String)>, Option<Anchor>) {
    let Ok(log) = open(disk) else { return (Vec::new(), None) };
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut known = None;
    for number in 0..LINES {
        let reason = format!("seed {seed} life {life} line {number}");
        let event = AuditEntry { reason: reason.clone(), ..entry(number) };
        if number % 3 == 0 {
            log.append(event);
        } else if number % 3 == 1 {
            let noted = Arc::clone(&acknowledged);
            log.append_durably(
                event,
                Box::new(move |result| {
                    if let Ok(seq) = result {
                        noted.lock().unwrap().push((seq, reason));
                    }
                }),
            );
        } else if let Ok(seq) = durably(&log, event) {
            acknowledged.lock().unwrap().push((seq, reason));
            known = Some(anchor(&log));
        }
    }
    drop(log);
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    (acknowledged, known)
}

#[test]
fn nothing_acknowledged_is_lost_and_the_chain_stays_whole() {
    for seed in 0..RUNS {
        let disk = SimDisk::new(1000 + seed);
        let mut acknowledged = Vec::new();
        let mut known = None;
        for life in 0..4u64 {
            disk.die_after(3 + (seed * 7 + life * 13) % 120);
            let (lines, anchor) = live(&disk, life, seed);
            acknowledged.extend(lines);
            known = anchor.or(known);
            if (seed + life).is_multiple_of(3) {
                disk.process_restart()
            } else {
                disk.power_cut()
            }
            let log = open(&disk).unwrap_or_else(|error| panic!("seed {seed}, life {life}: {}", error.full_text()));
            assert_eq!(log.stats().breaks, 0, "seed {seed}, life {life}: a crash is no break");
            drop(log);
            disk.power_cut();
        }
        let expect = Expect { anchors: Some(known.into_iter().collect()), ..Expect::default() };
        let report = check(&disk, &expect).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(report.anchor, known.map(|anchor| anchor.sequence), "seed {seed}");
        let kept: Vec<String> = numbers(&disk).into_iter().flat_map(|number| lines(&disk, number)).collect();
        for (number, reason) in acknowledged {
            let line = kept.iter().find(|line| seq(line) == number);
            let line = line.unwrap_or_else(|| panic!("seed {seed}: line {number} was acknowledged"));
            assert_eq!(field(line, "reason"), reason, "seed {seed}: line {number}");
        }
    }
}
