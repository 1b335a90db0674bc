//! Who may call, and what an append must satisfy before openraft sees it.
//!
//! In: headers, the name in the caller's certificate, appends. Out: a refusal with its reason, or the caller's id.
//! Two situations stop this node, because going on could lose a record: see [`Danger`].

use crate::machine::Shared;
use crate::peer::link::Me;
use crate::peer::wire;
use crate::typ::{self, AppendRequest};
use consigner_storage::LogPosition;
use consigner_storage::log::{Wal, WalError};
use http::HeaderMap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A second process of one node id is refused while the first was heard of this recently. Shorter than any restart
/// by a supervisor, longer than the pauses of a live node, which is heard of every heartbeat or ping.
const ALIVE: Duration = Duration::from_secs(1);

/// Why a call is refused (status 403).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Header missing or malformed.
    #[error("header {0} is missing or malformed")]
    Header(&'static str),
    /// Another protocol version.
    #[error("peer protocol {theirs} is not spoken here (this node speaks {})", wire::PROTOCOL)]
    Protocol {
        /// The caller's.
        theirs: String,
    },
    /// Another cluster.
    #[error("this node belongs to cluster {here}, the caller to {theirs}")]
    OtherCluster {
        /// Ours.
        here: String,
        /// The caller's.
        theirs: String,
    },
    /// Meant for another node.
    #[error("this is node {here}, not node {meant}: check the peer addresses")]
    Misdirected {
        /// Ours.
        here: u64,
        /// Whom the caller meant.
        meant: u64,
    },
    /// The caller claims this node's own id.
    #[error("two nodes have the id {0}: this node and the caller")]
    OwnId(u64),
    /// Another process of the same id is alive.
    #[error("another process with node id {node} is alive (heard {millis} ms ago): two nodes have the same id")]
    TwoProcesses {
        /// The id.
        node: u64,
        /// Milliseconds since the other was heard.
        millis: u128,
    },
    /// The certificate names somebody else than the member of that id.
    #[error("the certificate names {certificate}, but node {node} is {member}")]
    Certificate {
        /// The id claimed.
        node: u64,
        /// Name in the membership.
        member: String,
        /// Name in the certificate.
        certificate: String,
    },
    /// Not a member of an initialised cluster.
    #[error("node {0} is not a member of this cluster")]
    NotMember(u64),
    /// See DESIGN 7a: a leader that lost entries of its own term must not be followed.
    #[error("leader of term {term} has its log end at {theirs:?}, before {here:?}, which it sent in the same term")]
    LostLog {
        /// The term.
        term: u64,
        /// Last position of the leader.
        theirs: Option<LogPosition>,
        /// Last position here.
        here: LogPosition,
    },
}

/// Why this node must stop.
#[derive(Debug, thiserror::Error)]
pub enum Danger {
    /// The same position holds different content here and at the leader.
    #[error("entry {0:?} differs from the leader's of the same position")]
    DifferentEntry(LogPosition),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[from] WalError),
}

/// Keeps what is known of callers.
pub struct Guard {
    me: Me,
    wal: Arc<Wal>,
    shared: Arc<Shared>,
    callers: Mutex<BTreeMap<u64, Caller>>,
}

struct Caller {
    boot: String,
    heard: Instant,
    last_append: u64,
}

/// A caller that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// Its node id.
    pub node: u64,
    /// Number of the call within its process.
    pub sequence: u64,
}

impl Guard {
    /// Knows nobody yet.
    pub fn new(me: Me, wal: Arc<Wal>, shared: Arc<Shared>) -> Self {
        Self { me, wal, shared, callers: Mutex::default() }
    }

