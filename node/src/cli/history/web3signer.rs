//! `consigner history import --web3signer-db`: what Web3Signer has signed, straight out of its database.
//!
//! In: its Postgres, read once over verified TLS. Out: the same import as of an interchange file, and the high watermark.
//! The lower of two high watermarks holds: a limit that stood there is not lost by moving.

use super::import::{judge, print};
use crate::cli::access::AccessArgs;
use crate::cli::{Exit, fail, output};
use crate::client::admin::{self, ImportLine, ImportReport};
use crate::client::records::{self, HighMark, Which};
use crate::client::{CallError, ClusterClient};
use crate::files;
use clap::Args;
use consigner_rules::PublicKey;
use consigner_rules::command::HighWatermark;
use consigner_rules::interchange::Interchange;
use consigner_storage::web3signer::{self, ServerProof, SignerRecords, Web3SignerDb};
use serde_json::json;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest password that is read, in bytes; stops a path that points at a device.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Where the database is.
#[derive(Debug, Args)]
pub(super) struct DbArgs {
    /// Read Web3Signer's database (Postgres, schema version 12) instead of a file
    #[arg(long, value_name = "postgres://USER@HOST:PORT/DATABASE", conflicts_with = "from")]
    web3signer_db: Option<String>,
    /// CA certificates that issued the database's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "web3signer_db")]
    db_ca: Option<PathBuf>,
    /// Client certificate for the database, PEM
    #[arg(long, value_name = "FILE", requires = "db_key", requires = "db_ca")]
    db_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "db_cert")]
    db_key: Option<PathBuf>,
    /// File with the database's password; only its owner may read it
    #[arg(long, value_name = "FILE", requires = "web3signer_db")]
    db_password_file: Option<PathBuf>,
    /// Read without TLS: whoever is in between can take signatures out of the history
    #[arg(long, requires = "web3signer_db", conflicts_with = "db_ca")]
    db_insecure: bool,
    /// Seconds for the whole database
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "web3signer_db")]
    db_timeout: u64,
}

impl DbArgs {
    /// Whether a database was named.
    pub(super) const fn given(&self) -> bool {
        self.web3signer_db.is_some()
    }

    fn database(&self) -> Result<Web3SignerDb, String> {
        let url = self.web3signer_db.clone().unwrap_or_default();
        let server = match (&self.db_ca, self.db_insecure) {
            (Some(ca), _) => {
                let identity = self.db_cert.clone().zip(self.db_key.clone());
                ServerProof::Tls { ca: ca.clone(), identity }
            }
            (None, true) => ServerProof::None,
            (None, false) => {
                return Err("the database must prove who it is: give --db-ca (or, knowingly, --db-insecure)".to_owned());
            }
        };
        let password = self.db_password_file.as_deref().map(password).transpose()?;
        if let Some(key) = &self.db_key {
            files::open_private(key).map_err(|error| crate::report::one_line(&error))?;
        }
        Ok(Web3SignerDb { url, password, server, deadline: Duration::from_secs(self.db_timeout) })
    }
}

