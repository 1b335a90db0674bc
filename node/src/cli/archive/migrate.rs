//! `consigner archive migrate`: the tables, the rights, and other clusters' leave to write.

use super::place::DbArgs;
use super::printed_json;
use crate::cli::{Exit, output};
use clap::Args;
use consigner_rules::primitives::ClusterId;

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Role of the nodes: may read and insert, and nothing else
    #[arg(long, value_name = "ROLE")]
    writer: Option<String>,
    /// Role of those who look: may read
    #[arg(long, value_name = "ROLE")]
    reader: Option<String>,
    /// Print the statements; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Let another cluster (its cluster.id) write here too: one that was restored and goes on for those that are here
    #[arg(long, value_name = "CLUSTER_ID", conflicts_with = "dry_run")]
    adopt: Option<ClusterId>,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

pub(super) const EXAMPLES: &str = "Examples:
  consigner archive migrate --url postgres://archive_owner@db.example/consigner --db-ca ca.pem \\
    --db-password-file owner.password --writer archive_writer --reader archive_reader --dry-run
  consigner archive migrate --url postgres://archive_owner@db.example/consigner --db-ca ca.pem \\
    --db-password-file owner.password --writer archive_writer --reader archive_reader
  consigner archive migrate --url .. --adopt 00112233445566778899aabbccddeeff

Connect as the owner of the database, not as the nodes' role. The roles must be there: docs/ARCHIVE.md has the SQL.
Forward only, all or nothing; running it again changes nothing. Exit codes: 0 done, 1 failed, 2 usage.";

#[cfg(not(feature = "postgres"))]
pub(super) async fn main(args: &MigrateArgs) -> Exit {
    let MigrateArgs { db, writer: _, reader: _, dry_run: _, adopt: _, json } = args;
    let _answered = printed_json(*json, &serde_json::json!({"error": super::place::NOT_COMPILED, "url": db.url}));
    output::complain(super::place::NOT_COMPILED);
    Exit::Usage
}

#[cfg(feature = "postgres")]
pub(super) async fn main(args: &MigrateArgs) -> Exit {
    let database = match args.db.database() {
        Ok(Some(database)) => database,
        Ok(None) => {
            output::complain("say which database: --url, or --config of a node");
            return Exit::Usage;
        }
        Err(exit) => return exit,
    };
    match migrated(args, &database).await {
        Ok(()) => Exit::Done,
        Err(error) => crate::cli::fail(&error),
    }
}

#[cfg(feature = "postgres")]
async fn migrated(
    args: &MigrateArgs,
    database: &crate::config::PostgresConfig,
) -> Result<(), consigner_storage::archive::ArchiveError> {
    use consigner_storage::archive::{Roles, migrate};
    let mut archive = database.database(super::place::APPLICATION).connect().await?;
    let roles = Roles { writer: args.writer.clone(), reader: args.reader.clone() };
    let plan = if args.dry_run {
        migrate::plan(&mut archive, &roles).await?
    } else {
        migrate::apply(&mut archive, &roles).await?
    };
    let adopted = match &args.adopt {
        Some(cluster) => Some(migrate::adopt(&mut archive, cluster).await?),
        None => None,
    };
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|step| serde_json::json!({"version": step.version, "name": step.name, "sql": step.sql}))
        .collect();
    let answer = serde_json::json!({
        "dry_run": args.dry_run,
        "found": plan.found,
        "needed": plan.needed,
        "steps": steps,
        "grants": plan.grants,
        "adopted": adopted.as_ref().map(|lineage| lineage.cluster_id.to_string()),
    });
    if printed_json(args.json, &answer) {
        return Ok(());
    }
    if args.dry_run {
        print_statements(&plan);
        return Ok(());
    }
    let what = if plan.steps.is_empty() { "nothing was missing".to_owned() } else { applied(&plan) };
    output::line(&format!("the archive has schema version {}: {what}", plan.needed));
    for (role, writes) in &plan.roles {
        output::line(&format!("role {role}: {}", if *writes { "may read and insert" } else { "may read" }));
    }
    if let Some(lineage) = adopted {
        output::line(&format!("cluster {} may write here", lineage.cluster_id));
    }
    Ok(())
}

#[cfg(feature = "postgres")]
fn applied(plan: &consigner_storage::archive::Plan) -> String {
    let steps = plan.steps.iter().map(|step| format!("{} ({})", step.version, step.name));
    format!("applied {}", steps.collect::<Vec<_>>().join(", "))
}

#[cfg(feature = "postgres")]
fn print_statements(plan: &consigner_storage::archive::Plan) {
    output::line(&format!("-- found schema version {}, needed {}; nothing was changed", plan.found, plan.needed));
    for step in &plan.steps {
        output::line(&format!("-- {}: {}\n{}", step.version, step.name, step.sql.trim_end()));
    }
    for grant in &plan.grants {
        output::line(&format!("{};", grant.trim_end().trim_end_matches(';')));
    }
}
