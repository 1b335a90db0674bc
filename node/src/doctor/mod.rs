//! `consigner doctor`: a configuration or a live cluster beside the security guidelines, point by point.
//!
//! ```text
//! file --plan--> offline --.                         .--> render (people)
//! machine, process ------- +--> checks --> Findings --> Report
//! cluster --live, probe ---'                         '--> JSON, exit code
//! ```
//! | module | what it owns |
//! |---|---|
//! | [`points`] | every point once: stable name, group, title |
//! | [`checks`] | judgement: small functions over plain values, each with its table of cases |
//! | [`plan`], [`doors`], [`secrets`] | a configuration, its doors and its secret files |
//! | [`host`] | what the machine says: `/proc`, `/sys`, owners and modes |
//! | [`probe`] | doors as a stranger sees them |
//! | [`offline`], [`local`], [`live`], [`record`] | gather for the checks: from a file, the machine, a cluster, the audit |
//! | [`finding`], [`render`] | the report |
//!
//! In: a file, a directory of `consigner dev`, or endpoints. Out: a [`Report`]. A point that cannot be looked at is SKIP
//! with the reason, never a silent pass. Deliberately absent: any change of anything.

pub mod checks;
pub mod doors;
pub mod finding;
pub mod host;
pub mod live;
pub mod local;
pub mod offline;
pub mod plan;
pub mod points;
pub mod probe;
pub mod record;
pub mod render;
pub mod secrets;
pub mod x509;

pub use finding::{Finding, Report, Status, Verdict};

use crate::client::{ClusterClient, Deployment, NodeEntry};
use checks::cluster;
use host::Host;
use plan::{Plan, PlanError};
use std::path::Path;

/// Name of a node's configuration beside its data, as `consigner dev` lays it out.
const DEV_CONFIG: &str = "config.yaml";

/// Examines one configuration, and the machine that it is read on.
///
/// # Errors
/// The file cannot be read.
pub async fn configuration(file: &Path, variables: &[(String, String)], host: &Host) -> Result<Report, PlanError> {
    let plan = Plan::read(file, variables)?;
    let pid = plan.path("node.pid-file").and_then(|file| std::fs::read_to_string(file).ok());
    let pid = pid.and_then(|text| text.trim().parse().ok());
    let mut findings = offline::examine(&plan, None);
    findings.extend(of_machine(host, &plan, pid));
    findings.extend(local::machine_of(host).await);
    let why = "one configuration shows no cluster: ask it with --endpoint or --dir";
    let cluster = [
        &points::REACHED,
        &points::SIZE,
        &points::READY,
        &points::VERSIONS,
        &points::STATE,
        &points::CLOCKS,
        &points::ARCHIVE_EQUAL,
        &points::ARCHIVE_LAG,
    ];
    findings.extend(cluster.map(|point| Verdict::skip(why).on(point, live::CLUSTER)));
    findings.push(lease(std::slice::from_ref(&plan)));
    findings.push(record::verified(&plan, None).await);
    Ok(Report::new(file.display().to_string(), findings))
}

/// Examines a running cluster through its endpoints alone.
pub async fn endpoints(client: &ClusterClient) -> Report {
    let asked = live::examine(client).await;
    let why = "machines and configurations are not seen through endpoints: run doctor on each node with --config";
    let mut findings = asked.findings;
    let seen: Vec<&str> = findings.iter().map(|finding| finding.id).collect();
    let unseen: Vec<_> = points::POINTS.iter().filter(|point| !seen.contains(&point.id)).collect();
    findings.extend(unseen.into_iter().map(|point| Verdict::skip(why).on(point, live::CLUSTER)));
    Report::new(client.endpoints().join(","), findings)
}

/// Examines a cluster of `consigner dev`: configurations, machine, processes, and the running nodes.
///
/// # Errors
/// A node's configuration cannot be read.
pub async fn directory(
    dir: &Path,
    deployment: &Deployment,
    client: &ClusterClient,
    host: &Host,
) -> Result<Report, PlanError> {
    let live::Asked { policy, mut findings } = live::examine(client).await;
    // The files behind the doors show more of certificates than the doors.
    findings.retain(|finding| finding.id != points::LIFETIMES.id);
    let anchors = crate::client::audit::anchors(client).await.ok().map(|found| found.anchors);
    let mut plans = Vec::new();
    for node in &deployment.nodes {
        let plan = Plan::read(&config_of(node), &[])?;
        // Whether a policy is applied is a question to the cluster, which was asked (or did not answer).
        let of_plan = offline::examine(&plan, policy);
        let is_about_plan = |finding: &Finding| ![points::POLICY.id, points::TOKENS.id].contains(&finding.id);
        findings.extend(of_plan.into_iter().filter(is_about_plan));
        findings.extend(of_machine(host, &plan, Some(node.pid)));
        findings.push(record::verified(&plan, anchors.clone()).await);
        plans.push(plan);
    }
    findings.extend(local::machine_of(host).await);
    findings.push(lease(&plans));
    Ok(Report::new(dir.display().to_string(), findings))
}

fn config_of(node: &NodeEntry) -> std::path::PathBuf {
    node.data_dir.parent().unwrap_or(&node.data_dir).join(DEV_CONFIG)
}

fn of_machine(host: &Host, plan: &Plan, pid: Option<u32>) -> Vec<Finding> {
    let mut findings = vec![local::volume_of(host, &plan.name, plan.path("node.data-dir").as_deref())];
    findings.extend(local::process_of(host, &plan.name, pid));
    findings
}

/// `raft.lease` of all: a deletion or a policy change waits for the longest, and each node knows its own only.
fn lease(plans: &[Plan]) -> Finding {
    let of = |plan: &Plan| Some((plan.name.clone(), plan.text("raft.lease")?));
    let verdict =
        cluster::equal("raft.lease", &plans.iter().filter_map(of).collect(), "the same raft.lease on all nodes");
    let verdict = match verdict.status {
        Status::Pass if plans.len() < 2 => {
            Verdict::skip(format!("{} here; it must be so on all nodes", verdict.reason))
        }
        Status::Pass | Status::Skip | Status::Warn | Status::Fail => verdict,
    };
    verdict.on(&points::LEASE, live::CLUSTER)
}
