//! The steps of the tour, in order.

use super::{Report, tell};
use crate::client::faults::{self, Kill};
use crate::client::signing::{Chain, Duty, Signed, Vote, sign, sign_as};
use crate::client::{ClusterClient, Deployment};
use crate::report::one_line;
use bytes::Bytes;
use consigner_rules::{Epoch, PublicKey, Signature};
use std::path::PathBuf;
use std::time::Duration;

/// A client that follows redirects, as Prysm names itself.
const FOLLOWING_AGENT: &str = "Go-http-client/2.0";

/// A client that nobody knows: it must be served without a redirect.
const UNKNOWN_AGENT: &str = "tour";

/// What a failover may take before it counts as broken: L1 asks for one second on a machine that is not overloaded.
const GAP_MAX: Duration = Duration::from_secs(10);

/// What the steps need.
pub(super) struct Tour {
    pub dir: PathBuf,
    pub nodes: usize,
    pub follower_requests: String,
    pub chain: Chain,
    pub admin: ClusterClient,
    pub signer: ClusterClient,
    pub key: PublicKey,
    pub first_epoch: Epoch,
}

/// What a step saw, or why it did not hold.
type Seen = Result<String, String>;

impl Tour {
    pub(super) async fn walk(self, report: &mut Report) {
        tell(&format!("validator {}, from epoch {}", self.key, self.first_epoch));
        self.followers(report).await;
        report.step("a repeated vote gets the same signature on every node", self.repeat().await);
        report.step("a double vote is refused by every node", self.double_vote().await);
        report.step("a surrounding vote is refused by every node", self.surround().await);
        let second_block = "a second block for a slot is refused by every node";
        if self.chain.signs_headers(self.chain.first_slot(self.first_epoch)) {
            report.step(second_block, self.double_block().await);
        } else {
            report.skip(second_block, "this network's forks send whole blocks");
        }
        match self.kill().await {
            Ok(kill) => {
                report.step("signing resumes after the leader is killed", judge(&kill));
                let survivors = self.double_vote_except(Some(kill.leader)).await;
                report.step("what was refused stays refused by the survivors", survivors);
                report.step("the killed node comes back", self.back(&kill).await);
                report.step("what was refused stays refused by every node", self.double_vote().await);
            }
            Err(error) => report.step("signing resumes after the leader is killed", Err(error)),
        }
        report.step("all nodes hold equal state at equal index", self.digests().await);
    }

    /// Signs through a follower, both ways.
    async fn followers(&self, report: &mut Report) {
        let (redirect, forward) = ("a follower redirects a client that follows", "a follower forwards for any other");
        if self.nodes == 1 {
            report.skip(redirect, "one node has no follower");
            report.skip(forward, "one node has no follower");
            return;
        }
        if self.follower_requests == "forward" {
            report.skip(redirect, "--follower-requests forward");
        } else {
            report.step(redirect, self.redirected().await);
        }
        if self.follower_requests == "redirect" {
            report.skip(forward, "--follower-requests redirect");
        } else {
            report.step(forward, self.forwarded().await);
        }
    }

    async fn redirected(&self) -> Seen {
        let (leader_url, follower) = self.leader_and_follower().await?;
        let duty = self.duty(self.chain.attestation(&self.vote(0, 1)));
        let first = sign_as(&follower, &duty, Some(FOLLOWING_AGENT)).await.map_err(|error| one_line(&error))?;
        let Signed::Redirect(location) = first else { return Err(format!("no redirect but {}", told(&first))) };
        if !location.starts_with(&leader_url) {
            return Err(format!("redirected to {location}, but {leader_url} leads"));
        }
        let followed = sign_as(&follower.following(true), &duty, Some(FOLLOWING_AGENT)).await;
        self.verified(&duty, followed.map_err(|error| one_line(&error))?)?;
        Ok(format!("307 to {leader_url}, signed there, signature verified"))
    }

    async fn forwarded(&self) -> Seen {
        let (_, follower) = self.leader_and_follower().await?;
        let duty = self.duty(self.chain.attestation(&self.vote(1, 1)));
        let signed = sign_as(&follower, &duty, Some(UNKNOWN_AGENT)).await.map_err(|error| one_line(&error))?;
        self.verified(&duty, signed)?;
        Ok(format!("{} answered 200 itself, signature verified", follower.endpoints().join(",")))
    }

    async fn repeat(&self) -> Seen {
        let duty = self.duty(self.chain.attestation(&self.vote(2, 1)));
        let mut first: Option<Signature> = None;
        for node in self.each_node() {
            let signature = self.verified(&duty, ask(&node, &duty).await?)?;
            if *first.get_or_insert(signature) != signature {
                return Err(format!("{} gave another signature", node.endpoints().join(",")));
            }
        }
        Ok(format!("{} nodes, one signature", self.nodes))
    }

