//! Tests of the configuration: the example file, precedence, and what every mistake is answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::error::Origin;
use super::keys::{KEYS, Key, find, nearest};
use super::settings::Target;
use super::tree::{Tree, Value};
use super::{Config, ConfigError, FlagValue, FollowerRequests, LogFormat, load};
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/consigner.example.yaml");

/// The least that a node needs.
pub(super) const MINIMAL: &str = "\
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

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("consigner.yaml");
    std::fs::write(&file, text).unwrap();
    (dir, file)
}

pub(super) fn loaded(text: &str, environment: &[(&str, &str)], flags: &[FlagValue]) -> Result<Config, ConfigError> {
    let (_dir, file) = written(text);
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(&file, environment, flags).map(|loaded| loaded.config)
}

fn leaves(path: &str, tree: &Tree, found: &mut Vec<String>) {
    let Value::Map(entries) = &tree.value else { return found.push(path.to_owned()) };
    for (name, value) in entries {
        leaves(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, found);
    }
}

#[test]
fn the_example_file_documents_every_key_and_no_other() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let mut found = Vec::new();
    leaves("", &Tree::parse(&text).unwrap(), &mut found);
    let known: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(found, known, "the example and the table must have the same keys in the same order");
}

/// The row of a key in the table of `docs/CONFIGURATION.md`.
fn row(key: &Key) -> String {
    let default = match (key.default, key.required) {
        (_, true) => "needed".to_owned(),
        (None, false) => "none".to_owned(),
        (Some(""), false) => "empty".to_owned(),
        (Some(text), false) => format!("`{text}`"),
    };
    format!("| `{}` | {default} | {} |", key.path, key.help.replace('|', "\\|"))
}

#[test]
fn the_page_has_a_row_for_every_key_and_no_other() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIGURATION.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (_, table) = text.split_once("| key | default | what for |\n|---|---|---|\n").expect("the table");
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let expected: Vec<String> = KEYS.iter().map(row).collect();
    assert!(rows == expected, "docs/CONFIGURATION.md must have these rows:\n{}", expected.join("\n"));
}

#[test]
fn the_example_file_is_a_configuration() {
    let config = load(Path::new(EXAMPLE), [], &[]).unwrap().config;
    assert_eq!(config.node.name, "node1");
    assert_eq!(config.api.follower_requests, FollowerRequests::Auto);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.raft, consigner_raft::Timing::default(), "the example shows the defaults");
    let beside = Path::new(EXAMPLE).parent().unwrap();
    assert_eq!(config.api.tls.files()[0], ("cert", beside.join("tls/api.pem").as_path()), "relative to the file");
    assert_eq!(config.node.data_dir, Path::new("/var/lib/consigner"));
}

#[test]
fn defaults_fill_what_is_not_set() {
    let config = loaded(MINIMAL, &[], &[]).unwrap();
    assert_eq!(config.api.listen, "127.0.0.1:9000".parse().unwrap());
    assert_eq!(config.api.admins, Vec::<String>::new());
    assert_eq!(config.api.advertise_url, None);
    assert_eq!(config.peer.advertise, "127.0.0.1:9001");
    assert_eq!(config.network.name_or_file, "mainnet");
    assert_eq!(config.metrics.unwrap().listen, "127.0.0.1:9002".parse().unwrap());
    assert_eq!(config.keys.import.interop_count, 0);
    assert!(config.api.host_allowlist.allows("localhost:1") && !config.api.host_allowlist.allows("example.org"));
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let text = format!("{MINIMAL}log: {{level: warn}}\n");
    let flag = |level: &str| FlagValue {
        target: Target::Key(find("log.level").unwrap()),
        flag: "--log-level".into(),
        text: level.into(),
    };
    assert_eq!(loaded(&text, &[], &[]).unwrap().log.level, "warn");
    assert_eq!(loaded(&text, &[("CONSIGNER_LOG_LEVEL", "debug")], &[]).unwrap().log.level, "debug");
    let all = loaded(&text, &[("CONSIGNER_LOG_LEVEL", "debug")], &[flag("error")]).unwrap();
    assert_eq!(all.log.level, "error");
}

#[test]
fn web3signer_flags_set_parts_of_an_address() {
    let listen = find("api.listen").unwrap();
    let flag = |target, text: &str| FlagValue { target, flag: "--x".into(), text: text.into() };
    let config =
        loaded(MINIMAL, &[], &[flag(Target::ListenHost(listen), "0.0.0.0"), flag(Target::ListenPort(listen), "9999")]);
    assert_eq!(config.unwrap().api.listen, "0.0.0.0:9999".parse().unwrap());
    let config = loaded(MINIMAL, &[], &[flag(Target::ListenHost(listen), "::1")]).unwrap();
    assert_eq!(config.api.listen, "[::1]:9000".parse().unwrap());
    let idle = flag(Target::Seconds(find("api.idle-timeout").unwrap()), "30");
    assert_eq!(loaded(MINIMAL, &[], &[idle]).unwrap().api.idle_timeout, Duration::from_secs(30));
}

