//! Brings the tables to the version of this binary, and gives the writer and the reader their rights.
//!
//! In: a connection as the role that owns the tables, or is to own them. Out: what is to be done, or what was done.
//! Forward only: nothing is ever dropped or rewritten. Everything happens in one transaction, under a lock, so that two
//! of them are as one. The writer may read and insert, the reader may read, and neither may anything else.

use std::time::Duration;

use consigner_rules::command::ClusterIdentity;
use consigner_rules::primitives::ClusterId;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::migrations::{MIGRATIONS, Migration, VERSION, VIEW_SCHEMAS};
use super::project::Table;
use super::session::{ask, begin, column, ended, failed};
use super::{Archive, ArchiveError, Lineage, SchemaFault, lineage};

const LOCK: &str = "SELECT pg_advisory_xact_lock(1129206599, -2)";

/// A look into the catalogue, as this statement sees it: `to_regclass` may remember that a table was not there, even
/// behind the lock.
const THERE: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
    ON n.oid = c.relnamespace WHERE n.nspname = 'consigner' AND c.relname = 'schema_version')";

const APPLIED: &str = "SELECT version, checksum FROM consigner.schema_version ORDER BY version";

const RECORD: &str = "INSERT INTO consigner.schema_version (version, name, checksum) VALUES ($1, $2, $3)";

const GRANTED: &str = "SELECT role, writes FROM consigner.granted ORDER BY role";

const GRANT: &str = "INSERT INTO consigner.granted (role, writes) VALUES ($1, $2)
    ON CONFLICT (role) DO UPDATE SET writes = excluded.writes";

/// Whether each role is there, and whether it could do whatever this one can, or change every table there is.
const ROLES: &str = "SELECT r.name, p.rolname IS NOT NULL, coalesce(pg_has_role(p.oid, current_user, 'MEMBER')
        OR EXISTS (SELECT FROM pg_roles w WHERE w.rolname = 'pg_write_all_data' AND pg_has_role(p.oid, w.oid, 'MEMBER')),
        false)
    FROM unnest($1::text[]) AS r (name) LEFT JOIN pg_roles p ON p.rolname = r.name";

/// Beside the tables of rows.
const OTHER_TABLES: [&str; 5] = ["clusters", "validators", "batches", "gaps", "baselines"];

/// What everybody may see who may see anything.
const ABOUT: [&str; 2] = ["schema_version", "granted"];

/// Who gets rights. A role that is not named keeps the rights that it was given before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// The role of the nodes: may read and insert.
    pub writer: Option<String>,
    /// The role of those who look: may read.
    pub reader: Option<String>,
}

/// What a migration does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The version found; 0: no tables.
    pub found: i32,
    /// The version of this binary.
    pub needed: i32,
    /// The migrations that are missing, with their statements.
    pub steps: Vec<Step>,
    /// The statements that give rights.
    pub grants: Vec<String>,
    /// The roles that get them, and whether they may insert.
    pub roles: Vec<(String, bool)>,
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub version: i32,
    /// What it does.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

impl Archive {
    /// Whether the tables are those that this binary knows.
    ///
    /// # Errors
    /// [`ArchiveError::Schema`], and those of every call.
    pub async fn check_schema(&mut self) -> Result<(), ArchiveError> {
        let limit = self.deadline;
        let client = &mut self.session.client;
        let work = async {
            let found = found(&begin(client, limit).await?, limit).await?;
            match found {
                0 => Err(SchemaFault::Missing.into()),
                VERSION => Ok(()),
                older => Err(SchemaFault::Older { found: older, needed: VERSION }.into()),
            }
        };
        let answer = timeout(limit, work).await;
        ended(&self.session, "say the version of its tables", limit, answer)
    }
}

