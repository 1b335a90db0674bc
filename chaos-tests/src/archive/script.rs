//! What is broken in a run, one thing after the other, while clients go on.
//!
//! ```text
//! calm -> trouble of the database (signatures are counted meanwhile) -> over -> the mark moves again -> calm
//!      -> `kill -9` of the leader -> all nodes ready -> calm -> ...
//! ```
//! In: a [`Stage`]. Out: the outages. Every wait is for a condition and has a deadline.

use super::ArchiveError;
use super::database::{Database, Trouble, begin, end};
use super::judge::Outage;
use super::load::Load;
use super::view::{Views, look};
use crate::cluster::Cluster;
use crate::faults::until_restarted;
use crate::oracle::Courier;
use crate::rng::Rng;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// For everything that must come about in the end: a node of a debug build on a loaded machine, and the pause of an
/// exporter that has tried often (a minute).
const PATIENCE: Duration = Duration::from_secs(240);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Signatures that an outage lasts, so that it holds several batches.
const SIGNED_IN_AN_OUTAGE: u64 = 60;

/// One thing that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something happens to the database.
    Trouble(Trouble),
    /// `kill -9` of the leader.
    KillLeader,
}

/// Where it is broken.
pub struct Stage<'s> {
    /// The nodes.
    pub cluster: &'s Cluster,
    /// The way to them.
    pub courier: &'s Courier,
    /// What they archive to.
    pub database: &'s Database,
    /// The clients.
    pub load: &'s Load,
}

/// The steps of a run, in an order that the seed chooses.
#[must_use]
pub fn steps(seed: u64, troubles: &[Trouble], kills: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = troubles.iter().map(|trouble| Step::Trouble(*trouble)).collect();
    steps.extend(std::iter::repeat_n(Step::KillLeader, kills));
    Rng::new(seed).shuffle(&mut steps);
    steps
}

impl Stage<'_> {
    /// Breaks all of it, spread over so many decisions, and goes on until they are made.
    ///
    /// # Errors
    /// Something did not come about.
    pub async fn play(&self, steps: &[Step], decisions: u64) -> Result<Vec<Outage>, ArchiveError> {
        let mut outages = Vec::new();
        let share = decisions / (steps.len() as u64 + 1);
        for (step, number) in steps.iter().zip(1_u64..) {
            let enough = share * number;
            self.until("the next decisions", async || self.decided() >= enough).await?;
            match step {
                Step::Trouble(trouble) => outages.push(self.trouble(*trouble).await?),
                Step::KillLeader => self.kill_leader().await?,
            }
        }
        self.until("the last decisions", async || self.decided() >= decisions).await?;
        Ok(outages)
    }

    fn decided(&self) -> u64 {
        self.load.signed() + self.load.refused()
    }

    async fn trouble(&self, trouble: Trouble) -> Result<Outage, ArchiveError> {
        self.act("the trouble", move |postgres| begin(postgres, trouble)).await?;
        let before = self.load.signed();
        if trouble == Trouble::KillWithLeader {
            self.kill_leader().await?;
        }
        if trouble.lasts() {
            // A cluster that stops signing without its database runs into the deadline here, which is L2's verdict, too.
            let enough = before + SIGNED_IN_AN_OUTAGE;
            self.until("signatures while the database is away (L2)", async || self.load.signed() >= enough).await?;
        }
        let signed = self.load.signed() - before;
        self.act("its end", move |postgres| end(postgres, trouble)).await?;
        self.until_the_mark_moves().await?;
        Ok(Outage { what: trouble.name(), signed, lasts: trouble.lasts() })
    }

    async fn act(
        &self,
        what: &'static str,
        act: impl FnOnce(&super::postgres::Postgres) + Send + 'static,
    ) -> Result<(), ArchiveError> {
        self.database.aside(act).await.ok_or(ArchiveError::Broken { what, why: "it broke off".to_owned() })
    }

    /// The export resumes by itself.
    async fn until_the_mark_moves(&self) -> Result<(), ArchiveError> {
        let mark = || async { look(self.courier).await.mark() };
        let before = mark().await;
        self.until("the archive's mark to move again", async || mark().await > before).await
    }

    async fn kill_leader(&self) -> Result<(), ArchiveError> {
        let until = Instant::now() + PATIENCE;
        let victim = loop {
            if let Some(leader) = self.leader().await {
                break (leader, self.cluster.pid(leader)?);
            }
            if Instant::now() > until {
                return Err(ArchiveError::Late { what: "a leader", seen: format!("{:?}", look(self.courier).await) });
            }
            tokio::time::sleep(POLL).await;
        };
        self.cluster.signal(victim.1, Signal::KILL)?;
        Ok(until_restarted(self.cluster, self.courier, &[victim]).await?)
    }

    async fn leader(&self) -> Option<u64> {
        for address in self.courier.nodes() {
            let answer = self.courier.look(&address.url, "/leader").await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Some(address.node);
            }
        }
        None
    }

    /// Waits until everything is archived and no node's outbox holds anything that is.
    ///
    /// # Errors
    /// It does not come about.
    pub async fn until_archived(&self) -> Result<Views, ArchiveError> {
        let nodes = self.courier.nodes().len();
        self.until("a lag of nothing and empty outboxes", async || look(self.courier).await.is_archived(nodes)).await?;
        Ok(look(self.courier).await)
    }

    async fn until(&self, what: &'static str, mut holds: impl AsyncFnMut() -> bool) -> Result<(), ArchiveError> {
        let until = Instant::now() + PATIENCE;
        while !holds().await {
            if Instant::now() > until {
                let seen = format!("{:?}, {} decided", look(self.courier).await, self.decided());
                return Err(ArchiveError::Late { what, seen });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_reproduces_its_steps_and_nothing_is_left_out() {
        let one = steps(7, &Trouble::ALL, 10);
        assert_eq!(one, steps(7, &Trouble::ALL, 10));
        assert_ne!(one, steps(8, &Trouble::ALL, 10));
        assert_eq!(one.iter().filter(|step| **step == Step::KillLeader).count(), 10);
        for trouble in Trouble::ALL {
            assert!(one.contains(&Step::Trouble(trouble)), "{trouble:?}");
        }
    }
}
