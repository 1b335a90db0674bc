//! `consigner run` and `consigner config check`: what a bad configuration is answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{consigner, output};

const CONFIG: &str = "\
node: {id: 1, name: node1, data-dir: data}
cluster: {id: 000102030405060708090a0b0c0d0e0f}
api:
  clients: [vc]
  tls: {cert: a.pem, key: a-key.pem, client-ca: ca.pem}
peer:
  listen: 127.0.0.1:9001
  tls: {cert: p.pem, key: p-key.pem, ca: ca.pem}
keys: {sealer: {local: {key-file: sealing.key}}}
";

#[test]
fn a_bad_configuration_stops_the_start_with_every_problem() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("consigner.yaml");
    let text = CONFIG.replace("id: 1,", "id: one,").replace("listen: 127.0.0.1:9001", "lisen: 127.0.0.1:9001");
    std::fs::write(&file, text).unwrap();
    for command in [&["run"][..], &["config", "check"]] {
        let mut arguments = command.to_vec();
        arguments.extend(["--config", file.to_str().unwrap()]);
        let (code, stdout, stderr) = output(&arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        let line = |number: usize| format!("{}:{number}: ", file.display());
        assert!(
            stderr.contains(&format!("{}peer.lisen: unknown key; did you mean \"peer.listen\"?", line(7))),
            "{stderr}"
        );
        assert!(stderr.contains(&format!("{}node.id: \"one\" does not fit", line(1))), "{stderr}");
        assert!(stderr.contains("peer.listen: missing"), "{stderr}");
    }
}

#[test]
fn files_that_are_not_there_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("consigner.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let (code, _, stderr) = output(&["run", "--config", file.to_str().unwrap(), "--dry-run"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("api.tls.cert: ") && stderr.contains("a.pem cannot be read"), "{stderr}");
}

#[test]
fn the_environment_overrides_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("consigner.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let mut command = consigner();
    command.args(["config", "check", "--config"]).arg(&file).env("CONSIGNER_LOG_LEVEL", "loud");
    let stderr = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(stderr.contains("environment variable CONSIGNER_LOG_LEVEL: log.level: \"loud\" does not fit"), "{stderr}");
}
