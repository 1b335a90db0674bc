//! Everything that is left of the old cluster, read and compared with the configuration of the new one.

use super::super::backup;
use super::RestoreArgs;
use super::archive;
use super::error::RestoreError;
use super::now_ms;
use consigner_raft::restore::{Combined, Records, RecordsKind, Source, combine};
use consigner_rules::command::ClusterIdentity;
use consigner_rules::interchange::Interchange;
use std::path::Path;

/// Reads all sources and puts them together; the first that cannot be used ends it.
pub(super) async fn read(args: &RestoreArgs, new: &ClusterIdentity) -> Result<Combined, RestoreError> {
    let mut sources = backups(args)?;
    for dir in &args.survivors {
        let named = |source| RestoreError::Source { name: dir.display().to_string(), source };
        sources.push(Source::from_survivor(dir).map_err(named)?);
    }
    for source in &sources {
        check(source, new)?;
    }
    let mut records: Vec<Records> =
        args.interchanges.iter().map(|file| interchange(file, new)).collect::<Result<_, _>>()?;
    // Without a source of keys there is nobody whose records could be looked for; `combine` says so.
    if let (Some(file), Some(source)) = (&args.archive, sources.first()) {
        records.push(archive::read(file, &source.identity).await?);
    }
    Ok(combine(sources, records)?)
}

/// Two machines' clocks may differ by this much, an Ethereum slot: far less than the margin of a floor.
const CLOCKS_APART_MS: u64 = 12_000;

fn backups(args: &RestoreArgs) -> Result<Vec<Source>, RestoreError> {
    let mut sources = Vec::new();
    for (number, file) in args.backups.iter().enumerate() {
        let passphrase_file = args.passphrase_files.get(number).or(args.passphrase_files.first());
        let Some(passphrase_file) = passphrase_file else { break };
        let content = backup::open(file, &backup::read_passphrase(passphrase_file)?)?;
        let name = file.display().to_string();
        let read = Source::from_backup(&name, &content);
        let (source, summary) = read.map_err(|source| RestoreError::Source { name: name.clone(), source })?;
        let ahead_ms = summary.taken_at_ms.saturating_sub(now_ms());
        if ahead_ms > CLOCKS_APART_MS {
            return Err(RestoreError::Clock { name, seconds: ahead_ms / 1000 });
        }
        sources.push(source);
    }
    Ok(sources)
}

fn check(source: &Source, new: &ClusterIdentity) -> Result<(), RestoreError> {
    let (found, expected) = (source.identity.genesis_validators_root, new.genesis_validators_root);
    if found != expected {
        return Err(RestoreError::OtherChain { name: source.name.clone(), found, expected });
    }
    if source.identity.cluster_id == new.cluster_id {
        return Err(RestoreError::SameCluster(new.cluster_id));
    }
    Ok(())
}

fn interchange(file: &Path, new: &ClusterIdentity) -> Result<Records, RestoreError> {
    let name = file.display().to_string();
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(source) => return Err(RestoreError::Read { name, source }),
    };
    let read = Interchange::parse(&text).and_then(|file| {
        file.check_genesis(&new.genesis_validators_root)?;
        Ok(file.reduce())
    });
    match read {
        Ok(histories) => Ok(Records { name, kind: RecordsKind::Interchange, histories }),
        Err(source) => Err(RestoreError::Interchange { name, source }),
    }
}
