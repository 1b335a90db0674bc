//! A node's own archive: read beside the running node, and after its stop.

use crate::common::{Dev, END, deployment, free_base_port};
use crate::{archive, archive_json, interchange, sign_steps, targets};
use consigner_rules::primitives::ClusterId;
use consigner_storage::outbox::SpillLimits;
use consigner_storage::{Outbox, StateStore, identity_of};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Makes segments of all rows of a stopped node: a node does so from 50,000 rows on.
fn spill(data_dir: &Path) {
    let lineage = ClusterId(identity_of(data_dir).unwrap().cluster_id);
    let store = Arc::new(StateStore::open(&data_dir.join("state")).unwrap().0);
    let outbox = Outbox::open(Arc::clone(&store), &data_dir.join("archive"), lineage).unwrap();
    let last = store.outbox_last().unwrap().expect("rows").0;
    outbox.spill(SpillLimits { rows: 1, bytes: 1 }, last).unwrap();
    assert!(outbox.segment_bytes() > 0);
    drop(outbox);
    // Without the mark of a clean stop: the node builds its state anew from snapshot and log, and keeps the segments.
    drop(store);
}

fn rows(data_dir: &str) -> usize {
    let (exit, stdout, stderr) = archive(&["show", "--data-dir", data_dir, "--kind", "attestation", "--json"]);
    assert_eq!(exit, 0, "{stderr}");
    let rows: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rows.len()
}

#[test]
fn a_node_is_its_own_archive() {
    let work = tempfile::tempdir().unwrap();
    let (dir, port) = (work.path().join("dev"), free_base_port(1).to_string());
    let arguments = ["--nodes", "1", "--base-port", &port, "--validators", "2"];
    let mut dev = Dev::start(&dir, &arguments);
    dev.until_ready();
    let key = sign_steps(&dir, 1..=3);
    let data = deployment(&dir).nodes[0].data_dir.clone();
    let (data_dir, dev_dir) = (data.to_str().unwrap(), dir.to_str().unwrap());
    let (exit, _, stderr) = archive(&["show", "--data-dir", data_dir]);
    assert!(exit == 0 && stderr.contains("the node runs"), "{stderr}");
    let (exit, stdout, stderr) = archive(&["status", "--dir", dev_dir]);
    assert!(exit == 0 && stdout.contains("keeps its own"), "{stdout} {stderr}");
    assert_eq!(archive(&["backfill", "--dir", dev_dir]).0, 1, "there is no database to fill");

    dev.signal(rustix::process::Signal::INT);
    assert!(dev.ended(END).success());
    drop(dev);
    assert_eq!(rows(data_dir), 3, "out of the store of a stopped node");
    spill(&data);
    assert_eq!(rows(data_dir), 3, "out of segments");
    let to = work.path().join("all.json");
    let done = archive_json(&["export", "--data-dir", data_dir, "--to", to.to_str().unwrap()], 0);
    assert_eq!((&done["complete"], targets(&interchange(&to), &key).len()), (&true.into(), 3));

    let mut dev = Dev::start(&dir, &arguments);
    dev.until_ready();
    sign_steps(&dir, 4..=4);
    assert_eq!(rows(data_dir), 3, "the fourth is in the store of the running node");
    let told = archive_json(&["verify", "--data-dir", data_dir, "--dir", dev_dir], 0);
    let one = &told["lineages"][0];
    assert_eq!(
        (&told["ok"], &one["live"]["missing"], &one["details"]["segments"]),
        (&true.into(), &Value::Array(vec![]), &1.into())
    );
    damaged(&data, work.path());
}

/// A copy of the segments alone, with one byte changed.
fn damaged(data: &Path, work: &Path) {
    let copy = work.join("copy");
    std::fs::create_dir(&copy).unwrap();
    let mut name = String::new();
    for entry in std::fs::read_dir(data.join("archive")).unwrap().flatten() {
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        let file = entry.file_name().into_string().unwrap();
        name = if Path::new(&file).extension().is_some_and(|end| end == "seg") { file } else { name };
    }
    let copy_dir = copy.to_str().unwrap();
    assert_eq!(archive(&["verify", "--data-dir", copy_dir]).0, 2, "it does not say whose it is");
    let lineage = hex::encode(identity_of(data).unwrap().cluster_id);
    let asked = ["verify", "--data-dir", copy_dir, "--lineage", &lineage];
    assert_eq!(archive(&asked).0, 0);
    let path = copy.join(&name);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (exit, stdout, _) = archive(&asked);
    assert!(exit == 1 && stdout.contains("BROKEN") && stdout.contains(&name), "{stdout}");
}
