//! docs/ARCHIVE.md, step by step, and what its commands say afterwards: one cluster and one Postgres for all.

use crate::common::{Dev, eventually, free_base_port, output};
use crate::postgres::Postgres;
use crate::{DEADLINE, archive, archive_json, interchange, sign_steps, targets};
use consigner_rules::PublicKey;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROLES: [&str; 3] = ["archive_owner", "archive_writer", "archive_reader"];

/// The commands of the document, by the name of their step.
fn script(name: &str) -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ARCHIVE.md");
    let text = std::fs::read_to_string(document).unwrap();
    let (_, rest) = text.split_once(&format!("<!-- setup: {name} -->\n```sh\n")).expect("a step of this name");
    rest.split_once("```").unwrap().0.to_owned()
}

/// A directory in which the commands of the document work as they stand.
struct Place {
    work: tempfile::TempDir,
    postgres: Postgres,
}

impl Place {
    fn new() -> Option<Self> {
        let work = tempfile::tempdir().unwrap();
        let (database, place) = (work.path().join("pg"), work.path().join("place"));
        std::fs::create_dir(&database).unwrap();
        std::fs::create_dir_all(place.join("bin")).unwrap();
        // The server's user reaches its directory.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(work.path(), open).unwrap();
        let postgres = Postgres::start(&database)?;
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_consigner"), place.join("bin/consigner")).unwrap();
        for role in ROLES {
            postgres.issue(role, role);
            for file in [format!("{role}.pem"), format!("{role}-key.pem")] {
                std::fs::copy(postgres.path(&file), place.join(&file)).unwrap();
            }
        }
        std::fs::copy(postgres.path("ca.pem"), place.join("db-ca.pem")).unwrap();
        Some(Self { work, postgres })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join("place").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn address(&self) -> String {
        format!("localhost:{}", self.postgres.port)
    }

    /// Runs one step; what it printed.
    fn step(&self, name: &str) -> String {
        let path = format!("{}:{}", self.text("bin"), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", &script(name)]).current_dir(self.path("")).env("PATH", path);
        command.env("DB", self.address()).env("PGHOST", self.postgres.path("data")).env("PGUSER", "postgres");
        let done = command.env("PGPORT", self.postgres.port.to_string()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "step {name}: {out}\n{err}");
        out.into_owned()
    }

    /// The flags that name the database, for the readers' role.
    fn reader(&self) -> Vec<String> {
        let url = format!("postgres://archive_reader@{}/consigner", self.address());
        let files = [
            ("--db-ca", "db-ca.pem"),
            ("--db-cert", "archive_reader.pem"),
            ("--db-key", "archive_reader-key.pem"),
            ("--db-password-file", "archive_reader.password"),
        ];
        let files = files.iter().flat_map(|(flag, file)| [(*flag).to_owned(), self.text(file)]);
        ["--url".to_owned(), url].into_iter().chain(files).collect()
    }

    fn on_reader<'a>(reader: &'a [String], before: &[&'a str], after: &[&'a str]) -> Vec<&'a str> {
        let flags = reader.iter().map(String::as_str);
        before.iter().copied().chain(flags).chain(after.iter().copied()).collect()
    }

    fn dev(&self) -> String {
        self.text("dev")
    }

    /// Waits until the database has everything and no node holds a row any more: nobody but it has them.
    fn until_archived(&self) {
        let dev = self.dev();
        eventually("an archive that has everything", DEADLINE, || {
            let (exit, stdout, _) = archive(&["status", "--dir", &dev, "--json"]);
            let status: Value = serde_json::from_str(&stdout).ok()?;
            let nodes = status["nodes"].as_array()?;
            let empty = |node: &Value| {
                let view = &node["archive"];
                view["outbox"]["rows"] == 0 && view["exporter"]["lag_entries"] == 0 && view["mark"]["index"].is_u64()
            };
            (exit == 0 && nodes.len() == 3 && nodes.iter().all(empty)).then_some(())
        });
    }
}

