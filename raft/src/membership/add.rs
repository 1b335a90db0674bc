//! Taking a node in, giving it a vote, and putting it in the place of another.

use super::identify::Identified;
use super::join_token::unexpected;
use super::view::View;
use super::{AddMember, MembershipError, MembershipRefusal, VOTERS_MAX};
use crate::cluster::Cluster;
use crate::types::Member;
use consigner_rules::{Command, Outcome};
use openraft::ChangeMembers;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Cluster {
    pub(super) async fn add_here(&self, new: &AddMember, warnings: &mut Vec<String>) -> Result<(), MembershipError> {
        let view = self.members_view();
        if new.promote && view.voters.len() >= VOTERS_MAX {
            return Err(MembershipRefusal::TooManyVoters.into());
        }
        let member = self.take_in(new, &view).await?;
        if !new.promote {
            return Ok(());
        }
        self.level_or_out(new, &member).await?;
        if let Err(error) = self.give_vote(new.node).await {
            warnings.clear();
            return Err(error);
        }
        warnings.extend(self.not_ready_yet(new.node, &member).await);
        Ok(())
    }

    pub(super) async fn replace_here(
        &self,
        old: u64,
        new: &AddMember,
        warnings: &mut Vec<String>,
    ) -> Result<(), MembershipError> {
        let view = self.members_view();
        view.member(old)?;
        if view.is_learner(old) {
            return Err(MembershipRefusal::NotVoter { node: old }.into());
        }
        let mut after: BTreeSet<u64> = view.voters.iter().copied().filter(|voter| *voter != old).collect();
        after.insert(new.node);
        // Before anything is changed. The new node, which is no member yet and so not asked, will be there: it is level.
        self.check_live_quorum(&after, &view.nodes).await?;
        if old == self.node_id() && view.voters.len() > 1 {
            return self.leave_the_lead().await;
        }
        let member = self.take_in(new, &view).await?;
        self.level_or_out(new, &member).await?;
        if old == self.node_id() {
            // The only voter: the new one must vote before it can lead.
            self.agree_members(ChangeMembers::AddVoterIds(BTreeSet::from([new.node]))).await?;
            warnings
                .push(format!("node {old} was the only voter: node {} votes now, too; remove {old} next", new.node));
            return Ok(());
        }
        self.agree_members(ChangeMembers::ReplaceAllVoters(after)).await?;
        warnings.extend(self.retire(old).await);
        warnings.extend(self.not_ready_yet(new.node, &member).await);
        Ok(())
    }

    pub(super) async fn promote_here(&self, node: u64, catch_up: Duration) -> Result<(), MembershipError> {
        let view = self.members_view();
        let member = view.member(node)?.clone();
        if !view.is_learner(node) {
            let way_out = "there is nothing to promote".to_owned();
            return Err(MembershipRefusal::IsMember { node, role: "voter".to_owned(), way_out }.into());
        }
        if view.voters.len() >= VOTERS_MAX {
            return Err(MembershipRefusal::TooManyVoters.into());
        }
        let level = self.await_level(node, &member, catch_up).await;
        level.map_err(|at| at.not_level(node, catch_up, "it stays a learner".to_owned()))?;
        self.give_vote(node).await
    }

    /// The last step: the others must have a quorum with it, and it counts from here on.
    async fn give_vote(&self, node: u64) -> Result<(), MembershipError> {
        let view = self.members_view();
        let mut after = view.voters.clone();
        after.insert(node);
        self.check_live_quorum(&after, &view.nodes).await?;
        self.agree_members(ChangeMembers::AddVoterIds(BTreeSet::from([node]))).await
    }

    /// Whether nobody has or had the id.
    pub(super) fn check_id_is_free(&self, node: u64) -> Result<(), MembershipRefusal> {
        let view = self.members_view();
        if node == 0 {
            return Err(MembershipRefusal::IdZero);
        }
        if view.is_learner(node) {
            let way_out = format!("promote it with `consigner cluster promote --id {node}`");
            return Err(MembershipRefusal::IsMember { node, role: "learner".to_owned(), way_out });
        }
        if view.nodes.contains_key(&node) {
            let way_out = "a new node needs an id that was never used".to_owned();
            return Err(MembershipRefusal::IsMember { node, role: "voter".to_owned(), way_out });
        }
        if self.read(|state| state.node_record(node).is_some_and(|record| record.retired)) {
            return Err(MembershipRefusal::IdUsed { node });
        }
        Ok(())
    }

    /// From an address to a learner.
    async fn take_in(&self, new: &AddMember, view: &View) -> Result<Member, MembershipError> {
        self.check_id_is_free(new.node)?;
        check_not_taken(view, "peer address", &new.peer_addr, |member| &member.peer_addr)?;
        let (identified, question) = self.ask_who(new.node, &new.peer_addr).await?;
        let member = check_identity(new, &identified)?;
        check_not_taken(view, "name", &member.name, |member| &member.name)?;
        if !member.api_url.is_empty() {
            check_not_taken(view, "API URL", &member.api_url, |member| &member.api_url)?;
        }
        let needed = self.read(consigner_rules::State::rules_version);
        if identified.rules_max < needed {
            let Identified { version, rules_max: knows, .. } = identified;
            return Err(MembershipRefusal::RulesTooOld { node: new.node, version, knows, needed }.into());
        }
        let incarnation = incarnation(&member.incarnation)?;
        let held = self.read(|state| state.node_record(new.node).map(|record| record.incarnation));
        match held {
            // Admitted before, by a leader that did not come to the second step.
            Some(Some(held)) if held == incarnation => {}
            Some(_) => return Err(MembershipRefusal::IdUsed { node: new.node }.into()),
            None => {
                let token = self.token_shown(&identified, &question)?;
                self.admit(new.node, &member, incarnation, token).await?;
            }
        }
        self.agree_members(ChangeMembers::AddNodes(BTreeMap::from([(new.node, member.clone())]))).await?;
        Ok(member)
    }

    async fn admit(
        &self,
        node: u64,
        member: &Member,
        incarnation: [u8; 16],
        token: [u8; 8],
    ) -> Result<(), MembershipError> {
        let command = Command::AdmitNode { node, name: member.name.clone(), incarnation, token };
        let outcome = self.propose_one(command).await?;
        if outcome == Outcome::NodeAdmitted { Ok(()) } else { Err(unexpected(&outcome)) }
    }

    /// Waits until the new learner is level; one that is not in time goes again.
    async fn level_or_out(&self, new: &AddMember, member: &Member) -> Result<(), MembershipError> {
        let node = new.node;
        let Err(at) = self.await_level(node, member, new.catch_up).await else { return Ok(()) };
        self.agree_members(ChangeMembers::RemoveNodes(BTreeSet::from([node]))).await?;
        let unnoted = self.retire(node).await.map(|why| format!(" ({why})")).unwrap_or_default();
        let then = format!(
            "it was removed again, and its id is used up; find out why, or give it more time (--catch-up), and add it \
             with an empty data directory, another id and another join token{unnoted}"
        );
        Err(at.not_level(node, new.catch_up, then))
    }

    /// What a new voter is still about: its keys open by its own sealers, and adding does not wait for them.
    async fn not_ready_yet(&self, node: u64, member: &Member) -> Option<String> {
        let why = match self.look_at(node, member).await {
            Ok(status) => status.description.not_ready.or(status.not_ready)?,
            Err(why) => why,
        };
        Some(format!("node {node} votes, but does not serve yet: {why}"))
    }
}

