//! From started processes to a cluster that serves: initialise once, then wait until every node is ready.

use super::layout::{Layout, Plan, node_name};
use super::supervisor::Supervisor;
use super::{DevError, say};
use crate::cli::output;
use crate::client::admin;
use crate::client::{CallError, ClusterClient};
use bytes::Bytes;
use http::{Method, StatusCode};
use std::time::{Duration, Instant};

/// How often a node that is not ready is asked again.
const POLL: Duration = Duration::from_millis(50);

/// A node on loopback that takes longer than this to answer is busy starting.
const PROBE: Duration = Duration::from_secs(2);

/// How often the wait is explained.
const EXPLAIN: Duration = Duration::from_secs(10);

/// Returns once `/ready` is 200 on every node, after saying so on a line that begins with `ready`.
///
/// # Errors
/// The cluster refuses to be initialised, or a file cannot be written. Nodes that do not answer are waited for.
pub async fn until_ready(layout: &Layout, plan: &mut Plan, supervisor: &Supervisor) -> Result<(), DevError> {
    let begun = Instant::now();
    let admin = supervisor.deployment().admin()?;
    if !plan.initialised {
        initialise(plan, &admin).await?;
        plan.initialised = true;
        layout.write_plan(plan).map_err(super::io("dev.json"))?;
    }
    super::growth::join_missing(layout, plan, &admin).await?;
    let mut explained = Instant::now();
    loop {
        let missing = not_ready(&admin).await;
        if missing.is_empty() {
            break;
        }
        if explained.elapsed() > EXPLAIN {
            explained = Instant::now();
            say(&format!("waiting for {}", missing.join("; ")));
        }
        tokio::time::sleep(POLL).await;
    }
    let deployment = supervisor.deployment();
    output::line(&format!(
        "ready: {} nodes after {:.1} s: {}",
        deployment.nodes.len(),
        begun.elapsed().as_secs_f64(),
        deployment.endpoints().join(" ")
    ));
    Ok(())
}

/// The nodes that are not ready, each with its reason.
async fn not_ready(admin: &ClusterClient) -> Vec<String> {
    let mut missing = Vec::new();
    for endpoint in admin.endpoints() {
        let answer = admin.only(endpoint).call(Method::GET, "/ready", &[], Bytes::new(), PROBE).await;
        match answer {
            Ok(answer) if answer.response.status == StatusCode::OK => {}
            Ok(answer) => missing.push(format!("{endpoint}: {}", answer.message())),
            Err(error) => missing.push(crate::report::one_line(&error)),
        }
    }
    missing
}

/// Makes the nodes a cluster, through node 1, once all of them answer.
async fn initialise(plan: &Plan, admin: &ClusterClient) -> Result<(), DevError> {
    for endpoint in admin.endpoints() {
        let node = admin.only(endpoint);
        while node.probe("/upcheck", PROBE).await != Some(StatusCode::OK) {
            tokio::time::sleep(POLL).await;
        }
    }
    let members: Vec<admin::InitMember> = (1..=plan.nodes)
        .map(|id| admin::InitMember {
            id,
            name: node_name(id),
            peer_addr: plan.peer_addr(id),
            api_url: format!("https://{}", plan.api_addr(id)),
        })
        .collect();
    let Some(first) = admin.endpoints().first() else { return Err(CallError::NoEndpoint.into()) };
    let first = admin.only(first);
    loop {
        match admin::initialise(&first, &members).await {
            Ok(_) => return Ok(()),
            // The node may have died between its answer to /upcheck and now; it is started again.
            Err(CallError::Unreachable(_)) => tokio::time::sleep(POLL).await,
            // An earlier call was agreed although its answer, or this command's note of it, was lost.
            Err(CallError::Status { status: StatusCode::CONFLICT, .. }) => return Ok(()),
            // No quorum came together yet; the call may be repeated.
            Err(CallError::Status { status: StatusCode::SERVICE_UNAVAILABLE, .. }) => tokio::time::sleep(POLL).await,
            Err(error) => return Err(error.into()),
        }
    }
}