fn password(file: &Path) -> Result<Zeroizing<String>, String> {
    let opened = files::open_private(file).map_err(|error| crate::report::one_line(&error))?;
    let mut text = Zeroizing::new(String::new());
    let read = opened.take(PASSWORD_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|_| format!("{} cannot be read as text", file.display()))?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Runs the command.
pub(super) async fn main(access: &AccessArgs, args: &DbArgs, client: &ClusterClient) -> Exit {
    let database = match args.database() {
        Ok(database) => database,
        Err(complaint) => {
            output::complain(&complaint);
            return Exit::Usage;
        }
    };
    if database.server == ServerProof::None {
        output::complain("WARNING: the database is read without TLS, as asked for");
    }
    let found = match web3signer::read(&database).await {
        Ok(found) => found,
        Err(error) => return fail(&error),
    };
    drop(database);
    let warnings = warnings(&found);
    for warning in &warnings {
        output::complain(&format!("WARNING: {warning}"));
    }
    let report = match import(client, &found).await {
        Ok(report) => report,
        Err(error) => return fail(&error),
    };
    let high = match found.high_watermark {
        Some(theirs) => Some(limit(client, &report, theirs).await),
        None => None,
    };
    tell(access, &report, high.as_ref(), &warnings);
    match (judge(&report), &high) {
        (Exit::Done, Some(Err(_))) => Exit::Partly,
        (exit, _) => exit,
    }
}

fn warnings(found: &SignerRecords) -> Vec<String> {
    let mut warnings = Vec::new();
    if found.other_sessions > 0 {
        warnings.push(format!(
            "{} other sessions are connected to this database: if one is Web3Signer, stop it and import again",
            found.other_sessions
        ));
    }
    if found.unowned_attestations {
        warnings.push("the database has attestations of no validator; nobody can say whose they are".to_owned());
    }
    warnings
}

/// The same call as for a file, so that rights, audit and the check of the chain are the same.
async fn import(client: &ClusterClient, found: &SignerRecords) -> Result<ImportReport, CallError> {
    let mut report = match &found.genesis_validators_root {
        Some(root) => {
            let histories = found.validators.iter().filter_map(|validator| validator.history.clone());
            let text = Interchange::minimal(*root, histories).to_json();
            admin::import(client, text.into()).await?
        }
        None => ImportReport::default(),
    };
    let line = |pubkey: String, status: &str, message: &str| ImportLine {
        pubkey,
        status: status.to_owned(),
        message: message.to_owned(),
        ..ImportLine::default()
    };
    let rows: std::collections::HashMap<String, (i64, i64)> = found
        .validators
        .iter()
        .map(|known| (known.public_key.to_string(), (known.blocks, known.attestations)))
        .collect();
    for imported in report.data.iter_mut().filter(|imported| imported.status != "error") {
        let (blocks, attestations) = rows.get(&imported.pubkey).copied().unwrap_or_default();
        imported.message = format!("blocks {blocks}, attestations {attestations}, and low watermarks");
    }
    let empty = found.validators.iter().filter(|validator| validator.history.is_none());
    report.data.extend(empty.map(|empty| line(empty.public_key.to_string(), "unchanged", "no records")));
    report.data.extend(found.unreadable.iter().map(|why| line("-".to_owned(), "error", why)));
    Ok(report)
}

/// What became of the limit: the one that holds now, or why it does not.
type Limited = Result<HighMark, String>;

/// Takes Web3Signer's limit over, each half only where it is lower than the cluster's own.
async fn limit(client: &ClusterClient, report: &ImportReport, theirs: HighWatermark) -> Limited {
    let told = |error: &CallError| crate::report::one_line(error);
    // One validator is enough to be told the limit.
    let one: Vec<PublicKey> = report.data.iter().find_map(|line| line.pubkey.parse().ok()).into_iter().collect();
    let which = if one.is_empty() { Which::All } else { Which::These(one) };
    let now = records::watermarks(client, &which).await.map_err(|error| told(&error))?.high_watermark;
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let lower = |ours: Option<&String>, theirs: u64| ours.map_or(theirs, |ours| number(ours).min(theirs)).to_string();
    let epoch = lower(now.as_ref().map(|now| &now.epoch), theirs.epoch);
    let wanted = HighMark { epoch, slot: lower(now.as_ref().map(|now| &now.slot), theirs.slot) };
    if now.as_ref() != Some(&wanted) {
        records::set_high(client, Some(&wanted), false).await.map_err(|error| told(&error))?;
    }
    Ok(wanted)
}

fn tell(access: &AccessArgs, report: &ImportReport, high: Option<&Limited>, warnings: &[String]) {
    let of_high = match high {
        Some(Ok(limit)) => json!({"status": "set", "epoch": limit.epoch, "slot": limit.slot}),
        Some(Err(why)) => json!({"status": "error", "message": why}),
        None => serde_json::Value::Null,
    };
    let all = json!({"data": report.data, "high_watermark": of_high, "warnings": warnings});
    if access.printed_json(&all) {
        return;
    }
    print(report);
    match high {
        Some(Ok(limit)) => {
            output::line(&format!(
                "high watermark: epoch {}, slot {}: nothing at or above it is signed",
                limit.epoch, limit.slot
            ));
        }
        Some(Err(why)) => output::complain(&format!("the high watermark was not taken over: {why}")),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn args(ca: Option<&str>, insecure: bool) -> DbArgs {
        DbArgs {
            web3signer_db: Some("postgres://signer@db/web3signer".to_owned()),
            db_ca: ca.map(PathBuf::from),
            db_cert: None,
            db_key: None,
            db_password_file: None,
            db_insecure: insecure,
            db_timeout: 1,
        }
    }

    #[test]
    fn a_database_proves_who_it_is_unless_the_operator_insists() {
        assert!(args(None, false).database().err().unwrap().contains("--db-insecure"));
        assert_eq!(args(None, true).database().ok().unwrap().server, ServerProof::None);
        let strict = ServerProof::Tls { ca: "ca.pem".into(), identity: None };
        assert_eq!(args(Some("ca.pem"), false).database().ok().unwrap().server, strict);
    }

    #[test]
    fn a_password_that_others_can_read_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert!(password(&file).unwrap_err().contains("chmod 600"));
        mode(0o600);
        assert_eq!(*password(&file).unwrap(), "hunter2");
    }
}
