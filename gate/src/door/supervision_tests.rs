use std::time::{Duration, Instant};

use super::{Activity, Verdict, Watch};
use crate::door::DoorLimits;

struct Case {
    now: Instant,
    activity: Activity,
    watch: Watch,
    limits: DoorLimits,
}

impl Case {
    fn new() -> Self {
        let now = Instant::now();
        Self { now, activity: Activity::default(), watch: Watch::new(now), limits: DoorLimits::default() }
    }

    fn after(&mut self, seconds: u64) -> Verdict {
        self.now += Duration::from_secs(seconds);
        self.watch.look(self.now, &self.activity, &self.limits)
    }

    fn request(&self, bytes: usize) {
        self.activity.read(bytes);
        self.activity.request_began();
        self.activity.written(bytes);
        self.activity.request_ended();
    }
}

#[test]
fn an_idle_connection_outlives_the_pools_of_clients() {
    let mut case = Case::new();
    case.request(300);
    assert_eq!(case.after(1), Verdict::Keep);
    assert_eq!(case.after(90), Verdict::Keep, "clients reuse connections for up to 90 s");
    assert_eq!(case.after(10), Verdict::Close);
}

#[test]
fn each_request_restarts_the_idle_time() {
    let mut case = Case::new();
    for _ in 0..10 {
        assert_eq!(case.after(60), Verdict::Keep);
        case.request(300);
    }
    assert_eq!(case.after(1), Verdict::Keep);
    assert_eq!(case.after(100), Verdict::Close);
}

#[test]
fn a_dripped_head_is_cut() {
    for earlier_requests in [0, 3] {
        let mut case = Case::new();
        for _ in 0..earlier_requests {
            case.request(300);
        }
        assert_eq!(case.after(1), Verdict::Keep);
        for _ in 0..10 {
            case.activity.read(1);
            assert_eq!(case.after(1), Verdict::Keep);
        }
        case.activity.read(1);
        assert_eq!(case.after(1), Verdict::Cut("request head took too long"));
    }
}

#[test]
fn http2_pings_are_neither_a_head_nor_a_request() {
    let mut case = Case::new();
    case.activity.is_http2();
    for _ in 0..9 {
        case.activity.read(17);
        assert_eq!(case.after(10), Verdict::Keep);
    }
    case.activity.read(17);
    assert_eq!(case.after(10), Verdict::Close);
}

#[test]
fn a_request_in_flight_may_take_long_but_not_without_a_byte_for_ever() {
    let mut case = Case::new();
    case.activity.read(300);
    case.activity.request_began();
    for _ in 0..50 {
        case.activity.read(1);
        assert_eq!(case.after(10), Verdict::Keep);
    }
    assert_eq!(case.after(119), Verdict::Keep);
    assert_eq!(case.after(1), Verdict::Cut("no byte moved while a request was in flight"));
}

#[test]
fn an_answer_that_nobody_takes_is_cut_though_bytes_move() {
    let mut case = Case::new();
    case.activity.is_http2();
    for _ in 0..2 {
        case.activity.request_began();
        case.activity.answer_began();
    }
    for _ in 0..3 {
        assert_eq!(case.after(60), Verdict::Keep, "it takes some of it");
        case.activity.read(17);
        case.activity.answer_moved();
    }
    assert_eq!(case.after(1), Verdict::Keep);
    case.activity.read(17);
    assert_eq!(case.after(119), Verdict::Keep);
    case.activity.read(17);
    assert_eq!(case.after(1), Verdict::Cut("no answer was taken"));
}

#[test]
fn a_long_computation_is_no_answer_that_nobody_takes() {
    let mut case = Case::new();
    case.activity.is_http2();
    case.activity.request_began();
    for _ in 0..20 {
        // The pings of HTTP/2.
        case.activity.read(17);
        assert_eq!(case.after(60), Verdict::Keep);
    }
    case.activity.answer_began();
    case.activity.answer_ended();
    case.activity.request_ended();
    assert_eq!(case.after(60), Verdict::Keep);
}
