//! `kill -9` of the leader: the others elect, the supervisor starts it again.

use super::{FaultError, Field};
use rustix::process::Signal;

pub(super) async fn run(field: &mut Field<'_>) -> Result<(), FaultError> {
    let leader = field.leader().await?;
    let fault = field.begin("kill-leader", &[leader]);
    let since = field.now();
    field.cluster.signal(leader.1, Signal::KILL)?;
    // Rivals of what the dead leader may have answered a moment ago wait for its successor.
    field.storm.challenge();
    field.until_signing(since).await?;
    field.storm.challenge();
    field.until_restarted(&[leader]).await?;
    field.healed(fault);
    Ok(())
}
