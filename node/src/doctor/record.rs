//! The audit record beside a node, verified as `consigner audit verify` does it.

use super::checks::access;
use super::finding::{Finding, Status, Verdict};
use super::plan::Plan;
use super::points;
use consigner_rules::primitives::ClusterId;
use consigner_storage::audit::{Anchor, Expect, verify};
use std::path::PathBuf;

/// Name of the directory below the data directory, where no other is set.
const DIRECTORY: &str = "audit";

/// Verifies the record of a node; `anchors` are what the cluster remembers of it, if it was asked. Reads all of it.
pub async fn verified(plan: &Plan, anchors: Option<Vec<Anchor>>) -> Finding {
    let directory = directory(plan).filter(|_| plan.switch("audit.enabled"));
    let verdict = match directory {
        None if !plan.switch("audit.enabled") => Verdict::skip("no record is kept"),
        None => Verdict::skip("node.data-dir is not set"),
        Some(dir) => {
            let was_asked = anchors.is_some();
            let (node, files_max) = (plan.number("node.id"), plan.number("audit.files-max"));
            let cluster = plan.text("cluster.id").and_then(|text| text.parse::<ClusterId>().ok()).map(|id| id.0);
            let expect = Expect { anchors, node, cluster, files_max, ..Expect::default() };
            match tokio::task::spawn_blocking(move || verify(&dir, &expect, &mut |_, _| ())).await {
                Ok(verified) => uncompared(access::record(&verified, was_asked), was_asked),
                Err(error) => Verdict::skip(format!("reading was interrupted: {error}")),
            }
        }
    };
    verdict.on(&points::AUDIT_VERIFIED, &plan.name)
}

/// A chain that holds by itself proves nothing against somebody with the node's key.
fn uncompared(verdict: Verdict, was_asked: bool) -> Verdict {
    match verdict.status {
        Status::Pass if !was_asked => Verdict::warn(verdict.reason, COMPARE),
        Status::Pass | Status::Warn | Status::Fail | Status::Skip => verdict,
    }
}

/// What is left to do where the cluster was not asked.
const COMPARE: &str = "`consigner audit verify --config FILE --endpoint URL,URL`, with other nodes' URLs";

fn directory(plan: &Plan) -> Option<PathBuf> {
    plan.path("audit.dir").or_else(|| plan.path("node.data-dir").map(|dir| dir.join(DIRECTORY)))
}
