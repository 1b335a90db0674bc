//! A cluster whose nodes are started, stopped and disturbed one by one, under load and under watch.
#![allow(dead_code, reason = "each test uses a part")]

use consigner_chaos::binary;
use consigner_chaos::cli::Ended;
use consigner_chaos::cluster::ports::Turn;
use consigner_chaos::fleet::{Fleet, Node, Seat};
use consigner_chaos::oracle::history::Clock;
use consigner_chaos::oracle::{Courier, Evidence, Fault, History, Watch};
use consigner_chaos::storm::{Chain, Doors, Duties, Duty, Steady};
use consigner_keys::development::interop_secret;
use consigner_rules::{Epoch, PublicKey};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A loaded machine with debug binaries.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// Between two looks.
pub const POLL: Duration = Duration::from_millis(50);

/// Duties that show that a cluster goes on.
pub const SOME_DUTIES: usize = 20;

/// Interop validators for which rivals are asked, if a test lets a storm loose; the last one gives its pulse.
pub const ATTACKED: u64 = 4;

/// Interop validators after these, whose duties are performed all the time.
pub const PERFORMING: u64 = 4;

/// The interop validator of those who ask where nobody may sign.
pub const BAIT: u64 = ATTACKED + PERFORMING;

/// Where all loads begin, in epochs: below the chain's present, so that a floor at its present lies above all of it.
pub fn first_epoch(chain: &Chain) -> Epoch {
    chain.modern_epoch()
}

/// A cluster, what is asked of it, and what is seen of it.
pub struct Colony {
    /// Running processes by node id. They end before their files.
    nodes: BTreeMap<u64, Node>,
    /// Files, ports, certificates.
    pub fleet: Fleet,
    /// The way to every seat.
    pub courier: Arc<Courier>,
    /// Looks at every seat all the time.
    pub watch: Watch,
    /// What is signed for.
    pub chain: Chain,
    /// Where clients go.
    pub doors: Doors,
    /// What was broken.
    pub faults: Vec<Fault>,
    /// Sections that every node's configuration has besides.
    pub overlay: String,
    _turn: Turn,
}

impl Colony {
    /// Starts these nodes of so many seats and makes them a cluster.
    pub async fn found(seats: u16, members: &[u64], overlay: &str) -> Self {
        let binary = binary::up_to_date().await.unwrap();
        let turn = Turn::wait().await.unwrap();
        let fleet = Fleet::new(&binary, seats).unwrap();
        let courier = Arc::new(fleet.courier(Arc::new(History::new(Clock::start()))).unwrap());
        let (chain, doors) = (Chain::mainnet().unwrap(), Doors::to(members));
        let watch = Watch::start(courier.clone());
        let overlay = overlay.to_owned();
        let mut colony = Self {
            nodes: BTreeMap::new(),
            fleet,
            courier,
            watch,
            chain,
            doors,
            faults: Vec::new(),
            overlay,
            _turn: turn,
        };
        for id in members {
            colony.start(*id);
        }
        colony.fleet.init(members).await.unwrap();
        colony.until_ready(members).await;
        colony
    }

    /// The usual seat of a node.
    pub fn seat(&self, id: u64) -> Seat {
        self.fleet.seat(id).with_validators(BAIT + 1).with(&self.overlay)
    }

    /// Starts a node on its usual seat.
    pub fn start(&mut self, id: u64) {
        let seat = self.seat(id);
        self.start_at(&seat);
    }

    /// Starts a node on this seat; it counts as running until it is stopped here.
    pub fn start_at(&mut self, seat: &Seat) {
        let node = self.fleet.start(seat).unwrap();
        self.nodes.insert(seat.node, node);
    }

    /// A node's process.
    pub fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    /// SIGTERM; it must end well.
    pub async fn stop(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        let status = node.stop(DEADLINE).await.unwrap();
        assert!(status.success(), "node {id} ended with {status}\n{}", self.fleet.tail(id));
    }

    /// Ends the process of a node that was removed, or sees that it has ended itself.
    pub async fn dismiss(&mut self, id: u64) {
        let mut node = self.nodes.remove(&id).unwrap();
        if !node.is_over() {
            node.stop(DEADLINE).await.unwrap();
        }
    }

    /// `kill -9`.
    pub async fn kill(&mut self, id: u64) {
        self.nodes.remove(&id).unwrap().kill().await.unwrap();
    }

    /// `kill -9`, written down as a fault that leaves a quorum.
    pub async fn kill_noted(&mut self, id: u64) {
        let (at, pids) = (self.now(), vec![self.node(id).pid()]);
        self.faults.push(Fault { name: "kill", nodes: vec![id], pids, at, quorum_at: at, healed_at: None });
        self.kill(id).await;
    }

    /// Waits until these nodes are ready.
    pub async fn until_ready(&self, ids: &[u64]) {
        self.fleet.until_ready(&self.courier, ids).await.unwrap();
    }