/// What [`apply`] would do.
///
/// # Errors
/// [`ArchiveError::NoRole`], [`ArchiveError::OwnRole`], [`ArchiveError::Schema`], and those of every call.
pub async fn plan(archive: &mut Archive, roles: &Roles) -> Result<Plan, ArchiveError> {
    let limit = archive.deadline;
    let client = &mut archive.session.client;
    let answer = timeout(limit, async { planned(&begin(client, limit).await?, limit, roles).await }).await;
    ended(&archive.session, "plan a migration", limit, answer)
}

/// Applies what is missing, and answers what that was. All or nothing.
///
/// # Errors
/// As [`plan`]; [`ArchiveError::Denied`] if this role may not create a schema in the database.
pub async fn apply(archive: &mut Archive, roles: &Roles) -> Result<Plan, ArchiveError> {
    let limit = archive.deadline;
    let answer = timeout(limit, applied(&mut archive.session.client, limit, roles)).await;
    ended(&archive.session, "migrate", limit, answer)
}

/// Lets another lineage write to this archive, beside those that are there: a restored cluster that goes on for them.
///
/// # Errors
/// [`ArchiveError::Adopt`] if the archive is empty (then the first cluster enters by itself); those of every call.
pub async fn adopt(archive: &mut Archive, cluster: &ClusterId) -> Result<Lineage, ArchiveError> {
    let limit = archive.deadline;
    let client = &mut archive.session.client;
    let work = async {
        let transaction = begin(client, limit).await?;
        ask(&transaction, "adopt a lineage", limit, lineage::LOCK, &[]).await?;
        let known = lineage::all(&transaction, limit).await?;
        if let Some(there) = known.iter().find(|lineage| lineage.cluster_id == *cluster) {
            return Ok(there.clone());
        }
        let Some(first) = known.first() else {
            return Err(ArchiveError::Adopt("the archive holds no lineage yet, so the first cluster enters by itself"));
        };
        let identity = ClusterIdentity {
            cluster_id: *cluster,
            network: first.network.clone(),
            genesis_validators_root: first.genesis_validators_root,
        };
        let adopted = lineage::insert(&transaction, limit, &identity, true).await?;
        transaction.commit().await.map_err(|error| failed("adopt a lineage", limit, error))?;
        Ok(adopted)
    };
    let answer = timeout(limit, work).await;
    ended(&archive.session, "adopt a lineage", limit, answer)
}

async fn applied(client: &mut Client, limit: Duration, roles: &Roles) -> Result<Plan, ArchiveError> {
    let what = "migrate";
    let transaction = begin(client, limit).await?;
    ask(&transaction, what, limit, LOCK, &[]).await?;
    let plan = planned(&transaction, limit, roles).await?;
    for step in &plan.steps {
        transaction.batch_execute(step.sql).await.map_err(|error| failed(what, limit, error))?;
        let migration = Migration { version: step.version, name: step.name, sql: step.sql };
        let checksum = migration.checksum();
        let record = [(&step.version as _, Type::INT4), (&step.name as _, Type::TEXT), (&checksum as _, Type::BYTEA)];
        ask(&transaction, what, limit, RECORD, &record).await?;
    }
    for grant in &plan.grants {
        transaction.batch_execute(grant).await.map_err(|error| failed(what, limit, error))?;
    }
    for (role, writes) in &plan.roles {
        ask(&transaction, what, limit, GRANT, &[(role as _, Type::TEXT), (writes as _, Type::BOOL)]).await?;
    }
    transaction.commit().await.map_err(|error| failed(what, limit, error))?;
    Ok(plan)
}