    /// Lets a caller in or says why not. `certificate` is the name in its certificate.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn admit(&self, certificate: &str, headers: &HeaderMap) -> Result<Admitted, Refusal> {
        let theirs = text(headers, wire::HEADER_PROTOCOL)?;
        if theirs != wire::PROTOCOL {
            return Err(Refusal::Protocol { theirs: theirs.to_owned() });
        }
        let theirs = text(headers, wire::HEADER_CLUSTER)?;
        let here = self.me.cluster_id.to_string();
        if theirs != here {
            return Err(Refusal::OtherCluster { here, theirs: theirs.to_owned() });
        }
        let meant = number(headers, wire::HEADER_TO)?;
        if meant != self.me.node_id {
            return Err(Refusal::Misdirected { here: self.me.node_id, meant });
        }
        let node = number(headers, wire::HEADER_FROM)?;
        if node == self.me.node_id {
            return Err(Refusal::OwnId(node));
        }
        self.check_member(node, certificate)?;
        let boot = text(headers, wire::HEADER_BOOT)?;
        let sequence = number(headers, wire::HEADER_SEQUENCE)?;
        self.note(node, boot)?;
        Ok(Admitted { node, sequence })
    }

    /// Before a membership is known (a fresh node), any certificate of the peer CA may bring it.
    fn check_member(&self, node: u64, certificate: &str) -> Result<(), Refusal> {
        self.shared.read_standing(|_, standing| {
            let membership = standing.membership.membership();
            if membership.nodes().next().is_none() {
                return Ok(());
            }
            match membership.get_node(&node) {
                Some(member) if member.name == certificate => Ok(()),
                Some(member) => {
                    Err(Refusal::Certificate { node, member: member.name.clone(), certificate: certificate.to_owned() })
                }
                None => Err(Refusal::NotMember(node)),
            }
        })
    }

    fn note(&self, node: u64, boot: &str) -> Result<(), Refusal> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        match callers.get_mut(&node) {
            Some(caller) if caller.boot == boot => caller.heard = Instant::now(),
            Some(caller) if caller.heard.elapsed() < ALIVE => {
                return Err(Refusal::TwoProcesses { node, millis: caller.heard.elapsed().as_millis() });
            }
            Some(_) | None => {
                callers.insert(node, Caller { boot: boot.to_owned(), heard: Instant::now(), last_append: 0 });
            }
        }
        Ok(())
    }

    /// Checks an append before openraft sees it.
    ///
    /// # Errors
    /// [`Refusal`] when this append must not be followed; the inner [`Danger`] when this node must stop.
    pub fn check_append(&self, from: Admitted, append: &wire::Append) -> Result<Result<(), Refusal>, Danger> {
        // Read before the append is placed in order: a later append that is written in between is not held against
        // this one.
        let here = self.wal.last();
        if self.is_newest(from)
            && let Err(refusal) = lost_log(append, here)
        {
            return Ok(Err(refusal));
        }
        self.compare_skipped(&append.request)?;
        Ok(Ok(()))
    }

    /// Only the newest append of a process says where its log ends now. An older one, overtaken on its way, comes
    /// from the same process and thus from the same log; openraft knows what to do with it.
    fn is_newest(&self, from: Admitted) -> bool {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(caller) = callers.get_mut(&from.node) else { return false };
        let newest = from.sequence >= caller.last_append;
        caller.last_append = caller.last_append.max(from.sequence);
        newest
    }

    /// openraft skips entries whose log id it holds already. If their content differs, a disk was rolled back and
    /// rewritten, and a quorum may count a record that is not the same on all its members (DESIGN 7a).
    fn compare_skipped(&self, request: &AppendRequest) -> Result<(), Danger> {
        let (Some(first), Some(end), Some(last)) = (request.entries.first(), request.entries.last(), self.wal.last())
        else {
            return Ok(());
        };
        if first.log_id.index > last.index {
            return Ok(());
        }
        let held = self.wal.read(first.log_id.index..=end.log_id.index.min(last.index), usize::MAX)?;
        let held: BTreeMap<u64, _> =
            held.into_iter().map(|(position, bytes)| (position.index, (position, bytes))).collect();
        for entry in &request.entries {
            let Some((position, bytes)) = held.get(&entry.log_id.index) else { continue };
            // Compared as values: another version may have written the same entry in other bytes.
            if *position == typ::position(&entry.log_id)
                && typ::decode_entry(position, bytes).is_ok_and(|held| held != *entry)
            {
                return Err(Danger::DifferentEntry(*position));
            }
        }
        Ok(())
    }
}

/// A leader whose own log ends before an entry that it sent in this very term has lost its disk.
fn lost_log(append: &wire::Append, here: Option<LogPosition>) -> Result<(), Refusal> {
    let leader = append.request.vote.leader_id();
    let Some(here) = here.filter(|here| here.term == leader.term && here.node == leader.node_id) else { return Ok(()) };
    match append.leader_last {
        Some(theirs) if theirs >= here => Ok(()),
        theirs => Err(Refusal::LostLog { term: leader.term, theirs, here }),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Refusal> {
    headers.get(name).and_then(|value| value.to_str().ok()).ok_or(Refusal::Header(name))
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<u64, Refusal> {
    text(headers, name)?.parse().map_err(|_| Refusal::Header(name))
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
