//! Listening doors: addresses, hosts, certificates, versions.

use super::super::doors::{DoorPlan, Proof};
use super::super::finding::Verdict;

/// Where a door listens and from where it may be reached.
#[must_use]
pub fn bind(door: &DoorPlan) -> Verdict {
    let DoorPlan { section, listen, addresses, .. } = door;
    let fix = format!("{section}.listen: an inner address; {section}.ip-allowlist: the networks of those who need it");
    let everywhere = listen.ip().is_unspecified();
    match (door.is_local(), everywhere, door.admits_any_address()) {
        (true, ..) => Verdict::pass(format!("{section} listens on this machine only")),
        (false, true, true) => {
            Verdict::fail(format!("{section} listens on every address ({listen}) for everybody"), fix)
        }
        (false, true, false) => {
            let list = addresses.join(", ");
            let reason =
                format!("{section} listens on every address ({listen}); only its allowlist narrows it: {list}");
            Verdict::warn(reason, format!("{section}.listen: an inner address"))
        }
        (false, false, true) => Verdict::warn(format!("{section} on {listen} accepts connections from anywhere"), fix),
        (false, false, false) => Verdict::pass(format!("{section} on {listen}, from {}", addresses.join(", "))),
    }
}

/// Which Host headers a door serves; nothing to say about one without such a list.
#[must_use]
pub fn hosts(door: &DoorPlan) -> Option<Verdict> {
    let section = door.section;
    let hosts = door.hosts.as_ref()?;
    let any = hosts.iter().any(|host| matches!(host.to_ascii_lowercase().as_str(), "*" | "all"));
    Some(if any {
        let reason =
            format!("{section} serves any Host: a web page in an operator's browser may reach it by a name of its own");
        Verdict::fail(reason, format!("{section}.host-allowlist: the names and addresses by which clients call it"))
    } else {
        Verdict::pass(format!("{section} serves {}", hosts.join(", ")))
    })
}

/// What a door asks of callers.
#[must_use]
pub fn mutual_tls(door: &DoorPlan) -> Verdict {
    let section = door.section;
    match door.proof {
        Proof::Certificate => Verdict::pass(format!("{section} asks every caller for a certificate")),
        Proof::Either => Verdict::warn(
            format!("{section} lets callers in who have a token and no certificate"),
            format!("{section}.tls.client-certificate: required"),
        ),
        Proof::Token => Verdict::warn(
            format!("{section} is for callers without a certificate: whoever has a copy of a token may sign"),
            "`consigner connect` beside the client brings a certificate for it; then close token-door",
        ),
        Proof::Nothing if door.is_local() => {
            Verdict::pass(format!("{section} is plain HTTP on this machine; it shows no secret"))
        }
        Proof::Nothing => Verdict::warn(
            format!("{section} is plain HTTP on {}: names of keys and clients are readable on the way", door.listen),
            format!("{section}.listen on loopback behind a proxy with TLS, or on an inner network only"),
        ),
    }
}

/// The oldest version that a door speaks, and its suites.
#[must_use]
pub fn versions(section: &str, oldest: &str, suites: &[String]) -> Verdict {
    let suites = if suites.is_empty() { "all safe suites".to_owned() } else { suites.join(", ") };
    match (section, oldest) {
        ("peer", "1.2") => {
            Verdict::warn("peer speaks TLS 1.2, although every node speaks 1.3", "peer.tls.min-version: \"1.3\"")
        }
        (_, "1.2") => Verdict::pass(format!("{section}: TLS 1.2 (Teku and Nimbus need it) and 1.3, {suites}")),
        (_, "1.3") => Verdict::pass(format!("{section}: TLS 1.3 only, {suites}")),
        (_, other) => Verdict::fail(
            format!("{section}.tls.min-version is {other}"),
            format!("{section}.tls.min-version: \"1.2\" or \"1.3\""),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::super::finding::Status::{Fail, Pass, Warn};
    use super::*;

    fn door(section: &'static str, listen: &str, addresses: &[&str], hosts: Option<&[&str]>, proof: Proof) -> DoorPlan {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (listen, addresses) = (listen.parse().unwrap(), texts(addresses));
        DoorPlan { section, listen, hosts: hosts.map(texts), addresses, proof }
    }

    #[test]
    fn addresses() {
        let inner: &[&str] = &["10.0.0.0/8"];
        for (listen, addresses, status) in [
            ("127.0.0.1:9000", &["*"] as &[&str], Pass),
            ("[::1]:9000", &[], Pass),
            ("10.0.0.1:9000", inner, Pass),
            ("10.0.0.1:9000", &["*"], Warn),
            ("10.0.0.1:9000", &["0.0.0.0/0"], Warn),
            ("0.0.0.0:9000", inner, Warn),
            ("[::]:9000", inner, Warn),
            ("0.0.0.0:9000", &["*"], Fail),
            ("0.0.0.0:9000", &[], Fail),
            ("[::]:9000", &["10.0.0.0/8", "::/0"], Fail),
        ] {
            let door = door("api", listen, addresses, None, Proof::Certificate);
            assert_eq!(bind(&door).status, status, "{listen} {addresses:?}");
        }
    }

    #[test]
    fn host_lists() {
        for (list, status) in [
            (None, None),
            (Some(&["*"] as &[&str]), Some(Fail)),
            (Some(&["All"]), Some(Fail)),
            (Some(&["signer.example", "10.0.0.1"]), Some(Pass)),
            (Some(&["none"]), Some(Pass)),
        ] {
            let door = door("api", "10.0.0.1:1", &[], list, Proof::Certificate);
            assert_eq!(hosts(&door).map(|verdict| verdict.status), status, "{list:?}");
        }
    }

    #[test]
    fn proofs() {
        for (listen, proof, status) in [
            ("0.0.0.0:1", Proof::Certificate, Pass),
            ("0.0.0.0:1", Proof::Either, Warn),
            ("0.0.0.0:1", Proof::Token, Warn),
            ("127.0.0.1:1", Proof::Nothing, Pass),
            ("10.0.0.1:1", Proof::Nothing, Warn),
        ] {
            assert_eq!(mutual_tls(&door("x", listen, &[], None, proof)).status, status, "{listen} {proof:?}");
        }
    }

    #[test]
    fn protocol_versions() {
        for (section, oldest, status) in [
            ("api", "1.2", Pass),
            ("api", "1.3", Pass),
            ("peer", "1.2", Warn),
            ("peer", "1.3", Pass),
            ("api", "1.0", Fail),
        ] {
            assert_eq!(versions(section, oldest, &[]).status, status, "{section} {oldest}");
        }
    }
}
