//! Who may call, and what an append must satisfy before openraft sees it.
//!
//! In: headers, the name in the caller's certificate, appends. Out: a refusal with its reason, or the caller's id.
//! Some situations stop this node, because going on could lose a record: see [`Danger`] and [`Refusal::is_our_end`].

use crate::entry_gate::boots::{BootRefusal, Boots};
use crate::entry_gate::floors::Behind;
use crate::entry_gate::way_out;
use crate::machine::Shared;
use crate::peer::link::Me;
use crate::peer::wire;
use crate::typ::{self, AppendRequest};
use crate::types::Member;
use consigner_storage::log::{Wal, WalError};
use consigner_storage::{Boot, LogPosition};
use http::{HeaderMap, StatusCode};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
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
    /// Another start of the caller's id serves at its address.
    #[error(
        "another start of node {node} serves at {address}: two copies of one disk; this one waits until that one ends"
    )]
    TwoStarts {
        /// The id.
        node: u64,
        /// Where the other one answers.
        address: String,
    },
    /// Not a start that is listened to.
    #[error(transparent)]
    Boot(#[from] BootRefusal),
    /// The caller's disk does not hold what it acknowledged.
    #[error(
        "the disk of node {node} went back: its log ends at {last:?} in term {term}, but it acknowledged {:?} in term {}; {}",
        behind.floor, behind.term, way_out(*node)
    )]
    RolledBack {
        /// The node.
        node: u64,
        /// Where its log ends.
        last: Option<LogPosition>,
        /// Term of its vote.
        term: u64,
        /// What it acknowledged.
        behind: Behind,
    },
    /// The caller means another disk than this node has.
    #[error(
        "node {here} was admitted with disk {meant}, this is disk {disk}: the disk was wiped or exchanged; {}",
        way_out(*here)
    )]
    OtherDisk {
        /// This node.
        here: u64,
        /// The incarnation in the caller's membership.
        meant: String,
        /// This one's.
        disk: String,
        /// Whether this node's own membership bears the caller out, or says nothing.
        is_ours: bool,
    },
    /// A leader calls a node that believes to be the only voter.
    #[error(
        "node {leader} leads this cluster, but the disk of node {here} knows only itself: it is from before the cluster \
         grew; {}",
        way_out(*here)
    )]
    Outgrown {
        /// The caller.
        leader: u64,
        /// This node.
        here: u64,
    },
    /// This node has just started.
    #[error("{0}")]
    Starting(String),
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

impl Refusal {
    /// The status that tells the caller what to make of it. [`StatusCode::GONE`]: the caller must stop.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Boot(BootRefusal::Memory(_)) | Self::OtherDisk { .. } | Self::Outgrown { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Boot(BootRefusal::NotLetIn { .. }) => StatusCode::TOO_EARLY,
            Self::Boot(BootRefusal::Wiped { .. } | BootRefusal::Older { .. } | BootRefusal::Copied { .. })
            | Self::RolledBack { .. } => StatusCode::GONE,
            Self::TwoStarts { .. } | Self::Starting(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::LostLog { .. } => StatusCode::CONFLICT,
            Self::Header(_)
            | Self::Protocol { .. }
            | Self::OtherCluster { .. }
            | Self::Misdirected { .. }
            | Self::OwnId(_)
            | Self::Certificate { .. }
            | Self::NotMember(_) => StatusCode::FORBIDDEN,
        }
    }

    /// Whether it is this node that must stop.
    pub fn is_our_end(&self) -> bool {
        match self {
            Self::Boot(BootRefusal::Memory(_)) | Self::Outgrown { .. } => true,
            Self::OtherDisk { is_ours, .. } => *is_ours,
            Self::Boot(_)
            | Self::RolledBack { .. }
            | Self::TwoStarts { .. }
            | Self::Starting(_)
            | Self::LostLog { .. }
            | Self::Header(_)
            | Self::Protocol { .. }
            | Self::OtherCluster { .. }
            | Self::Misdirected { .. }
            | Self::OwnId(_)
            | Self::Certificate { .. }
            | Self::NotMember(_) => false,
        }
    }
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
    boots: Arc<Boots>,
    /// Per node the start that last sent an append, and the number of its newest.
    appends: Mutex<BTreeMap<u64, (Boot, u64)>>,
    /// What each member last said who the members are. It may know of some that joined while this node was away.
    told: Mutex<BTreeMap<u64, BTreeMap<u64, Member>>>,
}

/// A caller that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// Its node id.
    pub node: u64,
    /// Which start of it.
    pub boot: Boot,
    /// Number of the call within its process.
    pub sequence: u64,
}

