//! The drill of docs/OPERATIONS.md, command by command, and what `cluster restore` refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{attestation, deployment, eventually, free_base_port, mainnet, output};
use consigner_gate::ClientTls;
use consigner_node::client::signing::{Chain, Duty, Signed, Vote, public_keys, sign};
use consigner_node::client::{ClusterClient, history};
use consigner_raft::NodeStatus;
use consigner_rules::PublicKey;
use consigner_rules::interchange::Interchange;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A machine that builds beside the test is slow.
const DEADLINE: Duration = Duration::from_secs(120);

/// The steps of the drill, by name, in the order of the document.
fn steps() -> (Vec<String>, BTreeMap<String, String>) {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md");
    let text = std::fs::read_to_string(document).unwrap();
    let (mut order, mut scripts) = (Vec::new(), BTreeMap::new());
    for part in text.split("<!-- drill: ").skip(1) {
        let (name, rest) = part.split_once(" -->\n```sh\n").expect("a block of commands behind its name");
        let (script, _) = rest.split_once("```").expect("the end of the block");
        order.push(name.to_owned());
        assert!(scripts.insert(name.to_owned(), script.to_owned()).is_none(), "{name} twice");
    }
    (order, scripts)
}

/// A place in which the commands of the document work as they stand.
struct Drill {
    dir: tempfile::TempDir,
    base_port: u16,
    scripts: BTreeMap<String, String>,
    done: Vec<String>,
}

