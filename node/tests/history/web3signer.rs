//! From Web3Signer's database (schema version 12) in one command: real Postgres, TLS with client certificates, a thousand
//! validators made by SQL.

use crate::common::{attestation, deployment, mainnet, patiently};
use crate::postgres::{PASSWORD, Postgres, ROLE};
use crate::{assert_schema, dev, history, json_of};
use consigner_node::client::signing::{Signed, public_keys};
use consigner_rules::PublicKey;
use std::collections::BTreeMap;
use std::path::Path;

const DATABASE: &str = "web3signer";

/// The tables of version 12, as far as they hold anything.
const SCHEMA: &str = "
CREATE TABLE database_version (id integer PRIMARY KEY, version integer NOT NULL);
INSERT INTO database_version VALUES (1, 12);
CREATE TABLE validators (id serial PRIMARY KEY, public_key bytea NOT NULL UNIQUE, enabled boolean NOT NULL DEFAULT true);
CREATE TABLE signed_blocks (id bigserial PRIMARY KEY, validator_id integer NOT NULL REFERENCES validators (id),
    slot numeric(20) NOT NULL, signing_root bytea, UNIQUE (validator_id, slot));
CREATE TABLE signed_attestations (id bigserial PRIMARY KEY, validator_id integer REFERENCES validators (id),
    source_epoch numeric(20) NOT NULL, target_epoch numeric(20) NOT NULL, signing_root bytea,
    UNIQUE (validator_id, target_epoch));
CREATE TABLE low_watermarks (validator_id integer NOT NULL UNIQUE REFERENCES validators (id), slot numeric(20),
    target_epoch numeric(20), source_epoch numeric(20),
    CHECK ((target_epoch IS NULL) = (source_epoch IS NULL)));
CREATE TABLE metadata (id integer PRIMARY KEY, genesis_validators_root bytea NOT NULL,
    high_watermark_epoch numeric(20), high_watermark_slot numeric(20));
GRANT SELECT ON ALL TABLES IN SCHEMA public TO signer;";

/// Of 1,000 validators: some signed blocks, some attestations, some both, some nothing; some were pruned up to a low
/// watermark, some raised above what they signed; some have no roots.
const RECORDS: &str = "
INSERT INTO validators (public_key, enabled)
    SELECT decode(lpad(to_hex(number), 96, '0'), 'hex'), number % 9 <> 0 FROM generate_series(1, 1000 - 3) number;
INSERT INTO signed_blocks (validator_id, slot, signing_root)
    SELECT id, 5000 + id * 3 + step, CASE WHEN id % 4 = 0 THEN NULL ELSE sha256(int4send(id + step)) END
    FROM validators, generate_series(1, 3) step WHERE id % 5 <> 0 AND id > 10;
INSERT INTO signed_attestations (validator_id, source_epoch, target_epoch, signing_root)
    SELECT id, 400 + id + step, 401 + id + step + id % 3, CASE WHEN id % 4 = 1 THEN NULL ELSE sha256(int4send(id)) END
    FROM validators, generate_series(1, 4) step WHERE id % 7 <> 0 AND id > 10;
INSERT INTO low_watermarks (validator_id, slot, source_epoch, target_epoch)
    SELECT id, 5001 + id * 3, 401 + id, 402 + id FROM validators WHERE id % 2 = 0 AND id > 10;
INSERT INTO low_watermarks (validator_id, slot)
    SELECT id, 90000 + id FROM validators WHERE id % 35 = 1 AND id % 2 = 1 AND id > 10;
INSERT INTO low_watermarks (validator_id, source_epoch, target_epoch)
    SELECT id, 70000 + id, 70001 + id FROM validators WHERE id % 11 = 3 AND id % 2 = 1 AND id % 35 <> 1 AND id > 10;";

/// What must come out, in other words than the program's.
const EXPECTED: &str = "
SELECT encode(public_key, 'hex'),
    greatest((SELECT max(slot) FROM signed_blocks WHERE validator_id = v.id),
        (SELECT slot FROM low_watermarks WHERE validator_id = v.id)),
    greatest((SELECT max(source_epoch) FROM signed_attestations WHERE validator_id = v.id),
        (SELECT source_epoch FROM low_watermarks WHERE validator_id = v.id)),
    greatest((SELECT max(target_epoch) FROM signed_attestations WHERE validator_id = v.id),
        (SELECT target_epoch FROM low_watermarks WHERE validator_id = v.id))
FROM validators v";

/// The command, with these files of the database's directory in place of the right ones.
struct Import<'a> {
    host: &'a str,
    port: u16,
    files: &'a Path,
    certificate: Option<&'a str>,
    password: &'a str,
}

impl Import<'_> {
    fn arguments(&self) -> Vec<String> {
        let file = |name: &str| self.files.join(name).to_str().unwrap().to_owned();
        let url = format!("postgres://{ROLE}@{}:{}/{DATABASE}", self.host, self.port);
        let mut arguments = vec!["import".to_owned(), "--web3signer-db".to_owned(), url];
        arguments.extend(["--db-ca".to_owned(), file("ca.pem"), "--db-password-file".to_owned(), file(self.password)]);
        if let Some(name) = self.certificate {
            let (cert, key) = (file(&format!("{name}.pem")), file(&format!("{name}-key.pem")));
            arguments.extend(["--db-cert".to_owned(), cert, "--db-key".to_owned(), key]);
        }
        arguments
    }

    fn refused(&self, dir: &Path, named: &str) {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (exit, stdout, stderr) = history(dir, &arguments);
        assert!(exit == 1 && stderr.contains(named), "{named}: {exit} {stdout} {stderr}");
        assert!(!stdout.contains(PASSWORD) && !stderr.contains(PASSWORD), "{stderr}");
    }
}

