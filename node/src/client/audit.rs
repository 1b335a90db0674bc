//! What the nodes of a cluster remember of each other's audit.

use super::{CallError, ClusterClient, LOOK};
use consigner_storage::audit::Anchor;
use serde::Deserialize;
use std::collections::BTreeMap;

const ANCHORS: &str = "/admin/v1/audit/anchors";

/// What was found out.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    /// For each node and key the newest that any node remembers.
    pub anchors: Vec<Anchor>,
    /// Nodes that did not answer, with the reason.
    pub silent: Vec<String>,
}

#[derive(Deserialize)]
struct List {
    data: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    node: u64,
    public_key: String,
    sequence: u64,
    hash: String,
}

/// Asks every endpoint, because whoever owns a node's disk may own its answers, too; the newest anchor counts.
///
/// # Errors
/// No endpoint answers, or two remember different lines of one number.
pub async fn anchors(client: &ClusterClient) -> Result<Anchors, CallError> {
    let mut found = Anchors::default();
    let mut newest: BTreeMap<(u64, [u8; 32]), Anchor> = BTreeMap::new();
    let mut failure = None;
    let mut answered = false;
    for endpoint in client.endpoints() {
        let anchors = match ask(&client.only(endpoint)).await {
            Ok(anchors) => anchors,
            Err(error) => {
                found.silent.push(format!("{endpoint}: {}", crate::report::one_line(&error)));
                failure = Some(error);
                continue;
            }
        };
        answered = true;
        for anchor in anchors {
            let held = newest.entry((anchor.node, anchor.public_key)).or_insert(anchor);
            if held.sequence == anchor.sequence && held.hash != anchor.hash {
                let reason = format!("it remembers another line {} of node {}", anchor.sequence, anchor.node);
                return Err(CallError::Answer { url: endpoint.clone(), reason });
            }
            if anchor.sequence > held.sequence {
                *held = anchor;
            }
        }
    }
    found.anchors = newest.into_values().collect();
    match failure {
        Some(failure) if !answered => Err(failure),
        Some(_) | None => Ok(found),
    }
}

async fn ask(client: &ClusterClient) -> Result<Vec<Anchor>, CallError> {
    let answer = client.get_json(ANCHORS, LOOK).await?;
    let list: List = answer.json()?;
    let understood = |line: Line| {
        let (public_key, hash) = (bytes(&line.public_key)?, bytes(&line.hash)?);
        Some(Anchor { node: line.node, public_key, sequence: line.sequence, hash })
    };
    let wrong = || CallError::Answer { url: answer.url.clone(), reason: "an anchor is not one".to_owned() };
    list.data.into_iter().map(|line| understood(line).ok_or_else(wrong)).collect()
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    hex::decode(hex).ok()?.try_into().ok()
}
