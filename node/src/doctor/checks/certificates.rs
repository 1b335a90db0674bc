//! Certificates, CAs and revocation lists.

use super::super::finding::Verdict;
use super::super::x509::Certificate;
use consigner_gate::tls::{Expiry, What};

const DAY: i64 = 86_400;

/// Renewal should be done by now; the last third of a 90-day certificate.
const RENEW_DAYS: i64 = 30;

/// What is renewed in less than a week is renewed in a hurry, or not.
const ENDS_DAYS: i64 = 7;

/// Lists are renewed every few days; one whose end is nearer was not renewed in time.
const CRL_DAYS: i64 = 1;

//= CA/Browser Forum Baseline Requirements, 6.3.2: 398 days for certificates since September 2020.
const LEAF_DAYS_MAX: i64 = 398;

/// A CA outlives its certificates several times; more than this outlives what is known of its algorithm.
const CA_DAYS_MAX: i64 = 7305;

/// When one certificate or list ends.
#[must_use]
pub fn ends(door: &str, expiry: &Expiry, now: i64) -> Verdict {
    let Expiry { what, subject, unix } = expiry;
    let left = (unix - now).div_euclid(DAY);
    let (what, soon) = match what {
        What::Certificate => ("certificate", RENEW_DAYS),
        What::Ca => ("CA", RENEW_DAYS),
        What::Crl => ("revocation list", CRL_DAYS),
    };
    let name = format!("{door}: {what} {subject}");
    let fix = "renew it; changed files are noticed while the node runs";
    match left {
        ..0 => Verdict::fail(format!("{name} ended {} day(s) ago", -left), fix),
        left if left < ENDS_DAYS.min(soon) => Verdict::fail(format!("{name} ends in {left} day(s)"), fix),
        left if left < soon => Verdict::warn(format!("{name} ends in {left} day(s)"), fix),
        left => Verdict::pass(format!("{name} ends in {left} day(s)")),
    }
}

/// What a door shows to a stranger: when it ends, whether it is made for too long.
#[must_use]
pub fn shown(door: &str, certificate: &Certificate, now: i64) -> Verdict {
    let subject = certificate.common_name.clone().unwrap_or_else(|| "without a name".to_owned());
    let expiry = Expiry { what: What::Certificate, subject, unix: certificate.not_after };
    let looks = [ends(door, &expiry, now), length(door, certificate, false)];
    let good = format!("{}, {}", looks[0].reason, looks[1].reason);
    Verdict::worst(looks, good)
}

/// Whether a certificate is made for too long.
#[must_use]
pub fn length(door: &str, certificate: &Certificate, is_ca: bool) -> Verdict {
    let (days, name) = (certificate.lifetime_days(), certificate.common_name.as_deref().unwrap_or("without a name"));
    let (what, max) = if is_ca { ("CA", CA_DAYS_MAX) } else { ("certificate", LEAF_DAYS_MAX) };
    if days > max {
        let reason = format!("{door}: {what} {name} is made for {days} days");
        let fix = format!(
            "a {what} for at most {max} days: a stolen key is good for as long, a renewed file needs no restart"
        );
        return Verdict::warn(reason, fix);
    }
    Verdict::pass(format!("{door}: {what} {name} is made for {days} days"))
}

/// Whether a door's certificate is made out for the host by which it is called.
#[must_use]
pub fn host(key: &str, host: &str, certificate: &Certificate) -> Verdict {
    if certificate.names(host) {
        return Verdict::pass(format!("{key}: the certificate names {host}"));
    }
    let names: Vec<String> =
        certificate.dns_names.iter().cloned().chain(certificate.addresses.iter().map(ToString::to_string)).collect();
    let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    Verdict::fail(
        format!("{key} says {host}, but the certificate is made out for {names}"),
        format!("a certificate with {host} among its alternative names"),
    )
}

/// Whether a peer certificate's common name is the node's.
#[must_use]
pub fn common_name(node: &str, certificate: &Certificate) -> Verdict {
    let name = certificate.common_name.as_deref();
    if name == Some(node) {
        return Verdict::pass("peer.tls.cert has the node's name");
    }
    Verdict::fail(
        format!("node.name is {node}, but the common name of peer.tls.cert is {}", name.unwrap_or("missing")),
        "a peer certificate with the node's name as common name: the others refuse this one",
    )
}

