//! S7: a full run of import, signatures, deletion and rewrap with all logging on leaves no secret anywhere.
//!
//! Everything that the run used is searched for, in every form, in every file of the cluster, in every answer, in what
//! the commands printed and in the metrics. What may hold a secret is named in one place: [`may_hold`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]
#![allow(clippy::print_stdout, reason = "tests")]

#[path = "common/bench.rs"]
mod bench;

use bench::Bench;
use consigner_chaos::cluster::Setup;
use consigner_chaos::cluster::ports::Turn;
use consigner_chaos::keymanager::{KEYSTORES, KeyManager, LockedKey};
use consigner_chaos::secrecy::{Finding, Needles};
use consigner_chaos::storm::Steady;
use consigner_keys::{Keystore, Password, SecretKey};
use consigner_rules::PublicKey;
use http::Method;
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The bearer token's file, beside the cluster's files.
const TOKEN_FILE: &str = "keymanager-token";

/// The sealing key's file, as `consigner dev` makes it.
const SEALING_KEY: &str = "sealing.key";

/// All logging on, snapshots every few entries.
const OVERLAY: &str = "log: {level: trace}\nraft: {snapshot-every: 40}\nkeymanager: {enabled: true}\n";

/// What stands in a node's configuration, and what is put there half-way: from then on calls must bring the token.
const WITHOUT_TOKEN: &str = "\nkeymanager:\n";
const WITH_TOKEN: &str = "\nkeymanager:\n  token-file: ../keymanager-token\n";

/// Signatures before the search: enough for several snapshots.
const SIGNED_MIN: usize = 150;

/// A loaded machine with debug binaries that log every step.
const DEADLINE: Duration = Duration::from_secs(120);

/// Makes secrets and remembers all of them.
struct Vault {
    needles: Needles,
}

impl Vault {
    fn key(&mut self, name: &str) -> (SecretKey, String) {
        loop {
            let mut bytes = random();
            // Below the order of the group, which begins with 0x73.
            bytes[0] &= 0x3f;
            if let Ok(secret) = SecretKey::from_bytes(&bytes) {
                self.needles.add_bytes(name, &bytes);
                return (secret, hex::encode(bytes));
            }
        }
    }

