//! `consigner keys` as an operator uses it: the real binary against three real nodes.
//!
//! Longer than other files: the tests share one way to start nodes, make keystores and read answers, and little else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Dev, START, attestation, consigner, deployment, eventually, free_base_port, mainnet, output, patiently};
use consigner_keys::SecretKey;
use consigner_keys::development::interop_secret;
use consigner_keys::keystore::{Kdf, Keystore, Password};
use consigner_node::client::signing::{Signed, public_keys, sign};
use consigner_node::client::{ClusterClient, Deployment};
use consigner_rules::PublicKey;
use http::{Method, StatusCode};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Costs nothing; what EIP-2335's own costs do is tested in `keys`.
const CHEAP: Kdf = Kdf::Pbkdf2 { c: 2 };

const PASSWORD: &str = "correct horse battery";

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }
}

fn keystore(secret: &SecretKey) -> String {
    Keystore::encrypt(secret, &Password::new(PASSWORD), "m/12381/3600/0/0/0", CHEAP).unwrap().to_json()
}

/// Secrets that no other test and no `--validators` uses.
fn secret(number: u64) -> SecretKey {
    interop_secret(1_000 + number)
}

fn only(deployment: &Deployment, node: usize) -> ClusterClient {
    deployment.signer(1).unwrap().following(true).only(&deployment.nodes[node - 1].api_url)
}

