//! The nodes together.

use super::super::finding::Verdict;
use crate::client::admin::MemberStatus;
use std::collections::{BTreeMap, BTreeSet};

/// A slot has twelve seconds; a third of it is when attestations are due.
const CLOCK_FAIL_S: f64 = 4.0;

/// More than networks and load explain.
const CLOCK_WARN_S: f64 = 1.0;

/// How many nodes vote.
#[must_use]
pub fn size(voters: usize, answering: usize) -> Verdict {
    let quorum = voters / 2 + 1;
    let spare = answering.saturating_sub(quorum);
    match voters {
        0 => Verdict::fail("there is no cluster yet", "`consigner cluster init`"),
        1 => Verdict::warn(
            "one node: nothing is lost when it dies but every duty until it is back; its disk is the only record, and if \
             it is restored from an older copy, nobody notices: it would sign twice",
            "three nodes on three machines; until then never start it on a restored disk, use `consigner cluster restore`",
        ),
        _ if answering < quorum => Verdict::fail(
            format!("{answering} of {voters} nodes answer; {quorum} are needed to sign what can be slashed"),
            "bring the others back",
        ),
        _ if answering < voters => Verdict::warn(
            format!("{answering} of {voters} nodes answer; {spare} more may fail"),
            "bring the others back",
        ),
        even if even % 2 == 0 => Verdict::warn(
            format!("{even} nodes bear no more failures than {}, but need one more for a quorum", even - 1),
            "an odd number of nodes",
        ),
        odd => Verdict::pass(format!("{odd} nodes, quorum {quorum}; {spare} may fail")),
    }
}

/// Whether each node serves.
#[must_use]
pub fn ready(nodes: &[MemberStatus]) -> Verdict {
    let look = |node: &MemberStatus| match &node.status {
        Some(status) if status.ready => Verdict::pass(""),
        Some(status) => {
            let why = status.not_ready.as_deref().unwrap_or("no reason given");
            Verdict::fail(format!("node {} is not ready: {why}", node.id), "see its log")
        }
        None => {
            let why = node.error.as_deref().unwrap_or("no answer");
            Verdict::fail(format!("node {} does not answer the others: {why}", node.id), "see its log")
        }
    };
    Verdict::worst(nodes.iter().map(look), "all are ready")
}

/// Whether all have the same of something: old and new rules in one cluster could judge differently.
#[must_use]
pub fn equal(what: &str, by_node: &BTreeMap<String, String>, fix: &str) -> Verdict {
    let values: BTreeSet<&String> = by_node.values().collect();
    match (values.len(), values.first()) {
        (0, _) | (_, None) => Verdict::skip(format!("no node says its {what}")),
        (1, Some(value)) if by_node.len() > 1 => Verdict::pass(format!("{what} {value} on all")),
        (1, Some(value)) => Verdict::pass(format!("{what} {value}")),
        _ => {
            let each: Vec<String> = by_node.iter().map(|(node, value)| format!("{node} {value}")).collect();
            Verdict::fail(format!("{what} differs: {}", each.join(", ")), fix)
        }
    }
}

/// Whether nodes at the same index have the same state.
#[must_use]
pub fn state(nodes: &[MemberStatus]) -> Verdict {
    let mut digests: BTreeMap<u64, BTreeMap<u64, &str>> = BTreeMap::new();
    for status in nodes.iter().filter_map(|node| node.status.as_ref()) {
        if let Some(index) = status.applied_index {
            digests.entry(index).or_default().insert(status.id, &status.digest);
        }
    }
    let compared: Vec<_> = digests.iter().filter(|(_, nodes)| nodes.len() > 1).collect();
    let differ = compared.iter().find(|(_, nodes)| nodes.values().collect::<BTreeSet<_>>().len() > 1);
    if let Some((index, nodes)) = differ {
        let each: Vec<String> = nodes.iter().map(|(node, digest)| format!("node {node} {digest:.10}")).collect();
        let reason = format!("nodes differ at log index {index}: {}", each.join(", "));
        return Verdict::fail(reason, "stop the node that differs from the majority, and report it");
    }
    match compared.last() {
        Some((index, nodes)) => Verdict::pass(format!("{} nodes agree at log index {index}", nodes.len())),
        None => Verdict::skip("no two nodes stood at the same log index"),
    }
}

/// By how much a node's clock was seen to differ from this machine's: the bounds of (node - here), in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockOffset {
    /// At least so much.
    pub low: f64,
    /// At most so much.
    pub high: f64,
}

impl ClockOffset {
    /// From a `Date` header, which names a second, and the times before the question and after the answer (all in seconds
    /// since 1970).
    #[must_use]
    pub fn seen(date: f64, asked: f64, answered: f64) -> Self {
        Self { low: date - answered, high: date + 1.0 - asked }
    }
}

