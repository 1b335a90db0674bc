//! Keeps the nodes running, tells in `cluster.json` who they are, and stops them all at once.

use super::child::{Running, last_words};
use super::layout::Layout;
use super::say;
use crate::client::Deployment;
use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Between a node's death and its next start (DESIGN 11: "after about 2 seconds").
const RESTART_PAUSE: Duration = Duration::from_secs(2);

/// A node has 10 s to stop by itself; the supervisor has 15 s for everything.
const STOP_PATIENCE: Duration = Duration::from_secs(12);

/// The running nodes.
pub struct Supervisor {
    shared: Arc<Shared>,
    keepers: JoinSet<()>,
}

struct Shared {
    layout: Layout,
    deployment: Mutex<Deployment>,
    stop: CancellationToken,
    /// By node id: ends the watch over one node.
    dismissals: Mutex<BTreeMap<u64, CancellationToken>>,
}

impl Supervisor {
    /// Starts every node of the deployment and writes `cluster.json`.
    ///
    /// # Errors
    /// A process that cannot be started, or the file cannot be written; nothing is left running then.
    pub fn start(layout: Layout, mut deployment: Deployment) -> std::io::Result<Self> {
        let mut started = Vec::new();
        for node in &mut deployment.nodes {
            let running = Running::start(&layout, node.id)?;
            node.pid = running.pid;
            started.push((node.id, running));
        }
        deployment.write(&layout.dir).map_err(std::io::Error::other)?;
        let deployment = Mutex::new(deployment);
        let stop = CancellationToken::new();
        let dismissals = started.iter().map(|(id, _)| (*id, stop.child_token())).collect();
        let shared = Arc::new(Shared { layout, deployment, stop, dismissals: Mutex::new(dismissals) });
        let mut keepers = JoinSet::new();
        for (id, running) in started {
            keepers.spawn(keep(shared.clone(), id, running));
        }
        Ok(Self { shared, keepers })
    }

    /// Who runs now.
    #[must_use]
    pub fn deployment(&self) -> Deployment {
        self.shared.deployment.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops one node for good; it is in `cluster.json` no more.
    pub fn dismiss(&self, id: u64) {
        self.shared.forget(id);
        let dismissals = self.shared.dismissals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dismissal) = dismissals.get(&id) {
            dismissal.cancel();
        }
    }

    /// Stops all nodes in parallel; returns when the last one is gone.
    pub async fn stop(mut self) {
        self.shared.stop.cancel();
        while self.keepers.join_next().await.is_some() {}
    }
}

/// Watches one node until the stop.
async fn keep(shared: Arc<Shared>, id: u64, mut running: Running) {
    let dismissed = shared.dismissal(id);
    loop {
        let ended = tokio::select! {
            ended = running.wait() => ended,
            () = dismissed.cancelled() => return stop(id, running).await,
        };
        say(&format!("node {id} (pid {}) ended: {}", running.pid, obituary(&shared.layout, id, ended)));
        running = loop {
            tokio::select! {
                () = tokio::time::sleep(RESTART_PAUSE) => {}
                () = dismissed.cancelled() => return,
            }
            match Running::start(&shared.layout, id) {
                Ok(running) => break running,
                Err(error) => say(&format!("node {id} cannot be started: {error}")),
            }
        };
        say(&format!("node {id} runs again, pid {}", running.pid));
        shared.publish(id, running.pid);
    }
}

/// How a node ended; a node that gave up by itself said why in its log.
fn obituary(layout: &Layout, id: u64, ended: std::io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) if status.code().is_some_and(|code| code != 0) => {
            let words = last_words(layout, id).map(|words| format!(", its log ends with: {words}"));
            format!("{status}{}", words.unwrap_or_default())
        }
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

async fn stop(id: u64, mut running: Running) {
    running.terminate();
    if tokio::time::timeout(STOP_PATIENCE, running.wait()).await.is_err() {
        say(&format!("node {id} did not stop within {} s and is killed", STOP_PATIENCE.as_secs()));
        running.kill();
        let _reaped = running.wait().await;
    }
}

impl Shared {
    /// Cancelled when the node is dismissed, or all are.
    fn dismissal(&self, id: u64) -> CancellationToken {
        let dismissals = self.dismissals.lock().unwrap_or_else(PoisonError::into_inner);
        dismissals.get(&id).map_or_else(|| self.stop.child_token(), CancellationToken::clone)
    }

    fn forget(&self, id: u64) {
        let mut deployment = self.deployment.lock().unwrap_or_else(PoisonError::into_inner);
        deployment.nodes.retain(|node| node.id != id);
        if let Err(error) = deployment.write(&self.layout.dir) {
            say(&crate::report::one_line(&error));
        }
    }

    fn publish(&self, id: u64, pid: u32) {
        let mut deployment = self.deployment.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = deployment.nodes.iter_mut().find(|node| node.id == id) {
            node.pid = pid;
        }
        // Under the lock, so that the file never goes back to an older list.
        if let Err(error) = deployment.write(&self.layout.dir) {
            say(&crate::report::one_line(&error));
        }
    }
}
