//! `consigner dev` as a user runs it: the real binary, real processes, real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{
    Dev, START, STOP, alive, attestation, deployment, eventually, free_base_port, mainnet, output, patiently,
};
use consigner_node::client::faults;
use consigner_node::client::signing::{Signed, public_keys};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

fn pids(dir: &Path) -> Vec<u32> {
    deployment(dir).nodes.iter().map(|node| node.pid).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_starts_signs_survives_a_kill_stops_and_resumes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("foreign.txt"), "kept").unwrap();
    let port = free_base_port(3).to_string();
    let mut dev = Dev::start(dir.path(), &["--base-port", &port, "--validators", "3"]);
    dev.until_ready();
    assert_eq!(dev.printed.iter().filter(|line| line.starts_with("ready")).count(), 1);

    let chain = mainnet();
    let signer = deployment(dir.path()).signer(2).unwrap().following(true);
    let keys = public_keys(&signer).await.unwrap();
    assert_eq!(keys.len(), 3);
    let duty = attestation(&chain, keys[0], 0, 1);
    let Signed::Signature(signature) = patiently(&signer, &duty).await else { panic!("not signed") };
    assert!(chain.verify(&duty, &signature).unwrap());
    let conflict = attestation(&chain, keys[0], 0, 2);
    assert!(matches!(patiently(&signer, &conflict).await, Signed::Refused(_)));

    let mut step = 0;
    let begun = Instant::now();
    let kill = faults::kill_leader(dir.path(), || {
        step += 1;
        attestation(&chain, keys[1], step, 1)
    });
    let kill = kill.await.unwrap();
    faults::until_back(dir.path(), kill.leader, kill.pid).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1_900), "started again at once, not after about 2 s");
    commands_answer(dir.path());

    let before = pids(dir.path());
    dev.signal(Signal::TERM);
    assert_eq!(dev.ended(STOP).code(), Some(0), "{:#?}", dev.printed);
    assert!(before.iter().all(|pid| !alive(*pid)), "a node outlived its supervisor");
    drop(dev);

    // The second start finds the same cluster, adds keys, and still knows what was signed.
    let mut dev = Dev::start(dir.path(), &["--validators", "5"]);
    dev.until_ready();
    let signer = deployment(dir.path()).signer(2).unwrap().following(true);
    assert_eq!(public_keys(&signer).await.unwrap().len(), 5);
    assert!(matches!(patiently(&signer, &conflict).await, Signed::Refused(_)));
    assert_eq!(patiently(&signer, &duty).await, Signed::Signature(signature), "the newest root repeats");
    assert_eq!(std::fs::read_to_string(dir.path().join("foreign.txt")).unwrap(), "kept");

    // A supervisor that cannot say goodbye takes its nodes with it.
    let children = pids(dir.path());
    dev.signal(Signal::KILL);
    let gone = || children.iter().all(|pid| !alive(*pid)).then_some(());
    eventually("the end of the orphans", STOP, gone);
}

fn commands_answer(dir: &Path) {
    let text = dir.to_str().unwrap();
    // A node that is kept from answering is left out, and one that is kept from hearing suspects its leader.
    eventually("a status of all nodes", START, || {
        let (code, stdout, _) = output(&["cluster", "status", "--dir", text]);
        (code == 0 && stdout.contains("leader") && stdout.matches("follower").count() == 2).then_some(())
    });
    eventually("the same as JSON", START, || {
        let (code, stdout, _) = output(&["cluster", "status", "--dir", text, "--json"]);
        let status: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        (code == 0 && status["nodes"].as_array().unwrap().len() == 3).then_some(())
    });

    let file = dir.join("history.json");
    let file = file.to_str().unwrap();
    let (code, stdout, stderr) = output(&["history", "export", "--dir", text, "--to", file]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("history of 2 validators"), "{stdout}");
    let (code, stdout, stderr) = output(&["history", "import", "--dir", text, "--from", file]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("2 validators, 0 failed"), "{stdout}");

    let wrong = dir.join("wrong.json");
    let exported = std::fs::read_to_string(file).unwrap();
    std::fs::write(
        &wrong,
        exported.replace(
            "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95",
            &format!("0x{}", "11".repeat(32)),
        ),
    )
    .unwrap();
    let (code, _, stderr) = output(&["history", "import", "--dir", text, "--from", wrong.to_str().unwrap()]);
    assert_eq!(code, 1, "another chain's history: {stderr}");
    assert!(stderr.contains("genesis"), "{stderr}");
    let (code, ..) = output(&["history", "import", "--dir", text, "--from", "/nonexistent"]);
    assert_eq!(code, 2);
}

#[test]
fn the_tour_holds_twice_on_one_directory() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_base_port(3).to_string();
    let raw_keys = dir.path().join("raw-keys");
    std::fs::write(&raw_keys, format!("# one key\n0x{}01\n", "00".repeat(31))).unwrap();
    let arguments = ["--base-port", &port, "--validators", "0", "--raw-keys", raw_keys.to_str().unwrap(), "--tour"];
    for _ in 0..2 {
        let mut dev = Dev::start(dir.path(), &arguments);
        let status = dev.ended(START);
        let printed = dev.printed.join("\n");
        assert_eq!(status.code(), Some(0), "{printed}");
        assert!(printed.contains("all 11 promises held"), "{printed}");
        // The public key of the secret 1 is the generator of G1.
        assert!(printed.contains("0x97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"), "{printed}");
    }
}

#[test]
fn a_cluster_of_one_takes_the_tour_too() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_base_port(1).to_string();
    let mut dev = Dev::start(dir.path(), &["--nodes", "1", "--base-port", &port, "--tour"]);
    let status = dev.ended(START);
    assert_eq!(status.code(), Some(0), "{:#?}", dev.printed);
}

#[test]
fn a_port_that_is_taken_is_said_and_dev_still_stops() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_base_port(1);
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut dev = Dev::start(dir.path(), &["--nodes", "1", "--base-port", &port.to_string()]);
    let log = dir.path().join("node1/log");
    eventually("the complaint", START, || {
        std::fs::read_to_string(&log).ok().filter(|log| log.contains("cannot listen on"))
    });
    dev.signal(Signal::INT);
    assert_eq!(dev.ended(STOP).code(), Some(0));
}

#[test]
fn an_overlay_that_no_node_would_take_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let overlay = dir.path().join("overlay.yaml");
    std::fs::write(&overlay, "api: {lissten: 127.0.0.1:1}\n").unwrap();
    let work = dir.path().join("dev");
    let (code, stdout, stderr) =
        output(&["dev", "--dir", work.to_str().unwrap(), "--config-overlay", overlay.to_str().unwrap()]);
    assert_eq!(code, 2, "{stdout}{stderr}");
    assert!(stderr.contains("unknown key; did you mean \"api.listen\"?"), "{stderr}");
}

/// The note that the cluster is initialised can be lost between the call and the write.
#[test]
fn a_start_that_died_before_it_noted_the_initialisation_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_base_port(1).to_string();
    for _ in 0..2 {
        let mut dev = Dev::start(dir.path(), &["--nodes", "1", "--base-port", &port]);
        dev.until_ready();
        dev.signal(Signal::TERM);
        assert_eq!(dev.ended(STOP).code(), Some(0), "{:#?}", dev.printed);
        let plan = std::fs::read_to_string(dir.path().join("dev.json")).unwrap();
        assert!(plan.contains("\"initialised\": true"), "{plan}");
        std::fs::write(dir.path().join("dev.json"), plan.replace("\"initialised\": true", "\"initialised\": false"))
            .unwrap();
    }
}