/// The surest difference between any two clocks, the asking one included.
#[must_use]
pub fn clocks(offsets: &BTreeMap<String, ClockOffset>) -> Verdict {
    if offsets.is_empty() {
        return Verdict::skip("no node told its time");
    }
    let here = [("this machine".to_owned(), ClockOffset { low: 0.0, high: 0.0 })];
    let all: Vec<(String, ClockOffset)> =
        here.into_iter().chain(offsets.iter().map(|(node, offset)| (node.clone(), *offset))).collect();
    let mut worst = (0.0, String::new());
    for (one, a) in &all {
        for (other, b) in &all {
            let apart = a.low - b.high;
            if apart > worst.0 {
                worst = (apart, format!("{one} is at least {apart:.1} s ahead of {other}"));
            }
        }
    }
    let fix = "synchronise the clocks (chrony, systemd-timesyncd)";
    match worst {
        (apart, reason) if apart >= CLOCK_FAIL_S => Verdict::fail(reason, fix),
        (apart, reason) if apart >= CLOCK_WARN_S => Verdict::warn(reason, fix),
        _ => Verdict::pass(format!(
            "{} node(s) and this machine agree, as far as Date headers (1 s) show",
            offsets.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::super::finding::Status::{self, Fail, Pass, Skip, Warn};
    use super::*;
    use consigner_raft::{Member, NodeStatus, Role};

    fn node(id: u64, applied: Option<u64>, digest: &str, not_ready: Option<&str>) -> MemberStatus {
        let status = NodeStatus {
            id,
            member: Member { name: format!("node{id}"), peer_addr: "h:1".into(), ..Member::default() },
            role: Role::Follower,
            term: 1,
            leader: Some(1),
            last_log_index: applied,
            commit_index: applied,
            applied_index: applied,
            snapshot_index: None,
            digest: digest.into(),
            keys: 0,
            ready: not_ready.is_none(),
            not_ready: not_ready.map(str::to_owned),
            version: "1".into(),
            voters: vec![1, 2],
            rules: 1,
            boot_counter: 1,
            learners: vec![],
            outbox_rows: 0,
            agrees_to_nothing: None,
            description: consigner_raft::Description::default(),
            rules_max: 1,
        };
        MemberStatus { id, status: Some(status), error: None }
    }

    #[test]
    fn sizes() {
        for (voters, answering, status) in [
            (0, 0, Fail),
            (1, 1, Warn),
            (2, 2, Warn),
            (3, 3, Pass),
            (3, 2, Warn),
            (3, 1, Fail),
            (4, 4, Warn),
            (5, 5, Pass),
            (7, 3, Fail),
        ] {
            assert_eq!(size(voters, answering).status, status, "{answering} of {voters}");
        }
    }

    #[test]
    fn readiness() {
        let silent = MemberStatus { id: 3, status: None, error: Some("refused".into()) };
        for (nodes, status, said) in [
            (vec![node(1, None, "", None)], Pass, "all"),
            (vec![node(1, None, "", None), node(2, None, "", Some("no leader"))], Fail, "no leader"),
            (vec![silent], Fail, "node 3 does not answer the others: refused"),
        ] {
            let verdict = ready(&nodes);
            assert_eq!(verdict.status, status);
            assert!(verdict.reason.contains(said), "{}", verdict.reason);
        }
    }

    #[test]
    fn equality() {
        let cases: [(&[(&str, &str)], Status); 4] = [
            (&[], Skip),
            (&[("node1", "0.1")], Pass),
            (&[("node1", "0.1"), ("node2", "0.1")], Pass),
            (&[("node1", "0.1"), ("node2", "0.2")], Fail),
        ];
        for (by_node, status) in cases {
            let by_node = by_node.iter().map(|(node, value)| ((*node).to_owned(), (*value).to_owned())).collect();
            assert_eq!(equal("version", &by_node, "fix").status, status, "{by_node:?}");
        }
    }

    #[test]
    fn states_are_compared_at_one_index_only() {
        for (nodes, status) in [
            (vec![node(1, Some(5), "a", None), node(2, Some(5), "a", None)], Pass),
            (vec![node(1, Some(5), "a", None), node(2, Some(6), "b", None)], Skip),
            (vec![node(1, Some(5), "a", None), node(2, Some(5), "b", None), node(3, Some(6), "c", None)], Fail),
        ] {
            assert_eq!(state(&nodes).status, status, "{nodes:?}");
        }
    }

    #[test]
    fn only_what_the_seconds_of_a_header_prove_counts() {
        // A clock that is right shows anything up to a second behind; a slow answer proves less.
        for (date, asked, answered, status) in [
            (1000.0, 1000.2, 1000.3, Pass),
            (1000.0, 1000.9, 1001.2, Pass),
            (1002.0, 1000.2, 1000.3, Warn),
            (1002.0, 1000.2, 1003.3, Pass),
            (1005.0, 1000.2, 1000.3, Fail),
            (990.0, 1000.2, 1000.3, Fail),
        ] {
            let offsets = BTreeMap::from([("node1".to_owned(), ClockOffset::seen(date, asked, answered))]);
            assert_eq!(clocks(&offsets).status, status, "{date} {asked} {answered}");
        }
        let apart = BTreeMap::from([
            ("node1".to_owned(), ClockOffset::seen(1002.5, 1000.0, 1000.1)),
            ("node2".to_owned(), ClockOffset::seen(997.0, 1000.0, 1000.1)),
        ]);
        assert!(clocks(&apart).reason.starts_with("node1 is at least 4."), "{}", clocks(&apart).reason);
        assert_eq!(clocks(&BTreeMap::new()).status, Skip);
    }
}
