#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::limits::BackOff;
use consigner_gate::PeerCertificate;
use std::sync::Arc;

fn limiter(limits: &Limits, door: Door) -> Limiter {
    Limiter::new(limits, door)
}

fn peer(certificate: Option<&str>) -> Peer {
    let certificate = certificate.map(|name| {
        Arc::new(PeerCertificate {
            common_name: Some(name.to_owned()),
            dns_names: Vec::new(),
            uris: Vec::new(),
            fingerprint_sha256: [7; 32],
            not_after_unix: i64::MAX,
            from_admin_ca: false,
        })
    });
    Peer { addr: "192.0.2.1:5555".parse().unwrap(), certificate }
}

fn admitted(limiter: &Limiter, identity: &str, own: Option<RateLimit>) -> bool {
    match limiter.admit(identity, own) {
        Ok(()) => true,
        Err(ApiError::TooMany { seconds, .. }) => {
            assert!(seconds >= 1);
            false
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn without_limits_nobody_waits() {
    let limiter = limiter(&Limits::default(), Door::Api);
    assert!((0..10_000).all(|_| admitted(&limiter, "alice", None)));
    for _ in 0..1000 {
        limiter.credentials_failed(&peer(None));
    }
    assert!(limiter.before_credentials(&peer(None)).is_ok());
}

#[test]
fn an_identity_has_its_own_rate_else_the_nodes() {
    let limits = Limits { per_identity: Some(RateLimit { burst: 2, per_second: 1 }), ..Limits::default() };
    let limiter = limiter(&limits, Door::Api);
    let allowed = |identity: &str, own| (0..100).filter(|_| admitted(&limiter, identity, own)).count();
    assert!((2..50).contains(&allowed("alice", None)));
    assert!((20..90).contains(&allowed("bob", Some(RateLimit { burst: 20, per_second: 1 }))));
    assert!((2..50).contains(&allowed("carol", None)));
}

#[test]
fn a_door_has_one_rate_for_all_and_others_have_theirs() {
    let rate = Some(RateLimit { burst: 3, per_second: 1 });
    let limits = Limits { per_door: DoorRates { admin: rate, ..DoorRates::default() }, ..Limits::default() };
    let admin = limiter(&limits, Door::Admin { certificate: true });
    let passed = (0..100).filter(|number| admitted(&admin, &number.to_string(), None)).count();
    assert!((3..50).contains(&passed), "{passed}");
    let api = limiter(&limits, Door::Api);
    assert!((0..100).all(|_| admitted(&api, "alice", None)));
}

#[test]
fn who_asks_too_often_takes_nothing_from_the_others() {
    let limits = Limits {
        per_identity: Some(RateLimit { burst: 2, per_second: 1 }),
        per_door: DoorRates { api: Some(RateLimit { burst: 50, per_second: 1 }), ..DoorRates::default() },
        ..Limits::default()
    };
    let limiter = limiter(&limits, Door::Api);
    for _ in 0..500 {
        admitted(&limiter, "greedy", None);
    }
    assert!(admitted(&limiter, "alice", None));
}

#[test]
fn failed_credentials_delay_an_address_and_never_a_certificate() {
    let rules = BackOff { free: 2, first: Duration::from_secs(100), longest: Duration::from_secs(100) };
    let limits = Limits { failed_credentials: Some(rules), ..Limits::default() };
    let limiter = limiter(&limits, Door::Token);
    for _ in 0..50 {
        limiter.credentials_failed(&peer(Some("alice")));
    }
    assert!(limiter.before_credentials(&peer(None)).is_ok(), "failures with a certificate do not count");
    for _ in 0..3 {
        assert!(limiter.before_credentials(&peer(None)).is_ok());
        limiter.credentials_failed(&peer(None));
    }
    match limiter.before_credentials(&peer(None)) {
        Err(ApiError::TooMany { seconds, .. }) => assert!((90..=100).contains(&seconds), "{seconds}"),
        other => panic!("{other:?}"),
    }
    assert!(limiter.before_credentials(&peer(Some("alice"))).is_ok());
}

#[test]
fn a_wait_is_told_in_whole_seconds() {
    for (wait, seconds) in [(1, 1), (1_000_000_000, 1), (1_000_000_001, 2)] {
        assert_eq!(whole_seconds(Duration::from_nanos(wait)), seconds);
    }
    assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
}