fn check_not_taken(
    view: &View,
    what: &str,
    value: &str,
    of: impl Fn(&Member) -> &String,
) -> Result<(), MembershipRefusal> {
    match view.nodes.iter().find(|(_, member)| of(member) == value) {
        Some((member, _)) => {
            Err(MembershipRefusal::Taken { member: *member, what: what.to_owned(), value: value.to_owned() })
        }
        None => Ok(()),
    }
}

/// What the node says about itself against what the operator says about it.
fn check_identity(new: &AddMember, identified: &Identified) -> Result<Member, MembershipRefusal> {
    let (node, member) = (new.node, &identified.member);
    let differs = |what: &str, configured: &str, asked: &str| MembershipRefusal::Configured {
        node,
        what: what.to_owned(),
        configured: configured.to_owned(),
        asked: asked.to_owned(),
    };
    if member.peer_addr != new.peer_addr {
        return Err(differs("peer.advertise", &member.peer_addr, &new.peer_addr));
    }
    if !new.api_url.is_empty() && member.api_url != new.api_url {
        return Err(differs("api.advertise-url", &member.api_url, &new.api_url));
    }
    if !identified.fresh {
        return Err(MembershipRefusal::NotFresh { node });
    }
    Ok(member.clone())
}

fn incarnation(hexadecimal: &str) -> Result<[u8; 16], MembershipError> {
    let decoded = hex::decode(hexadecimal).ok().and_then(|bytes| bytes.try_into().ok());
    decoded.ok_or_else(|| MembershipRefusal::Rejected("the node tells no incarnation of its disk".to_owned()).into())
}
