//! `consigner cluster` and a growing `consigner dev`, as an operator uses them: the real binary, real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Dev, END, START, STOP, consigner, deployment, eventually, free_base_port, output};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Runs `consigner cluster ARGUMENTS --dir DIR`.
fn cluster(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut all = vec!["cluster"];
    all.extend(arguments);
    all.extend(["--dir", dir.to_str().unwrap()]);
    output(&all)
}

fn json(dir: &Path, arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.push("--json");
    let (code, stdout, stderr) = cluster(dir, &all);
    serde_json::from_str(&stdout)
        .unwrap_or_else(|why| panic!("{arguments:?} ended with {code}: {why}: {stdout}{stderr}"))
}

fn voters(status: &Value) -> Vec<u64> {
    let known = status["nodes"].as_array().unwrap().iter().find_map(|node| node["status"]["voters"].as_array());
    known.unwrap().iter().map(|voter| voter.as_u64().unwrap()).collect()
}

#[test]
fn a_development_cluster_grows_and_its_members_are_changed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let port = free_base_port(4).to_string();
    let mut dev = Dev::start(dir, &["--nodes", "1", "--base-port", &port, "--validators", "2"]);
    dev.until_ready();
    dev.signal(Signal::TERM);
    assert_eq!(dev.ended(STOP).code(), Some(0));
    drop(dev);

    let mut dev = Dev::start(dir, &["--nodes", "3", "--validators", "2"]);
    dev.until_ready();
    assert_eq!(deployment(dir).nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [1, 2, 3]);
    // A node that is kept from answering is left out, and one that is kept from hearing suspects its leader.
    let status = eventually("a status of all nodes", START, || {
        let status = json(dir, &["status"]);
        let is_ready = |node: &Value| node["status"]["ready"] == true && node["status"]["keys"] == 2;
        status["nodes"].as_array()?.iter().all(is_ready).then_some(status)
    });
    assert_eq!(voters(&status), [1, 2, 3]);
    for node in status["nodes"].as_array().unwrap() {
        let status = &node["status"];
        assert_eq!(
            status["description"]["sealers"][0]["error"],
            Value::Null,
            "its own sealer opens the keys: {status}"
        );
        assert!(status["description"]["certificate"]["not_after"].as_i64().unwrap() > 0, "{status}");
        let boots = if node["id"] == 1 { 2 } else { 1 };
        assert_eq!(status["boot_counter"], boots, "{status}");
    }
    join_tokens(dir);
    refusals(dir);
    watch(dir);

    let (from, to) = eventually("a leader", END, || {
        let status = json(dir, &["status"]);
        let leader = status["nodes"].as_array()?.iter().find_map(|node| node["status"]["leader"].as_u64())?;
        Some((leader, leader % 3 + 1))
    });
    // Leadership may move by itself meanwhile.
    let made = eventually("a transfer", START, || {
        let (code, stdout, _) = cluster(dir, &["transfer-leader", "--to", &to.to_string(), "--json"]);
        (code == 0).then(|| serde_json::from_str::<Value>(&stdout).unwrap())
    });
    assert_eq!((made["leader"].as_u64(), made["voters"].as_array().unwrap().len()), (Some(to), 3), "from {from}");

    let (code, stdout, stderr) = cluster(dir, &["remove", "--id", "3"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("node 3 is out") && stdout.contains("warning: 2 voters"), "{stdout}");
    // The supervisor notices, and tells of it where the commands look.
    eventually("two nodes in cluster.json", END, || (deployment(dir).nodes.len() == 2).then_some(()));
    assert_eq!(voters(&json(dir, &["status"])), [1, 2]);
    dev.signal(Signal::TERM);
    assert_eq!(dev.ended(STOP).code(), Some(0));
}

fn join_tokens(dir: &Path) {
    let file = dir.join("token-of-9");
    let (code, stdout, stderr) =
        cluster(dir, &["join-token", "--id", "9", "--expires", "10m", "--to", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("cjt_") && !stdout.contains(text.trim()), "{stdout}");
    let held = json(dir, &["join-token", "--list"]);
    let id = held["data"].as_array().unwrap().iter().find(|token| token["node"] == 9).unwrap()["id"].clone();
    assert!(text.contains(id.as_str().unwrap()) && !held.to_string().contains(text.trim()));
    assert_eq!(json(dir, &["join-token", "--revoke", id.as_str().unwrap()])["status"], "revoked");
    let (code, ..) = cluster(dir, &["join-token", "--revoke", id.as_str().unwrap()]);
    assert_eq!(code, 3, "nothing to revoke");
}

fn refusals(dir: &Path) {
    let cases: [(&[&str], i32, &str); 8] = [
        (&["add", "--id", "2", "--peer-addr", "127.0.0.1:1"], 1, "node 2 is a member already"),
        (&["add", "--id", "9", "--peer-addr", "127.0.0.1:1"], 1, "node 9 gives no answer at 127.0.0.1:1"),
        (&["remove", "--id", "9"], 1, "node 9 is not a member; members are 1, 2, 3"),
        (&["promote", "--id", "2"], 1, "node 2 is a member already (voter)"),
        (&["transfer-leader", "--to", "9"], 1, "node 9 is not a member"),
        (&["accept-restart", "--id", "2"], 1, ""),
        (&["add", "--id", "9", "--peer-addr", "nowhere"], 2, "not HOST:PORT"),
        (&["join-token"], 2, "--id"),
    ];
    for (arguments, expected, says) in cases {
        // Without a leader for a moment it is refused for that.
        eventually("the refusal for its own reason", START, || {
            let (code, stdout, stderr) = cluster(dir, arguments);
            let is_it = code == expected && stderr.contains(says);
            let is_passing = stderr.contains("no leader") || stderr.contains("quorum");
            assert!(is_it || is_passing, "{arguments:?}: {code}: {stdout}{stderr}");
            is_it.then_some(())
        });
    }
}

/// The live view shows the members again and again, and ends well on ctrl-c.
fn watch(dir: &Path) {
    let mut command = consigner();
    command.args(["cluster", "status", "--watch", "--dir"]).arg(dir).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let tables = lines.filter(|line| line.starts_with("NODE") && line.contains("LAG")).take(2).count();
    assert_eq!(tables, 2);
    consigner_node::dev::signal_pid(child.id(), Signal::INT);
    let status = eventually("the end of the watch", START, || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn every_command_explains_itself_with_examples() {
    for command in ["add", "remove", "replace", "promote", "transfer-leader", "join-token", "accept-restart", "status"]
    {
        let (code, stdout, _) = output(&["cluster", command, "--help"]);
        assert_eq!(code, 0, "{command}");
        assert!(stdout.contains(&format!("consigner cluster {command} --dir")), "{command}: {stdout}");
        assert!(stdout.contains("Exit codes: 0"), "{command}: {stdout}");
    }
}
