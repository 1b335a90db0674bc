//! Maxima of everything, the views that Web3Signer's tools read, and the queries of the document.

use consigner_rules::Change;
use consigner_rules::archive::{ArchiveMark, ArchiveRow, archive_rows};
use consigner_rules::command::{HighWatermark, HistoryImport};
use consigner_storage::archive::{Archive, Lineage, migrate, verify};
use consigner_storage::web3signer::{self, ServerProof, Web3SignerDb};
use std::collections::BTreeMap;

use crate::common::{DEADLINE, Door, Servers, begin, history, identity, key, vote};
use crate::life::{ENTRIES, expected, floor, imports, life, marks, write};
use crate::support::postgres::{OWNER, PASSWORD, READER};

const DATABASE: &str = "archive";

/// Two lineages: a life with imports, and its successor after a restore, which lost something and has a floor.
async fn two_lives(servers: &Servers) -> (Archive, [Lineage; 2], [Vec<ArchiveRow>; 2], Vec<HistoryImport>) {
    servers.migrated(DATABASE).await;
    let (mut archive, first) = servers.entered(Door::Pooler, DATABASE).await;
    let mut old = life(ENTRIES);
    old.extend(imports(ENTRIES + 1));
    write(&mut archive, &first, begin(), &old, ENTRIES + 10, 500).await;

    let mut owner = servers.db(OWNER, DATABASE).connect().await.unwrap();
    let second = migrate::adopt(&mut owner, &identity(2).cluster_id).await.unwrap();
    let mut after = ArchiveMark::begin(&second.cluster_id);
    let before = after;
    after.skip(6);
    let lost = HistoryImport { public_key: key(103), ..history(103) };
    let lost = HistoryImport {
        block: lost.block.map(|block| consigner_rules::command::ImportedBlock { slot: 900_000, ..block }),
        ..lost
    };
    archive.write_gap(&second, &before, &after, std::slice::from_ref(&lost), "lost", 1).await.unwrap();
    let entries = vec![vec![Change::Resumed(floor())], vec![vote(4, 65_000, 65_001), vote(104, 65_000, 65_001)]];
    let new: Vec<ArchiveRow> =
        (7..).zip(entries).flat_map(|(index, changes)| archive_rows(index, 2, changes)).collect();
    write(&mut archive, &second, after, &new, 9, 10).await;
    (archive, [first, second], [old, new], vec![lost])
}

#[tokio::test(flavor = "multi_thread")]
async fn maxima_cover_rows_imports_gaps_and_floors_and_web3signer_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let (mut archive, lineages, rows, lost) = two_lives(&servers).await;
    for lineage in &lineages {
        let report = verify(&mut archive, lineage, None, |_| ()).await.unwrap();
        assert!(report.is_complete(), "{:?}", report.faults);
    }
    let mut archive = servers.db(READER, DATABASE).connect().await.unwrap();
    assert_eq!(archive.maxima(Some(&lineages[0])).await.unwrap(), expected(&rows[0], &[]));
    assert_eq!(archive.maxima(Some(&lineages[1])).await.unwrap(), expected(&rows[1], &lost));
    let all = archive.maxima(None).await.unwrap();
    assert_eq!(all, expected(rows.iter().flatten(), &lost));
    // By hand: a floor, an import above it, a signature above it, what a baseline stands for.
    let (slot, source, target) = (floor().slot, floor().source, floor().target);
    assert_eq!(marks(&all, key(5)), Some((Some(slot), Some((source, target)))));
    assert_eq!(marks(&all, key(100)), Some((Some(1_000_000), Some((70_000, 70_001)))));
    assert_eq!(marks(&all, key(4)), Some((Some(slot), Some((65_000, 65_001)))));
    assert_eq!(marks(&all, key(103)), Some((Some(900_000), Some((source, u64::MAX)))));
    assert!(marks(&all, key(102)).is_some(), "a key that never signed has the floor, too");

    let found = read_as_web3signer(&servers).await;
    assert_eq!(found.genesis_validators_root, Some(identity(1).genesis_validators_root));
    assert_eq!(found.high_watermark, Some(HighWatermark { epoch: u64::MAX, slot: 9_000_000 }));
    assert!(found.unreadable.is_empty() && !found.unowned_attestations);
    let theirs: Vec<HistoryImport> = found.validators.iter().filter_map(|found| found.history.clone()).collect();
    assert_eq!(theirs.len(), all.len());
    for history in &all {
        assert_eq!(marks(&theirs, history.public_key), marks(&all, history.public_key), "{}", history.public_key);
        // A root is known, or unknown, which is more careful; never another one.
        let their = theirs.iter().find(|their| their.public_key == history.public_key).unwrap();
        let their_root = their.block.and_then(|block| block.signing_root);
        assert!(their_root.is_none() || their_root == history.block.and_then(|block| block.signing_root));
        let their_vote = their.attestation.and_then(|vote| vote.at_max_target);
        assert!(their_vote.is_none() || their_vote == history.attestation.and_then(|vote| vote.at_max_target));
    }
    let enabled: BTreeMap<_, _> = found.validators.iter().map(|found| (found.public_key, found.enabled)).collect();
    assert_eq!((enabled.get(&key(2)), enabled.get(&key(102))), (Some(&false), Some(&true)));
    tables_are_of_version_12(&servers);
    queries_of_the_document(&servers, &rows);
}

