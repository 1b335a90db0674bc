//! What the nodes export and report, asked during the run and after it.
//!
//! In: answers of `GET /admin/v1/history/export` and `GET /admin/v1/cluster/status`. Out: samples with the times of
//! asking and answering. Deliberately absent: the interchange reader of the rules; this one is ten lines and its own.

use consigner_rules::{Epoch, PublicKey, Root, Slot};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What one export says about one validator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Greatest slot and its root, if one is given.
    pub block: Option<(Slot, Option<Root>)>,
    /// Greatest source epoch.
    pub source: Option<Epoch>,
    /// Greatest target epoch and its root, if one is given.
    pub target: Option<(Epoch, Option<Root>)>,
}

/// One export of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSample {
    /// The node.
    pub node: u64,
    /// When it was asked.
    pub asked_at: Duration,
    /// When the answer was complete.
    pub answered_at: Duration,
    /// By validator.
    pub marks: BTreeMap<PublicKey, Marks>,
}

/// The state of one node, as it or another node tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSample {
    /// The node.
    pub node: u64,
    /// When the answer was complete.
    pub at: Duration,
    /// Last applied index.
    pub applied_index: Option<u64>,
    /// State digest at that index.
    pub digest: String,
    /// Last index in its newest snapshot.
    pub snapshot_index: Option<u64>,
    /// Raft term.
    pub term: u64,
    /// Whether it says to lead.
    pub is_leader: bool,
    /// Whether it says that it can serve.
    pub is_ready: bool,
}

#[derive(Deserialize)]
struct File {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    pubkey: PublicKey,
    signed_blocks: Vec<Block>,
    signed_attestations: Vec<Attestation>,
}

#[derive(Deserialize)]
struct Block {
    slot: String,
    signing_root: Option<Root>,
}

#[derive(Deserialize)]
struct Attestation {
    source_epoch: String,
    target_epoch: String,
    signing_root: Option<Root>,
}

/// The marks of every validator in an interchange file.
///
/// # Errors
/// Not an interchange file.
pub fn marks(text: &[u8]) -> Result<BTreeMap<PublicKey, Marks>, String> {
    let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mut all: BTreeMap<PublicKey, Marks> = BTreeMap::new();
    for entry in file.data {
        let marks = all.entry(entry.pubkey).or_default();
        for block in entry.signed_blocks {
            raise(&mut marks.block, number(&block.slot)?, block.signing_root);
        }
        for vote in entry.signed_attestations {
            marks.source = marks.source.max(Some(number(&vote.source_epoch)?));
            raise(&mut marks.target, number(&vote.target_epoch)?, vote.signing_root);
        }
    }
    Ok(all)
}

fn raise(mark: &mut Option<(u64, Option<Root>)>, number: u64, root: Option<Root>) {
    if mark.is_none_or(|(greatest, _)| number > greatest) {
        *mark = Some((number, root));
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

#[derive(Deserialize)]
struct ClusterStatus {
    nodes: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    id: u64,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    role: String,
    term: u64,
    applied_index: Option<u64>,
    #[serde(default)]
    snapshot_index: Option<u64>,
    digest: String,
    ready: bool,
}

/// The states in an answer of `/admin/v1/cluster/status`; members that did not answer are left out.
///
/// # Errors
/// Not such an answer.
pub fn statuses(text: &[u8], at: Duration) -> Result<Vec<StatusSample>, String> {
    let status: ClusterStatus = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let sample = |member: Member| {
        let Status { role, term, applied_index, snapshot_index, digest, ready } = member.status?;
        let (is_leader, is_ready) = (role == "leader", ready);
        Some(StatusSample { node: member.id, at, applied_index, snapshot_index, digest, term, is_leader, is_ready })
    };
    Ok(status.nodes.into_iter().filter_map(sample).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_export_is_reduced_to_its_greatest_marks() {
        let (key, root) = (PublicKey([7; 48]), Root([9; 32]));
        let text = format!(
            r#"{{"metadata":{{"interchange_format_version":"5","genesis_validators_root":"{root}"}},"data":[
            {{"pubkey":"{key}","signed_blocks":[{{"slot":"3"}},{{"slot":"5","signing_root":"{root}"}}],
            "signed_attestations":[{{"source_epoch":"2","target_epoch":"3"}},{{"source_epoch":"1","target_epoch":"4","signing_root":"{root}"}}]}}]}}"#
        );
        let expected = Marks { block: Some((5, Some(root))), source: Some(2), target: Some((4, Some(root))) };
        assert_eq!(marks(text.as_bytes()).unwrap(), BTreeMap::from([(key, expected)]));
        assert!(marks(b"{}").is_err());
    }

    #[test]
    fn a_status_names_the_members_that_answered() {
        let text = br#"{"node":1,"nodes":[{"id":1,"status":{"applied_index":4,"digest":"0xab","role":"leader",
            "term":2,"ready":true,"version":"0.1.0"}},{"id":2,"error":"no answer"}]}"#;
        let found = statuses(text, Duration::ZERO).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].node, found[0].applied_index, found[0].is_leader), (1, Some(4), true));
        assert!(statuses(b"[]", Duration::ZERO).is_err());
    }
}
