//! Counters of the nodes' metrics, before and after.

use crate::client::Deployment;
use bytes::Bytes;
use consigner_gate::HttpsClient;
use consigner_gate::tls::{ALPN_API, client_config};
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::time::Duration;

/// A scrape of a node on loopback.
const DEADLINE: Duration = Duration::from_secs(5);

const FSYNCS: &str = "consigner_log_fsyncs_total";
const ENTRIES: &str = "consigner_log_entries_total";
const APPENDS: &str = "consigner_raft_append_rpcs_total";

/// The samples of each node, by name with labels.
pub type Scraped = BTreeMap<u64, BTreeMap<String, f64>>;

/// What the cluster did between two scrapes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// fsyncs of the leader's log.
    pub leader_fsyncs: f64,
    /// Entries that the leader's log took.
    pub leader_entries: f64,
    /// Appends with entries that all nodes sent.
    pub append_rpcs: f64,
}

/// Asks every node; one that does not answer is left out.
pub async fn all(deployment: &Deployment) -> Scraped {
    let tls = consigner_gate::ClientTls {
        cert: deployment.client_cert.clone(),
        key: deployment.client_key.clone(),
        ca: deployment.ca.clone(),
    };
    let Ok(tls) = client_config(&tls, ALPN_API) else { return Scraped::new() };
    let client = HttpsClient::new(tls, 1);
    let mut scraped = Scraped::new();
    for node in &deployment.nodes {
        let answer = client.request(Method::GET, &node.metrics_url, &[], Bytes::new(), DEADLINE).await;
        if let Ok(answer) = answer
            && answer.status == StatusCode::OK
        {
            scraped.insert(node.id, samples(&String::from_utf8_lossy(&answer.body)));
        }
    }
    scraped
}

/// `name{labels} value` per line.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// `None` when a node did not answer or counts nothing of this.
#[must_use]
pub fn difference(before: &Scraped, after: &Scraped, leader: u64) -> Option<Counters> {
    let grown = |node: u64, matches: &dyn Fn(&str) -> bool| -> Option<f64> {
        let (before, after) = (before.get(&node)?, after.get(&node)?);
        let mut total = 0.0;
        let mut found = false;
        for (name, value) in after.iter().filter(|(name, _)| matches(name)) {
            found = true;
            total += value - before.get(name).copied().unwrap_or(0.0);
        }
        found.then_some(total)
    };
    let with_entries = |name: &str| name.starts_with(APPENDS) && !name.contains("heartbeat");
    let append_rpcs = after.keys().filter_map(|node| grown(*node, &with_entries)).sum();
    Some(Counters {
        leader_fsyncs: grown(leader, &|name| name == FSYNCS)?,
        leader_entries: grown(leader, &|name| name == ENTRIES)?,
        append_rpcs,
    })
}