#[test]
fn flags_that_would_let_anybody_in_are_refused_with_the_reason() {
    let flag = |text: &str| FlagValue {
        target: Target::Refused("name the CA"),
        flag: "--tls-allow-any-client".into(),
        text: text.into(),
    };
    assert!(loaded(MINIMAL, &[], &[flag("false")]).is_ok(), "off is what is done here");
    let error = loaded(MINIMAL, &[], &[flag("true")]).unwrap_err();
    assert_eq!(error.to_string(), "flag --tls-allow-any-client: name the CA");
}

#[test]
fn variables_and_flags_of_all_keys_are_different() {
    for name in [Key::variable, Key::flag] {
        let mut names: Vec<String> = KEYS.iter().map(name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
    }
    assert_eq!(find("api.tls.client-ca").unwrap().variable(), "CONSIGNER_API_TLS_CLIENT_CA");
}

#[test]
fn a_foreign_variable_is_a_remark_not_an_error() {
    let (_dir, file) = written(MINIMAL);
    let variables = [("CONSIGNER_API_LISTENN".to_owned(), "x".to_owned()), ("HOME".to_owned(), "/".to_owned())];
    let loaded = load(&file, variables, &[]).unwrap();
    assert_eq!(loaded.remarks.len(), 1);
    assert!(loaded.remarks[0].contains("did you mean CONSIGNER_API_LISTEN?"), "{:?}", loaded.remarks);
}

/// Text added to the minimal configuration, line (within the addition, from 1), key, and a part of what is said.
const MISTAKES: &[(&str, usize, &str, &str)] = &[
    ("metrics: {listn: 1}", 1, "metrics.listn", "did you mean \"metrics.listen\"?"),
    ("metrics:\n  lisen: 127.0.0.1:1", 2, "metrics.lisen", "did you mean \"metrics.listen\"?"),
    ("netwrk: mainnet", 1, "netwrk", "did you mean \"network\"?"),
    ("pid-file: x", 1, "pid-file", "did you mean \"node.pid-file\"?"),
    ("zzz: {}", 1, "zzz", "known here are node, cluster, network"),
    ("metrics: {listen: 9002}", 1, "metrics.listen", "\"9002\" does not fit; allowed is IP:PORT"),
    ("metrics: {listen: \"example.org:9002\"}", 1, "metrics.listen", "allowed is IP:PORT"),
    ("metrics: {listen: [a, b]}", 1, "metrics.listen", "allowed is IP:PORT"),
    ("metrics: 9002", 1, "metrics", "a mapping of keys is expected"),
    ("metrics: {enabled: maybe}", 1, "metrics.enabled", "true or false"),
    ("metrics: {host-allowlist: [\"*\", a]}", 1, "metrics.host-allowlist", "must be its only entry"),
    ("metrics: {host-allowlist: [\"http://a\"]}", 1, "metrics.host-allowlist", "is not a host name"),
    ("network: mainet", 1, "network", "mainnet, hoodi"),
    ("genesis-validators-root: 0x12", 1, "genesis-validators-root", "32 bytes of hexadecimal"),
    ("log: {level: loud}", 1, "log.level", "one of off, error, warn, info, debug, trace"),
    ("log:\n  format: xml", 2, "log.format", "one of text, json"),
    ("raft: {heartbeat: 50}", 1, "raft.heartbeat", "a time with a unit"),
    ("raft: {heartbeat: 0ms}", 1, "raft.heartbeat", "a time with a unit"),
    ("raft: {election-min: 100ms}", 1, "raft.election-min", "more than twice raft.heartbeat"),
    ("raft: {election-max: 350ms}", 1, "raft.election-max", "greater than raft.election-min"),
    ("raft: {snapshot-every: 0}", 1, "raft.snapshot-every", "from 1 up"),
    ("raft: {snapshot-bytes: 1MiB}", 1, "raft.snapshot-bytes", "at least 16MiB"),
    ("disk: {stop-percent: 100}", 1, "disk.stop-percent", "at most 99"),
    ("disk: {warn-percent: 95}", 1, "disk.warn-percent", "less than disk.stop-percent"),
    ("raft: {heartbeat: 18446744073709551615s}", 1, "raft.heartbeat", "does not fit"),
    ("raft: {lease: 9999s}", 1, "raft.lease", "must lie between"),
    ("log: {level: info}\nlog: {level: warn}", 2, "", "\"log\" is set already in line"),
    ("log: &a {level: info}", 1, "", "anchors"),
    ("log: *a", 1, "", ""),
    ("log: {level: info", 1, "", "not YAML"),
    ("---\nlog: {}", 2, "", "a second document"),
];

#[test]
fn every_mistake_is_named_with_file_line_key_and_what_is_allowed() {
    let above = MINIMAL.lines().count();
    for (addition, line, key, said) in MISTAKES {
        let (_dir, file) = written(&format!("{MINIMAL}{addition}\n"));
        let error = load(&file, [], &[]).expect_err(addition);
        let problem = &error.0[0];
        assert_eq!(problem.key, *key, "{addition}: {error}");
        assert!(problem.what.contains(said), "{addition}: {error}");
        let Origin::File { file: named, line: at } = &problem.origin else { panic!("{addition}: {error}") };
        assert_eq!(named, &file, "{addition}");
        assert_eq!(*at, above + line, "{addition}: {error}");
    }
}

#[test]
fn what_is_missing_is_named_all_at_once() {
    let error = loaded("node: {id: 1}", &[], &[]).unwrap_err();
    let missing: Vec<&str> = error.0.iter().map(|problem| problem.key.as_str()).collect();
    let mut required: Vec<&str> =
        KEYS.iter().filter(|key| key.required && key.path != "node.id").map(|key| key.path).collect();
    let mut sorted = missing.clone();
    sorted.sort_by_key(|path| required.iter().position(|known| known == path).unwrap_or(usize::MAX));
    // Which keys are needed here depends on others (a PKCS#12 file, another sealer): the table calls none required.
    required.extend(["api.tls.cert", "api.tls.key", "api.tls.client-ca", "keys.sealer.local.key-file"]);
    assert_eq!(sorted, required);
    assert!(error.to_string().contains("node.name: missing; a name of"), "{error}");
}

#[test]
fn a_wrong_variable_or_flag_is_named_as_such() {
    let error = loaded(MINIMAL, &[("CONSIGNER_NODE_ID", "0")], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable CONSIGNER_NODE_ID: node.id: \"0\" does not fit; allowed is a whole number from 1 up"
    );
    let flag = FlagValue { target: Target::Key(find("node.id").unwrap()), flag: "--node-id".into(), text: "x".into() };
    assert!(loaded(MINIMAL, &[], &[flag]).unwrap_err().to_string().starts_with("flag --node-id: node.id"));
}

#[test]
fn an_address_nobody_can_connect_to_needs_an_advertised_one() {
    let text = MINIMAL.replace("127.0.0.1:9001", "0.0.0.0:9001");
    let error = loaded(&text, &[], &[]).unwrap_err();
    assert_eq!(error.0[0].key, "peer.advertise");
    let text = text.replace("listen: 0.0.0.0:9001", "listen: 0.0.0.0:9001\n  advertise: node1:9001");
    assert_eq!(loaded(&text, &[], &[]).unwrap().peer.advertise, "node1:9001");
}

#[test]
fn scalars_keep_their_text() {
    let text = MINIMAL.replace("000102030405060708090a0b0c0d0e0f", "00000000000000000000000000000010");
    let config = loaded(&text, &[], &[]).unwrap();
    assert_eq!(hex::encode(config.cluster_id.0), "00000000000000000000000000000010");
}

#[test]
fn a_file_that_is_missing_or_binary_is_said() {
    let error = load(Path::new("/nonexistent/consigner.yaml"), [], &[]).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/consigner.yaml: cannot be read"), "{error}");
    let (_dir, file) = written("");
    std::fs::write(&file, [0xff, 0xfe, 0x00, 0x80]).unwrap();
    assert!(load(&file, [], &[]).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn files_that_are_not_there_are_named_by_key() {
    let (_dir, file) = written(MINIMAL);
    let config = load(&file, [], &[]).unwrap().config;
    let error = config.check_files(&file).unwrap_err();
    let keys: Vec<&str> = error.0.iter().map(|problem| problem.key.as_str()).collect();
    assert!(keys.contains(&"api.tls.cert") && keys.contains(&"keys.sealer.local.key-file"), "{error}");
}

#[test]
fn a_tree_merges_and_survives_being_written() {
    let mut tree = Tree::map();
    tree.set("a.b", Tree::text("0x10"));
    tree.set("a.c", Tree::list(["x", "true"]));
    tree.merge(Tree::parse("a: {b: over, d: 1}\ne: null").unwrap());
    let text = serde_saphyr::to_string(&tree).unwrap();
    let mut again = Tree::parse(&text).unwrap();
    let mut expected = Tree::map();
    expected.set("a.b", Tree::text("over"));
    expected.set("a.c", Tree::list(["x", "true"]));
    expected.set("a.d", Tree::text("1"));
    expected.set("e", Tree { line: 0, value: Value::Null });
    forget_lines(&mut again);
    assert_eq!(again, expected, "{text}");
}

fn forget_lines(tree: &mut Tree) {
    tree.line = 0;
    match &mut tree.value {
        Value::List(items) => items.iter_mut().for_each(forget_lines),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| forget_lines(value)),
        Value::Null | Value::Text(_) => {}
    }
}

#[test]
fn the_nearest_word_is_near() {
    let known = ["listen", "enabled", "host-allowlist"];
    assert_eq!(nearest("lsiten", known.into_iter()), Some("listen"));
    assert_eq!(nearest("quite-different", known.into_iter()), None);
}