    async fn double_vote(&self) -> Seen {
        self.double_vote_except(None).await
    }

    async fn double_vote_except(&self, dead: Option<u64>) -> Seen {
        self.refused_everywhere(self.chain.attestation(&self.vote(2, 2)), dead).await
    }

    async fn surround(&self) -> Seen {
        let vote = self.vote(2, 1);
        // Its source lies before that of the newest vote, its target behind: it surrounds it.
        let around = Vote { source: vote.source - 1, target: vote.target + 1, ..vote };
        self.refused_everywhere(self.chain.attestation(&around), None).await
    }

    async fn double_block(&self) -> Seen {
        let slot = self.chain.first_slot(self.first_epoch);
        let duty = self.duty(self.chain.block(slot, 1));
        self.verified(&duty, ask(&self.signer.clone().following(true), &duty).await?)?;
        self.refused_everywhere(self.chain.block(slot, 2), None).await
    }

    /// By every node but a dead one.
    async fn refused_everywhere(&self, body: Bytes, dead: Option<u64>) -> Seen {
        let deployment = Deployment::read(&self.dir).map_err(|error| one_line(&error))?;
        let duty = self.duty(body);
        let mut words = String::new();
        for entry in deployment.nodes.iter().filter(|entry| Some(entry.id) != dead || self.nodes == 1) {
            let node = self.signer.only(&entry.api_url).following(true);
            match ask(&node, &duty).await? {
                Signed::Refused(reason) => words = reason,
                other @ (Signed::Signature(_) | Signed::Redirect(_) | Signed::Other(..)) => {
                    return Err(format!("{} answered {}", entry.api_url, told(&other)));
                }
            }
        }
        Ok(format!("412 {words}"))
    }

    async fn kill(&self) -> Result<Kill, String> {
        let mut step = 3;
        let next = || {
            step += 1;
            self.duty(self.chain.attestation(&self.vote(step, 1)))
        };
        faults::kill_leader(&self.dir, next).await.map_err(|error| one_line(&error))
    }

    async fn back(&self, kill: &Kill) -> Seen {
        let took = faults::until_back(&self.dir, kill.leader, kill.pid).await.map_err(|error| one_line(&error))?;
        Ok(format!("node {} runs again and every node is ready, {:.1} s later", kill.leader, took.as_secs_f64()))
    }

    async fn digests(&self) -> Seen {
        let equal = faults::equal_digests(&self.admin).await.map_err(|error| one_line(&error))?;
        equal.map(|(index, digest)| format!("index {index}, digest {digest} on {} nodes", self.nodes))
    }

    async fn leader_and_follower(&self) -> Result<(String, ClusterClient), String> {
        let leader = faults::leader(&self.admin).await.map_err(|error| one_line(&error))?;
        let deployment = Deployment::read(&self.dir).map_err(|error| one_line(&error))?;
        let url =
            deployment.node(leader).map(|node| node.api_url.clone()).ok_or("the leader is not in cluster.json")?;
        let follower = deployment.nodes.iter().find(|node| node.id != leader).ok_or("no follower")?;
        Ok((url, self.signer.only(&follower.api_url)))
    }

    fn each_node(&self) -> impl Iterator<Item = ClusterClient> {
        self.signer.endpoints().iter().map(|url| self.signer.only(url).following(true))
    }

    fn duty(&self, body: Bytes) -> Duty {
        Duty { public_key: self.key, body }
    }

    /// A vote whose target lies `step` epochs above the first, for one of several heads.
    fn vote(&self, step: u64, head: u64) -> Vote {
        let target = self.first_epoch + step;
        Vote { slot: self.chain.first_slot(target), source: target - 1, target, head }
    }

    fn verified(&self, duty: &Duty, signed: Signed) -> Result<Signature, String> {
        let Signed::Signature(signature) = signed else { return Err(format!("no signature but {}", told(&signed))) };
        match self.chain.verify(duty, &signature) {
            Ok(true) => Ok(signature),
            Ok(false) => Err("the signature does not verify".to_owned()),
            Err(error) => Err(one_line(&error)),
        }
    }
}

async fn ask(node: &ClusterClient, duty: &Duty) -> Result<Signed, String> {
    sign(node, duty).await.map_err(|error| one_line(&error))
}

fn judge(kill: &Kill) -> Seen {
    let seen = format!(
        "node {} (pid {}) got SIGKILL; next signature after {} ms",
        kill.leader,
        kill.pid,
        kill.gap.as_millis()
    );
    if kill.gap <= GAP_MAX { Ok(seen) } else { Err(seen) }
}

fn told(signed: &Signed) -> String {
    match signed {
        Signed::Signature(_) => "a signature".to_owned(),
        Signed::Refused(reason) => format!("412 {reason}"),
        Signed::Redirect(location) => format!("307 to {location}"),
        Signed::Other(status, message) => format!("{status} {message}"),
    }
}