/// Arguments that name one node as the endpoint, with the administrator's certificate.
fn through(deployment: &Deployment, node: usize) -> Vec<String> {
    let file = |path: &Path| path.display().to_string();
    [
        ("--endpoint", deployment.nodes[node - 1].api_url.clone()),
        ("--ca", file(&deployment.ca)),
        ("--cert", file(&deployment.admin_cert)),
        ("--key", file(&deployment.admin_key)),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

fn keys(command: &str, access: &[String], more: &[&str]) -> (i32, String, String) {
    let mut arguments = vec!["keys", command];
    arguments.extend(access.iter().map(String::as_str));
    arguments.extend(more);
    output(&arguments)
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn dev(dir: &Path, nodes: u16, more: &[&str]) -> Dev {
    let (port, count) = (free_base_port(nodes).to_string(), nodes.to_string());
    let mut arguments = vec!["--nodes", &count, "--base-port", &port];
    if !more.contains(&"--validators") {
        arguments.extend(["--validators", "0"]);
    }
    arguments.extend(more);
    let mut dev = Dev::start(dir, &arguments);
    dev.until_ready();
    dev
}

/// An import through one node is signed for by another at once, without a wait in between.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_imported_listed_signed_for_rewrapped_and_deleted() {
    let work = tempfile::tempdir().unwrap();
    let _dev = dev(work.path(), 3, &[]);
    let (deployment, files, chain) = (deployment(work.path()), Files::new(), mainnet());
    let secrets: Vec<SecretKey> = (0..3).map(secret).collect();
    for (number, secret) in secrets.iter().enumerate() {
        files.write(&format!("keys/keystore-{number}.json"), &keystore(secret));
    }
    let (from, password) = (files.path("keys").display().to_string(), files.write("password", PASSWORD));
    let history = files.write("history.json", &history_of(&secrets[0].public_key(), &chain));
    let arguments = ["--from", &from, "--password-file", &password, "--slashing-protection", &history];
    let (code, stdout, stderr) = keys("import", &through(&deployment, 2), &arguments);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("3 imported, 0 duplicate, 0 error"), "{stdout}");
    let third = only(&deployment, 3);
    for (number, secret) in secrets.iter().enumerate().skip(1) {
        let duty = attestation(&chain, secret.public_key(), number as u64, 1);
        let Signed::Signature(signature) = patiently(&third, &duty).await else { panic!("not signed") };
        assert!(chain.verify(&duty, &signature).unwrap());
    }
    let refused = patiently(&third, &attestation(&chain, secrets[0].public_key(), 0, 1)).await;
    assert!(matches!(refused, Signed::Refused(_)), "its history came with it: {refused:?}");

    let (code, stdout, _) = keys("import", &through(&deployment, 1), &["--from", &from, "--password-file", &password]);
    assert_eq!(code, 0);
    assert!(stdout.contains("0 imported, 3 duplicate, 0 error"), "a repetition changes nothing: {stdout}");
    listed(work.path(), &secrets);
    rewrapped(work.path(), &secrets);
    deleted(work.path(), &files, &secrets[1]).await;
}

/// A history in which the first vote of [`attestation`] is used up.
fn history_of(public_key: &PublicKey, chain: &consigner_node::client::signing::Chain) -> String {
    let target = chain.newest_fork_epoch() + 10;
    let root = chain.network().genesis_validators_root().unwrap();
    format!(
        r#"{{"metadata":{{"interchange_format_version":"5","genesis_validators_root":"{root}"}},"data":[{{"pubkey":"{public_key}","signed_blocks":[],"signed_attestations":[{{"source_epoch":"{}","target_epoch":"{target}"}}]}}]}}"#,
        target - 1
    )
}

fn listed(dir: &Path, secrets: &[SecretKey]) {
    let text = dir.to_str().unwrap();
    // A node that is kept from answering is left out.
    eventually("every key open on every node", START, || {
        let (code, stdout, stderr) = output(&["keys", "list", "--dir", text, "--json"]);
        assert_eq!(code, 0, "{stderr}");
        let value = json(&stdout);
        let entries = value["data"].as_array().unwrap();
        assert_eq!(entries.len(), secrets.len());
        assert!(entries.iter().all(|entry| entry["sealer"] == "local"), "{value}");
        entries.iter().all(|entry| entry["open_on"].as_array().unwrap().len() == 3).then_some(())
    });
    let (code, stdout, _) = output(&["keys", "list", "--dir", text]);
    assert!(code == 0 && stdout.contains("OPEN ON") && stdout.contains("3 keys"), "{stdout}");
}

fn rewrapped(dir: &Path, secrets: &[SecretKey]) {
    let text = dir.to_str().unwrap();
    let data_keys = || {
        let (_, stdout, _) = output(&["keys", "list", "--dir", text, "--json"]);
        let of = |entry: &serde_json::Value| entry["data_key"].as_str().unwrap().to_owned();
        json(&stdout)["data"].as_array().unwrap().iter().map(of).collect::<std::collections::BTreeSet<_>>()
    };
    let before = data_keys();
    let (code, stdout, stderr) = output(&["keys", "rewrap", "--dir", text, "--json"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(json(&stdout)["moved"], 0, "nothing to do: {stdout}");
    let (code, stdout, stderr) = output(&["keys", "rewrap", "--dir", text, "--force-new-data-key", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let report = json(&stdout);
    assert_eq!((report["moved"].as_u64(), report["remaining"].as_u64()), (Some(secrets.len() as u64), Some(0)));
    assert_eq!(report["removed"][0]["status"], "removed", "{report}");
    let after = data_keys();
    assert!(after.len() == 1 && before.is_disjoint(&after), "{before:?} {after:?}");
    let (code, _, stderr) = output(&["keys", "rewrap", "--dir", text, "--to", "aws-kms"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("has no sealer of kind aws-kms: set up keys.sealer.aws-kms"), "{stderr}");
}

async fn deleted(dir: &Path, files: &Files, secret: &SecretKey) {
    let (deployment, chain) = (deployment(dir), mainnet());
    let (name, out) = (secret.public_key().to_string(), files.path("out.json").display().to_string());
    let arguments = [name.as_str(), "--slashing-protection-out", &out];
    let (code, stdout, stderr) = keys("delete", &through(&deployment, 1), &arguments);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("deleted"), "{stdout}");
    let exported = json(&std::fs::read_to_string(&out).unwrap());
    let signed = &exported["data"][0]["signed_attestations"][0];
    assert_eq!(signed["target_epoch"], (chain.newest_fork_epoch() + 11).to_string(), "{exported}");
    for node in 1..=3 {
        let duty = attestation(&chain, secret.public_key(), 9, 1);
        let answer = patiently(&only(&deployment, node), &duty).await;
        assert!(matches!(&answer, Signed::Other(status, _) if *status == StatusCode::NOT_FOUND), "{answer:?}");
    }
    let (code, _, stderr) = keys("delete", &through(&deployment, 1), &arguments);
    assert_eq!(code, 2);
    assert!(stderr.contains("never overwritten"), "{stderr}");
    let again = files.path("again.json").display().to_string();
    let (code, stdout, _) = keys("delete", &through(&deployment, 3), &[&name, "--slashing-protection-out", &again]);
    assert!(code == 0 && stdout.contains("not_active"), "{stdout}");
    assert_eq!(json(&std::fs::read_to_string(&again).unwrap()), exported, "the history is kept");
    let stranger = PublicKey([0x91; 48]).to_string();
    let (code, stdout, _) = keys("delete", &through(&deployment, 2), &[&stranger, "--without-slashing-protection"]);
    assert!(code == 1 && stdout.contains("not_found"), "{stdout}");
}

/// What each kind of bad input is called: name of the file, and a part of the reason.
const BAD: &[(&str, &str)] = &[
    ("wrong-password.json", "password"),
    ("truncated.json", "truncated"),
    ("no-json.json", "not JSON"),
    ("no-password.json", "no password; looked for"),
    ("wrong-key.json", "holds the key of"),
    ("cipher.json", "aes-256-cbc"),
];

#[test]
fn every_bad_input_is_named_the_others_go_on_and_the_exit_code_says_so() {
    let work = tempfile::tempdir().unwrap();
    let _dev = dev(work.path(), 1, &[]);
    let (text, files) = (work.path().to_str().unwrap(), Files::new());
    let good = keystore(&secret(10));
    files.write("keys/good.json", &good);
    files.write("keys/wrong-password.json", &keystore(&secret(11)));
    files.write("keys/truncated.json", &good[..good.len() / 2]);
    files.write("keys/no-json.json", "this is no keystore {");
    files.write("keys/no-password.json", &keystore(&secret(12)));
    let own = secret(13);
    let foreign = own.public_key().to_string();
    let stolen = hex::encode(secret(14).public_key().as_bytes());
    files.write("keys/wrong-key.json", &keystore(&own).replace(foreign.trim_start_matches("0x"), &stolen));
    files.write("keys/cipher.json", &keystore(&secret(15)).replace("aes-128-ctr", "aes-256-cbc"));
    for name in ["good", "truncated", "no-json", "wrong-key", "cipher"] {
        files.write(&format!("passwords/{name}.txt"), PASSWORD);
    }
    files.write("passwords/wrong-password.txt", "wrong horse");
    let (from, passwords) = (files.path("keys").display().to_string(), files.path("passwords").display().to_string());
    let (code, stdout, stderr) =
        output(&["keys", "import", "--dir", text, "--from", &from, "--passwords", &passwords, "--json"]);
    assert_eq!(code, 3, "{stdout}{stderr}");
    let report = json(&stdout);
    assert_eq!((report["imported"].as_u64(), report["error"].as_u64()), (Some(1), Some(BAD.len() as u64)), "{report}");
    for (file, why) in BAD {
        let lines = report["data"].as_array().unwrap();
        let line = lines.iter().find(|line| line["origin"].as_str().unwrap().ends_with(file)).expect(file);
        assert_eq!(line["status"], "error");
        assert!(line["message"].as_str().unwrap().contains(why), "{file}: {line}");
    }
    let (code, stdout, _) = output(&["keys", "list", "--dir", text]);
    assert!(code == 0 && stdout.contains("1 keys"), "nothing is half imported: {stdout}");

    let gone = files.path("gone").display().to_string();
    let arguments = ["keys", "import", "--dir", text, "--from", &from, "--passwords", &gone];
    let (code, stdout, _) = output(&arguments);
    assert_eq!(code, 3, "{stdout}");
    assert!(stdout.contains("gone") && stdout.contains("error"), "{stdout}");
    let (code, _, stderr) = output(&["keys", "import", "--dir", text]);
    assert!(code == 2 && stderr.contains("say where the keys are"), "{stderr}");
    let arguments = ["--from", &from, "--slashing-protection", &gone];
    let (code, _, stderr) = keys("import", &["--dir".to_owned(), text.to_owned()], &arguments);
    assert!(code == 2 && stderr.contains("gone: cannot be read"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_are_made_imported_and_found_again_by_their_mnemonic() {
    let (work, files) = (tempfile::tempdir().unwrap(), Files::new());
    // As by default: an import does not need the key manager API.
    let overlay = files.write("overlay.yaml", "keymanager: {enabled: false}\n");
    let _dev = dev(work.path(), 1, &["--config-overlay", &overlay]);
    let text = work.path().to_str().unwrap();
    let password = files.write("password", PASSWORD);
    let (out, mnemonic) = (files.path("new").display().to_string(), files.path("mnemonic").display().to_string());
    let common =
        ["keys", "generate", "--count", "2", "--network", "hoodi", "--password-file", &password, "--kdf", "pbkdf2"];
    let address = "0x71C7656EC7ab88b098defB751B7401B5f6d8976F";
    let mut first = common.to_vec();
    first.extend(["--out", &out, "--mnemonic-out", &mnemonic, "--withdrawal-address", address]);
    first.extend(["--import", "--dir", text, "--json"]);
    let (code, stdout, stderr) = output(&first);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let words = std::fs::read_to_string(&mnemonic).unwrap();
    assert_eq!(words.split_whitespace().count(), 24);
    assert!(!stdout.contains(words.split_whitespace().next().unwrap()) || !stdout.contains(words.trim()));
    let report = json(&stdout);
    let made = report["data"].as_array().unwrap();
    let names: Vec<&str> = made.iter().map(|key| key["pubkey"].as_str().unwrap()).collect();
    assert!(made.iter().all(|key| key["status"] == "imported"), "{report}");
    for entry in std::fs::read_dir(&out).unwrap().chain(std::fs::read_dir(files.dir.path()).unwrap()) {
        let entry = entry.unwrap();
        let expected = if entry.path().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, expected, "{:?}", entry.path());
    }
    let deposits = json(&std::fs::read_to_string(report["deposit_data"].as_str().unwrap()).unwrap());
    assert_eq!(deposits.as_array().unwrap().len(), 2);
    assert_eq!(deposits[0]["network_name"], "hoodi");
    let credentials = format!("01{}{}", "00".repeat(11), address.trim_start_matches("0x").to_ascii_lowercase());
    assert_eq!(deposits[0]["withdrawal_credentials"], credentials);

    let signer = deployment(work.path()).signer(1).unwrap().following(true);
    let held: Vec<String> = public_keys(&signer).await.unwrap().iter().map(ToString::to_string).collect();
    assert!(names.iter().all(|name| held.contains(&(*name).to_owned())), "{names:?} {held:?}");

    let other = files.path("again").display().to_string();
    let mut second = common.to_vec();
    second.extend(["--out", &other, "--mnemonic-file", &mnemonic, "--json"]);
    let (code, stdout, stderr) = output(&second);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("without --withdrawal-address"), "{stderr}");
    let again: Vec<serde_json::Value> = json(&stdout)["data"].as_array().unwrap().clone();
    assert_eq!(again.iter().map(|key| key["pubkey"].as_str().unwrap()).collect::<Vec<_>>(), names);
    let (code, stdout, _) = output(&["keys", "import", "--dir", text, "--from", &other, "--password-file", &password]);
    assert!(code == 0 && stdout.contains("0 imported, 2 duplicate"), "{stdout}");
    let more = secret(30);
    let from = files.write("more/keystore.json", &keystore(&more));
    let (code, stdout, stderr) =
        output(&["keys", "import", "--dir", text, "--from", &from, "--password-file", &password]);
    assert!(code == 0 && stdout.contains("1 imported"), "{stdout}{stderr}");
    assert!(public_keys(&signer).await.unwrap().contains(&more.public_key()));

    std::fs::create_dir(files.path("empty")).unwrap();
    let empty = files.path("empty").display().to_string();
    for flag in ["--from", "--web3signer-config"] {
        let (code, stdout, stderr) = output(&["keys", "import", "--dir", text, flag, &empty]);
        assert_ne!(code, 0, "nothing was found: {stdout}{stderr}");
        assert!(format!("{stdout}{stderr}").contains(&empty), "{stdout}{stderr}");
    }
}

#[test]
fn a_new_mnemonic_needs_somebody_who_sees_it() {
    let files = Files::new();
    let (password, short) = (files.write("password", PASSWORD), files.write("short", "horse"));
    let out = files.path("new").display().to_string();
    let run_into = |stdout: std::process::Stdio, password: &str, more: &[&str]| {
        let mut command = consigner();
        command.args(["keys", "generate", "--count", "1", "--network", "hoodi", "--kdf", "pbkdf2"]);
        command.args(["--out", &out, "--password-file", password]).args(more);
        // Away from the terminal that the tests may run on.
        let output = std::process::Command::new("setsid")
            .arg("--wait")
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(std::process::Stdio::null())
            .stdout(stdout)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let run = |password: &str, more: &[&str]| run_into(std::process::Stdio::piped(), password, more);
    let (code, _, stderr) = run(&password, &[]);
    assert!(code == 1 && stderr.contains("--mnemonic-out or --show-mnemonic"), "{stderr}");
    assert!(!Path::new(&out).exists(), "nothing is made that cannot be recovered");
    let (code, _, stderr) = run(&short, &["--show-mnemonic"]);
    assert!(code == 2 && stderr.contains("at least 12 characters"), "{stderr}");
    let (code, _, stderr) = run(&password, &["--show-mnemonic", "--amount-gwei", "5"]);
    assert!(code == 1 && stderr.contains("5 Gwei"), "{stderr}");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, _, stderr) = run_into(full.into(), &password, &["--show-mnemonic"]);
    assert!(code == 1 && stderr.contains("cannot be printed"), "{stderr}");
    assert!(!Path::new(&out).exists(), "it is printed before anything is made");
    let (code, stdout, _) = run(&password, &["--show-mnemonic"]);
    assert_eq!(code, 0);
    let words = stdout.lines().find_map(|line| line.strip_prefix("mnemonic: ")).unwrap();
    assert_eq!(words.split(' ').count(), 24);
    std::fs::remove_dir_all(&out).unwrap();
    let (code, stdout, stderr) = run(&password, &["--show-mnemonic", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let words = stderr.lines().find_map(|line| line.strip_prefix("mnemonic: ")).unwrap();
    assert_eq!(json(&stdout)["mnemonic"], words);
}

/// A watched directory, `POST /reload`, and a deleted key that does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_watched_directory_brings_keys_in_once_and_never_takes_one_away() {
    let (work, files) = (tempfile::tempdir().unwrap(), Files::new());
    let (first, second, third) = (secret(20), secret(21), secret(22));
    files.write("keys/first.json", &keystore(&first));
    let password = files.write("password", PASSWORD);
    let overlay = files.write(
        "overlay.yaml",
        &format!(
            "keys: {{source: {{keystores-path: {}, keystores-password-file: {password}, poll-interval: 200ms}}}}\n",
            files.path("keys").display()
        ),
    );
    let _dev = dev(work.path(), 3, &["--config-overlay", &overlay]);
    let deployment = deployment(work.path());
    let signer = deployment.signer(1).unwrap();
    until_held(&signer, &[&first]).await;

    files.write("keys/second.json", &keystore(&second));
    until_held(&signer, &[&first, &second]).await;
    let name = second.public_key().to_string();
    let (code, stdout, stderr) = keys("delete", &through(&deployment, 1), &[&name, "--without-slashing-protection"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    std::fs::remove_file(files.path("keys/first.json")).unwrap();
    files.write("keys/third.json", &keystore(&third));
    files.write("keys/broken.json", "{");
    // The third arrives by a run that also saw the deleted one: by then it was left alone.
    until_held(&signer, &[&first, &third]).await;
    let status = reloaded(&deployment, 2).await;
    assert_eq!(status["status"], "completed_with_errors", "{status}");
    assert!(status["lastError"].as_str().unwrap().contains("broken.json"), "{status}");
    until_held(&signer, &[&first, &third]).await;
    let (code, stdout, _) = keys("list", &through(&deployment, 3), &[]);
    assert!(code == 0 && stdout.contains("2 keys") && !stdout.contains(&name), "{stdout}");
}

/// A listener of its own: the token is asked for there, and the API port does not serve key managers then.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_manager_api_has_a_listener_of_its_own_if_configured() {
    let (work, files) = (tempfile::tempdir().unwrap(), Files::new());
    let token = "0123456789abcdef0123456789abcdef";
    let (port, token_file) = (free_base_port(1), files.write("token", &format!("{token}\n")));
    let overlay = files.write(
        "overlay.yaml",
        &format!(
            "keymanager: {{listen: \"127.0.0.1:{port}\", token-file: {token_file}, tls: {{client-certificate: optional}}}}\n"
        ),
    );
    let _dev = dev(work.path(), 1, &["--config-overlay", &overlay, "--validators", "2"]);
    let deployment = deployment(work.path());
    let own = deployment.signer(1).unwrap().only(&format!("https://127.0.0.1:{port}"));
    let asked = async |client: &ClusterClient, token: Option<&str>| {
        let header = |token| http::HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        let headers: Vec<_> = token.map(|token| (http::header::AUTHORIZATION, header(token))).into_iter().collect();
        let deadline = Duration::from_secs(30);
        client.call(Method::GET, "/eth/v1/keystores", &headers, bytes::Bytes::new(), deadline).await.unwrap()
    };
    let answer = asked(&own, Some(token)).await;
    assert_eq!(answer.response.status, StatusCode::OK, "{}", answer.message());
    assert_eq!(answer.json::<serde_json::Value>().unwrap()["data"].as_array().unwrap().len(), 2);
    assert_eq!(asked(&own, None).await.response.status, StatusCode::UNAUTHORIZED);
    assert_eq!(asked(&own, Some("f0123456789abcdef0123456789abcdef")).await.response.status, StatusCode::UNAUTHORIZED);
    let on_api = asked(&deployment.admin().unwrap(), Some(token)).await;
    assert_eq!(on_api.response.status, StatusCode::NOT_FOUND, "{}", on_api.message());
}

/// The complete list of the cluster is exactly these keys, soon.
async fn until_held(signer: &ClusterClient, expected: &[&SecretKey]) {
    let mut expected: Vec<PublicKey> = expected.iter().map(|secret| secret.public_key()).collect();
    expected.sort();
    let until = Instant::now() + START;
    loop {
        let held = public_keys(signer).await;
        if held.as_ref().is_ok_and(|held| *held == expected) {
            return;
        }
        assert!(Instant::now() < until, "{held:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `POST /reload` on a node, and the status once it is done.
async fn reloaded(deployment: &Deployment, node: usize) -> serde_json::Value {
    let admin = deployment.admin().unwrap().only(&deployment.nodes[node - 1].api_url);
    let deadline = Duration::from_secs(30);
    let until = Instant::now() + START;
    loop {
        let answer = admin.post_json("/reload", "", deadline).await.unwrap();
        match answer.response.status {
            StatusCode::ACCEPTED => break,
            StatusCode::CONFLICT => assert!(Instant::now() < until, "it never ends"),
            other => panic!("{other}: {}", answer.message()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    loop {
        let answer = admin.call(Method::GET, "/reload", &[], bytes::Bytes::new(), deadline).await.unwrap();
        let status: serde_json::Value = answer.json().unwrap();
        if status["status"] != "running" {
            return status;
        }
        assert!(Instant::now() < until, "it never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A node with another key file than the others says which data key it cannot open, and is not ready; the others sign.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_open_the_keys_is_not_ready_and_says_why() {
    let (work, files) = (tempfile::tempdir().unwrap(), Files::new());
    let mut running = dev(work.path(), 3, &[]);
    let key = secret(30);
    files.write("keys/a.json", &keystore(&key));
    let (from, password) = (files.path("keys").display().to_string(), files.write("password", PASSWORD));
    let deployment = deployment(work.path());
    let arguments = ["--from", &from, "--password-file", &password];
    assert_eq!(keys("import", &through(&deployment, 1), &arguments).0, 0);
    // The file is written anew only if it is not there: every node that starts from now on reads another key.
    std::fs::write(work.path().join("sealing.key"), hex::encode([7_u8, 1].repeat(16))).unwrap();
    consigner_node::dev::signal_pid(deployment.nodes[2].pid, rustix::process::Signal::KILL);
    let third = deployment.signer(1).unwrap().only(&deployment.nodes[2].api_url);
    let why = until_not_ready(&third).await;
    assert!(why.contains("1 keys wait for data key") && why.contains("sealer local"), "{why}");
    let duty = attestation(&mainnet(), key.public_key(), 0, 1);
    let others = deployment.signer(1).unwrap().following(true).only(&deployment.nodes[0].api_url);
    assert!(matches!(patiently(&others, &duty).await, Signed::Signature(_)), "the others sign");
    let here = sign(&third, &attestation(&mainnet(), key.public_key(), 1, 1)).await.unwrap();
    assert!(matches!(&here, Signed::Other(StatusCode::SERVICE_UNAVAILABLE, _)), "never 404: {here:?}");
    running.signal(rustix::process::Signal::TERM);
    eventually("the end of dev", common::STOP, || running.is_over().then_some(()));
}

/// The reason of a node that is up but not ready because of its keys.
async fn until_not_ready(node: &ClusterClient) -> String {
    let until = Instant::now() + START;
    loop {
        let deadline = Duration::from_secs(5);
        if let Ok(answer) = node.call(Method::GET, "/ready", &[], bytes::Bytes::new(), deadline).await
            && answer.response.status == StatusCode::SERVICE_UNAVAILABLE
            && answer.message().contains("key")
        {
            return answer.message();
        }
        assert!(Instant::now() < until, "it is ready, or down");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
