//! What the end-to-end tests share: the real binary, free ports, waiting with a deadline.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use consigner_node::client::signing::{Chain, Duty, Signed, Vote, sign};
use consigner_node::client::{ClusterClient, Deployment};
use consigner_rules::{Network, PublicKey};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A cluster starts in one to two seconds; a machine that builds beside it may take many times that.
pub const START: Duration = Duration::from_secs(120);

/// DESIGN 11: "exits 0 within 15 s"; a starved machine counts other seconds.
pub const STOP: Duration = Duration::from_secs(60);

/// How long one node may take to end in order: tens of milliseconds, on a machine that builds beside it far more.
pub const END: Duration = Duration::from_secs(60);

/// The binary under test.
pub fn consigner() -> Command {
    Command::new(env!("CARGO_BIN_EXE_consigner"))
}

/// A first port above which all ports of a cluster are free now.
pub fn free_base_port(nodes: u16) -> u16 {
    // Tests of one process run side by side, and a port is free again between the look and the start.
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let own = TAKEN.fetch_add(1, Ordering::Relaxed) * 100;
    // Below the range from which the system gives ports to outgoing connections, and below those that the tests' databases
    // look for, which run in the same process.
    let mut base = 10_000 + u16::try_from(std::process::id() % 90).unwrap() * 100 + own;
    loop {
        let ports = (0..nodes).flat_map(|node| (0..3).map(move |door| base + node * 10 + door));
        let taken: Result<Vec<TcpListener>, _> = ports.map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        if taken.is_ok() {
            return base;
        }
        base = if base > 21_500 { 10_000 } else { base + 100 };
    }
}

/// A running `consigner dev`; killed if the test forgets it.
pub struct Dev {
    child: Child,
    lines: Receiver<String>,
    /// Everything it printed so far.
    pub printed: Vec<String>,
    dir: PathBuf,
    /// Read at its start; removed with it.
    _overlay: tempfile::NamedTempFile,
}

/// What every node is told, so that the machine's state decides nothing: how full its disk is (nodes warn from 80 % on
/// and take nothing from 95 % on), and elections that nobody caused, which requests wait out instead of being answered
/// 503 after 2 s; less than the 6 s that a client here gives a request.
const PATIENT: &str = "disk: {warn-percent: 98, stop-percent: 99}\nraft: {leader-wait: 5s}\n";

/// The arguments with [`PATIENT`] laid over what they lay over every configuration.
fn patient(arguments: &[&str]) -> (Vec<String>, tempfile::NamedTempFile) {
    let mut all: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let flag = all.iter().position(|text| text == "--config-overlay");
    let own = flag.map_or_else(String::new, |at| {
        all.remove(at);
        std::fs::read_to_string(all.remove(at)).unwrap()
    });
    assert!(!own.lines().any(|line| line.starts_with("disk:") || line.starts_with("raft:")), "twice: {own}");
    // Nothing, as a whole document, has nothing after it.
    let own = if own.trim() == "{}" { "" } else { &own };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{own}\n{PATIENT}")).unwrap();
    all.extend(["--config-overlay".to_owned(), file.path().to_str().unwrap().to_owned()]);
    (all, file)
}

impl Dev {
    pub fn start(dir: &Path, arguments: &[&str]) -> Self {
        Self::start_in(dir, arguments, &[])
    }

    /// With variables for the nodes.
    pub fn start_in(dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let (arguments, overlay) = patient(arguments);
        let mut command = consigner();
        command.envs(variables.iter().copied());
        command.arg("dev").arg("--dir").arg(dir).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, printed: Vec::new(), dir: dir.to_owned(), _overlay: overlay }
    }

    /// Waits for the first line that begins with `ready`.
    pub fn until_ready(&mut self) {
        let until = Instant::now() + START;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.printed.push(line);
                    if self.printed.last().unwrap().starts_with("ready") {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("not ready; printed: {:#?}", self.printed)
                }
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        consigner_node::dev::signal_pid(self.child.id(), signal);
    }

    /// What it and its nodes said, for a test that failed.
    #[expect(clippy::print_stderr, reason = "a failed test explains itself")]
    fn tell(&mut self) {
        self.printed.extend(self.lines.try_iter());
        eprintln!("dev printed: {:#?}", self.printed);
        for node in 1..=7 {
            if let Ok(log) = std::fs::read_to_string(self.dir.join(format!("node{node}/log"))) {
                let lines: Vec<&str> = log.lines().collect();
                // openraft repeats itself while nodes are slow; what the program itself said comes first.
                let own = lines.iter().filter(|line| !line.contains(" openraft::"));
                eprintln!("the log of node {node} without openraft:\n{}", own.copied().collect::<Vec<_>>().join("\n"));
                let tail = &lines[lines.len().saturating_sub(20)..];
                eprintln!("the end of the log of node {node}:\n{}", tail.join("\n"));
            }
        }
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let status = eventually("the end of dev", deadline, || self.child.try_wait().unwrap());
        self.printed.extend(self.lines.iter());
        status
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        // The nodes stop with their supervisor.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Looks until there is something to see.
#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition, in a plain thread")]
pub fn eventually<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + deadline;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "{what} did not happen within {deadline:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Signs, or is refused; a cluster that cannot right now, or a machine that is too slow, is asked again.
pub async fn patiently(client: &ClusterClient, duty: &Duty) -> Signed {
    let until = Instant::now() + START;
    loop {
        match sign(client, duty).await {
            Ok(Signed::Other(http::StatusCode::SERVICE_UNAVAILABLE, _)) | Err(_) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            answer => return answer.unwrap(),
        }
    }
}

/// Whether a process is there (a zombie is not).
pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

pub fn deployment(dir: &Path) -> Deployment {
    Deployment::read(dir).unwrap()
}

pub fn mainnet() -> Chain {
    let network = Network::by_name("mainnet").unwrap();
    let root = network.genesis_validators_root().unwrap();
    Chain::new(network, root)
}

/// An attestation of mainnet's newest fork.
pub fn attestation(chain: &Chain, key: PublicKey, step: u64, head: u64) -> Duty {
    let target = chain.newest_fork_epoch() + 10 + step;
    let vote = Vote { slot: chain.first_slot(target), source: target - 1, target, head };
    Duty { public_key: key, body: chain.attestation(&vote) }
}

/// Runs a command to its end; its exit code, stdout, stderr.
pub fn output(arguments: &[&str]) -> (i32, String, String) {
    let output = consigner().args(arguments).output().unwrap();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}