/// What issues whom: the CAs of clients, of administrators (if apart) and of peers.
#[must_use]
pub fn separate_cas(clients: &[Certificate], peers: &[Certificate], one_certificate: bool) -> Verdict {
    let shared = clients.iter().find(|ca| peers.iter().any(|peer| peer.der == ca.der));
    let look = [
        shared.map_or_else(
            || Verdict::pass(""),
            |ca| {
                let name = ca.common_name.as_deref().unwrap_or("without a name");
                Verdict::warn(
                    format!("{name} issues clients and nodes: a client's certificate gets through a peer handshake"),
                    "a CA for peer.tls.ca that signs nobody but nodes",
                )
            },
        ),
        if one_certificate {
            let reason = "api and peer show the same certificate: one stolen file is both";
            Verdict::warn(reason, "a certificate and key of its own for each door")
        } else {
            Verdict::pass("")
        },
    ];
    Verdict::worst(look, "clients and peers have CAs of their own")
}

/// Whether a client's certificate can be taken back before it ends.
#[must_use]
pub fn revocation(door: &str, lists: usize, known_clients: bool) -> Verdict {
    match (lists, known_clients) {
        (0, true) => Verdict::pass(format!("{door}: clients are pinned by fingerprint")),
        (0, false) => Verdict::warn(
            format!("{door}: no revocation list; a stolen certificate is good until it ends"),
            format!("{door}.tls.crl: the list of each CA, renewed by the CA's own schedule"),
        ),
        (lists, _) => Verdict::pass(format!("{door}: {lists} file(s) of revocation lists")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::super::finding::Status::{Fail, Pass, Warn};
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn certificate(name: &str, days: i64) -> Certificate {
        Certificate {
            common_name: Some(name.into()),
            dns_names: vec!["node1.example".into()],
            addresses: Vec::new(),
            not_before: NOW,
            not_after: NOW + days * DAY,
            der: name.into(),
        }
    }

    #[test]
    fn ends_that_are_near() {
        for (what, days, status) in [
            (What::Certificate, -1, Fail),
            (What::Certificate, 6, Fail),
            (What::Certificate, 8, Warn),
            (What::Certificate, 29, Warn),
            (What::Certificate, 30, Pass),
            (What::Ca, 20, Warn),
            (What::Crl, -2, Fail),
            (What::Crl, 0, Fail),
            (What::Crl, 2, Pass),
        ] {
            let expiry = Expiry { what, subject: "CN=x".into(), unix: NOW + days * DAY };
            assert_eq!(ends("api", &expiry, NOW).status, status, "{what:?} {days}");
        }
    }

    #[test]
    fn lifetimes() {
        for (days, is_ca, status) in
            [(90, false, Pass), (398, false, Pass), (399, false, Warn), (3650, true, Pass), (10_950, true, Warn)]
        {
            assert_eq!(length("api", &certificate("x", days), is_ca).status, status, "{days} {is_ca}");
        }
    }

    #[test]
    fn names() {
        let certificate = certificate("node1", 90);
        assert_eq!(host("api.advertise-url", "node1.example", &certificate).status, Pass);
        assert_eq!(host("api.advertise-url", "node2.example", &certificate).status, Fail);
        assert_eq!(common_name("node1", &certificate).status, Pass);
        assert_eq!(common_name("node2", &certificate).status, Fail);
    }

    #[test]
    fn authorities() {
        let (a, b) = (certificate("a", 3000), certificate("b", 3000));
        let (clients, peers) = (std::slice::from_ref(&a), std::slice::from_ref(&b));
        for (clients, peers, one, status) in
            [(clients, peers, false, Pass), (clients, clients, false, Warn), (clients, peers, true, Warn)]
        {
            assert_eq!(separate_cas(clients, peers, one).status, status);
        }
        let both = separate_cas(clients, clients, true);
        assert!(both.reason.contains("a issues clients and nodes") && both.reason.contains("same certificate"));
        for (lists, known, status) in [(0, false, Warn), (0, true, Pass), (1, false, Pass)] {
            assert_eq!(revocation("api", lists, known).status, status);
        }
    }
}