impl Guard {
    /// Knows nobody yet.
    pub fn new(me: Me, wal: Arc<Wal>, shared: Arc<Shared>, boots: Arc<Boots>) -> Self {
        Self { me, wal, shared, boots, appends: Mutex::default(), told: Mutex::default() }
    }

    /// Takes the word of a member for who the members are. It counts only for those whom this node does not know, and
    /// until it does: a node that was away while another joined must be able to follow that one.
    pub fn learn_members(&self, from: u64, members: BTreeMap<u64, Member>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(from, members);
    }

    /// The members by the word of others, but for those whose ids are used up.
    pub fn told_members(&self) -> BTreeMap<u64, Member> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_gone =
            |node: u64| self.shared.read(|state| state.node_record(node).is_some_and(|record| record.retired));
        told.into_values().flatten().filter(|(node, _)| !is_gone(*node)).collect()
    }

    /// A member by the word of another.
    fn told_of(&self, node: u64) -> Option<Member> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.values().find_map(|members| members.get(&node).cloned())
    }

    /// Lets a caller of `path` in or says why not. `certificate` is the name in its certificate. The first start of a
    /// member that nothing was known of is remembered, which blocks for a disk write.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn admit(&self, certificate: &str, headers: &HeaderMap, path: &str) -> Result<Admitted, Refusal> {
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
        let incarnation = self.check_member(node, certificate, path)?;
        self.check_disk(headers)?;
        let boot = Boot::parse(text(headers, wire::HEADER_INCARNATION)?, text(headers, wire::HEADER_BOOT)?);
        let boot = boot.ok_or(Refusal::Header(wire::HEADER_BOOT))?;
        let sequence = number(headers, wire::HEADER_SEQUENCE)?;
        if let Some(incarnation) = incarnation {
            if wire::is_for_members_let_in(path) {
                self.boots.check(node, &boot, &incarnation)?;
            } else {
                self.boots.judge(node, &boot, &incarnation)?;
            }
        }
        Ok(Admitted { node, boot, sequence })
    }

    /// The caller may know this node by another disk: then this one was wiped, whatever it believes of itself.
    fn check_disk(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(meant) = headers.get(wire::HEADER_TO_INCARNATION) else { return Ok(()) };
        let meant = meant.to_str().map_err(|_| Refusal::Header(wire::HEADER_TO_INCARNATION))?;
        let disk = self.me.boot.incarnation_hex();
        if meant == disk {
            return Ok(());
        }
        let here = self.me.node_id;
        let is_ours =
            self.member(here).is_none_or(|member| !member.incarnation.is_empty() && member.incarnation != disk);
        Err(Refusal::OtherDisk { here, meant: meant.to_owned(), disk, is_ours })
    }

    /// Answers the incarnation in the membership. Before one is known (a fresh node), any certificate of the peer CA may
    /// bring it, and `None` is answered.
    fn check_member(&self, node: u64, certificate: &str, path: &str) -> Result<Option<String>, Refusal> {
        let here = self.me.node_id;
        let called = |member: &Member| {
            if member.name == certificate {
                return Ok(Some(member.incarnation.clone()));
            }
            Err(Refusal::Certificate { node, member: member.name.clone(), certificate: certificate.to_owned() })
        };
        self.shared.read_standing(|state, standing| {
            let membership = standing.membership.membership();
            if membership.nodes().next().is_none() {
                return Ok(None);
            }
            if let Some(member) = membership.get_node(&node) {
                return called(member);
            }
            let record = state.node_record(node);
            if record.is_none_or(|record| !record.retired)
                && let Some(member) = self.told_of(node)
            {
                return called(&member);
            }
            // Only a leader sends these. A member that was removed may not know it yet, but leads nobody.
            let leads = matches!(path, wire::APPEND | wire::SNAPSHOT);
            if leads && membership.voter_ids().eq([here]) && record.is_none() {
                return Err(Refusal::Outgrown { leader: node, here });
            }
            Err(Refusal::NotMember(node))
        })
    }

    /// A member of the applied membership; `None` also before one is known.
    pub fn member(&self, node: u64) -> Option<Member> {
        self.shared.read_standing(|_, standing| standing.membership.membership().get_node(&node).cloned())
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
        let mut appends = self.appends.lock().unwrap_or_else(PoisonError::into_inner);
        let (boot, last) = appends.entry(from.node).or_insert((from.boot, 0));
        if *boot != from.boot {
            (*boot, *last) = (from.boot, 0);
        }
        let newest = from.sequence >= *last;
        *last = (*last).max(from.sequence);
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
