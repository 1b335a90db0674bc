//! Real load balancers, with the files of `deploy/`, before three nodes of which one at a time is stopped, killed, and
//! started again: signing goes on.
//!
//! Where HAProxy or nginx is not installed its part says `SKIPPED`. A request fails here if its client gets anything but
//! a signature (or a redirect, which it follows): clients of validators try again, these do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "common/balancer.rs"]
mod balancer;
#[path = "common/world.rs"]
mod world;

use balancer::{Balancer, HAPROXY, HAPROXY_LEADER, NGINX, Shipped};
use consigner_chaos::oracle::courier::Address;
use consigner_chaos::oracle::history::Clock;
use consigner_chaos::oracle::{Courier, Exchange, History};
use consigner_chaos::perimeter::Call;
use consigner_chaos::storm::Steady;
use consigner_chaos::weather::Weather;
use consigner_rules::PublicKey;
use rustix::process::Signal;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use world::{NODES, World, key, until};

/// Clients of each balancer, each with a key of its own and one request under way at most.
const CLIENTS: u64 = 4;

/// Signatures through each balancer between two steps.
const SIGNED_MIN: usize = 30;

/// How often a node is struck on a machine that disturbs.
const TRIES: usize = 4;

/// The shortest deadline of a balancer is 1 s; nodes that are kept from running for so long do not keep it.
const STARVED: Duration = Duration::from_millis(500);

/// The id under which a balancer is asked; those below are the nodes, where redirects lead.
const BALANCER: u64 = 10;

fn overlay(mode: &str) -> String {
    format!(
        "api: {{tls: API_TLS, balancers: [{}], follower-requests: {mode}, drain-delay: 3s}}\npeer: {{tls: PEER_TLS}}\n",
        balancer::HAPROXY_SOURCE
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_goes_on_while_each_node_in_turn_is_stopped_and_killed() {
    let shipped = [HAPROXY, HAPROXY_LEADER, NGINX];
    if shipped.iter().all(|one| one.find().is_none()) {
        return;
    }
    let world = World::start(&overlay("forward"), CLIENTS * shipped.len() as u64).await;
    let lines: Vec<Line> = Line::all(&world, &shipped).await;
    for node in NODES {
        for signal in [Signal::TERM, Signal::KILL] {
            strike(&world, &lines, node, signal).await;
        }
    }
    finish(lines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_behind_a_balancer_lead_to_the_leader_itself() {
    if HAPROXY.find().is_none() {
        return;
    }
    // `consigner dev` advertises each node's own address: one that clients reach without the balancer.
    let world = World::start(&overlay("redirect"), CLIENTS).await;
    let lines = Line::all(&world, &[HAPROXY]).await;
    strike(&world, &lines, world.leader().await, Signal::TERM).await;
    strike(&world, &lines, world.leader().await, Signal::KILL).await;
    let redirected = lines[0].exchanges().iter().filter(|one| one.is_redirected).count();
    assert!(redirected > 0, "two of three nodes had to redirect");
    println!("redirected: {redirected}");
    finish(lines).await;
}

/// A balancer under load.
struct Line {
    shipped: Shipped,
    _balancer: Balancer,
    courier: Arc<Courier>,
    load: Steady,
}

impl Line {
    /// All that are installed, each with clients of its own.
    async fn all(world: &World, shipped: &[Shipped]) -> Vec<Self> {
        let mut lines = Vec::new();
        for (place, one) in (0_u64..).zip(shipped) {
            let Some(program) = one.find() else { continue };
            let balancer = Balancer::start(world, *one, &program).await;
            let manifest = world.cluster.manifest();
            let nodes = manifest.nodes.iter().map(|node| Address { node: node.id, url: node.api_url.clone() });
            let before = Address { node: BALANCER, url: format!("https://{}", balancer.address()) };
            let addresses = nodes.chain([before]).collect();
            let history = Arc::new(History::new(Clock::start()));
            let courier = Courier::to(addresses, &manifest.client(), &manifest.admin(), history).unwrap();
            let (courier, keys) = (Arc::new(courier), keys(place * CLIENTS..(place + 1) * CLIENTS));
            balancer.until_it_carries(&courier, BALANCER).await;
            let load = Steady::start(&courier, &world.chain, &keys, &[BALANCER], world.chain.modern_epoch());
            lines.push(Self { shipped: *one, _balancer: balancer, courier, load });
        }
        lines
    }

    fn exchanges(&self) -> Vec<Exchange> {
        self.courier.history().exchanges()
    }

    /// What has failed so far.
    fn failed(&self) -> Vec<String> {
        let ended = self.exchanges().into_iter().filter(|one| one.reply.is_some());
        ended.filter(|one| !one.is_ok() && one.status() != Some(307)).map(|one| one.to_string()).collect()
    }
}

fn keys(numbers: Range<u64>) -> Vec<PublicKey> {
    numbers.map(key).collect()
}

/// One node ends and comes back, while everybody signs on. A starved machine breaks promises of its own: checks of a
/// balancer run into their deadlines, and nodes suspect a leader that was only kept from running. Where that was seen,
/// the node is struck again.
async fn strike(world: &World, lines: &[Line], node: u64, signal: Signal) {
    for tries in 1.. {
        let (weather, term) = (Weather::observe(), world.term().await);
        let broken = struck(world, lines, node, signal).await;
        // A leader that ends has a successor; more elections have other reasons.
        let elections = world.term().await.saturating_sub(term);
        let is_disturbed = elections > 1 || weather.worst() > STARVED;
        if broken.is_empty() {
            return;
        }
        let seen = format!("{elections} elections, starved for {:?}", weather.worst());
        assert!(is_disturbed && tries < TRIES, "{seen}:\n{}\n{}", broken.join("\n"), world.cluster.log_tails());
        println!("again, {seen}: {}", broken.join("\n"));
    }
}

/// The lines that lost more than they may.
async fn struck(world: &World, lines: &[Line], node: u64, signal: Signal) -> Vec<String> {
    until_signed_everywhere(lines).await;
    let before: Vec<usize> = lines.iter().map(|line| line.failed().len()).collect();
    let (pid, begun) = (world.cluster.pid(node).unwrap(), Instant::now());
    world.cluster.signal(pid, signal).unwrap();
    until("the node is started again", async || world.cluster.pid(node).unwrap() != pid).await;
    let admin = world.admin();
    let ready = async || admin.call(world.api(node), &Call::get("/ready")).await.status() == Some(200);
    until("the node is ready again", ready).await;
    until_signed_everywhere(lines).await;
    let mut broken = Vec::new();
    for (line, before) in lines.iter().zip(before) {
        let (failed, name) = (line.failed().split_off(before), line.shipped.name);
        println!("{name}: node {node} {signal:?}: {} failed, back after {:?}", failed.len(), begun.elapsed());
        let allowed = if signal == Signal::TERM { line.shipped.lost_by_a_stop } else { in_flight() };
        if failed.len() > allowed {
            broken.push(format!("{name}, node {node}, {signal:?}: {failed:#?}"));
        }
    }
    broken
}

/// A killed node takes with it what it was working on: at most one request of each client.
fn in_flight() -> usize {
    usize::try_from(CLIENTS).unwrap()
}

async fn until_signed_everywhere(lines: &[Line]) {
    for line in lines {
        world::until_signed(&line.load, SIGNED_MIN).await;
    }
}

async fn finish(lines: Vec<Line>) {
    for line in lines {
        let failed = line.failed().len();
        let (signed, _) = line.load.stop().await;
        println!("{}: {signed} signed, {failed} failed", line.shipped.name);
    }
}