    fn text(&mut self, name: &str) -> String {
        let text = hex::encode(random());
        self.needles.add_text(name, &text);
        text
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// The files that must hold secrets: both were given to the nodes, with mode 0600.
fn may_hold(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == TOKEN_FILE || name == SEALING_KEY)
}

/// What was said: answers, printed lines.
#[derive(Default)]
struct Heard(Vec<(String, Vec<u8>)>);

impl Heard {
    fn hear(&mut self, place: &str, text: impl Into<Vec<u8>>) {
        self.0.push((place.to_owned(), text.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_left_anywhere_by_a_full_run_with_all_logging_on() {
    let turn = Turn::wait().await.unwrap();
    let mut vault = Vault { needles: Needles::default() };
    let token = vault.text("bearer token");
    let setup = Setup {
        validators: 1,
        overlay: Some(OVERLAY.to_owned()),
        private_files: vec![(TOKEN_FILE.to_owned(), token.clone())],
        ..Setup::default()
    };
    let mut bench = Bench::start(turn, &setup, Some(&token)).await;
    let sealing_key = std::fs::read_to_string(bench.cluster.dir().join(SEALING_KEY)).unwrap();
    vault.needles.add_bytes("sealing key", &hex::decode(sealing_key.trim()).unwrap());
    let mut heard = Heard::default();

    let deleted = import_by_keystore(&bench, &mut vault, &mut heard).await;
    let raw = import_in_the_clear(&bench, &mut vault, &mut heard).await;
    let by_command = import_by_command(&bench, &mut vault, &mut heard).await;
    let generated = generate(&bench, &mut vault, &mut heard).await;
    behind_a_token(&bench, &mut vault, &mut heard).await;
    refused(&bench, &mut vault, &mut heard).await;
    sign(&bench, &[deleted, raw, by_command, generated], 0).await;
    let answer = bench.operate(1, Method::DELETE, KEYSTORES, json!({"pubkeys": [deleted]}).to_string()).await;
    assert_eq!(answer.0, 200);
    heard.hear("DELETE", answer.1);
    let moved = bench.command(&["keys", "rewrap"], &["--force-new-data-key"]).await;
    heard.hear("keys rewrap", moved.stdout + &moved.stderr);
    bench.restart(&[1, 2, 3]).await;
    sign(&bench, &[raw, by_command], 10_000).await;
    look_around(&bench, &mut heard).await;
    hardened(&bench);

    bench.cluster.stop().await.unwrap();
    let found = search(&bench, &vault.needles, &heard);
    assert_eq!(found, BTreeSet::new(), "files kept in {}", bench.cluster.keep_files().display());
    planted_secrets_are_found(&bench, &vault.needles);
}

async fn import_by_keystore(bench: &Bench, vault: &mut Vault, heard: &mut Heard) -> PublicKey {
    let ((secret, _), password) = (vault.key("key of a keystore"), vault.text("password of a keystore"));
    let locked = LockedKey::new(&secret, &password).unwrap();
    let manager = KeyManager::new(bench.courier.clone());
    assert_eq!(manager.import(2, std::slice::from_ref(&locked), None).await.unwrap(), ["imported"]);
    assert_eq!(manager.import(3, std::slice::from_ref(&locked), None).await.unwrap(), ["duplicate"]);
    // A keystore with another password, and one that names another validator.
    let other = LockedKey::new(&vault.key("key behind a wrong password").0, &password).unwrap();
    let wrong = vault.text("wrong password");
    let named = other.keystore.replace(&hex::encode(other.validator.0), &hex::encode(locked.validator.0));
    let body = json!({
        "keystores": [other.keystore, named.replace("m/12381", "m/1"), &other.keystore[1..], "{}"],
        "passwords": [wrong, password, password, password],
    });
    let answer = bench.operate(1, Method::POST, KEYSTORES, body.to_string()).await;
    assert_eq!(answer.0, 200, "{}", String::from_utf8_lossy(&answer.1));
    heard.hear("POST of bad keystores", answer.1);
    locked.validator
}

async fn import_in_the_clear(bench: &Bench, vault: &mut Vault, heard: &mut Heard) -> PublicKey {
    let (secret, text) = vault.key("key in the clear");
    let body = json!({"keys": [{"secret": format!("0x{text}")}]}).to_string();
    let answer = bench.must(1, Method::POST, "/admin/v1/keys/import", body).await;
    assert_eq!(answer["data"][0]["status"], "imported", "{answer}");
    heard.hear("POST of a secret", answer.to_string());
    secret.public_key()
}

async fn import_by_command(bench: &Bench, vault: &mut Vault, heard: &mut Heard) -> PublicKey {
    let ((secret, _), password) = (vault.key("key by command"), vault.text("password by command"));
    let locked = LockedKey::new(&secret, &password).unwrap();
    let from = tempfile::tempdir().unwrap();
    std::fs::write(from.path().join("keystore-1.json"), &locked.keystore).unwrap();
    std::fs::write(from.path().join("keystore-2.json"), &locked.keystore[2..]).unwrap();
    let password_file = private_file(from.path(), "pw", &password);
    let (dir, file) = (from.path().to_str().unwrap(), password_file.to_str().unwrap());
    let ended = bench.cli.run(&["keys", "import"], &["--from", dir, "--password-file", file]).await.unwrap();
    assert_eq!(ended.code, Some(3), "one of two is damaged: {}{}", ended.stdout, ended.stderr);
    heard.hear("keys import", ended.stdout + &ended.stderr);
    locked.validator
}

/// A new mnemonic, a key derived from it, a keystore of that, and the key in the cluster.
async fn generate(bench: &Bench, vault: &mut Vault, heard: &mut Heard) -> PublicKey {
    let home = tempfile::tempdir().unwrap();
    let password = vault.text("password of a generated keystore");
    let file = private_file(home.path(), "pw", &password);
    let (out, words) = (home.path().join("out"), home.path().join("words"));
    let (out, words) = (out.to_str().unwrap(), words.to_str().unwrap());
    let of_cluster = ["--import", "--json"];
    let of_keys = ["--count", "1", "--kdf", "pbkdf2", "--network", "mainnet", "--out", out];
    let of_secrets = ["--password-file", file.to_str().unwrap(), "--mnemonic-out", words];
    let ended = bench.command(&["keys", "generate"], &[&of_keys[..], &of_secrets, &of_cluster].concat()).await;
    heard.hear("keys generate", ended.stdout + &ended.stderr);
    let words = std::fs::read_to_string(words).unwrap();
    vault.needles.add_text("mnemonic", words.trim());
    for (number, part) in words.split_whitespace().collect::<Vec<_>>().chunks(4).enumerate() {
        vault.needles.add_text(&format!("words {number} of the mnemonic"), &part.join(" "));
    }
    let is_keystore = |name: &str| name.starts_with("keystore") && name.ends_with(".json");
    let mut files = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let keystore = files.find(|path| is_keystore(&path.file_name().unwrap().to_string_lossy())).unwrap();
    let keystore = Keystore::parse(&std::fs::read(keystore).unwrap()).unwrap();
    // The secret itself cannot be had here; that it is not shown is told by the other keys, which went the same way.
    keystore.decrypt(&Password::new(&password)).unwrap().public_key()
}

fn private_file(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
    path
}

/// From now on the key manager API wants the token, and does not quote a wrong one.
async fn behind_a_token(bench: &Bench, vault: &mut Vault, heard: &mut Heard) {
    for node in 1..=3 {
        let file = bench.cluster.dir().join(format!("node{node}/config.yaml"));
        let config = std::fs::read_to_string(&file).unwrap();
        assert!(config.contains(WITHOUT_TOKEN), "{config}");
        std::fs::write(&file, config.replace(WITHOUT_TOKEN, WITH_TOKEN)).unwrap();
    }
    bench.restart(&[1, 2, 3]).await;
    let wrong = vault.text("wrong token");
    let answer = bench.operate_with(&wrong, 1, Method::GET, KEYSTORES).await;
    assert!(matches!(answer.0, 401 | 403), "{}", answer.0);
    heard.hear("a wrong token", answer.1);
    assert_eq!(bench.operate(1, Method::GET, KEYSTORES, String::new()).await.0, 200, "with the right one");
}

/// Calls that are refused, with secrets in places where a careless parser would quote them. Not in fields that name
/// something public (`pubkeys`, `data_key`, `sealer`): what stands there is quoted to the caller, and nowhere else.
async fn refused(bench: &Bench, vault: &mut Vault, heard: &mut Heard) {
    let (_, refused) = vault.key("key in a refused body");
    let password = vault.text("password in a refused body");
    let bodies = [
        (Method::POST, "/admin/v1/keys/import", json!({"keys": refused}).to_string()),
        (Method::POST, "/admin/v1/keys/import", json!({"keys": [refused]}).to_string()),
        (Method::POST, "/admin/v1/keys/import", json!({"keys": [{"secret": [refused]}]}).to_string()),
        (Method::POST, "/admin/v1/keys/import", json!({"keys": [{"sekret": refused}]}).to_string()),
        (Method::POST, "/admin/v1/keys/import", json!({"keys": [], "slashing_protection": refused}).to_string()),
        (Method::POST, "/admin/v1/keys/import", format!("{{\"keys\": [{{\"secret\": \"0x{refused}\"")),
        (Method::POST, KEYSTORES, json!({"keystores": [password], "passwords": password}).to_string()),
        (Method::POST, KEYSTORES, json!({"keystores": [], "passwords": [password]}).to_string()),
        (Method::POST, KEYSTORES, json!({"keystores": ["{}"], "passwords": [{"word": password}]}).to_string()),
    ];
    for (method, path, body) in bodies {
        let (status, answer) = bench.operate(1, method.clone(), path, body).await;
        assert!((400..500).contains(&status), "{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
        heard.hear(&format!("{method} {path}: {}", String::from_utf8_lossy(&answer)), answer.clone());
    }
    for secret in [format!("0x{refused}00"), format!("0x{refused}zz"), "0".repeat(64)] {
        let body = json!({"keys": [{"secret": secret}]}).to_string();
        let (_, answer) = bench.operate(1, Method::POST, "/admin/v1/keys/import", body).await;
        heard.hear("a refusal of a secret", answer);
    }
}

async fn sign(bench: &Bench, keys: &[PublicKey], epochs: u64) {
    let epoch = bench.chain.modern_epoch() + epochs;
    let load = Steady::start(&bench.courier, &bench.chain, keys, &[1, 2, 3], epoch);
    let until = Instant::now() + DEADLINE;
    while load.signed() < SIGNED_MIN {
        assert!(Instant::now() < until, "{} signatures only", load.signed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    load.stop().await;
}

/// Everything that can be looked at, and everything that was answered so far.
async fn look_around(bench: &Bench, heard: &mut Heard) {
    for node in &bench.cluster.manifest().nodes {
        let metrics = bench.courier.look(&node.metrics_url, "").await.unwrap();
        assert!(metrics.status == 200 && !metrics.body.is_empty());
        heard.hear("metrics", metrics.body);
        let pid = bench.cluster.pid(node.id).unwrap();
        heard.hear("a command line", std::fs::read(format!("/proc/{pid}/cmdline")).unwrap());
        let paths =
            ["/admin/v1/keys", "/admin/v1/keys/data-keys", "/admin/v1/cluster/status", "/healthcheck", "/ready"];
        for path in paths.into_iter().chain([KEYSTORES, "/admin/v1/history/export"]) {
            heard.hear(path, bench.operate(node.id, Method::GET, path, String::new()).await.1);
        }
    }
    for exchange in bench.courier.history().exchanges() {
        heard.hear("an answer to a request to sign", exchange.to_string());
    }
}

fn search(bench: &Bench, needles: &Needles, heard: &Heard) -> BTreeSet<Finding> {
    let searched = needles.find_below(bench.cluster.dir(), &may_hold).unwrap();
    let (files, bytes) = (searched.files.len(), searched.bytes);
    println!("{} forms searched for in {files} files of {bytes} bytes, {} answers", needles.len(), heard.0.len());
    let seen = |part: &str| searched.files.iter().filter(|file| file.to_string_lossy().contains(part)).count();
    for part in ["node1/log", "data/log/", "data/state/sled", "data/snapshots/", "cluster.json", "config.yaml"] {
        assert!(seen(part) > 0, "no file of {part} was searched: {:?}", searched.files);
    }
    let mut found = searched.found;
    for (place, text) in &heard.0 {
        found.extend(needles.find(place, text));
    }
    found
}

/// The search finds what lies beside the files that it has found clean.
fn planted_secrets_are_found(bench: &Bench, needles: &Needles) {
    let key = std::fs::read_to_string(bench.cluster.dir().join(SEALING_KEY)).unwrap();
    let file = bench.cluster.dir().join("node1/data/planted");
    let forms = [
        key.trim().as_bytes().to_vec(),
        hex::decode(key.trim()).unwrap(),
        format!("{:?}", hex::decode(key.trim()).unwrap()).into(),
    ];
    for form in forms {
        std::fs::write(&file, [&[0_u8; 4096][..], &form].concat()).unwrap();
        let found = needles.find_below(file.parent().unwrap(), &may_hold).unwrap().found;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found.first().unwrap().what.starts_with("sealing key"), "{found:?}");
    }
    std::fs::remove_file(&file).unwrap();
    for name in [SEALING_KEY, TOKEN_FILE] {
        let mode = std::fs::metadata(bench.cluster.dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} may be read by others");
    }
}

/// No core dump can be written, and equals cannot look into the processes.
fn hardened(bench: &Bench) {
    // This process does to itself what a node does, so that it shows what the system makes of it.
    let own = consigner_keys::harden_process();
    assert!(own.complete(), "{own}");
    for node in 1..=3 {
        let pid = bench.cluster.pid(node).unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
        assert_eq!(values, ["0", "0"], "soft and hard limit of node {node}");
        if equals_can_look_into(std::process::id()) {
            eprintln!("SKIPPED: whether node {node} can be traced; this system lets everybody trace");
        } else {
            assert!(!equals_can_look_into(pid), "node {node} can be traced by its equals");
        }
    }
}

/// Whether a process of the same user without special rights can read the environment of another one.
fn equals_can_look_into(pid: u32) -> bool {
    let file = format!("/proc/{pid}/environ");
    let no_rights = ["--bounding-set=-all", "--inh-caps=-all", "cat", &file];
    let mut command = if rustix::process::getuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(no_rights);
        command
    } else {
        let mut command = Command::new("cat");
        command.arg(&file);
        command
    };
    command.output().is_ok_and(|output| output.status.success())
}
