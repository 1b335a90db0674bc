//! A development cluster that grows while it runs, and whose removed nodes stop.
//!
//! In: a directory of a smaller cluster. Out: the same cluster with more members, each taken in as an operator would do
//! it: a join token, `cluster add`. Deliberately absent: removing nodes; `consigner cluster remove --dir` does that.

use super::layout::{Layout, Plan, node_name};
use super::supervisor::Supervisor;
use super::{CLUSTER_SIZES, DevError, Ended, io, node_config, say};
use crate::client::admin;
use crate::client::membership::{self, NewMember};
use crate::client::{CallError, ClusterClient};
use crate::files;
use http::StatusCode;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two tries of a call that may pass.
const RETRY: Duration = Duration::from_millis(200);

/// How long a new node may take to answer.
const PROBE: Duration = Duration::from_secs(2);

/// How long a join token of a development cluster lives: the node is started already.
const TOKEN_LIFETIME_S: u64 = 600;

/// How long a node may take to catch up.
const CATCH_UP_S: u64 = 120;

/// How often the membership is looked at.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// Looks in a row at which the leader does not name a node, before it is taken for removed.
const LOOKS: u32 = 3;

/// Plans for more nodes than the directory has.
pub(super) fn extend(plan: &mut Plan, nodes: u64) -> Result<(), DevError> {
    if !CLUSTER_SIZES.contains(&nodes) {
        return Err(DevError::Usage(format!("--nodes {nodes}: a cluster has 1, 3, 5 or 7 nodes")));
    }
    plan.joined = Some(plan.joined.unwrap_or(plan.nodes));
    plan.nodes = nodes;
    if plan.ports_fit() { Ok(()) } else { Err(DevError::Usage("--nodes: not enough ports above the base port".into())) }
}

/// Takes in, one after the other, the nodes that have not joined yet.
pub(super) async fn join_missing(layout: &Layout, plan: &mut Plan, admin: &ClusterClient) -> Result<(), DevError> {
    let Some(joined) = plan.joined else { return Ok(()) };
    for id in joined + 1..=plan.nodes {
        say(&format!("node {id} joins"));
        join(layout, plan, admin, id).await?;
        plan.joined = Some(id);
        layout.write_plan(plan).map_err(io("dev.json"))?;
    }
    plan.joined = None;
    layout.write_plan(plan).map_err(io("dev.json"))
}

async fn join(layout: &Layout, plan: &Plan, admin: &ClusterClient, id: u64) -> Result<(), DevError> {
    let url = format!("https://{}", plan.api_addr(id));
    while admin.only(&url).probe("/upcheck", PROBE).await != Some(StatusCode::OK) {
        tokio::time::sleep(RETRY).await;
    }
    // Nodes that are no members yet know nothing.
    let members = &members_alone(layout, plan, admin, id)?;
    loop {
        let tried = match standing(members, id).await {
            Ok(Standing::Voter) => return Ok(()),
            Ok(Standing::Learner) => membership::promote(members, id, CATCH_UP_S).await,
            Ok(Standing::Stranger) => take_in(layout, plan, members, id).await?,
            Err(error) => Err(error),
        };
        match tried {
            Ok(made) => {
                made.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
                return Ok(());
            }
            Err(error) if error.may_pass() => tokio::time::sleep(RETRY).await,
            Err(error) => return Err(error.into()),
        }
    }
}

fn members_alone(layout: &Layout, plan: &Plan, admin: &ClusterClient, id: u64) -> Result<ClusterClient, DevError> {
    let mut deployment = layout.deployment(plan);
    deployment.nodes.retain(|node| node.id < id);
    if deployment.nodes.is_empty() { Ok(admin.clone()) } else { Ok(deployment.admin()?) }
}

async fn take_in(
    layout: &Layout,
    plan: &Plan,
    members: &ClusterClient,
    id: u64,
) -> Result<Result<membership::Membership, CallError>, DevError> {
    let made = match membership::create_join_token(members, id, TOKEN_LIFETIME_S).await {
        Ok(made) => made,
        Err(error) => return Ok(Err(error)),
    };
    files::replace(&layout.join_token(id), made.token.as_bytes(), files::SECRET).map_err(io("a join token"))?;
    let new = NewMember {
        id,
        peer_addr: plan.peer_addr(id),
        api_url: format!("https://{}", plan.api_addr(id)),
        promote: true,
        catch_up_s: CATCH_UP_S,
    };
    Ok(membership::add(members, &new).await)
}

enum Standing {
    Voter,
    Learner,
    Stranger,
}

/// What the leader takes a node for.
async fn standing(members: &ClusterClient, id: u64) -> Result<Standing, CallError> {
    let (voters, learners) = leaders_view(members).await?.unwrap_or_default();
    Ok(match (voters.contains(&id), learners.contains(&id)) {
        (true, _) => Standing::Voter,
        (false, true) => Standing::Learner,
        (false, false) => Standing::Stranger,
    })
}

/// Voters and learners by the word of the leader, if one is known.
async fn leaders_view(client: &ClusterClient) -> Result<Option<(BTreeSet<u64>, BTreeSet<u64>)>, CallError> {
    let status = admin::status(client).await?;
    let leader = status.leader();
    let view = status.nodes.into_iter().find(|node| Some(node.id) == leader).and_then(|node| node.status);
    Ok(view.map(|view| (view.voters.into_iter().collect(), view.learners.into_iter().collect())))
}

/// For as long as the cluster runs: stops nodes that were members and are not any more.
pub(super) async fn tend(layout: &Layout, plan: &mut Plan, supervisor: &Supervisor) -> Result<Ended, DevError> {
    let mut known = BTreeSet::new();
    let mut missed: BTreeMap<u64, u32> = BTreeMap::new();
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        let deployment = supervisor.deployment();
        let Ok(Some((voters, learners))) = leaders_view(&deployment.admin()?).await else { continue };
        let members: BTreeSet<u64> = voters.union(&learners).copied().collect();
        missed.retain(|node, _| !members.contains(node));
        known.extend(members.iter().copied());
        for node in deployment.nodes.iter().map(|node| node.id).filter(|node| known.contains(node)) {
            if members.contains(&node) {
                continue;
            }
            let looks = missed.entry(node).or_default();
            *looks += 1;
            if *looks >= LOOKS {
                say(&format!("node {node} was removed from the cluster and is stopped"));
                supervisor.dismiss(node);
                plan.removed.insert(node);
                layout.write_plan(plan).map_err(io("dev.json"))?;
            }
        }
    }
}

/// Prepares another node beside those of a directory of `consigner dev`, configured as node 1: its certificate, its
/// directory with the join token, its configuration, whose path is the answer. Who asks for it starts
/// `consigner run --config` and adds the node.
///
/// # Errors
/// See [`DevError`]; the directory must hold a cluster.
pub fn prepare_node(dir: &Path, id: u64, join_token: &str) -> Result<PathBuf, DevError> {
    let layout = Layout::open(dir).map_err(io(&format!("directory {}", dir.display())))?;
    let plan = layout.read_plan().map_err(io("dev.json"))?;
    let plan = plan.ok_or_else(|| DevError::Usage(format!("{} holds no cluster", dir.display())))?;
    layout.certificates().ensure([node_name(id).as_str()].into_iter())?;
    node_config::write_like_first(&layout, &plan, id).map_err(io(&format!("configuration of node {id}")))?;
    files::replace(&layout.join_token(id), join_token.as_bytes(), files::SECRET).map_err(io("the join token"))?;
    Ok(layout.config(id))
}