#[test]
fn the_archive_as_its_document_sets_it_up() {
    let Some(place) = Place::new() else { return };
    for step in ["roles", "migrate", "configure"] {
        place.step(step);
    }
    let (port, dev_dir, overlay) = (free_base_port(3).to_string(), place.path("dev"), place.text("archive.yaml"));
    let arguments = ["--base-port", &port, "--validators", "2", "--config-overlay", &overlay];
    let mut dev = Dev::start(&dev_dir, &arguments);
    dev.until_ready();
    until_rules_3(&place.dev());
    let key = sign_steps(&dev_dir, 1..=4);
    place.until_archived();

    let printed = place.step("look");
    assert!(printed.contains("postgres") && printed.contains("the chain holds"), "{printed}");
    assert!(printed.contains("the live cluster agrees"), "{printed}");
    shown(&place, key);
    exported(&place, key);
    imported(&place);
    tampered(&place);
    doctored(&place);
    dropped(&place, key);
}

/// A cluster is born with older rules, by which rows do not say which node was asked.
fn until_rules_3(dev: &str) {
    eventually("rules that name the node", DEADLINE, || {
        let (_, stdout, _) = output(&["cluster", "status", "--dir", dev, "--json"]);
        let status: Value = serde_json::from_str(&stdout).ok()?;
        let nodes = status["nodes"].as_array()?;
        nodes.iter().all(|node| node["status"]["rules"].as_u64() >= Some(3)).then_some(())
    });
}

/// What was signed, through which node, for which client.
fn shown(place: &Place, key: PublicKey) {
    let reader = place.reader();
    let key = key.to_string();
    let asked = ["--pubkey", &key, "--kind", "attestation", "--since", "1d", "--json"];
    let (exit, stdout, stderr) = archive(&Place::on_reader(&reader, &["show"], &asked));
    assert_eq!(exit, 0, "{stderr}");
    let rows: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 4, "{stdout}");
    assert!(rows.iter().all(|row| row["what"] == "signed" && row["pubkey"] == key.as_str()), "{stdout}");
    assert!(rows.iter().all(|row| row["node"].is_u64() && row["client"].is_string()), "{stdout}");
    let epoch = rows[2]["target_epoch"].as_str().unwrap();
    let (exit, stdout, _) = archive(&Place::on_reader(&reader, &["show"], &["--epoch", epoch]));
    assert!(exit == 0 && stdout.contains("signed attestation") && stdout.lines().count() == 2, "{stdout}");
    let (exit, _, stderr) = archive(&Place::on_reader(&reader, &["show"], &["--client", "nobody"]));
    assert!(exit == 0 && stderr.contains("no row fits"), "{stderr}");
}

/// The complete interchange, though no node has a row of it: from the cluster, and from the database alone.
fn exported(place: &Place, key: PublicKey) {
    let (dev, reader) = (place.dev(), place.reader());
    let (live, alone) = (place.text("live.json"), place.text("alone.json"));
    let (exit, stdout, stderr) = output(&["history", "export", "--dir", &dev, "--complete", "--to", &live, "--json"]);
    assert_eq!(exit, 0, "{stdout} {stderr}");
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&told["complete"], &told["complete_from_log_index"]), (&true.into(), &"1".into()));
    let done = archive_json(&Place::on_reader(&reader, &["export"], &["--to", &alone]), 0);
    assert_eq!((&done["complete"], done["missing"].as_array().unwrap().len()), (&true.into(), 0));
    let (live, alone) = (interchange(Path::new(&live)), interchange(Path::new(&alone)));
    assert_eq!(targets(&live, &key).len(), 4, "every one, not only the newest");
    assert_eq!(targets(&live, &key), targets(&alone, &key));
    assert_eq!(live.reduce(), alone.reduce());
}

/// The views, read as Web3Signer's database by our own import: nothing in them is news to the cluster.
fn imported(place: &Place) {
    let (dev, reader) = (place.dev(), place.reader());
    let url = format!("{}?options=-csearch_path%3Dweb3signer", reader[1]);
    let mut asked = vec!["history", "import", "--dir", &dev, "--web3signer-db", &url];
    asked.extend(reader[2..].iter().map(String::as_str));
    let (exit, stdout, stderr) = output(&asked);
    assert_eq!(exit, 0, "{stdout} {stderr}");
    assert!(stdout.lines().filter(|line| line.contains("0x")).all(|line| line.contains("unchanged")), "{stdout}");
}

