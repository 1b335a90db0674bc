//! Whatever is changed by somebody who may change everything, the verification says so, and where.

use consigner_rules::Change;
use consigner_rules::archive::{ArchiveMark, ArchiveRow, archive_rows};
use consigner_rules::command::ClusterIdentity;
use consigner_storage::archive::project::{Projection, Table};
use consigner_storage::archive::{Archive, Fault, Lineage, verify};

use crate::common::{Door, Servers, begin};
use crate::life::{life, write};

/// Entries: few enough for a verification per column.
const ENTRIES: u64 = 150;
const DATABASE: &str = "archive";
const OTHERS: [&str; 3] = ["batches", "validators", "clusters"];

/// An archive and a copy of its tables, from which it is mended before each deed.
struct Bench {
    servers: Servers,
    archive: Archive,
    lineage: Lineage,
    rows: Vec<ArchiveRow>,
    mark: ArchiveMark,
}

impl Bench {
    async fn new(servers: Servers) -> Self {
        servers.migrated(DATABASE).await;
        let (mut archive, lineage) = servers.entered(Door::Direct, DATABASE).await;
        let rows = life(ENTRIES);
        let mark = write(&mut archive, &lineage, begin(), &rows, ENTRIES, 40).await;
        let own = Self { servers, archive, lineage, rows, mark };
        let copies = Table::ALL.map(Table::name).into_iter().chain(OTHERS);
        let copies = copies.map(|table| format!("CREATE TABLE saved.{table} AS TABLE consigner.{table};"));
        own.sql(&format!("CREATE SCHEMA saved; {}", copies.collect::<String>()));
        own
    }

    fn sql(&self, text: &str) -> String {
        self.servers.postgres.sql(DATABASE, text)
    }

    /// Mends the tables, does the deed, and verifies.
    async fn after(&mut self, tables: &[&str], deed: &str) -> Vec<Fault> {
        let mend = |table: &&str| {
            format!(
                "DELETE FROM consigner.{table}; INSERT INTO consigner.{table} OVERRIDING SYSTEM VALUE TABLE saved.{table};"
            )
        };
        let mend: String = tables.iter().map(mend).collect();
        self.sql(&format!("SET session_replication_role = replica; {mend} {deed}"));
        let report = verify(&mut self.archive, &self.lineage, Some(self.mark), |_| ()).await.unwrap();
        assert_eq!(report.is_complete(), report.faults.is_empty());
        report.faults
    }

    /// The faults must name the row, or the batch that holds it.
    async fn names(&mut self, table: &str, (index, ordinal): (u64, u32), deed: &str) {
        let faults = self.after(&[table], deed).await;
        let signed = i64::try_from(index).unwrap();
        let named = faults.iter().any(|fault| {
            let place = fault.place;
            let row = (place.table, place.index, place.ordinal) == (Some(table), Some(signed), ordinal.try_into().ok());
            row || place.batch.is_some_and(|(after, upto)| after < index && index <= upto)
        });
        assert!(named, "{deed}: {faults:#?}");
    }

    /// Places of the rows of a table.
    fn places(&self, table: Table) -> Vec<(u64, u32)> {
        let own = self.rows.iter().filter(|row| Projection::of(&row.change).table() == table);
        own.map(|row| (row.index, row.ordinal)).collect()
    }
}

fn at((index, ordinal): (u64, u32)) -> String {
    format!("WHERE log_index = {index} AND ordinal = {ordinal}")
}

