//! The first members of a cluster: asked who they are before the membership is written, so that each is bound to its
//! disk from the beginning.

use super::MembershipError;
use super::identify::Identified;
use crate::cluster::Cluster;
use crate::propose::InitialiseError;
use crate::types::Member;
use std::collections::BTreeMap;

impl Cluster {
    /// The members, each with the incarnation of its disk.
    ///
    /// # Errors
    /// One gives no answer yet, or is not who the list says, or has a past.
    pub(crate) async fn identify_founders(
        &self,
        members: BTreeMap<u64, Member>,
    ) -> Result<BTreeMap<u64, Member>, InitialiseError> {
        let asked = members.into_iter().map(|(node, member)| async move {
            let asked = self.ask_who(node, &member.peer_addr).await;
            let (identified, _) = asked.map_err(|error| {
                if let MembershipError::Refused(refusal) = &error {
                    InitialiseError::Members(refusal.to_string())
                } else {
                    InitialiseError::Unavailable(error.to_string())
                }
            })?;
            founder(node, member, identified)
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }
}

fn founder(node: u64, member: Member, identified: Identified) -> Result<(u64, Member), InitialiseError> {
    let theirs = identified.member;
    if theirs.name != member.name {
        return Err(InitialiseError::Members(format!(
            "node {node} at {} is configured with the name {}, not {}",
            member.peer_addr, theirs.name, member.name
        )));
    }
    if !identified.fresh {
        return Err(InitialiseError::Members(format!(
            "node {node} at {} is not fresh: its data directory holds a log or a state; give it an empty one",
            member.peer_addr
        )));
    }
    Ok((node, Member { incarnation: theirs.incarnation, ..member }))
}
