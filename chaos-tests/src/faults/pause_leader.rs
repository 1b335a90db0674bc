//! SIGSTOP of the leader, SIGCONT after five seconds: the others elect, the old one wakes up believing that it leads.

use super::{FaultError, Field};
use rustix::process::Signal;
use std::time::Duration;

/// Far beyond every election timeout and lease, so that the old leader wakes up in another world.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn run(field: &mut Field<'_>) -> Result<(), FaultError> {
    let leader = field.leader().await?;
    let fault = field.begin("pause-leader", &[leader]);
    field.cluster.signal(leader.1, Signal::STOP)?;
    let since = field.now();
    field.storm.challenge();
    // Not synchronisation: the length of the pause is the fault.
    tokio::time::sleep(PAUSE).await;
    let thaw = field.begin("thaw-leader", &[leader]);
    field.cluster.signal(leader.1, Signal::CONT)?;
    // The old leader has rivals waiting in its sockets and in its own log.
    field.storm.challenge();
    field.until_signing(since).await?;
    field.until_signing(field.now()).await?;
    field.until_restarted(&[]).await?;
    field.healed(fault);
    field.healed(thaw);
    Ok(())
}