    /// Who of these leads.
    pub async fn leader(&self, ids: &[u64]) -> u64 {
        self.fleet.leader(&self.courier, ids).await.unwrap()
    }

    /// One of these that does not lead.
    pub async fn follower(&self, ids: &[u64]) -> u64 {
        let leader = self.leader(ids).await;
        ids.iter().copied().find(|id| *id != leader).unwrap()
    }

    /// Where a node's disk is.
    pub fn disk(&self, id: u64) -> PathBuf {
        self.fleet.data(&self.seat(id))
    }

    /// A place for a disk that is in no node.
    pub fn shelf(&self, name: &str) -> PathBuf {
        self.fleet.dir().join(name)
    }

    /// Time on the clock of the history.
    pub fn now(&self) -> Duration {
        self.courier.history().clock().now()
    }

    /// Validator clients that perform duties through the doors.
    pub fn duties(&self, epoch: Epoch) -> Duties {
        let keys: Vec<PublicKey> = (ATTACKED..ATTACKED + PERFORMING).map(key).collect();
        Duties::start(&self.courier, &self.chain, &keys, &self.doors, epoch)
    }

    /// Somebody who asks one place for signatures, whoever answers there.
    pub fn asking(&self, place: u64, epoch: Epoch) -> Steady {
        Steady::start(&self.courier, &self.chain, &[key(BAIT)], &[place], epoch)
    }

    /// An operator's command through these nodes that must succeed.
    pub async fn command(&self, through: &[u64], arguments: &[&str], more: &[&str]) -> Ended {
        let ended = self.fleet.cli(through).run(arguments, more).await.unwrap();
        assert_eq!(ended.code, Some(0), "{arguments:?} {more:?}: {}{}", ended.stdout, ended.stderr);
        ended
    }

    /// Starts a node on this seat while somebody asks its place for signatures. It must refuse to run, say the way out
    /// and sign nothing; meanwhile the cluster goes on. Answers with what it said.
    pub async fn refused(&mut self, seat: &Seat, place: u64, load: &Duties, way_out: &str) -> String {
        let (since, asking) = (self.now(), self.asking(place, self.bait()));
        let mut node = self.fleet.start(seat).unwrap();
        let ended = node.ended(DEADLINE).await;
        let said = node.said();
        let status = ended.unwrap_or_else(|error| panic!("{}: {error}\n{}", seat.name, self.statuses(place)));
        assert!(!status.success(), "{} ended with {status}:\n{said}", seat.name);
        assert!(said.contains(way_out), "{} does not name {way_out:?}:\n{said}", seat.name);
        goes_on(load).await;
        asking.stop().await;
        let exchanges = self.courier.history().exchanges();
        let mut signed = exchanges.iter().filter(|one| one.node == place && one.sent_at >= since && one.is_ok());
        assert!(signed.next().is_none(), "{} signed before it was refused:\n{said}", seat.name);
        said
    }

    /// An epoch for whom nobody should answer: above all that was asked of that key so far.
    fn bait(&self) -> Epoch {
        first_epoch(&self.chain) + self.courier.history().exchanges().len() as u64
    }

    fn statuses(&self, place: u64) -> String {
        let seen = self.watch.seen().statuses;
        let of_place = seen.iter().rev().filter(|sample| sample.node == place).take(3);
        of_place.map(|sample| format!("{sample:?}\n")).collect()
    }

    /// Waits until these nodes have applied the same, and looks at all of them.
    pub async fn until_level(&self, ids: &[u64]) {
        let level = async || {
            let states = self.watch.states().await;
            let own: Vec<_> = states.iter().filter(|state| ids.contains(&state.node)).collect();
            own.len() == ids.len() && own.windows(2).all(|pair| pair[0].applied_index == pair[1].applied_index)
        };
        until("one applied index on all nodes", level).await;
        self.watch.look_once().await;
    }

    /// Everything that was seen. `nodes` must have been asked at the end.
    pub async fn evidence(self, nodes: Vec<u64>) -> Evidence {
        let history = self.courier.clone();
        let seen = self.watch.stop().await;
        assert_eq!(seen.problems, Vec::<String>::new());
        Evidence::new(nodes, history.history(), seen.exports, seen.statuses, self.faults)
    }
}

/// Public key of an interop validator.
pub fn key(number: u64) -> PublicKey {
    interop_secret(number).public_key()
}

/// Duties go on being performed.
pub async fn goes_on(load: &Duties) {
    assert!(load.more(SOME_DUTIES, DEADLINE).await, "the cluster does not sign any more");
}

/// Waits until something holds.
pub async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !look().await {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// The longest that any duty took; all must have been performed.
pub fn longest(duties: &[Duty]) -> Duration {
    assert!(!duties.is_empty(), "nothing was due");
    let took = |duty: &Duty| duty.took().unwrap_or_else(|| panic!("{duty}"));
    duties.iter().map(took).max().unwrap()
}