/// One number in one row, one word in another: found, named; and put right again.
fn tampered(place: &Place) {
    let (dev, reader) = (place.dev(), place.reader());
    let asked = Place::on_reader(&reader, &["verify"], &["--dir", &dev]);
    let change = |table: &str, what: &str| {
        let first = format!("(SELECT min(log_index) FROM consigner.{table})");
        let set = format!("UPDATE consigner.{table} SET {what} WHERE log_index = {first} RETURNING log_index");
        place.postgres.sql("consigner", &set).lines().next().unwrap().trim().to_owned()
    };
    let broken = || {
        let (exit, stdout, stderr) = archive(&asked);
        assert_eq!(exit, 1, "{stdout} {stderr}");
        assert!(stdout.contains("BROKEN") && stdout.contains("does NOT hold"), "{stdout}");
        stdout
    };
    change("signed_attestations", "target_epoch = target_epoch + 1000000");
    let said = broken();
    // Such a row consists of its columns alone: the chain says in which batch it was altered, the cluster whose it is.
    assert!(said.contains("batch (") && said.contains("INVENTED") && said.contains("target epoch"), "{said}");
    change("signed_attestations", "target_epoch = target_epoch - 1000000");
    let index = change("key_events", "kind = kind || '!'");
    let said = broken();
    assert!(said.contains("key_events") && said.contains(&index), "{index}: {said}");
    change("key_events", "kind = rtrim(kind, '!')");
    let (exit, stdout, stderr) = archive(&asked);
    assert_eq!(exit, 0, "{stdout} {stderr}");
}

fn doctored(place: &Place) {
    let (_, stdout, _) = output(&["doctor", "--dir", &place.dev(), "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    for id in ["tls.archive", "archive.kept", "archive.equal", "archive.lag"] {
        let finding = findings.iter().find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("{id}: {stdout}"));
        assert_eq!(finding["status"], "PASS", "{finding}");
    }
}

/// The database is gone: what nodes dropped on its word is a gap, that is told for ever, and that protects all the same.
fn dropped(place: &Place, key: PublicKey) {
    let (dev, reader) = (place.dev(), place.reader());
    place.postgres.sql("postgres", "DROP DATABASE consigner WITH (FORCE)");
    sign_steps(&place.path("dev"), 5..=5);
    place.postgres.sql("postgres", "CREATE DATABASE consigner OWNER archive_owner");
    place.step("migrate");
    eventually("a word about what is missing", DEADLINE, || {
        let (exit, stdout, _) = archive(&["status", "--dir", &dev]);
        (exit == 3 && stdout.contains("backfill")).then_some(())
    });
    let (exit, _, stderr) = archive(&["backfill", "--dir", &dev]);
    assert_eq!(exit, 1, "a gap was not accepted: {stderr}");
    let done = archive_json(&["backfill", "--dir", &dev, "--accept-gap"], 3);
    assert_eq!(done["complete"], false, "{done}");
    assert_eq!(done["done"]["gaps"].as_array().unwrap().len(), 1, "{done}");
    sign_steps(&place.path("dev"), 6..=6);
    place.until_archived();
    let (exit, stdout, stderr) = archive(&Place::on_reader(&reader, &["verify"], &["--dir", &dev]));
    assert_eq!(exit, 3, "{stdout} {stderr}");
    assert!(stdout.contains("GAP") && stdout.contains("the live cluster agrees"), "{stdout}");
    let alone = place.text("after.json");
    let done = archive_json(&Place::on_reader(&reader, &["export"], &["--to", &alone]), 3);
    assert_eq!(done["missing"].as_array().unwrap().len(), 1, "{done}");
    let (live, minimal) = (place.text("live.json"), place.text("minimal.json"));
    assert_eq!(output(&["history", "export", "--dir", &dev, "--complete", "--to", &live]).0, 3, "and says so");
    assert_eq!(output(&["history", "export", "--dir", &dev, "--to", &minimal]).0, 0);
    let minimal = interchange(Path::new(&minimal));
    for file in [&live, &alone] {
        let file = interchange(Path::new(file));
        assert_eq!(targets(&file, &key).last(), targets(&minimal, &key).last(), "nothing below the newest is open");
    }
}