impl Drill {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_consigner"), dir.path().join("bin/consigner")).unwrap();
        Self { dir, base_port: free_base_port(3), scripts: steps().1, done: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs one step; what it printed.
    fn step(&mut self, name: &str) -> String {
        self.done.push(name.to_owned());
        let script = self.scripts.get(name).unwrap_or_else(|| panic!("the document has no step {name}"));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        // To a file: what a step leaves running would keep a pipe open.
        let printed = self.path("printed");
        let file = std::fs::File::create(&printed).unwrap();
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", script]).current_dir(self.dir.path()).env("PATH", path);
        command.env("BASE_PORT", self.base_port.to_string()).stdin(std::process::Stdio::null());
        let status = command.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
        let printed = std::fs::read_to_string(printed).unwrap();
        let log = |file| std::fs::read_to_string(self.path(file)).unwrap_or_default();
        assert!(status.success(), "step {name}: {printed}\n{}\n{}", log("dev.log"), log("new/node1/log"));
        printed
    }

    /// A client of the new cluster's first node.
    fn client(&self, name: &str) -> ClusterClient {
        self.client_of(name, 1)
    }

    fn client_of(&self, name: &str, node: u16) -> ClusterClient {
        let file = |end: &str| self.path(&format!("new/certs/{name}{end}"));
        let tls = ClientTls { cert: file(".pem"), key: file("-key.pem"), ca: self.path("new/certs/ca.pem") };
        let port = self.base_port + 10 * (node - 1);
        ClusterClient::new(vec![format!("https://127.0.0.1:{port}")], &tls, 1).unwrap()
    }
}

impl Drop for Drill {
    /// Ends what the steps left running, by the numbers that they noted.
    fn drop(&mut self) {
        for file in ["dev.pid", "new/node1/pid", "new/node2/pid", "new/node3/pid"] {
            let pid = std::fs::read_to_string(self.path(file)).ok().and_then(|text| text.trim().parse().ok());
            if let Some(pid) = pid.filter(|pid| is_ours(*pid, self.dir.path())) {
                consigner_node::dev::signal_pid(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// A number may have gone to another process since.
fn is_ours(pid: u32, dir: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
}

/// Signs, or is refused; a cluster that cannot right now is asked again.
async fn patiently(client: &ClusterClient, duty: &Duty) -> Signed {
    let until = std::time::Instant::now() + DEADLINE;
    loop {
        match sign(client, duty).await {
            Ok(answer @ (Signed::Signature(_) | Signed::Refused(_))) => return answer,
            other => assert!(std::time::Instant::now() < until, "{other:?}"),
        }
    }
}

fn vote(chain: &Chain, key: PublicKey, source: u64, target: u64) -> Duty {
    let vote = Vote { slot: chain.first_slot(target), source, target, head: 1 };
    Duty { public_key: key, body: chain.attestation(&vote) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drill_of_the_document() {
    let mut drill = Drill::new();
    drill.step("start");
    let signer = deployment(&drill.path("old")).signer(1).unwrap();
    let (chain, keys) = (mainnet(), public_keys(&signer).await.unwrap());
    let key = keys[0];

    // Backed up while it signs.
    let enough = Arc::new(AtomicBool::new(false));
    let signing = tokio::spawn({
        let (enough, signer, chain) = (Arc::clone(&enough), signer.clone(), chain.clone());
        async move {
            let mut step = 0;
            while !enough.load(Ordering::Relaxed) || step < 3 {
                step += 1;
                let answer = patiently(&signer, &attestation(&chain, key, step, 1)).await;
                assert!(matches!(answer, Signed::Signature(_)), "{answer:?}");
            }
            step
        }
    });
    let printed = tokio::task::block_in_place(|| drill.step("back-up"));
    assert!(printed.contains("the backup is good") && printed.contains("4 sealed"), "{printed}");
    enough.store(true, Ordering::Relaxed);
    // What the backup cannot know.
    let last = signing.await.unwrap() + 1;
    let newest = attestation(&chain, key, last, 1);
    assert!(matches!(patiently(&signer, &newest).await, Signed::Signature(_)));
    refusals_of_backups(&drill);

    drill.step("lose");
    drill.step("configure");
    refusals_of_restores(&drill);
    let printed = drill.step("restore");
    for said in ["survivor, base", "backup", "4 keys sealed anew", "cluster resume --at-epoch", "revoke its access"] {
        assert!(printed.contains(said), "{said}: {printed}");
    }
    drill.step("run");
    let (signer, admin) = (drill.client("client"), drill.client("admin"));
    // Not a word before it was told a floor.
    let later = vote(&chain, key, 600_000, 600_001);
    eventually_says(&signer, &later, "consigner cluster resume").await;
    eventually_says(&signer, &Duty { public_key: key, body: chain.randao(1) }, "consigner cluster resume").await;

    drill.step("resume");
    let floor = history::highest(&admin).await.unwrap();
    assert!(floor.target > chain.newest_fork_epoch() + 10 + last, "above everything that was signed: {floor:?}");
    assert_eq!(floor.slot + 1, chain.first_slot(floor.target + 1));
    for old in [newest, attestation(&chain, key, last, 2), vote(&chain, key, floor.target - 1, floor.target)] {
        assert!(matches!(patiently(&signer, &old).await, Signed::Refused(_)));
    }
    for key in keys {
        let duty = vote(&chain, key, floor.target, floor.target + 1);
        let Signed::Signature(signature) = patiently(&signer, &duty).await else { panic!("not signed") };
        assert!(chain.verify(&duty, &signature).unwrap());
    }
    drill.step("grow");
    all_vote(&admin).await;
    let third = drill.client_of("client", 3);
    let duty = vote(&chain, key, floor.target + 1, floor.target + 2);
    assert!(matches!(patiently(&third, &duty).await, Signed::Signature(_)), "through a node that joined");
    let twice = vote(&chain, key, floor.target, floor.target + 2);
    assert!(matches!(patiently(&third, &twice).await, Signed::Refused(_)));
    assert_eq!(drill.done, steps().0, "every command of the document was run, in its order");
}

/// Waits until every node tells that all three vote; one that is kept from answering is left out of a status.
async fn all_vote(admin: &ClusterClient) {
    let until = std::time::Instant::now() + DEADLINE;
    let voters = |status: &NodeStatus| status.voters == [1, 2, 3];
    loop {
        let status = consigner_node::client::admin::status(admin).await;
        let nodes = status.as_ref().map(|status| status.nodes.as_slice()).unwrap_or_default();
        if nodes.len() == 3 && nodes.iter().all(|node| node.status.as_ref().is_some_and(voters)) {
            return;
        }
        assert!(std::time::Instant::now() < until, "not all vote");
    }
}

/// The answer to a request that is refused for a while.
async fn eventually_says(client: &ClusterClient, duty: &Duty, what: &str) {
    let until = std::time::Instant::now() + DEADLINE;
    loop {
        match sign(client, duty).await {
            Ok(Signed::Other(http::StatusCode::SERVICE_UNAVAILABLE, reason)) if reason.contains(what) => return,
            Ok(Signed::Signature(_)) => panic!("signed without a floor"),
            other => assert!(std::time::Instant::now() < until, "{other:?}"),
        }
    }
}

fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Runs a command that must refuse with this reason.
fn refuses(arguments: &[&str], reason: &str) {
    let (code, stdout, stderr) = output(arguments);
    assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}: {stderr}");
    assert!(stderr.contains(reason), "expected {reason:?}: {stderr}");
}

fn refusals_of_backups(drill: &Drill) {
    let text = |name: &str| drill.path(name).display().to_string();
    let (backup, pass, old, wrong) = (text("backup.consigner"), text("backup.pass"), text("old"), text("wrong.pass"));
    private(Path::new(&wrong), "another passphrase than that");
    let verify = |file: &str, pass: &str, reason: &str| {
        refuses(&["cluster", "backup", "verify", file, "--passphrase-file", pass], reason);
    };
    verify(&backup, &wrong, "the passphrase is not the one of this backup");
    let whole = std::fs::read(&backup).unwrap();
    let damaged = text("damaged");
    let mut flipped = whole.clone();
    flipped[200] ^= 1;
    for (content, reason) in [
        (flipped, "damaged in part 1 of 1"),
        (whole[..whole.len() - 9].to_vec(), "damaged in part 1 of 1"),
        (b"CNSGNbak\x02\0\0\0".to_vec(), "format 2; this version reads 1"),
        (b"{}".to_vec(), "no backup of consigner"),
    ] {
        std::fs::write(&damaged, content).unwrap();
        verify(&damaged, &pass, reason);
    }
    let again = ["cluster", "backup", "--dir", &old, "--to", &backup, "--passphrase-file", &pass];
    refuses(&again, "never overwrites");
    assert_eq!(std::fs::read(&backup).unwrap(), whole);
}

fn refusals_of_restores(drill: &Drill) {
    let text = |name: &str| drill.path(name).display().to_string();
    let (config, survivor) = (text("new/node1/config.yaml"), text("old/node3/data"));
    let (backup, pass, wrong) = (text("backup.consigner"), text("backup.pass"), text("wrong.pass"));
    let restore = |config: &str, rest: &[&str], reason: &str| {
        let mut arguments = vec!["cluster", "restore", "--config", config];
        arguments.extend(rest);
        refuses(&arguments, reason);
        assert!(!drill.path("new/node1/data").exists(), "nothing was written: {reason}");
    };
    restore(&config, &[], "neither a backup nor a survivor");
    restore(&config, &["--backup", &backup, "--passphrase-file", &wrong], "not the one of this backup");
    restore(&config, &["--backup", &text("damaged"), "--passphrase-file", &pass], "no backup of consigner");
    restore(&config, &["--survivor", &text("old")], "is no data directory");
    restore(&config, &["--survivor", &survivor, "--resume-at-epoch", "100"], "is too early");
    restore(&config, &["--survivor", &survivor, "--resume-at-epoch", "9000000"], "never lowered again");
    let foreign = text("foreign.json");
    let other = Interchange::minimal(consigner_rules::Root([1; 32]), Vec::new()).to_json();
    std::fs::write(&foreign, other).unwrap();
    restore(&config, &["--survivor", &survivor, "--interchange", &foreign], "belongs to the chain");
    // Over what is there, and as who the old cluster was.
    restore(&text("old/node3/config.yaml"), &["--backup", &backup, "--passphrase-file", &pass], "is not empty");
    restore(&text("old/node1/config.yaml"), &["--survivor", &survivor], "needs a new one");
    assert!(!drill.path("old/node1/data").exists());
    // Another chain.
    let yaml = std::fs::read_to_string(&config).unwrap();
    let hoodi = text("new/node1/hoodi.yaml");
    std::fs::write(&hoodi, yaml.replace("network: mainnet", "network: hoodi")).unwrap();
    restore(&hoodi, &["--survivor", &survivor], "signs for the chain");
    // A key file that opens nothing of the old cluster.
    let strange = text("new/node1/strange.yaml");
    std::fs::write(&strange, yaml.replace("../sealing.key", "../other.key")).unwrap();
    private(&drill.path("new/other.key"), &format!("{}2e", "1f".repeat(31)));
    restore(&strange, &["--survivor", &survivor], "fingerprint");
}

#[test]
fn a_running_node_is_neither_read_nor_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let base_port = free_base_port(1).to_string();
    let mut dev = common::Dev::start(dir.path(), &["--nodes", "1", "--base-port", &base_port]);
    dev.until_ready();
    let node = dir.path().join("node1");
    let config = node.join("config.yaml");
    let other = node.join("other.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&other, text.replace("data-dir: data", "data-dir: elsewhere")).unwrap();
    let data = node.join("data").display().to_string();
    let restore = |config: &Path, reason: &str| {
        let config = config.display().to_string();
        refuses(&["cluster", "restore", "--config", &config, "--survivor", &data], reason);
    };
    restore(&config, "is in use by a running node");
    restore(&other, "stop the node first");
    assert!(!node.join("elsewhere").exists());
    // It was not restored, so there is nothing to resume.
    let dir_text = dir.path().display().to_string();
    eventually("the refusal", DEADLINE, || {
        let (code, _, stderr) = output(&["cluster", "resume", "--dir", &dir_text, "--at-epoch", "now"]);
        assert_eq!(code, 1, "{stderr}");
        stderr.contains("does not wait for a floor").then_some(())
    });
}
