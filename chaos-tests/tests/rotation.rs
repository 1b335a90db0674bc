//! All certificates of a running cluster are replaced under load: nobody valid notices; whoever is revoked is out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "common/world.rs"]
mod world;

use consigner_chaos::perimeter::caller::CALL_DEADLINE;
use consigner_chaos::perimeter::credentials::CLIENT;
use consigner_chaos::perimeter::relay::{Relay, Route};
use consigner_chaos::perimeter::{Call, Caller, Credentials, Identity, Subject};
use consigner_chaos::storm::Steady;
use consigner_gate::{ClientTls, HttpsClient};
use http::Method;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use world::{DEADLINE, NODES, World, key, until, until_signed};

/// The test's own certificates; both clients of the loads have the name that `consigner dev` lists, and so has the one
/// that is revoked.
const OVERLAY: &str = "api: {tls: API_TLS}\npeer: {tls: PEER_TLS}\n";

/// Signatures between two steps: the loads are in full swing.
const SIGNED_MIN: usize = 30;

/// Everything that a step may have changed.
const DOORS: [&str; 3] = ["api", "peer", "peer-outgoing"];

/// Connections to each node that a client holds open when it is revoked.
const HELD: usize = 4;

/// What is promised (docs/SAFETY.md). Measured and printed; held to [`DEADLINE`], because this machine may be asleep.
const PROMISED: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn authorities_roll_over_under_load_and_a_revoked_client_is_out() {
    let next = Credentials::new("2").unwrap();
    // What a careful operator does first: clients learn to believe the new servers' authority beside the old one.
    let both = |old: &str, new: &str| format!("{old}{new}");
    let world = World::start_with(OVERLAY, 4, |old| {
        vec![("certs/ca.pem".to_owned(), both(old.servers.pem(), next.servers.pem()))]
    })
    .await;
    let old = &world.credentials;
    let load = load_of(&world, &world.cluster.manifest().client(), [0, 1]);
    until_signed(&load, SIGNED_MIN).await;

    let before = reloads(&world).await;
    world.lay(&[
        ("certs/clients-ca.pem".to_owned(), both(old.clients.pem(), next.clients.pem())),
        ("certs/clients.crl".to_owned(), both(&old.clients.revoked(&[]).unwrap(), &next.clients.revoked(&[]).unwrap())),
        ("certs/peers-ca.pem".to_owned(), both(old.peers.pem(), next.peers.pem())),
    ]);
    reloaded_since(&world, &before).await;
    until_signed(&load, SIGNED_MIN).await;

    let before = reloads(&world).await;
    world.lay(&next.node_files().unwrap());
    reloaded_since(&world, &before).await;
    only_the_new_servers_are_shown(&world, &next).await;
    let renewed = next.client(world.cluster.dir(), "renewed", &Subject::client(CLIENT)).unwrap();
    let load_renewed = load_of(&world, &renewed.files, [2, 3]);
    until_signed(&load, SIGNED_MIN).await;
    until_signed(&load_renewed, SIGNED_MIN).await;
    without_failure(&world, load).await;

    let before = reloads(&world).await;
    world.lay(&[
        ("certs/clients-ca.pem".to_owned(), next.clients.pem().to_owned()),
        ("certs/peers-ca.pem".to_owned(), next.peers.pem().to_owned()),
    ]);
    reloaded_since(&world, &before).await;
    until_signed(&load_renewed, SIGNED_MIN).await;
    nobody_of_the_old_authority_comes_in(&world).await;
    let leaver = next.client(world.cluster.dir(), "leaver", &Subject::client(CLIENT)).unwrap();
    a_revoked_client_is_out(&world, &next, &leaver).await;
    until_signed(&load_renewed, SIGNED_MIN).await;
    without_failure(&world, load_renewed).await;
    every_step_is_recorded(&world, &leaver).await;
}

fn load_of(world: &World, files: &ClientTls, keys: [u64; 2]) -> Steady {
    let epoch = world.chain.modern_epoch();
    Steady::start(&world.courier_of(files), &world.chain, &keys.map(key), &NODES, epoch)
}

/// Ends a load; not one of its requests may have failed.
async fn without_failure(world: &World, load: Steady) {
    let (signed, failed) = load.stop().await;
    assert_eq!(failed, Vec::<String>::new(), "beside {signed} signatures\n{}", world.cluster.log_tails());
}

/// How often each node has read the files of each door again.
async fn reloads(world: &World) -> Vec<f64> {
    let mut counts = Vec::new();
    for node in NODES {
        for door in DOORS {
            let labels = [format!("door=\"{door}\""), "outcome=\"reloaded\"".to_owned()];
            counts
                .push(world.metric(node, "consigner_tls_reloads_total", &labels.each_ref().map(String::as_str)).await);
        }
    }
    counts
}

/// The files of a step lie there at once, and nobody tells the nodes: they look.
async fn reloaded_since(world: &World, before: &[f64]) {
    until("all nodes have read their files again", async || {
        reloads(world).await.iter().zip(before).all(|(now, before)| now > before)
    })
    .await;
}

