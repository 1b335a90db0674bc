//! `cluster restore --archive`: what only the archive knows raises the watermarks of the new cluster.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "../../storage/tests/support/postgres.rs"]
mod postgres;

use common::{Dev, attestation, deployment, free_base_port, mainnet, output, patiently};
use consigner_node::client::signing::{Signed, public_keys};
use consigner_rules::archive::{ArchiveMark, archive_rows};
use consigner_rules::command::ClusterIdentity;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{AgreedDuty, Change, PublicKey, Root};
use consigner_storage::archive::{ArchiveDb, ChannelBinding, PasswordSource, Roles, ServerProof, migrate};
use postgres::{OWNER, Postgres, READER, WRITER};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const DATABASE: &str = "archive";

/// Far more than any call takes.
const DEADLINE: Duration = Duration::from_secs(60);

fn db(postgres: &Postgres, role: &str) -> ArchiveDb {
    let file = |name: String| postgres.path(&name);
    let identity = Some((file(format!("{role}.pem")), file(format!("{role}-key.pem"))));
    ArchiveDb {
        url: postgres.url(role, DATABASE),
        password: PasswordSource::File(file("password".to_owned())),
        server: ServerProof::Tls { ca: file("ca.pem".to_owned()), identity },
        channel_binding: ChannelBinding::Require,
        deadline: DEADLINE,
        application: "consigner test",
    }
}

/// A vote that no disk and no backup knows, in the archive of this cluster.
async fn archive(postgres: &Postgres, identity: &ClusterIdentity, public_key: PublicKey, target_epoch: u64) {
    postgres.archive(DATABASE);
    let roles = Roles { writer: Some(WRITER.to_owned()), reader: Some(READER.to_owned()) };
    migrate::apply(&mut db(postgres, OWNER).connect().await.unwrap(), &roles).await.unwrap();
    let mut writer = db(postgres, WRITER).connect().await.unwrap();
    let lineage = writer.enter(identity).await.unwrap();
    let duty = AgreedDuty::Attestation { source_epoch: target_epoch - 1, target_epoch };
    let change = Change::SignedVia { public_key, duty, signing_root: Root([5; 32]), peer: "vc".to_owned(), node: 1 };
    let rows: Vec<_> = archive_rows(1 << 20, 1, vec![change]).collect();
    let before = ArchiveMark::begin(&lineage.cluster_id);
    let mut after = before;
    after.add(&rows[0]);
    writer.write(&lineage, &before, &rows, &after, 1).await.unwrap();
}

/// The configuration of the new cluster's only node, and one that says where the archive is.
fn configure(dir: &Path, postgres: &Postgres) -> (String, String) {
    let old = std::fs::read_to_string(dir.join("old/node1/config.yaml")).unwrap();
    let lines = old.lines().map(|line| {
        if line.starts_with("  id: \"0x") { format!("  id: \"0x{}\"", "7e".repeat(16)) } else { line.to_owned() }
    });
    let plain = lines.collect::<Vec<_>>().join("\n");
    let new = dir.join("old/new1");
    std::fs::create_dir(&new).unwrap();
    let section = format!(
        "\narchive:\n  postgres:\n    url: {}\n    ca: {}\n    cert: {}\n    key: {}\n    password-file: {}\n",
        postgres.url(READER, DATABASE),
        postgres.path("ca.pem").display(),
        postgres.path(&format!("{READER}.pem")).display(),
        postgres.path(&format!("{READER}-key.pem")).display(),
        postgres.path("password").display(),
    );
    let (config, with) = (new.join("config.yaml"), new.join("archive.yaml"));
    std::fs::write(&config, &plain).unwrap();
    std::fs::write(&with, plain + &section).unwrap();
    (config.display().to_string(), with.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_archive_knows_is_not_signed_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = dir.path().join("postgres");
    std::fs::create_dir(&server).unwrap();
    let Some(postgres) = Postgres::start(&server) else { return };
    let port = free_base_port(1).to_string();
    let mut dev = Dev::start(&dir.path().join("old"), &["--nodes", "1", "--base-port", &port]);
    dev.until_ready();
    let signer = deployment(&dir.path().join("old")).signer(1).unwrap();
    let (chain, key) = (mainnet(), public_keys(&signer).await.unwrap()[0]);
    let signed = patiently(&signer, &attestation(&chain, key, 1, 1)).await;
    assert!(matches!(signed, Signed::Signature(_)), "{signed:?}");
    dev.signal(rustix::process::Signal::TERM);
    tokio::task::block_in_place(|| dev.ended(common::END));

    let (config, with) = configure(dir.path(), &postgres);
    let survivor = dir.path().join("old/node1/data").display().to_string();
    let restore = |more: &[&str]| {
        let mut arguments = vec!["cluster", "restore", "--config", &config, "--survivor", &survivor, "--json"];
        arguments.extend(more);
        tokio::task::block_in_place(|| output(&arguments))
    };
    let refuses = |more: &[&str], reason: &str| {
        let (code, stdout, stderr) = restore(more);
        assert!(code == 1 && stdout.is_empty() && stderr.contains(reason), "{reason}: {stdout} {stderr}");
        assert!(!dir.path().join("old/new1/data").exists(), "nothing was written: {reason}");
    };
    refuses(&["--archive", &config], "names no database");
    refuses(&["--archive", &with], "the restore goes on");
    // The identity is the survivor's; another cluster's archive is none.
    let old = consigner_raft::restore::Source::from_survivor(Path::new(&survivor)).unwrap().identity;
    let known = chain.newest_fork_epoch() + 90_000;
    archive(&postgres, &ClusterIdentity { cluster_id: ClusterId([3; 16]), ..old.clone() }, key, known).await;
    refuses(&["--archive", &with], "holds nothing of cluster");
    postgres.sql("postgres", &format!("DROP DATABASE {DATABASE} WITH (FORCE)"));
    archive(&postgres, &old, key, known).await;
    postgres.stop();
    refuses(&["--archive", &with], "cannot be reached");
    postgres.go();

    let (code, stdout, stderr) = restore(&["--archive", &with]);
    assert_eq!(code, 0, "{stdout} {stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let sources: Vec<(&str, u64)> = report["sources"].as_array().unwrap().iter().map(brought).collect();
    assert_eq!(sources, [("survivor", 1), ("archive", 1)], "{report:#}");
    assert_eq!(report["maxima"]["target"], known, "{report:#}");
}

/// Its kind, and how many histories it raised.
fn brought(source: &Value) -> (&str, u64) {
    (source["kind"].as_str().unwrap(), source["raised"].as_u64().unwrap())
}
