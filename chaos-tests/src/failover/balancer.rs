//! Sends clients to the nodes that say they are ready, as a load balancer does.
//!
//! In: `/ready` of every node, often. Out: the doors. A node that does not answer is left out, too.

use crate::oracle::Courier;
use crate::oracle::courier::Address;
use crate::storm::Doors;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Between two looks: well within the drain delay.
const LOOK: Duration = Duration::from_millis(200);

/// A node that takes longer is not sent to.
const ANSWER_MAX: Duration = Duration::from_millis(400);

/// A running balancer; ends when dropped.
pub struct Balancer {
    _running: JoinSet<()>,
}

impl Balancer {
    /// Begins to look.
    pub fn start(courier: Arc<Courier>, doors: Doors) -> Self {
        let mut running = JoinSet::new();
        running.spawn(watch(courier, doors));
        Self { _running: running }
    }
}

async fn watch(courier: Arc<Courier>, doors: Doors) {
    loop {
        let looks = courier.nodes().iter().map(|address| is_ready(&courier, address));
        let answers = futures::future::join_all(looks).await;
        let ready: Vec<u64> = answers.into_iter().flatten().collect();
        // With nobody ready all are as good as any: during an election requests wait at the nodes.
        if !ready.is_empty() {
            doors.set(&ready);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn is_ready(courier: &Courier, address: &Address) -> Option<u64> {
    let answer = timeout(ANSWER_MAX, courier.look(&address.url, "/ready")).await.ok()?.ok()?;
    (answer.status == 200).then_some(address.node)
}
