//! The task that opens data keys and then the keys that wait for them.
//!
//! In: what the books say is due. Out: keys in the keyring, or a reason in the books and one log line for it.
//! Deliberately absent: giving up. Access that was revoked may be restored; only a record that can never open is left.

use super::{Custody, CustodyError};
use crate::sealing::{SealerError, unseal_with};
use consigner_rules::command::DataKey;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Keys opened before the lock is let go: about a millisecond, for which `apply` may have to wait.
const KEYS_PER_TURN: usize = 256;

/// Longest pause: access that was restored is noticed within half a minute, and a service that is down is not pestered.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Longest pause after a refusal that another attempt is unlikely to change.
const REFUSED_RETRY_MAX: Duration = Duration::from_secs(300);

impl Custody {
    /// Opens what waits, for ever; each data key by itself, so that a slow sealer does not hold up another one.
    pub async fn run(self: Arc<Self>) {
        let mut turned = self.turned.subscribe();
        let mut under_way = FuturesUnordered::new();
        loop {
            turned.mark_unchanged();
            // Bounded by the data keys of the state: a handful.
            under_way.extend(self.books().due(Instant::now()).into_iter().map(|record| self.attempt(record)));
            self.drain().await;
            let next = self.books().next_due();
            let timer = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(()) = under_way.next() => {}
                changed = turned.changed() => if changed.is_err() { return },
                () = timer => {}
            }
        }
    }

    async fn attempt(&self, record: DataKey) {
        let opened = match self.sealer(&record.sealer) {
            Ok(sealer) => sealer.unwrap(&record, &self.cluster_id).await.map_err(CustodyError::from),
            Err(missing) => Err(missing),
        };
        let id = hex::encode(record.id);
        match opened {
            Ok(open) => {
                self.books().opened(&record.id, Arc::new(open));
                tracing::info!(data_key = id, sealer = record.sealer, "data key opened");
            }
            Err(error) => {
                let again = again(&error);
                let why = with_causes(&error);
                if self.books().not_opened(&record.id, why.clone(), again, Instant::now()) {
                    let again_s = again.map(|pause| pause.as_secs());
                    tracing::error!(data_key = id, sealer = record.sealer, why, again_s, "a data key does not open");
                }
            }
        }
        self.turned.send_replace(());
    }

    /// Brings the keys that wait for open data keys into the keyring.
    async fn drain(&self) {
        loop {
            let ids = self.books().to_drain();
            if ids.is_empty() {
                return;
            }
            for id in ids {
                self.drain_some(&id);
                self.turned.send_replace(());
                // Lets other tasks run, and `apply` take the lock.
                tokio::task::yield_now().await;
            }
        }
    }

    fn drain_some(&self, id: &[u8; 16]) {
        let mut books = self.books();
        let Some(data_key) = books.open(id) else { return };
        let cipher = data_key.cipher();
        for sealed in books.take_waiting(id, KEYS_PER_TURN) {
            let opened = unseal_with(&cipher, &data_key, &self.cluster_id, &sealed);
            self.hold(&mut books, &sealed, opened);
        }
    }
}

/// How long the pauses between attempts may grow, or that another attempt is useless: this node decided by itself, from
/// the record or from its configuration. What a service said is asked again in any case; a proxy's error page of a
/// minute must not keep a node from starting for ever.
const fn again(error: &CustodyError) -> Option<Duration> {
    match error {
        CustodyError::Sealer(SealerError::Record(_)) | CustodyError::NoSealer { .. } => None,
        CustodyError::Sealer(error) if error.may_pass() => Some(RETRY_MAX),
        CustodyError::Sealer(_) | CustodyError::NotOpen { .. } | CustodyError::Seal(_) | CustodyError::Unseal(_) => {
            Some(REFUSED_RETRY_MAX)
        }
    }
}

/// An error and its causes on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Transparent errors say the same twice.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
