//! Fabricated evidence for the tests of the checkers.

use crate::oracle::{
    Content, Evidence, Exchange, ExportSample, Fault, Marks, Message, Phase, Release, Reply, StatusSample,
};
use consigner_rules::{PublicKey, Root, Signature};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const KEY: PublicKey = PublicKey([1; 48]);

pub(crate) const fn block(slot: u64) -> Content {
    Content::Block { slot }
}

pub(crate) const fn vote(source: u64, target: u64) -> Content {
    Content::Attestation { source, target }
}

pub(crate) const fn root(number: u8) -> Root {
    Root([number; 32])
}

pub(crate) const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A genuine signature of [`KEY`], acknowledged by node 1 at `seconds`, asked for in the same second.
pub(crate) fn release(content: Content, number: u8, seconds: u64) -> Release {
    Release {
        exchange: 0,
        node: 1,
        validator: KEY,
        content,
        root: root(number),
        signature: Signature([number; 96]),
        is_genuine: true,
        is_acknowledged: true,
        sent_at: at(seconds),
        at: at(seconds),
    }
}

/// A request of [`KEY`] to a node, sent and answered at `seconds`.
pub(crate) fn exchange(node: u64, phase: Phase, content: Content, number: u8, seconds: u64, status: u16) -> Exchange {
    let message = Message { validator: KEY, content, root: root(number), body: bytes::Bytes::new() };
    let reply = Reply::Answer { status, location: None, body: bytes::Bytes::new() };
    Exchange {
        node,
        phase,
        message: Arc::new(message),
        is_redirected: false,
        sent_at: at(seconds),
        reply: Some((at(seconds), reply)),
    }
}

/// An export of a node at `seconds` that says this about [`KEY`].
pub(crate) fn export(node: u64, seconds: u64, marks: Marks) -> ExportSample {
    ExportSample { node, asked_at: at(seconds), answered_at: at(seconds), marks: BTreeMap::from([(KEY, marks)]) }
}

/// Marks after one block and one vote.
pub(crate) const fn marks(slot: u64, block_root: u8, source: u64, target: u64, vote_root: u8) -> Marks {
    Marks {
        block: Some((slot, Some(root(block_root)))),
        source: Some(source),
        target: Some((target, Some(root(vote_root)))),
    }
}

pub(crate) fn status(node: u64, index: u64, digest: &str) -> StatusSample {
    StatusSample {
        node,
        at: at(1),
        applied_index: Some(index),
        snapshot_index: None,
        digest: digest.to_owned(),
        term: 1,
        is_leader: false,
        is_ready: true,
    }
}

pub(crate) fn fault(seconds: u64, quorum: u64) -> Fault {
    let (nodes, pids) = (vec![1], vec![4711]);
    Fault { name: "test", nodes, pids, at: at(seconds), quorum_at: at(quorum), healed_at: Some(at(quorum + 5)) }
}

/// Three nodes and nothing else.
pub(crate) fn nothing() -> Evidence {
    Evidence { nodes: vec![1, 2, 3], ..Evidence::default() }
}
