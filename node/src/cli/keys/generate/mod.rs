//! `consigner keys generate`: new validator keys below a mnemonic, with keystores and deposit data.
//!
//! ```text
//! mnemonic (new or given) -> keys -> keystores, deposit data in --out -> with --import: into the cluster
//! ```
//! In: flags, a password file, perhaps a mnemonic file. Out: new files with mode 600, durable before anything is said;
//! keys in the cluster. A new mnemonic is shown once. Nothing is ever overwritten. Deliberately absent: the deposit.

mod flags;
mod words;

use super::harden;
use super::import::{BATCH, send_secrets};
use crate::cli::progress::Progress;
use crate::cli::{Exit, output};
use crate::client::ClusterClient;
use crate::report::one_line;
use consigner_keys::generate::{
    DepositData, GenerateError, ValidatorKeys, deposit_data_file_name, deposit_data_json, keystore_file_name,
    write_private,
};
use consigner_keys::keystore::{Kdf, Password};
use consigner_rules::PublicKey;
pub(super) use flags::GenerateArgs;
use flags::Plan;
use futures::StreamExt as _;
use serde::Serialize;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// One new key.
#[derive(Debug, Serialize)]
struct Line {
    index: u32,
    pubkey: PublicKey,
    keystore: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
}

/// Everything that was made.
#[derive(Debug, Serialize)]
struct Report {
    data: Vec<Line>,
    deposit_data: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    mnemonic_file: Option<PathBuf>,
}

/// Runs the command.
pub(super) async fn main(args: GenerateArgs) -> Exit {
    harden();
    let plan = match args.plan() {
        Ok(plan) => plan,
        Err(complaint) => {
            output::complain(&complaint);
            return Exit::Usage;
        }
    };
    // Before anything is made: keys that were to be imported must not end up as files only because of a typing error.
    let client = match args.import.then(|| args.access.admin()).transpose() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let made = match make(&args, &plan).await {
        Ok(made) => made,
        Err(complaint) => {
            output::complain(&complaint);
            return Exit::Failed;
        }
    };
    let (keys, mut report, shown) = made;
    let mut exit = Exit::Done;
    if let Some(client) = client {
        exit = import(&client, &keys, &mut report.data, &args.out).await;
    }
    if args.access.json {
        print_json(&args, &report, shown.as_ref());
    } else {
        report.print();
    }
    exit
}

/// Imports what was written; the files stay, so that whatever fails can be repeated.
async fn import(client: &ClusterClient, keys: &[Arc<ValidatorKeys>], lines: &mut [Line], out: &Path) -> Exit {
    let mut exit = Exit::Done;
    for (keys, lines) in keys.chunks(BATCH).zip(lines.chunks_mut(BATCH)) {
        let secrets: Vec<_> = keys.iter().map(|keys| keys.signing_key()).collect();
        let why = match send_secrets(client, &secrets, None).await {
            Ok(statuses) => {
                for (line, done) in lines.iter_mut().zip(&statuses) {
                    line.status = Some(done.status.clone());
                }
                statuses.into_iter().find(|done| done.status == "error").map(|done| done.message.unwrap_or_default())
            }
            Err(error) => Some(one_line(&error)),
        };
        if let Some(why) = why {
            let out = out.display();
            output::complain(&format!("not all keys are imported: {why}; repeat: consigner keys import --from {out}"));
            exit = Exit::Partly;
        }
    }
    exit
}

/// The mnemonic is part of no type that could be printed by mistake.
fn print_json(args: &GenerateArgs, report: &Report, shown: Option<&Zeroizing<String>>) {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let (Some(object), Some(words)) = (value.as_object_mut(), shown) {
        object.insert("mnemonic".to_owned(), words.as_str().into());
    }
    args.access.printed_json(&value);
}

/// What was made: the keys, what to say of them, and a new mnemonic that is to be printed.
type Made = (Vec<Arc<ValidatorKeys>>, Report, Option<Zeroizing<String>>);

/// Makes and writes everything.
async fn make(args: &GenerateArgs, plan: &Plan) -> Result<Made, String> {
    let mnemonic = words::obtain(args)?;
    let seed = mnemonic.words.seed(plan.passphrase.as_ref().map_or("", |passphrase| passphrase.as_str()));
    let said = |error: GenerateError| one_line(&error);
    let keys: Vec<Arc<ValidatorKeys>> = plan
        .indexes
        .clone()
        .map(|index| seed.validator(index).map(Arc::new))
        .collect::<Result<_, _>>()
        .map_err(said)?;
    let deposits: Vec<DepositData> =
        keys.iter().map(|keys| keys.deposit(&plan.terms)).collect::<Result<_, _>>().map_err(said)?;
    make_directory(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let data = write_keystores(&keys, plan, &args.out, time).await?;
    let deposit_data = args.out.join(deposit_data_file_name(time));
    write_private(&deposit_data, deposit_data_json(&deposits).as_bytes()).map_err(said)?;
    Ok((keys, Report { data, deposit_data, mnemonic_file: mnemonic.file }, mnemonic.shown))
}

/// A directory for its owner only, durable with its name.
fn make_directory(path: &Path) -> std::io::Result<()> {
    if !path.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

async fn write_keystores(keys: &[Arc<ValidatorKeys>], plan: &Plan, out: &Path, time: u64) -> Result<Vec<Line>, String> {
    let mut progress = Progress::new("written", "keystores", keys.len() as u64);
    let work = keys.iter().map(|keys| {
        let (keys, password, kdf) = (keys.clone(), plan.password.clone(), plan.kdf);
        let file = out.join(keystore_file_name(&keys, time));
        write_keystore(keys, password, kdf, file)
    });
    let mut written = futures::stream::iter(work).buffered(plan.threads.get());
    let mut lines = Vec::with_capacity(keys.len());
    while let Some(line) = written.next().await {
        lines.push(line?);
        progress.reached(lines.len() as u64);
    }
    Ok(lines)
}

/// Encryption computes for most of a second: off the threads that send and print.
async fn write_keystore(keys: Arc<ValidatorKeys>, password: Password, kdf: Kdf, file: PathBuf) -> Result<Line, String> {
    let write = move || {
        let keystore = keys.keystore(&password, kdf)?;
        write_private(&file, keystore.to_json().as_bytes())?;
        Ok(Line { index: keys.index(), pubkey: keys.public_key(), keystore: file, status: None })
    };
    let written = tokio::task::spawn_blocking(write).await.map_err(|error| error.to_string())?;
    written.map_err(|error: GenerateError| one_line(&error))
}

impl Report {
    fn print(&self) {
        let row = |line: &Line| {
            let keystore = line.keystore.display().to_string();
            vec![
                line.index.to_string(),
                line.pubkey.to_string(),
                line.status.clone().unwrap_or_else(|| "-".to_owned()),
                keystore,
            ]
        };
        let rows: Vec<Vec<String>> = self.data.iter().map(row).collect();
        output::line(&output::table(&["INDEX", "VALIDATOR", "IMPORT", "KEYSTORE"], &rows));
        output::line(&format!("{}: deposit data of {} validators", self.deposit_data.display(), self.data.len()));
        if let Some(file) = &self.mnemonic_file {
            output::line(&format!("{}: the mnemonic; move it to a safe place", file.display()));
        }
    }
}
