//! `kill -9` of all nodes at once: what was acknowledged lies on disk or is lost for ever.

use super::{FaultError, Field, HEAL_MAX};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// How often `cluster.json` is read while a quorum is awaited: the gap is measured from then.
const POLL: Duration = Duration::from_millis(10);

pub(super) async fn run(field: &mut Field<'_>) -> Result<(), FaultError> {
    let mut victims = Vec::new();
    for address in field.courier.nodes() {
        victims.push((address.node, field.cluster.pid(address.node)?));
    }
    let fault = field.begin("restart-all", &victims);
    let since = field.now();
    for (_, pid) in &victims {
        field.cluster.signal(*pid, Signal::KILL)?;
    }
    until_quorum_runs(field, &victims).await?;
    let now = field.now();
    if let Some(fault) = field.faults.get_mut(fault) {
        fault.quorum_at = now;
    }
    field.storm.challenge();
    field.until_signing(since).await?;
    field.storm.challenge();
    field.until_restarted(&victims).await?;
    field.healed(fault);
    Ok(())
}

async fn until_quorum_runs(field: &Field<'_>, victims: &[(u64, u32)]) -> Result<(), FaultError> {
    let until = Instant::now() + HEAL_MAX;
    loop {
        let mut running = 0;
        for (node, pid) in victims {
            running += usize::from(field.cluster.pid(*node)? != *pid);
        }
        if 2 * running > victims.len() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(FaultError::Late { what: "a quorum of processes", seen: format!("{running} started again") });
        }
        tokio::time::sleep(POLL).await;
    }
}
