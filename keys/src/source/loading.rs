//! Turns candidates into secrets: skips what is known, decrypts each key once, and says how far it is.
//!
//! ```text
//! candidates --grouped by public key--> known? --no--> DecryptPool, fetch --> Loaded, in order
//! ```
//! In: candidates of any number of sources. Out: [`Loaded`] keys, one by one, so that the caller can seal and replicate
//! the first while the last is still decrypted, and an import that is broken off loses nothing. Deliberately absent:
//! sealing, retries, and any network (see [`Fetch`]).

use super::Candidate;
use super::error::SourceError;
use super::files::Warning;
use super::remote::RemoteSecret;
use super::resolve::{Done, Tools, group, load_group};
use crate::bls::SecretKey;
use crate::keystore::DecryptPool;
use consigner_rules::PublicKey;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Fetches a secret of a vault or cloud service: plain secrets, or failed candidates that say why.
pub type Fetch = Arc<dyn Fn(RemoteSecret) -> BoxFuture<'static, Vec<Candidate>> + Send + Sync>;

/// Groups in work for each thread of the pool: one is decrypted, the next is ready when a thread is.
const GROUPS_PER_THREAD: usize = 2;
/// Groups in work at least: remote secrets wait for the network, not for a thread.
const GROUPS_MIN: usize = 8;

/// What became of a candidate.
pub struct Loaded {
    /// The file or the name of the secret.
    pub origin: String,
    /// The validator; a claim of the source unless the outcome is a secret.
    pub public_key: Option<PublicKey>,
    /// What an operator should repair.
    pub warnings: Vec<Warning>,
    /// The secret, or why there is none.
    pub outcome: Outcome,
}

/// The end of a candidate.
pub enum Outcome {
    /// The secret; it is the one of `Loaded::public_key`.
    Secret(SecretKey),
    /// The cluster has the key already; nothing was decrypted.
    Known,
    /// An earlier candidate of this run had the same key.
    Duplicate {
        /// Its origin.
        of: String,
    },
    /// No secret.
    Failed(SourceError),
}

impl fmt::Debug for Loaded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match &self.outcome {
            Outcome::Secret(_) => "secret".to_owned(),
            Outcome::Known => "known".to_owned(),
            Outcome::Duplicate { of } => format!("duplicate of {of}"),
            Outcome::Failed(error) => format!("failed: {error}"),
        };
        write!(formatter, "Loaded({} {:?} {outcome})", self.origin, self.public_key)
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Candidates that are done.
    pub done: usize,
    /// Candidates in all; grows when a wallet or a remote secret turns out to hold several keys.
    pub total: usize,
    /// Secrets so far; these took the time.
    pub secrets: usize,
    /// Since the start of the run.
    pub elapsed: Duration,
}

impl Progress {
    /// Secrets for each second so far.
    #[must_use]
    pub fn secrets_per_s(&self) -> f64 {
        self.secrets as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// Estimated time until the end, if every candidate left takes as long as the secrets took so far; nothing before
    /// the first secret.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.total.saturating_sub(self.done);
        let each = (self.secrets > 0).then(|| self.elapsed.as_secs_f64() / self.secrets as f64)?;
        Duration::try_from_secs_f64(each * left as f64).ok()
    }
}

/// A run over candidates; [`Self::next`] hands out one result after the other.
pub struct Loading {
    results: BoxStream<'static, Done>,
    ready: VecDeque<Loaded>,
    /// Keys that this run has handed out, with their origin: what a wallet or a vault holds is known only afterwards.
    seen: HashMap<PublicKey, String>,
    progress: Progress,
    started: Instant,
}

impl Loading {
    /// Starts a run. Results come in the order of the candidates, except that candidates that claim the same public key
    /// come together: they are tried one after the other until one of them opens. `known` is asked when a candidate's
    /// turn comes.
    #[must_use]
    pub fn new(
        candidates: Vec<Candidate>,
        pool: DecryptPool,
        fetch: Option<Fetch>,
        known: impl Fn(&PublicKey) -> bool + Send + Sync + 'static,
    ) -> Self {
        let total = candidates.len();
        let width = (pool.threads() * GROUPS_PER_THREAD).max(GROUPS_MIN);
        let tools = Arc::new(Tools { pool, fetch, known: Arc::new(known) });
        let work = move |group| load_group(group, Arc::clone(&tools));
        Self {
            results: stream::iter(group(candidates)).map(work).buffered(width).boxed(),
            ready: VecDeque::new(),
            seen: HashMap::new(),
            progress: Progress { done: 0, total, secrets: 0, elapsed: Duration::ZERO },
            started: Instant::now(),
        }
    }

    /// The next result, or nothing at the end. A call that is dropped loses no result.
    pub async fn next(&mut self) -> Option<Loaded> {
        while self.ready.is_empty() {
            let Done { candidates, results } = self.results.next().await?;
            self.progress.total += results.len().saturating_sub(candidates);
            self.ready = results.into();
        }
        let mut loaded = self.ready.pop_front()?;
        self.note(&mut loaded);
        Some(loaded)
    }

    /// How far the run is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { elapsed: self.started.elapsed(), ..self.progress }
    }

    fn note(&mut self, loaded: &mut Loaded) {
        self.progress.done += 1;
        let (Outcome::Secret(_), Some(public_key)) = (&loaded.outcome, loaded.public_key) else { return };
        self.progress.secrets += 1;
        if let Some(of) = self.seen.get(&public_key) {
            loaded.outcome = Outcome::Duplicate { of: of.clone() };
        } else {
            self.seen.insert(public_key, loaded.origin.clone());
        }
    }
}

/// Runs over all candidates; `on_progress` is told each result as it comes.
pub async fn load_all(
    candidates: Vec<Candidate>,
    pool: DecryptPool,
    fetch: Option<Fetch>,
    known: impl Fn(&PublicKey) -> bool + Send + Sync + 'static,
    mut on_progress: impl FnMut(&Progress, &Loaded),
) -> Vec<Loaded> {
    let mut loading = Loading::new(candidates, pool, fetch, known);
    let mut all = Vec::new();
    while let Some(loaded) = loading.next().await {
        on_progress(&loading.progress(), &loaded);
        all.push(loaded);
    }
    all
}
