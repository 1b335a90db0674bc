//! Sends many requests at one time over kept-alive connections to all nodes, and measures each.

use crate::client::ClusterClient;
use crate::client::signing::{Chain, Duty, Signed, sign};
use crate::report::one_line;
use consigner_rules::Signature;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Latencies up to a minute in microseconds, three digits.
const LATENCY_MAX_US: u64 = 60_000_000;

/// What became of the requests of one duty.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Microseconds from the first byte sent to the last received.
    pub latency: Histogram<u64>,
    /// Signatures received.
    pub signed: u64,
    /// Requests without one.
    pub errors: u64,
    /// Why, for the first of them.
    pub first_error: Option<String>,
    /// From the first request to the last answer, summed over bursts.
    pub elapsed: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        Self { latency: empty_histogram(), signed: 0, errors: 0, first_error: None, elapsed: Duration::ZERO }
    }
}

/// A histogram for one minute at most; the bounds are constants that are known to be good.
fn empty_histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "constant bounds")]
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("constant bounds")
}

impl Tally {
    /// Adds another burst.
    pub fn add(&mut self, other: &Self) {
        let _same_bounds = self.latency.add(&other.latency);
        self.signed += other.signed;
        self.errors += other.errors;
        self.elapsed += other.elapsed;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    fn count(&mut self, took: Duration, answer: Result<Signature, String>) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX_US).clamp(1, LATENCY_MAX_US);
        self.latency.saturating_record(microseconds);
        match answer {
            Ok(_) => self.signed += 1,
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }
}

/// A burst of requests: what they were, and the signatures in the same order.
#[derive(Debug, Default)]
pub struct Burst {
    /// Counted.
    pub tally: Tally,
    /// Per request; `None` where there was no signature.
    pub signatures: Vec<Option<Signature>>,
}

/// Sends the duties, spread over all endpoints, with so many under way per endpoint; verifies the first signature.
pub async fn burst(client: &ClusterClient, chain: &Chain, duties: Vec<Duty>, per_node: usize) -> Burst {
    let duties = Arc::new(duties);
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    let endpoints = client.endpoints();
    // Lane by lane over the nodes, so that a burst smaller than all lanes reaches every node.
    for worker in 0..(per_node * endpoints.len()).min(duties.len()) {
        let node = client.only(&endpoints[worker % endpoints.len()]).following(true);
        workers.spawn(work(node, duties.clone(), next.clone()));
    }
    let mut burst = Burst { tally: Tally::default(), signatures: vec![None; duties.len()] };
    while let Some(done) = workers.join_next().await {
        for (position, took, answer) in done.unwrap_or_default() {
            burst.signatures[position] = answer.as_ref().ok().copied();
            burst.tally.count(took, answer);
        }
    }
    burst.tally.elapsed = begun.elapsed();
    check_first(chain, &duties, &mut burst);
    burst
}

type Done = Vec<(usize, Duration, Result<Signature, String>)>;

async fn work(node: ClusterClient, duties: Arc<Vec<Duty>>, next: Arc<AtomicUsize>) -> Done {
    let mut done = Vec::new();
    loop {
        let position = next.fetch_add(1, Ordering::Relaxed);
        let Some(duty) = duties.get(position) else { return done };
        let sent = Instant::now();
        let answer = match sign(&node, duty).await {
            Ok(Signed::Signature(signature)) => Ok(signature),
            Ok(Signed::Refused(reason)) => Err(format!("412 {reason}")),
            Ok(Signed::Redirect(location)) => Err(format!("307 to {location} was not followed")),
            Ok(Signed::Other(status, message)) => Err(format!("{status} {message}")),
            Err(error) => Err(one_line(&error)),
        };
        done.push((position, sent.elapsed(), answer));
    }
}

/// One signature per burst is checked: a bench that measures wrong signatures measures nothing.
fn check_first(chain: &Chain, duties: &[Duty], burst: &mut Burst) {
    let first = duties.iter().zip(&burst.signatures).find_map(|(duty, signature)| Some((duty, (*signature)?)));
    if let Some((duty, signature)) = first
        && !chain.verify(duty, &signature).unwrap_or(false)
    {
        burst.tally.errors += 1;
        burst.tally.first_error.get_or_insert("a signature does not verify".to_owned());
    }
}
