//! What a configuration shows of TLS: versions, certificates, CAs, lists, services.

use super::together;
use crate::doctor::checks::{archive, certificates, credentials, doors as door_checks};
use crate::doctor::doors::{self, DoorPlan, Proof};
use crate::doctor::finding::{Finding, Verdict};
use crate::doctor::plan::Plan;
use crate::doctor::points;
use crate::doctor::x509::{self, Certificate};
use consigner_gate::ReloadableTls;
use consigner_gate::tls::{DoorTls, ServerIdentity};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn examine(plan: &Plan, doors: &[DoorPlan]) -> Vec<Finding> {
    let with_tls = || doors.iter().filter(|door| door.proof != Proof::Nothing);
    let versions = with_tls().map(|door| {
        let key = |section: &str, name: &str| format!("{section}.tls.{name}");
        let own_or_api = |name: &str| {
            let own = plan.texts(&key(door.section, name));
            if own.is_empty() && door.section != "peer" { plan.texts(&key("api", name)) } else { own }
        };
        let oldest = own_or_api("min-version").into_iter().next().unwrap_or_else(|| "1.2".to_owned());
        door_checks::versions(door.section, &oldest, &own_or_api("cipher-suites"))
    });
    let services = ["keys.sealer.vault-transit.address", "keys.source.vault-kv.address", "oauth.jwks-url"];
    let endpoints = ["keys.sealer.aws-kms.endpoint", "keys.source.aws-secrets.endpoint"];
    let services = services.iter().chain(&endpoints).filter_map(|key| Some((*key, plan.text(key)?)));
    let services = services.map(|(key, address)| credentials::service(key, &address));
    let (usable, ends): (Vec<_>, Vec<_>) = with_tls().map(|door| certificates_of(plan, door)).unzip();
    vec![
        together(doors.iter().map(door_checks::mutual_tls)).on(&points::MUTUAL_TLS, &plan.name),
        together(versions).on(&points::TLS_VERSIONS, &plan.name),
        Verdict::worst(services, "every service that is set up is reached over TLS")
            .on(&points::KEY_SERVICES, &plan.name),
        together(usable).on(&points::TLS_FILES, &plan.name),
        Verdict::worst(ends.into_iter().flatten(), "none ends soon, none is made for too long")
            .on(&points::LIFETIMES, &plan.name),
        names_of(plan).on(&points::NAMES, &plan.name),
        separate_cas(plan).on(&points::SEPARATE_CAS, &plan.name),
        together(with_tls().filter(|door| door.section != "peer").map(|door| revocation_of(plan, door)))
            .on(&points::REVOCATION, &plan.name),
        archive::wire(&archive_of(plan)).on(&points::ARCHIVE, &plan.name),
        archive::kept(&archive_of(plan)).on(&points::ARCHIVE_KEPT, &plan.name),
    ]
}

fn archive_of(plan: &Plan) -> archive::Settings {
    let is_set = |key: &str| plan.text(key).is_some();
    archive::Settings {
        database: is_set("archive.postgres.url"),
        insecure: plan.switch("archive.postgres.insecure-no-tls"),
        certificate: is_set("archive.postgres.cert"),
        password: is_set("archive.postgres.password-file") || is_set("archive.postgres.password-env"),
        unbound: plan.text("archive.postgres.channel-binding").as_deref() == Some("prefer"),
        retention: is_set("archive.retention-days") || is_set("archive.retention-bytes"),
    }
}

/// Whether a door's files can be used, by the same code that uses them, and when each ends.
fn certificates_of(plan: &Plan, door: &DoorPlan) -> (Verdict, Vec<Verdict>) {
    let section = door.section;
    let Some(tls) = doors::tls(plan, door) else {
        let fix = format!("{section}.tls: a certificate, its key, and the CAs of callers");
        return (Verdict::fail(format!("{section}: certificate, key or CA is not named"), fix), Vec::new());
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut lengths: Vec<Verdict> =
        own_certificate(&tls).iter().map(|leaf| certificates::length(section, leaf, false)).collect();
    let authorities = tls.trust.ca().map(|ca| certificates_in(ca)).unwrap_or_default();
    lengths.extend(authorities.iter().map(|ca| certificates::length(section, ca, true)));
    match ReloadableTls::load_door(tls, &[]) {
        Ok(loaded) => {
            let ends = loaded.expiries();
            lengths.extend(ends.iter().map(|expiry| certificates::ends(section, expiry, now)));
            (Verdict::pass(format!("{section}: key and certificate fit, CAs and lists can be used")), lengths)
        }
        Err(error) => {
            let reason = format!("{section}: {}", crate::report::one_line(&error));
            (Verdict::fail(reason, "mend the file; a node would refuse it"), lengths)
        }
    }
}

fn own_certificate(tls: &DoorTls) -> Option<Certificate> {
    match &tls.identity {
        ServerIdentity::Pem { cert, .. } => certificates_in(cert).into_iter().next(),
        // Encrypted; when it ends is seen when it is loaded.
        ServerIdentity::Pkcs12 { .. } => None,
    }
}

pub(super) fn certificates_in(path: &Path) -> Vec<Certificate> {
    std::fs::read_to_string(path).map(|text| x509::from_pem(&text)).unwrap_or_default()
}

fn names_of(plan: &Plan) -> Verdict {
    let leaf = |key: &str| plan.path(key).and_then(|path| certificates_in(&path).into_iter().next());
    let host = |key: &str| plan.text(key).and_then(|text| host_of(&text));
    let (api, peer) = (leaf("api.tls.cert"), leaf("peer.tls.cert"));
    let mut looks = Vec::new();
    if let (Some(host), Some(certificate)) = (host("api.advertise-url"), &api) {
        looks.push(certificates::host("api.advertise-url", &host, certificate));
    }
    if let Some(certificate) = &peer {
        let advertised = host("peer.advertise").or_else(|| host("peer.listen"));
        looks.extend(advertised.map(|host| certificates::host("peer.advertise", &host, certificate)));
        looks.extend(plan.text("node.name").map(|name| certificates::common_name(&name, certificate)));
    }
    if looks.is_empty() {
        return Verdict::skip("no certificate in PEM to look at");
    }
    together(looks)
}

/// The host of `https://host:port` or `host:port`.
fn host_of(text: &str) -> Option<String> {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
        Some(_) | None => authority,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

fn separate_cas(plan: &Plan) -> Verdict {
    let read = |key: &str| plan.path(key).map(|path| certificates_in(&path)).unwrap_or_default();
    let (clients, peers) = (read("api.tls.client-ca"), read("peer.tls.ca"));
    if clients.is_empty() || peers.is_empty() {
        return Verdict::skip("no CA in PEM to compare");
    }
    let (api, peer) = (read("api.tls.cert"), read("peer.tls.cert"));
    let one = api.first().zip(peer.first()).is_some_and(|(api, peer)| api.der == peer.der);
    certificates::separate_cas(&clients, &peers, one)
}

fn revocation_of(plan: &Plan, door: &DoorPlan) -> Verdict {
    let Some(tls) = doors::tls(plan, door) else { return Verdict::skip(format!("{}: no TLS files", door.section)) };
    let pinned_only = tls.trust.ca().is_none();
    certificates::revocation(door.section, tls.crls.len(), pinned_only)
}
