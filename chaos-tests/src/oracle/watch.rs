//! Looks at the nodes all the time: exports and states, from each node by itself.
//!
//! In: a courier. Out: samples. A node that does not answer is asked again; a node that answers something that cannot
//! be read is remembered as a problem.

use super::courier::{Address, Courier};
use super::observation::{ExportSample, StatusSample, marks, statuses};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Between two looks at one node: often enough to see most elections, rare enough not to be the load.
const PAUSE: Duration = Duration::from_millis(600);

/// How many samples of a kind are kept; S3 compares all pairs.
const SAMPLES_MAX: usize = 4_000;

/// How many unreadable answers are kept.
const PROBLEMS_MAX: usize = 20;

/// What was seen.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Exports.
    pub exports: Vec<ExportSample>,
    /// States.
    pub statuses: Vec<StatusSample>,
    /// Answers that could not be read.
    pub problems: Vec<String>,
}

/// The watch over a cluster.
#[derive(Debug)]
pub struct Watch {
    courier: Arc<Courier>,
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Watch {
    /// Begins to look.
    #[must_use]
    pub fn start(courier: Arc<Courier>) -> Self {
        let (stop, _) = watch::channel(false);
        let watch = Self { courier, seen: Arc::default(), stop, tasks: Mutex::new(JoinSet::new()) };
        for address in watch.courier.nodes() {
            let look = look_on(watch.courier.clone(), address.clone(), watch.seen.clone(), watch.stop.subscribe());
            watch.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(look);
        }
        watch
    }

    /// Looks once at every node, now.
    pub async fn look_once(&self) {
        for address in self.courier.nodes() {
            export(&self.courier, address, &self.seen).await;
            status(&self.courier, address, &self.seen).await;
        }
    }

    /// Asks each node for the state of all; answers with what each told of itself, if it answered.
    pub async fn states(&self) -> Vec<StatusSample> {
        let mut own = Vec::new();
        for address in self.courier.nodes() {
            let told = status(&self.courier, address, &self.seen).await;
            own.extend(told.into_iter().filter(|sample| sample.node == address.node));
        }
        own
    }

    /// Looks once more and answers with the newest export.
    pub async fn newest_export(&self) -> Option<ExportSample> {
        self.look_once().await;
        self.seen().exports.into_iter().max_by_key(|export| export.asked_at)
    }

    /// What was seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops looking, after the looks that are under way.
    pub async fn stop(self) -> Seen {
        let _ended_already = self.stop.send(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
        self.seen()
    }
}

async fn look_on(courier: Arc<Courier>, address: Address, seen: Arc<Mutex<Seen>>, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        export(&courier, &address, &seen).await;
        status(&courier, &address, &seen).await;
        let _elapsed = timeout(PAUSE, stopped.changed()).await;
    }
}

async fn export(courier: &Courier, address: &Address, seen: &Mutex<Seen>) {
    let asked_at = courier.history().clock().now();
    let Ok(response) = courier.look(&address.url, "/admin/v1/history/export").await else { return };
    let answered_at = courier.history().clock().now();
    if response.status != 200 {
        return;
    }
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match marks(&response.body) {
        Ok(marks) if seen.exports.len() < SAMPLES_MAX => {
            seen.exports.push(ExportSample { node: address.node, asked_at, answered_at, marks });
        }
        Ok(_) => {}
        Err(why) => seen.problem(format!("export of node {}: {why}", address.node)),
    }
}

async fn status(courier: &Courier, address: &Address, seen: &Mutex<Seen>) -> Vec<StatusSample> {
    let Ok(response) = courier.look(&address.url, "/admin/v1/cluster/status").await else { return Vec::new() };
    if response.status != 200 {
        return Vec::new();
    }
    let told = statuses(&response.body, courier.history().clock().now());
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match told {
        Ok(told) => {
            if seen.statuses.len() < SAMPLES_MAX {
                seen.statuses.extend(told.iter().cloned());
            }
            told
        }
        Err(why) => {
            seen.problem(format!("status of node {}: {why}", address.node));
            Vec::new()
        }
    }
}

impl Seen {
    fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }
}
