//! Tests of what the bench computes.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "tests")]

use super::cpu::Usage;
use super::report::{Kills, median};
use super::scrape::{Counters, Scraped, difference, samples};
use std::time::{Duration, Instant};

#[test]
fn the_median_is_the_middle() {
    assert_eq!(median(&[]), 0.0);
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
}

#[test]
fn kills_are_told_in_milliseconds() {
    let kills = Kills::new(vec![Duration::from_micros(800_040), Duration::from_millis(600)]);
    assert_eq!((kills.count, kills.median_ms, kills.max_ms), (2, 700.0, 800.0));
}

#[test]
fn counters_are_differences_and_heartbeats_do_not_count() {
    let text = |fsyncs: u32, appends: u32| {
        format!(
            "# TYPE x counter\nconsigner_log_fsyncs_total {fsyncs}\nconsigner_log_entries_total {fsyncs}\n\
             consigner_raft_append_rpcs_total{{kind=\"entries\"}} {appends}\n\
             consigner_raft_append_rpcs_total{{kind=\"heartbeat\"}} 99999\n"
        )
    };
    let before = Scraped::from([(1, samples(&text(10, 5))), (2, samples("consigner_log_fsyncs_total 7\n"))]);
    let after = Scraped::from([(1, samples(&text(30, 45))), (2, samples("consigner_log_fsyncs_total 9\n"))]);
    let expected = Counters { leader_fsyncs: 20.0, leader_entries: 20.0, append_rpcs: 40.0 };
    assert_eq!(difference(&before, &after, 1), Some(expected));
    assert_eq!(difference(&before, &after, 3), None, "a leader that did not answer");
}

#[test]
fn the_cpu_time_of_a_process_grows_with_its_work() {
    let me = std::process::id();
    let before = Usage::read(&[me]).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let mut number = 1_u64;
    while Usage::read(&[me]).unwrap().since(&before).get(&me).copied().unwrap_or(0) < 20_000_000 {
        assert!(Instant::now() < until, "20 ms of CPU time were not counted");
        (0..100_000_u64).for_each(|step| number = std::hint::black_box(number.wrapping_mul(step | 1)));
    }
}
