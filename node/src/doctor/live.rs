//! Examines a running cluster: asks it as an operator, and looks at its doors as a stranger.
//!
//! In: a client with the operator's certificate; the directory of `consigner dev`, if it is one. Out: findings.
//! Deliberately absent: judgement ([`super::checks`], [`super::probe::judge`]).

use super::checks::access::{self, Token};
use super::checks::cluster::{self, ClockOffset};
use super::checks::{archive, certificates, keys};
use super::finding::{Finding, Verdict};
use super::points;
use super::probe::{self, Answer, judge};
use crate::client::admin::{self, ClusterStatus};
use crate::client::keys::DataKeys;
use crate::client::{CallError, ClusterClient, LOOK};
use crate::report::one_line;
use http::header::DATE;
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

const DATA_KEYS: &str = "/admin/v1/keys/data-keys";
const POLICY: &str = "/admin/v1/policy";
const TOKENS: &str = "/admin/v1/policy/tokens";
const UPCHECK: &str = "/upcheck";

/// Scope of what is about all nodes together.
pub const CLUSTER: &str = "cluster";

/// What a cluster says of itself, as far as other points need it.
#[derive(Debug, Default)]
pub struct Asked {
    /// Version of the applied policy, 0 if there is none; `None`: it was not to be had.
    pub policy: Option<u64>,
    /// Findings.
    pub findings: Vec<Finding>,
}

/// A door to be looked at from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outside {
    node: String,
    door: &'static str,
    /// `host:port`.
    address: String,
}

/// Asks the cluster and looks at its doors.
pub async fn examine(client: &ClusterClient) -> Asked {
    let mut findings = Vec::new();
    let status = match admin::status(client).await {
        Ok(status) => status,
        Err(error) => {
            let verdict = Verdict::fail(
                one_line(&error),
                "name endpoints of running nodes, with a certificate that may administrate",
            );
            return Asked { policy: None, findings: vec![verdict.on(&points::REACHED, CLUSTER)] };
        }
    };
    findings.extend(members(&status));
    let policy = policy(client).await;
    findings.push(match &policy {
        Ok(version) => access::policy(*version).on(&points::POLICY, CLUSTER),
        Err(why) => Verdict::skip(why.clone()).on(&points::POLICY, CLUSTER),
    });
    findings.push(tokens(client).await.on(&points::TOKENS, CLUSTER));
    findings.push(data_keys(client).await.on(&points::ROTATION, CLUSTER));
    findings.push(clocks(client, &status).await.on(&points::CLOCKS, CLUSTER));
    findings.extend(archives(client, &status).await);
    for door in outside(client, &status) {
        findings.extend(look(&door).await);
    }
    Asked { policy: policy.ok(), findings }
}

fn members(status: &ClusterStatus) -> Vec<Finding> {
    let known: Vec<_> = status.nodes.iter().filter_map(|node| node.status.as_ref()).collect();
    let voters = known.iter().find(|node| node.id == status.node).map_or(0, |node| node.voters.len());
    let versions = known.iter().map(|node| (node.member.name.clone(), node.version.clone())).collect();
    let reached = format!("{} of {} nodes tell their status", known.len(), status.nodes.len());
    let fix = "the same program on all: old and new rules in one cluster could judge differently";
    vec![
        Verdict::pass(reached).on(&points::REACHED, CLUSTER),
        cluster::size(voters, known.len()).on(&points::SIZE, CLUSTER),
        cluster::ready(&status.nodes).on(&points::READY, CLUSTER),
        cluster::equal("version", &versions, fix).on(&points::VERSIONS, CLUSTER),
        cluster::state(&status.nodes).on(&points::STATE, CLUSTER),
    ]
}

/// Why a part of the cluster cannot be asked.
fn refusal(what: &str, error: &CallError) -> String {
    match error {
        CallError::Status { status: StatusCode::NOT_FOUND, .. } => format!("this cluster has no {what}"),
        CallError::Tls(_)
        | CallError::NoEndpoint
        | CallError::Unreachable(_)
        | CallError::Status { .. }
        | CallError::Answer { .. } => format!("{what}: {}", one_line(error)),
    }
}

#[derive(serde::Deserialize)]
struct PolicyAnswer {
    version: u64,
    /// Its text; the version counts from before there was one.
    policy: Option<serde::de::IgnoredAny>,
}

async fn policy(client: &ClusterClient) -> Result<u64, String> {
    let asked = async { client.get_json(POLICY, LOOK).await?.json::<PolicyAnswer>() };
    let applied = |answer: PolicyAnswer| if answer.policy.is_some() { answer.version } else { 0 };
    asked.await.map(applied).map_err(|error| refusal("policy", &error))
}

async fn tokens(client: &ClusterClient) -> Verdict {
    let asked = async { client.get_json(TOKENS, LOOK).await?.json::<crate::client::keys::Data<Token>>() };
    match asked.await {
        Ok(list) => access::tokens(&list.data, SystemTime::now()),
        Err(error) => Verdict::skip(refusal("tokens", &error)),
    }
}

