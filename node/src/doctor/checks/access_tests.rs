#![allow(clippy::unwrap_used, reason = "tests")]
use super::super::super::finding::Status::{self, Fail, Pass, Skip, Warn};
use super::*;
use std::time::Duration;

#[test]
fn names() {
    for (names, policy, status) in [
        (&["vc-1"] as &[&str], None, Pass),
        (&[], None, Pass),
        (&["*"], None, Fail),
        (&["*"], Some(0), Fail),
        (&["*"], Some(3), Pass),
    ] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(clients("api.clients", &names, policy).status, status, "{names:?} {policy:?}");
    }
    assert_eq!((policy(0).status, policy(1).status), (Warn, Pass));
    for (named, same, status) in [(true, false, Pass), (true, true, Warn), (false, false, Warn)] {
        assert_eq!(admin_ca(named, same).status, status);
    }
}

#[test]
fn ends_of_tokens() {
    let now = UNIX_EPOCH + Duration::from_secs(1000);
    let token = |expires_ms| Token { id: "ab".into(), name: "t".into(), expires_ms };
    let cases: [(&[Token], Status); 4] = [
        (&[], Pass),
        (&[token(Some(1_000_001))], Pass),
        (&[token(Some(1_000_001)), token(None)], Warn),
        (&[token(Some(999_999))], Warn),
    ];
    for (list, status) in cases {
        assert_eq!(tokens(list, now).status, status, "{list:?}");
    }
}

#[test]
fn key_managers() {
    let good = KeyManager {
        enabled: true,
        own_listener: true,
        narrow: true,
        certificate: true,
        token: true,
        limited: true,
        audited: true,
    };
    for (km, status, said) in [
        (good, Pass, "narrow listener"),
        (KeyManager { enabled: false, token: false, ..good }, Pass, "off"),
        (KeyManager { own_listener: false, ..good }, Warn, "API port"),
        (KeyManager { narrow: false, limited: false, ..good }, Warn, "from any address; without a rate limit"),
        (KeyManager { token: false, ..good }, Warn, "without a token"),
        (KeyManager { certificate: false, ..good }, Pass, "narrow"),
        (KeyManager { certificate: false, token: false, ..good }, Fail, "neither"),
        (KeyManager { audited: false, ..good }, Fail, "not recorded"),
    ] {
        let verdict = key_manager(km);
        assert_eq!(verdict.status, status, "{km:?}");
        assert!(verdict.reason.contains(said), "{}", verdict.reason);
    }
}

#[test]
fn what_was_proved_of_a_record() {
    let report = VerifyReport { lines: 7, anchor: Some(5), ..VerifyReport::default() };
    let fault = consigner_storage::audit::Fault::Altered;
    let broken = consigner_storage::audit::VerifyFailure { file: "/a".into(), line: 3, seq: Some(3), fault };
    for (verified, asked, status, said) in [
        (Ok(report.clone()), true, Pass, "7 lines hold; the cluster remembers line 5"),
        (Ok(VerifyReport { anchor: None, ..report.clone() }), true, Pass, "none of it yet"),
        (Ok(report), false, Pass, "not compared"),
        (Err(VerifyError::from(Box::new(broken))), true, Fail, "/a line 3 (seq 3)"),
        (Err(consigner_storage::AuditError::Nothing("/a".into()).into()), true, Skip, "/a"),
    ] {
        let verdict = record(&verified, asked);
        assert_eq!(verdict.status, status, "{verdict:?}");
        assert!(verdict.reason.contains(said), "{}", verdict.reason);
    }
}

#[test]
fn rates_and_records() {
    for (identity_per_second, failed_free, policy, guessable, status) in [
        (500, 10, false, true, Pass),
        (0, 10, false, true, Warn),
        (0, 10, true, true, Pass),
        (500, 0, false, true, Fail),
        (500, 0, false, false, Pass),
    ] {
        let of = Limits { identity_per_second, failed_free, policy, guessable };
        assert_eq!(limits(of).status, status, "{of:?}");
    }
    for (enabled, status) in [(Some(true), Pass), (Some(false), Fail), (None, Skip)] {
        assert_eq!(audit(enabled).status, status);
    }
}