/// Another value of the same type.
fn other(column: &str, kind: &str) -> String {
    match (column, kind) {
        ("log_index", _) => "log_index + 1000000".to_owned(),
        ("ordinal", _) => "ordinal + 1000".to_owned(),
        ("cluster", _) => "cluster + 1".to_owned(),
        ("validator", _) => {
            "(SELECT max(id) FROM consigner.validators v WHERE v.id IS DISTINCT FROM t.validator)".to_owned()
        }
        (_, "bytea") => format!("set_byte({column}, 0, get_byte({column}, 0) # 1)"),
        (_, "text") => format!("{column} || 'x'"),
        _ => format!("coalesce({column} + 1, 1)"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_altered_column_of_every_table_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let mut bench = Bench::new(servers).await;
    assert!(bench.after(&[], "SELECT 1").await.is_empty());
    for table in Table::ALL {
        let places = bench.places(table);
        let (name, victim) = (table.name(), places[places.len() / 2]);
        let columns = bench.sql(&format!(
            "SELECT column_name, data_type FROM information_schema.columns
             WHERE table_schema = 'consigner' AND table_name = '{name}'"
        ));
        let columns: Vec<(&str, &str)> = columns.lines().filter_map(|line| line.split_once(',')).collect();
        assert!(columns.len() >= 8, "{columns:?}");
        for (column, kind) in columns {
            let deed = format!("UPDATE consigner.{name} t SET {column} = {} {}", other(column, kind), at(victim));
            bench.names(name, victim, &deed).await;
        }
        bench.after(&[name], "SELECT 1").await;
    }
    assert!(bench.after(&[], "SELECT 1").await.is_empty(), "mended");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_deleted_doubled_moved_or_swapped_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let mut bench = Bench::new(servers).await;
    for table in Table::ALL {
        let places = bench.places(table);
        let name = table.name();
        let (one, two) = (places[places.len() / 3], places[2 * places.len() / 3]);
        bench.names(name, one, &format!("DELETE FROM consigner.{name} {}", at(one))).await;
        for place in [places[0], *places.last().unwrap()] {
            bench.names(name, place, &format!("DELETE FROM consigner.{name} {}", at(place))).await;
        }
        let moved = |from, (index, ordinal)| {
            format!("UPDATE consigner.{name} SET log_index = {index}, ordinal = {ordinal} {}; ", at(from))
        };
        let aside = (9_999_999, 0);
        let deed = [moved(one, aside), moved(two, one), moved(aside, two)].concat();
        bench.names(name, one, &deed).await;
        let swap = format!(
            "UPDATE consigner.{name} t SET validator = o.validator FROM consigner.{name} o
             WHERE t.validator <> o.validator AND (t.log_index, t.ordinal) IN (({}, {}))
                AND (o.log_index, o.ordinal) = (SELECT log_index, ordinal FROM consigner.{name} n
                    WHERE n.validator <> (SELECT validator FROM consigner.{name} {}) LIMIT 1)",
            one.0,
            one.1,
            at(one)
        );
        if !matches!(table, Table::PolicyEvents | Table::ClusterEvents) {
            bench.names(name, one, &swap).await;
        }
        // Who owns the tables can take their key away.
        let doubled = format!(
            "ALTER TABLE consigner.{name} DROP CONSTRAINT {name}_pkey;
             INSERT INTO consigner.{name} SELECT * FROM consigner.{name} {}",
            at(one)
        );
        bench.names(name, one, &doubled).await;
        bench.after(&[name], "SELECT 1").await;
    }
    assert!(bench.after(&[], "SELECT 1").await.is_empty(), "mended");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_the_archive_is_of_is_proven_by_how_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let mut bench = Bench::new(servers).await;
    let Lineage { cluster_id, network, genesis_validators_root, .. } = bench.lineage.clone();
    let identity = ClusterIdentity { cluster_id, network, genesis_validators_root };
    let began: Vec<ArchiveRow> = archive_rows(ENTRIES + 1, 1, vec![Change::ClusterInitialised(identity)]).collect();
    bench.mark = write(&mut bench.archive, &bench.lineage, bench.mark, &began, ENTRIES + 1, 40).await;
    assert!(bench.after(&[], "SELECT 1").await.is_empty());
    for column in ["cluster_id", "network", "genesis_validators_root"] {
        let kind = if column == "network" { "text" } else { "bytea" };
        bench.sql(&format!("UPDATE consigner.clusters SET {column} = {}", other(column, kind)));
        // As who verifies finds it, not as it was entered.
        bench.lineage = bench.archive.lineages().await.unwrap().remove(0);
        let faults = bench.after(&[], "SELECT 1").await;
        let named = |fault: &Fault| fault.to_string().contains("the row by which the cluster began says cluster");
        assert!(faults.iter().any(named), "{column}: {faults:#?}");
        bench.after(&["clusters"], "SELECT 1").await;
    }
    bench.lineage = bench.archive.lineages().await.unwrap().remove(0);
    assert!(bench.after(&[], "SELECT 1").await.is_empty(), "mended");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_nobody_are_named_in_every_table() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let mut bench = Bench::new(servers).await;
    for (table, number) in Table::ALL.map(Table::name).into_iter().chain(["batches"]).zip([-3, 0, 2, 7].iter().cycle())
    {
        let deed = format!(
            "CREATE TEMP TABLE stray AS SELECT * FROM consigner.{table} LIMIT 1;
             UPDATE stray SET cluster = {number}; INSERT INTO consigner.{table} SELECT * FROM stray"
        );
        let told: Vec<String> = bench.after(&[table], &deed).await.iter().map(ToString::to_string).collect();
        let named = format!("{table}: rows lie there under the cluster number {number}, which the table clusters does");
        assert!(matches!(&told[..], [one] if one.starts_with(&named)), "{table}: {told:#?}");
        bench.after(&[table], "SELECT 1").await;
    }
    assert!(bench.after(&[], "SELECT 1").await.is_empty(), "mended");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_ends_and_strangers_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let mut bench = Bench::new(servers).await;
    let middle = "(SELECT last_index FROM consigner.batches ORDER BY last_index OFFSET 2 LIMIT 1)";
    let bounds =
        bench.sql(&format!("SELECT after_index, last_index FROM consigner.batches WHERE last_index = {middle}"));
    let (after, upto) = bounds.trim().split_once(',').unwrap();
    let within = format!("log_index > {after} AND log_index <= {upto}");
    let delete = |condition: &str| -> String {
        Table::ALL.map(|table| format!("DELETE FROM consigner.{} WHERE {condition};", table.name())).concat()
    };
    let last = "(SELECT max(last_index) FROM consigner.batches)";
    let tail = "log_index > (SELECT max(after_index) FROM consigner.batches)";
    let stranger = "INSERT INTO consigner.policy_events SELECT cluster, 5000, 0, proposed_at_ms, kind, validator, node,
        subject, slot, source_epoch, target_epoch, content FROM consigner.policy_events LIMIT 1";
    let twice =
        "INSERT INTO consigner.signed_exits SELECT cluster, log_index, ordinal, proposed_at_ms, validator, 1, 1,
        signing_root, peer, node FROM consigner.signed_blocks LIMIT 1";
    let hole = format!("no batch has the entries ({after}, {upto}]: a batch was deleted");
    let batch = format!("batch ({after}, {upto}]: ");
    let set = |text: &str| format!("UPDATE consigner.batches SET {text} WHERE last_index = {middle}");
    let without = format!("DELETE FROM consigner.batches WHERE last_index = {middle};");
    let cases = [
        (without.clone(), hole.clone()),
        (without.clone(), "it lies in no batch".to_owned()),
        ([delete(&within), without].concat(), hole),
        (
            [delete(tail), format!("DELETE FROM consigner.batches WHERE last_index = {last}")].concat(),
            format!("but it was confirmed up to {ENTRIES}: its end was lost"),
        ),
        (set("rows = rows + 1"), format!("{batch}it was written with")),
        (set("rows_after = rows_after + 1"), format!("{batch}its rows and those before it are")),
        (set("chain_before = sha256(chain_before)"), format!("{batch}its chain does not begin")),
        (set("chain_after = sha256(chain_after)"), format!("{batch}its rows give the chain")),
        (set("gap = true"), "it lies in a gap".to_owned()),
        (set("after_index = after_index - 1"), "before the end of the batch before it".to_owned()),
        (set("last_index = last_index - 1"), "no batch has the entries".to_owned()),
        (stranger.to_owned(), "policy_events, log index 5000, place 0: it lies in no batch".to_owned()),
        (twice.to_owned(), "there is another row in the same place".to_owned()),
        (
            "UPDATE consigner.validators SET public_key = set_byte(public_key, 0, 77) WHERE id = 1".to_owned(),
            "its rows give the chain".to_owned(),
        ),
        (
            "DELETE FROM consigner.validators WHERE id = 1".to_owned(),
            "it is of validator number 1, which is not in the table validators".to_owned(),
        ),
    ];
    let names = Table::ALL.map(Table::name);
    let tables: Vec<&str> = names.into_iter().chain(OTHERS).collect();
    for (deed, named) in cases {
        let faults = bench.after(&tables, &deed).await;
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|fault| fault.contains(&named)), "{deed}: {named}: {told:#?}");
    }
    // Who does not verify stumbles over an altered row all the same, and is told where it is.
    bench.after(&tables, "UPDATE consigner.key_events SET content = '\\x00'").await;
    let stumbled = bench.archive.rows_after(&bench.lineage, 0, u64::MAX, 10_000).await.unwrap_err();
    assert!(stumbled.to_string().contains("key_events, log index"), "{stumbled}");
    assert!(bench.after(&tables, "SELECT 1").await.is_empty(), "mended");
}
