//! Tests of what `dev` decides before it starts anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::layout::{Layout, Plan};
use super::{DevError, DevOptions, prepare};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn options(dir: &Path) -> DevOptions {
    DevOptions {
        dir: dir.to_owned(),
        nodes: None,
        base_port: None,
        validators: 4,
        raw_keys: None,
        network: None,
        genesis_validators_root: None,
        follower_requests: "auto".to_owned(),
        config_overlay: None,
        tour: false,
    }
}

#[test]
fn ports_follow_the_contract() {
    let plan = Plan::new(3, 9000, "mainnet".into()).unwrap();
    assert_eq!(plan.api_addr(1), "127.0.0.1:9000");
    assert_eq!(plan.peer_addr(2), "127.0.0.1:9011");
    assert_eq!(plan.metrics_addr(3), "127.0.0.1:9022");
    assert!(plan.ports_fit());
    assert!(!Plan::new(7, 65_500, "mainnet".into()).unwrap().ports_fit());
}

#[test]
fn a_second_start_resumes_and_keeps_certificates() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("foreign"), "kept").unwrap();
    let first = prepare(&options(dir.path())).unwrap();
    let ca = std::fs::read(dir.path().join("certs/ca.pem")).unwrap();
    let plan = first.plan.clone();
    assert!(matches!(prepare(&options(dir.path())), Err(DevError::Busy(_))), "two supervisors in one directory");
    drop(first);
    let second = prepare(&options(dir.path())).unwrap();
    assert_eq!(second.plan, plan);
    assert_eq!(std::fs::read(dir.path().join("certs/ca.pem")).unwrap(), ca);
    assert_eq!(std::fs::read_to_string(dir.path().join("foreign")).unwrap(), "kept");
}

#[test]
fn another_cluster_in_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(prepare(&options(dir.path())).unwrap());
    for contradiction in [
        DevOptions { nodes: Some(5), ..options(dir.path()) },
        DevOptions { base_port: Some(9100), ..options(dir.path()) },
        DevOptions { network: Some("hoodi".into()), ..options(dir.path()) },
    ] {
        assert!(matches!(prepare(&contradiction), Err(DevError::OtherCluster { .. })));
    }
    assert!(prepare(&DevOptions { nodes: Some(3), ..options(dir.path()) }).is_ok());
}

#[test]
fn an_even_cluster_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let even = DevOptions { nodes: Some(4), ..options(dir.path()) };
    assert!(matches!(prepare(&even), Err(DevError::Usage(_))));
}

#[test]
fn secrets_are_readable_by_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = prepare(&options(dir.path())).unwrap();
    let certificates = prepared.layout.certificates();
    let mut secrets: Vec<_> = ["ca", "client", "admin", "node1", "node3"].map(|stem| certificates.key(stem)).into();
    secrets.push(prepared.layout.sealing_key());
    for secret in secrets {
        let mode = std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", secret.display());
    }
}

#[test]
fn every_node_has_a_configuration_that_run_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let overlay = dir.path().join("overlay.yaml");
    std::fs::write(&overlay, "log: {level: debug}\n").unwrap();
    let raw_keys = dir.path().join("raw");
    std::fs::write(&raw_keys, "").unwrap();
    let options = DevOptions { config_overlay: Some(overlay), raw_keys: Some(raw_keys.clone()), ..options(dir.path()) };
    let prepared = prepare(&options).unwrap();
    for id in 1..=3 {
        let file = prepared.layout.config(id);
        let config = crate::config::load(&file, [], &[]).unwrap().config;
        config.check_files(&file).unwrap();
        assert_eq!(config.node.id, id);
        assert_eq!(config.log.level, "debug", "the overlay counts");
        assert_eq!(config.keys.import.raw_keys_file.as_deref(), Some(raw_keys.as_path()));
        assert_eq!(config.api.clients, ["dev-client"]);
        let data_dir = config.node.data_dir.parent().unwrap().canonicalize().unwrap().join("data");
        assert_eq!(prepared.layout.deployment(&prepared.plan).node(id).unwrap().data_dir, data_dir);
        assert!(prepared.layout.node(id).join("config").exists());
    }
}

#[test]
fn an_overlay_that_is_not_yaml_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let overlay = dir.path().join("overlay.yaml");
    std::fs::write(&overlay, "a: 1\na: 2\n").unwrap();
    let Err(error) = prepare(&DevOptions { config_overlay: Some(overlay), ..options(dir.path()) }) else {
        panic!("accepted")
    };
    assert!(error.to_string().contains("overlay.yaml:2:"), "{error}");
}

#[test]
fn cluster_json_has_the_shape_of_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open(dir.path()).unwrap();
    let plan = Plan::new(3, 9000, "mainnet".into()).unwrap();
    let mut deployment = layout.deployment(&plan);
    deployment.nodes.reverse();
    deployment.write(&layout.dir).unwrap();
    let text = std::fs::read(dir.path().join("cluster.json")).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let nodes = value["nodes"].as_array().unwrap();
    assert_eq!(nodes.iter().map(|node| node["id"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(nodes[0]["pid"].is_u64());
    assert_eq!(nodes[1]["api_url"], "https://127.0.0.1:9010");
    assert_eq!(nodes[1]["peer_addr"], "127.0.0.1:9011");
    assert_eq!(nodes[1]["metrics_url"], "http://127.0.0.1:9012/metrics");
    for key in ["ca", "client_cert", "client_key", "admin_cert", "admin_key"] {
        assert!(Path::new(value[key].as_str().unwrap()).is_absolute(), "{key}");
    }
}

#[test]
fn what_every_node_would_refuse_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let raw_keys = dir.path().join("raw");
    std::fs::write(&raw_keys, "# fine\n\nnot hexadecimal\n").unwrap();
    let network = dir.path().join("network.yaml");
    std::fs::write(&network, "PRESET_BASE: minimal\nSECONDS_PER_SLOT: 6\nGENESIS_FORK_VERSION: 0x00000001\n").unwrap();
    let refused = |options: DevOptions| prepare(&options).err().map(|error| crate::report::one_line(&error));
    let bad_key = refused(DevOptions { raw_keys: Some(raw_keys.clone()), ..options(dir.path()) }).unwrap();
    assert!(bad_key.starts_with(&format!("{}:3: a secret key is", raw_keys.display())), "{bad_key}");
    assert!(!bad_key.contains("not hexadecimal"), "a line may be a secret: {bad_key}");
    let other = tempfile::tempdir().unwrap();
    let no_root = DevOptions { network: Some(network.display().to_string()), ..options(other.path()) };
    assert!(refused(no_root).unwrap().contains("set genesis-validators-root"));
}
