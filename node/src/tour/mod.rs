//! `consigner dev --tour`: what the cluster promises, shown on the running cluster, one line per promise.
//!
//! In: the directory of a ready cluster. Out: printed steps, and whether every one held. Deliberately absent: any
//! knowledge of how a node works; every signature is verified here, against a root that is computed here.

mod steps;

use crate::cli::output;
use crate::client::Deployment;
use crate::client::history::highest;
use crate::client::signing::Chain;
use crate::config::NetworkConfig;
use crate::dev::Plan;
use crate::serve::network;
use consigner_rules::{Epoch, PublicKey};
use std::path::Path;
use steps::Tour;

/// Walks through everything; whether all of it held.
pub async fn run(dir: &Path, plan: &Plan, follower_requests: &str) -> bool {
    let tour = match prepare(dir, plan, follower_requests).await {
        Ok(tour) => tour,
        Err(reason) => {
            tell(&format!("FAILED to begin: {reason}"));
            return false;
        }
    };
    let mut report = Report::default();
    tour.walk(&mut report).await;
    report.end()
}

/// Counts what held and what did not.
#[derive(Debug, Default)]
struct Report {
    held: usize,
    failed: Vec<String>,
}

impl Report {
    /// Prints one step and remembers how it went.
    fn step(&mut self, promise: &str, seen: Result<String, String>) {
        match seen {
            Ok(seen) => {
                self.held += 1;
                tell(&format!("held    {promise}: {seen}"));
            }
            Err(seen) => {
                self.failed.push(promise.to_owned());
                tell(&format!("FAILED  {promise}: {seen}"));
            }
        }
    }

    /// Prints a step that this cluster cannot show.
    fn skip(&self, promise: &str, reason: &str) {
        tell(&format!("skipped {promise}: {reason}"));
    }

    fn end(&self) -> bool {
        if self.failed.is_empty() {
            tell(&format!("all {} promises held", self.held));
        } else {
            tell(&format!("{} held, {} FAILED: {}", self.held, self.failed.len(), self.failed.join("; ")));
        }
        self.failed.is_empty()
    }
}

fn tell(text: &str) {
    output::line(&format!("tour: {text}"));
}

async fn prepare(dir: &Path, plan: &Plan, follower_requests: &str) -> Result<Tour, String> {
    let said = |error: &(dyn std::error::Error + 'static)| crate::report::one_line(error);
    let config = NetworkConfig::new(plan.network.clone(), plan.genesis_validators_root);
    let (network, root) = network::load(&config).map_err(|error| said(&error))?;
    let chain = Chain::new(network, root);
    let deployment = Deployment::read(dir).map_err(|error| said(&error))?;
    let admin = deployment.admin().map_err(|error| said(&error))?;
    let signer = deployment.signer(4).map_err(|error| said(&error))?;
    let highest = highest(&admin).await.map_err(|error| said(&error))?;
    let keys = crate::client::signing::public_keys(&signer).await.map_err(|error| said(&error))?;
    let key: PublicKey = *keys.first().ok_or("the cluster holds no keys; start it with --validators 1 or more")?;
    let signed: Epoch = highest.target.max(chain.network().epoch_at_slot(highest.slot));
    let first_epoch = (signed + 2).max(chain.newest_fork_epoch() + 2);
    Ok(Tour {
        dir: dir.to_owned(),
        nodes: deployment.nodes.len(),
        follower_requests: follower_requests.to_owned(),
        chain,
        admin,
        signer,
        key,
        first_epoch,
    })
}