async fn read_as_web3signer(servers: &Servers) -> web3signer::SignerRecords {
    let identity =
        (servers.postgres.path(&format!("{READER}.pem")), servers.postgres.path(&format!("{READER}-key.pem")));
    let url = format!("{}?options=-csearch_path%3Dweb3signer", servers.postgres.url(READER, DATABASE));
    let server = ServerProof::Tls { ca: servers.postgres.path("ca.pem"), identity: Some(identity) };
    let password = Some(zeroize::Zeroizing::new(PASSWORD.to_owned()));
    web3signer::read(&Web3SignerDb { url, password, server, deadline: DEADLINE }).await.unwrap()
}

/// The columns that the statements of Web3Signer name, with their types; and what its tables promise.
fn tables_are_of_version_12(servers: &Servers) {
    let sql = |text: &str| servers.postgres.sql(DATABASE, text);
    let columns = sql("SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns
         WHERE table_schema = 'web3signer' ORDER BY 1");
    let expected = "database_version.id integer,database_version.version integer,low_watermarks.slot numeric,\
        low_watermarks.source_epoch numeric,low_watermarks.target_epoch numeric,low_watermarks.validator_id integer,\
        metadata.genesis_validators_root bytea,metadata.high_watermark_epoch numeric,\
        metadata.high_watermark_slot numeric,metadata.id integer,signed_attestations.id bigint,\
        signed_attestations.signing_root bytea,signed_attestations.source_epoch numeric,\
        signed_attestations.target_epoch numeric,signed_attestations.validator_id integer,signed_blocks.id bigint,\
        signed_blocks.signing_root bytea,signed_blocks.slot numeric,signed_blocks.validator_id integer,\
        validators.enabled boolean,validators.id integer,validators.public_key bytea";
    let mut found: Vec<&str> = columns.lines().collect();
    found.sort_unstable();
    assert_eq!(found.join(","), expected);
    for (table, unique) in [
        ("signed_blocks", "validator_id, slot"),
        ("signed_blocks", "id"),
        ("signed_attestations", "validator_id, target_epoch"),
        ("signed_attestations", "id"),
        ("low_watermarks", "validator_id"),
    ] {
        let doubled = format!("SELECT {unique} FROM web3signer.{table} GROUP BY {unique} HAVING count(*) > 1");
        assert_eq!(sql(&doubled), "", "{table} {unique}");
    }
    let halves = "SELECT count(*) FROM web3signer.low_watermarks
        WHERE (source_epoch IS NULL) <> (target_epoch IS NULL)";
    assert_eq!(sql(halves).trim(), "0");
    // An emergency copy: what the views show fits into the tables of Web3Signer.
    let copy = "CREATE SCHEMA copy;
        CREATE TABLE copy.signed_blocks (id bigserial PRIMARY KEY, validator_id integer NOT NULL,
            slot numeric(20) NOT NULL, signing_root bytea, UNIQUE (validator_id, slot));
        INSERT INTO copy.signed_blocks (validator_id, slot, signing_root)
            SELECT validator_id, slot, signing_root FROM web3signer.signed_blocks;
        SELECT count(*) FROM copy.signed_blocks";
    let blocks = sql("SELECT count(*) FROM (SELECT DISTINCT validator, slot FROM consigner.signed_blocks) d");
    assert_eq!(sql(copy), blocks);
}

/// Every query of `queries.sql`, as the document shows it.
fn queries_of_the_document(servers: &Servers, rows: &[Vec<ArchiveRow>; 2]) {
    let text = include_str!("../../src/archive/queries.sql");
    let (validator, epoch) = (hex::encode(key(3).0), 100_u64);
    let lineage = identity(1).cluster_id.to_string();
    let lineage = lineage.trim_start_matches("0x");
    let mut answers = BTreeMap::new();
    for part in text.split("-- query: ").skip(1) {
        let (name, query) = part.split_once('\n').unwrap();
        let query = query.replace(":'validator'", &format!("'{validator}'"));
        let query = query.replace(":epoch", &epoch.to_string()).replace(":'lineage'", &format!("'{lineage}'"));
        let asked = format!("SET ROLE {READER}; {query}");
        answers.insert(name.to_owned(), servers.postgres.sql(DATABASE, &asked));
    }
    let of = |name: &str| answers.get(name).map_or("", String::as_str);
    let signed = rows[0].iter().filter_map(|row| row.change.signed()).filter(|signed| signed.public_key == key(3));
    let signed = signed.filter(|signed| match signed.duty {
        consigner_rules::AgreedDuty::Block { slot } => (epoch * 32..epoch * 32 + 32).contains(&slot),
        consigner_rules::AgreedDuty::Attestation { target_epoch, .. } => target_epoch == epoch,
        consigner_rules::AgreedDuty::VoluntaryExit { epoch: of, .. } => of == epoch,
    });
    assert_eq!(of("signed-in-epoch").lines().count(), signed.count());
    let refused = rows.iter().flatten().filter(|row| row.change.refused().is_some()).count();
    let counted: usize =
        of("refusals-by-client").lines().map(|line| line.split(',').nth(2).unwrap().parse::<usize>().unwrap()).sum();
    assert_eq!(counted, refused);
    assert!(of("through-nodes").lines().count() >= 9, "{answers:?}");
    assert!(of("newest-by-validator").lines().count() >= 10);
    assert!(of("key-events").contains("key_added"));
    assert!(of("gaps").contains(",0,6,lost,1,"), "{}", of("gaps"));
    assert!(of("batch-lag").lines().count() >= 4 && of("batch-lag").starts_with(lineage), "{}", of("batch-lag"));
    assert_eq!(answers.len(), 7);
}
