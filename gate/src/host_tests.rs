#![allow(clippy::unwrap_used, reason = "tests")]

use super::{HostAllowlist, HostAllowlistError};

fn list(entries: &[&str]) -> HostAllowlist {
    HostAllowlist::parse(entries).unwrap()
}

#[test]
fn compares_exactly_without_port_and_case() {
    let list = list(&["localhost", "127.0.0.1", "Signer.Example.org", "::1", "[2001:db8::1]"]);
    let allowed = [
        "localhost",
        "localhost:9000",
        "LOCALHOST:1",
        "localhost:",
        "127.0.0.1:9000",
        "signer.example.ORG",
        "[::1]:9000",
        "[::1]",
        "::1",
        "[0:0:0:0:0:0:0:1]:443",
        "[2001:db8::1]:443",
        " localhost:9000 ",
    ];
    for host in allowed {
        assert!(list.allows(host), "{host:?} should be allowed");
    }
    let refused = [
        "",
        " ",
        ":9000",
        "evil.example.org",
        "localhost.",
        "localhost.evil.org",
        "xlocalhost",
        "user@localhost",
        "localhost:80:80",
        "localhost:http",
        "localhost:99999",
        "localhost, evil",
        "127.0.0.2",
        "[::2]:9000",
        "[::1",
        "::1]",
        "[localhost]",
        "http://localhost",
        "localhost/",
    ];
    for host in refused {
        assert!(!list.allows(host), "{host:?} should be refused");
    }
}

#[test]
fn wildcards_stand_alone() {
    for wildcard in ["*", "all", "ALL"] {
        assert!(list(&[wildcard]).allows("any.host:1"));
        assert!(!list(&[wildcard]).allows(""), "an empty host names nobody");
        assert!(!list(&[wildcard]).allows(":9000"));
        assert_eq!(
            HostAllowlist::parse(&["localhost", wildcard]),
            Err(HostAllowlistError::NotAlone(wildcard.to_owned()))
        );
    }
    assert!(!list(&["none"]).allows("localhost"));
    assert!(!list(&[]).allows("localhost"));
    assert_eq!(HostAllowlist::parse(&["none", "a"]), Err(HostAllowlistError::NotAlone("none".to_owned())));
}

#[test]
fn an_entry_that_could_never_match_is_refused() {
    for entry in ["localhost:9000", "https://localhost", "", "a b", "*.example.org", "[::1]:9000"] {
        assert_eq!(
            HostAllowlist::parse(&[entry]),
            Err(HostAllowlistError::NotAHost(entry.to_owned())),
            "{entry:?} should be refused"
        );
    }
}