async fn planned(transaction: &Transaction<'_>, limit: Duration, roles: &Roles) -> Result<Plan, ArchiveError> {
    let found = found(transaction, limit).await?;
    let missing = MIGRATIONS.iter().filter(|migration| migration.version > found);
    let step = |migration: &Migration| {
        let Migration { version, name, sql } = *migration;
        Step { version, name, sql }
    };
    let steps = missing.map(step).collect();
    let mut named: Vec<(String, bool)> = Vec::new();
    if found > 0 {
        for row in ask(transaction, "list the roles that were given rights", limit, GRANTED, &[]).await? {
            named.push((column(&row, 0)?, column(&row, 1)?));
        }
    }
    for (role, writes) in [(&roles.reader, false), (&roles.writer, true)] {
        if let Some(role) = role {
            named.retain(|(known, _)| known != role);
            named.push((role.clone(), writes));
        }
    }
    check_roles(transaction, limit, &named).await?;
    let grants = named.iter().flat_map(|(role, writes)| grants(role, *writes)).collect();
    Ok(Plan { found, needed: VERSION, steps, grants, roles: named })
}

/// The version of the tables; 0: there are none. An error if they are not of this binary's making.
async fn found(transaction: &Transaction<'_>, limit: Duration) -> Result<i32, ArchiveError> {
    let what = "say the version of its tables";
    let rows = ask(transaction, what, limit, THERE, &[]).await?;
    if !rows.first().map_or(Ok(false), |row| column(row, 0))? {
        return Ok(0);
    }
    let mut newest = 0;
    for row in ask(transaction, what, limit, APPLIED, &[]).await? {
        let (version, checksum): (i32, &[u8]) = (column(&row, 0)?, column(&row, 1)?);
        match MIGRATIONS.iter().find(|migration| migration.version == version) {
            Some(own) if own.checksum() != checksum => return Err(SchemaFault::Altered { version }.into()),
            Some(_) | None => newest = version,
        }
    }
    if newest > VERSION {
        return Err(SchemaFault::Newer { found: newest, known: VERSION }.into());
    }
    Ok(newest)
}

async fn check_roles(
    transaction: &Transaction<'_>,
    limit: Duration,
    named: &[(String, bool)],
) -> Result<(), ArchiveError> {
    let names: Vec<&str> = named.iter().map(|(role, _)| role.as_str()).collect();
    for row in ask(transaction, "look for roles", limit, ROLES, &[(&names, Type::TEXT_ARRAY)]).await? {
        let (role, there, owner): (String, bool, bool) = (column(&row, 0)?, column(&row, 1)?, column(&row, 2)?);
        if !there {
            let sql = format!("CREATE ROLE {} LOGIN PASSWORD '...'", quoted(&role));
            return Err(ArchiveError::NoRole { role, sql });
        }
        if owner {
            return Err(ArchiveError::OwnRole { role });
        }
    }
    Ok(())
}

/// Exactly these rights: whatever the role had before is taken first.
fn grants(role: &str, writes: bool) -> Vec<String> {
    let role = quoted(role);
    let listed =
        |tables: &[&str]| tables.iter().map(|table| format!("consigner.{table}")).collect::<Vec<_>>().join(", ");
    let rows = Table::ALL.map(Table::name);
    let tables = [rows.as_slice(), &OTHER_TABLES].concat();
    let mut statements: Vec<String> = Vec::new();
    for schema in ["consigner"].iter().chain(VIEW_SCHEMAS) {
        statements.push(format!("REVOKE ALL ON SCHEMA {schema} FROM {role}"));
        statements.push(format!("REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}"));
    }
    statements.extend([
        format!("REVOKE ALL ON FUNCTION consigner.ensure_partitions(bigint) FROM {role}"),
        format!("GRANT USAGE ON SCHEMA consigner TO {role}"),
        format!("GRANT SELECT ON {}, {} TO {role}", listed(&tables), listed(&ABOUT)),
    ]);
    if writes {
        statements.push(format!("GRANT INSERT ON {} TO {role}", listed(&tables)));
        statements.push(format!("GRANT EXECUTE ON FUNCTION consigner.ensure_partitions(bigint) TO {role}"));
    }
    for schema in VIEW_SCHEMAS {
        statements.push(format!("GRANT USAGE ON SCHEMA {schema} TO {role}"));
        statements.push(format!("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"));
    }
    statements
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