async fn data_keys(client: &ClusterClient) -> Verdict {
    let asked = async { client.get_json(DATA_KEYS, LOOK).await?.json::<DataKeys>() };
    match asked.await {
        Ok(DataKeys { in_use, data, .. }) => keys::data_keys(&in_use, &data),
        Err(error) => Verdict::skip(refusal("data keys", &error)),
    }
}

/// What each node says of its archive: whether it is the same on all, and keeps up.
async fn archives(client: &ClusterClient, status: &ClusterStatus) -> [Finding; 2] {
    let (mut views, mut places) = (Vec::new(), BTreeMap::new());
    for (node, url) in api_urls(client, status) {
        let view = crate::client::archive::look(&client.only(&url)).await.ok();
        if let Some(view) = &view {
            let database = view.exporter.as_ref().map(|exporter| exporter.database.clone());
            places.insert(node.clone(), database.unwrap_or_else(|| view.mode.clone()));
        }
        views.push((node, view));
    }
    let fix = "the same archive.postgres.url on all nodes: whoever leads writes";
    [
        cluster::equal("archive", &places, fix).on(&points::ARCHIVE_EQUAL, CLUSTER),
        archive::keeps_up(&views).on(&points::ARCHIVE_LAG, CLUSTER),
    ]
}

/// Every node's clock beside this machine's. A load balancer's clock would be taken for a node's: endpoints are asked as
/// the members advertise them.
async fn clocks(client: &ClusterClient, status: &ClusterStatus) -> Verdict {
    let mut offsets = BTreeMap::new();
    for (node, url) in api_urls(client, status) {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let node_client = client.only(&url);
        // The second question goes over the connection of the first: no handshake lies between the two times.
        for _ in 0..2 {
            let asked = seconds(SystemTime::now());
            let Ok(answer) = node_client.call(Method::GET, UPCHECK, &[], bytes::Bytes::new(), LOOK).await else {
                continue;
            };
            let date = answer.response.headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(http_date);
            if let Some(date) = date {
                offsets.insert(node.clone(), ClockOffset::seen(date, asked, seconds(SystemTime::now())));
            }
        }
    }
    cluster::clocks(&offsets)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7), in seconds since 1970.
fn http_date(text: &str) -> Option<f64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split(' ').skip(1);
    let day: i64 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    let days = super::x509::days_since_1970(year, i64::try_from(month).ok()?, day);
    Some((days * 86_400 + hours * 3600 + minutes * 60 + seconds) as f64)
}

/// The URL of each member's API: what it advertises, else the endpoint that was given.
fn api_urls(client: &ClusterClient, status: &ClusterStatus) -> Vec<(String, String)> {
    let advertised = status.nodes.iter().filter_map(|node| node.status.as_ref());
    let urls: Vec<_> = advertised
        .filter(|node| !node.member.api_url.is_empty())
        .map(|node| (node.member.name.clone(), node.member.api_url.clone()))
        .collect();
    if urls.is_empty() { client.endpoints().iter().map(|url| (url.clone(), url.clone())).collect() } else { urls }
}

fn outside(client: &ClusterClient, status: &ClusterStatus) -> Vec<Outside> {
    let api = api_urls(client, status).into_iter().filter_map(|(node, url)| {
        let authority = url.strip_prefix("https://")?.trim_end_matches('/');
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|c| c.is_ascii_digit()));
        let address = if has_port { authority.to_owned() } else { format!("{authority}:443") };
        Some(Outside { node, door: "api", address })
    });
    let peers = status.nodes.iter().filter_map(|node| node.status.as_ref()).map(|node| {
        let (node, address) = (node.member.name.clone(), node.member.peer_addr.clone());
        Outside { node, door: "peer", address }
    });
    api.chain(peers).collect()
}

async fn look(outside: &Outside) -> Vec<Finding> {
    let Outside { node, door, address } = outside;
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    let name = format!("{door} door (from outside)");
    let seen = match probe::look(address, host.trim_start_matches('[').trim_end_matches(']')).await {
        Ok(seen) => seen,
        Err(error) => {
            let verdict = Verdict::skip(format!("{name}: {address} cannot be reached from here: {error}"));
            return vec![verdict.on(&points::MUTUAL_TLS, node)];
        }
    };
    let mut findings = vec![
        judge::mutual_tls(&name, &seen).on(&points::MUTUAL_TLS, node),
        judge::versions(&name, &seen).on(&points::TLS_VERSIONS, node),
        judge::plain_http(&name, &seen).on(&points::PLAIN_HTTP, node),
    ];
    if let Answer::Hello { certificate: Some(certificate), .. } = &seen.tls12 {
        findings.push(certificates::shown(&name, certificate, now()).on(&points::LIFETIMES, node));
    }
    findings
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_headers() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777.0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0.0)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199.0)),
            ("yesterday", None),
            ("Sun, 06 Now 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(http_date(text), expected, "{text}");
        }
    }
}