async fn only_the_new_servers_are_shown(world: &World, next: &Credentials) {
    let dir = world.cluster.dir();
    world.lay(&[
        ("identities/old-ca.pem".to_owned(), world.credentials.servers.pem().to_owned()),
        ("identities/new-ca.pem".to_owned(), next.servers.pem().to_owned()),
    ]);
    let client = world.cluster.manifest().client();
    let believing = |ca| Caller::new(&ClientTls { ca: dir.join("identities").join(ca), ..client.clone() }).unwrap();
    let (old, new) = (believing("old-ca.pem"), believing("new-ca.pem"));
    for node in NODES {
        let came = new.call(world.api(node), &Call::get("/upcheck")).await;
        assert_eq!(came.status(), Some(200), "node {node}: {came}");
        let came = old.call(world.api(node), &Call::get("/upcheck")).await;
        assert!(came.text().contains("UnknownIssuer"), "node {node} shows its old certificate: {came}");
    }
}

async fn nobody_of_the_old_authority_comes_in(world: &World) {
    let old = Caller::new(&world.cluster.manifest().client()).unwrap();
    for node in NODES {
        let came = old.call(world.api(node), &Call::get("/upcheck")).await;
        assert_eq!(came.status(), None, "node {node}: {came}");
    }
}

/// A client that talks to all nodes without a pause and holds connections open beside.
async fn a_revoked_client_is_out(world: &World, next: &Credentials, leaver: &Identity) {
    let caller = Caller::new(&leaver.files).unwrap();
    let mut held = Vec::new();
    for node in NODES {
        let route = Route { to: world.api(node), from: Ipv4Addr::LOCALHOST, on_behalf_of: None };
        let relay = Relay::start(route).await.unwrap();
        let client = caller.keeping(HELD);
        // At once, so that each needs a connection of its own.
        let calls = (0..HELD).map(|_| upcheck(&client, relay.address()));
        let statuses = futures::future::join_all(calls).await;
        assert!(statuses.iter().all(|status| *status == Some(200)), "node {node}: {statuses:?}");
        assert!(relay.open() > 0, "node {node} closed what is idle at once");
        held.push((node, relay, client));
    }
    let lists = [world.credentials.clients.revoked(&[]).unwrap(), next.clients.revoked(&[leaver.leaf.serial]).unwrap()];
    let talkers: Vec<_> = NODES.map(|node| tokio::spawn(talk(caller.clone(), world.api(node)))).into();
    world.lay(&[("certs/clients.crl".to_owned(), lists.concat())]);
    let revoked = Instant::now();
    let mut last = revoked;
    for talker in talkers {
        last = last.max(talker.await.unwrap());
    }
    println!("the last answer to the revoked client came {:?} after the list", last - revoked);
    for (node, relay, client) in held {
        until("the revoked client's connections are closed", async || relay.open() == 0).await;
        assert_eq!(upcheck(&client, relay.address()).await, None, "node {node} lets the revoked client in again");
    }
    println!("all its connections were closed {:?} after the list; promised: {PROMISED:?}", revoked.elapsed());
}

/// Calls until no answer comes any more; when the last one came.
async fn talk(caller: Caller, door: SocketAddr) -> Instant {
    let (begun, client) = (Instant::now(), caller.keeping(1));
    let mut last = begun;
    while upcheck(&client, door).await == Some(200) {
        last = Instant::now();
        assert!(last - begun < DEADLINE, "a revoked client is still served");
    }
    last
}

async fn upcheck(client: &HttpsClient, door: SocketAddr) -> Option<u16> {
    let url = format!("https://{door}/upcheck");
    let answer = client.request(Method::GET, &url, &[], bytes::Bytes::new(), CALL_DEADLINE).await;
    answer.ok().map(|answer| answer.status.as_u16())
}

/// Each node kept a record of what it read again and of whom it put out, and nothing is missing from it.
async fn every_step_is_recorded(world: &World, leaver: &Identity) {
    // Offline: the certificate of `consigner dev` for operators went with the old authority.
    world.command(&["audit", "verify"], &["--offline"]).await;
    for node in NODES {
        let dir = world.cluster.dir().join(format!("node{node}/data"));
        let show = ["audit", "show", "--json", "--data-dir", dir.to_str().unwrap(), "--operation"];
        let read = world.cli.plainly(&[&show[..], &["tls_reload", "--outcome", "done"]].concat()).await.unwrap();
        assert!(read.stdout.lines().count() >= 2 * DOORS.len(), "node {node}: {}{}", read.stdout, read.stderr);
        let out = ["connection", "--outcome", "refused", "--identity", &leaver.leaf.fingerprint];
        let out = world.cli.plainly(&[&show[..], &out].concat()).await.unwrap();
        assert!(out.stdout.lines().count() >= HELD, "node {node}: {}{}", out.stdout, out.stderr);
    }
}
