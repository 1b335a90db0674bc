//! The audit record beside a node, verified as `consigner audit verify` does it.

use super::checks::access;
use super::finding::{Finding, Verdict};
use super::plan::Plan;
use super::points;
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
            let expect = Expect { anchors, ..Expect::default() };
            match tokio::task::spawn_blocking(move || verify(&dir, &expect, &mut |_, _| ())).await {
                Ok(verified) => access::record(&verified, was_asked),
                Err(error) => Verdict::skip(format!("reading was interrupted: {error}")),
            }
        }
    };
    verdict.on(&points::AUDIT_VERIFIED, &plan.name)
}

fn directory(plan: &Plan) -> Option<PathBuf> {
    plan.path("audit.dir").or_else(|| plan.path("node.data-dir").map(|dir| dir.join(DIRECTORY)))
}