type Marks = BTreeMap<String, [Option<String>; 3]>;

fn expected(postgres: &Postgres) -> Marks {
    let rows = postgres.sql(DATABASE, EXPECTED);
    let mark = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (format!("0x{}", cells[0]), [mark(cells[1]), mark(cells[2]), mark(cells[3])])
    };
    rows.lines().map(row).filter(|(_, marks)| marks.iter().any(Option::is_some)).collect()
}

fn shown(dir: &Path) -> Marks {
    let shown = json_of(dir, &["watermark", "show"], 0);
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let line = |line: &serde_json::Value| {
        let marks = ["slot", "source_epoch", "target_epoch"].map(|field| text(&line[field]));
        (text(&line["pubkey"]).unwrap(), marks)
    };
    let all = shown["data"].as_array().unwrap().iter().map(line);
    all.filter(|(_, marks)| marks.iter().any(Option::is_some)).collect()
}

/// A database in which the cluster's own validators voted for target `epoch`.
fn fill(postgres: &Postgres, keys: &[PublicKey], root: &str, epoch: u64) {
    postgres.sql("postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"));
    postgres.sql("postgres", &format!("CREATE DATABASE {DATABASE}"));
    postgres.sql(DATABASE, SCHEMA);
    postgres.sql(DATABASE, RECORDS);
    let limit = (epoch + 1000, (epoch + 1000) * 32);
    let bytes = |hexadecimal: &str| format!("'\\x{}'", hexadecimal.trim_start_matches("0x"));
    postgres.sql(DATABASE, &format!("INSERT INTO metadata VALUES (1, {}, {}, {})", bytes(root), limit.0, limit.1));
    for key in keys {
        let key = bytes(&key.to_string());
        postgres.sql(DATABASE, &format!(
            "WITH own AS (INSERT INTO validators (public_key) VALUES ({key}) RETURNING id)
             INSERT INTO signed_attestations (validator_id, source_epoch, target_epoch) SELECT id, {}, {epoch} FROM own",
            epoch - 1
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_validators_move_over_in_one_command() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (dir, files) = (dir.path(), files.path());
    let Some(postgres) = Postgres::start(files) else { return };
    let _dev = dev(dir);
    let (chain, signer) = (mainnet(), deployment(dir).signer(1).unwrap().following(true));
    let keys = public_keys(&signer).await.unwrap();
    let epoch = chain.newest_fork_epoch() + 10;
    let root = consigner_rules::Network::by_name("mainnet").unwrap().genesis_validators_root().unwrap().to_string();
    fill(&postgres, &keys, &root, epoch);
    let right =
        || Import { host: "localhost", port: postgres.port, files, certificate: Some(ROLE), password: "password" };

    refusals(&postgres, dir, right);
    assert!(shown(dir).is_empty(), "what is refused changes nothing");

    let arguments = right().arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let report = json_of(dir, &arguments, 0);
    let lines = report["data"].as_array().unwrap();
    let with = |status: &str| lines.iter().filter(|line| line["status"] == status).count();
    assert_eq!((lines.len(), with("merged"), with("error")), (1000, shown(dir).len(), 0), "{}", lines[0]);
    assert_eq!(report["high_watermark"]["epoch"], (epoch + 1000).to_string());
    assert_eq!(shown(dir), expected(&postgres), "watermarks are equal");
    assert!(expected(&postgres).len() > 900);

    // A double vote against what the database says, and the next one.
    let double = attestation(&chain, keys[0], 0, 1);
    assert!(matches!(patiently(&signer, &double).await, Signed::Refused(_)));
    let next = attestation(&chain, keys[0], 1, 1);
    assert!(matches!(patiently(&signer, &next).await, Signed::Signature(_)));
    let beyond = attestation(&chain, keys[0], 1000, 1);
    assert!(matches!(patiently(&signer, &beyond).await, Signed::Refused(_)), "the high watermark came along");

    // Repeated, and back again as a file.
    let again = json_of(dir, &arguments, 0);
    assert!(again["data"].as_array().unwrap().iter().all(|line| line["status"] == "unchanged"));
    let file = files.join("back.json");
    assert_eq!(history(dir, &["export", "--to", file.to_str().unwrap()]).0, 0);
    assert_schema(&std::fs::read(&file).unwrap());
}

fn refusals<'a>(postgres: &Postgres, dir: &Path, right: impl Fn() -> Import<'a>) {
    Import { host: "127.0.0.2", ..right() }.refused(dir, "ertificate");
    Import { certificate: None, ..right() }.refused(dir, "certificate");
    Import { certificate: Some("other"), ..right() }.refused(dir, "authentication failed");
    Import { password: "wrong-password", ..right() }.refused(dir, "password");
    let port = postgres.port;
    let plain = format!("postgres://{ROLE}@localhost:{port}/{DATABASE}");
    assert_eq!(history(dir, &["import", "--web3signer-db", &plain]).0, 2, "no --db-ca");
    let (exit, _, why) = history(dir, &["import", "--web3signer-db", &plain, "--db-insecure"]);
    assert!(exit == 1 && why.contains("WARNING"), "the server refuses it, too: {why}");
    postgres.sql(DATABASE, "UPDATE database_version SET version = 11");
    right().refused(dir, "schema version 11");
    postgres.sql(DATABASE, "UPDATE database_version SET version = 12");
    postgres.sql(
        DATABASE,
        "CREATE TABLE kept AS SELECT * FROM metadata; UPDATE metadata SET genesis_validators_root = sha256('x')",
    );
    right().refused(dir, "chain");
    postgres.sql(DATABASE, "DELETE FROM metadata");
    right().refused(dir, "no genesis validators root");
    postgres.sql(DATABASE, "INSERT INTO metadata SELECT * FROM kept; DROP TABLE kept");
}
