//! Several sources, one state: the most advanced one as the base, the histories of all by maxima.
//!
//! In: sources of one cluster, histories of interchange files and of its archive. Out: the state, and what each source
//! brought. No watermark is below that of any source (S3); what two sources know differently at one slot or target cannot
//! be repeated.
//! Deliberately absent: keys, policy and tokens of any source but the base: a key that was deleted stays deleted.

use super::source::{Source, SourceKind};
use crate::backup::Maxima;
use consigner_rules::command::ClusterIdentity;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, CommandBatch, HistoryImport, Outcome, Root, State};
use consigner_storage::LogPosition;
use serde::Serialize;

/// What all sources together know.
#[derive(Debug, Clone)]
pub struct Combined {
    /// The old cluster.
    pub identity: ClusterIdentity,
    /// Its state.
    pub state: State,
    /// What each source brought, the base first.
    pub reports: Vec<SourceReport>,
    /// The greatest marks of all.
    pub maxima: Maxima,
}

/// A source of histories alone.
#[derive(Debug, Clone)]
pub struct Records {
    /// For people: the file, or where the database is.
    pub name: String,
    /// What it is.
    pub kind: RecordsKind,
    /// What it knows.
    pub histories: Vec<HistoryImport>,
}

/// What a source of histories is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordsKind {
    /// An interchange file (EIP-3076).
    Interchange,
    /// The archive in a database.
    Archive,
}

/// What one source brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// The file or directory, or where the database is.
    pub name: String,
    /// `backup`, `survivor`, `interchange` or `archive`.
    pub kind: &'static str,
    /// Whether keys and policy were taken from it.
    pub base: bool,
    /// How far it leads.
    pub position: Option<LogPosition>,
    /// Entries at its end that it did not know to be agreed; they count all the same.
    pub uncommitted: u64,
    /// The greatest marks that it knows.
    pub maxima: Maxima,
    /// Validators whose history it raised above what the sources before it knew.
    pub raised: u64,
}

/// Why sources are not put together.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Nothing holds keys.
    #[error("there is neither a backup nor a survivor: an interchange file holds no keys, nor does an archive")]
    NoSource,
    /// Sources of two clusters.
    #[error("{other} belongs to cluster {found}, {first} to cluster {expected}; restore one cluster at a time")]
    OtherCluster {
        /// The first source.
        first: String,
        /// Its cluster.
        expected: ClusterId,
        /// The one that does not fit.
        other: String,
        /// Its cluster.
        found: ClusterId,
    },
    /// Sources of two chains.
    #[error("{other} signs for the chain {found}, {first} for {expected}")]
    OtherChain {
        /// The first source.
        first: String,
        /// Its genesis validators root.
        expected: Root,
        /// The one that does not fit.
        other: String,
        /// Its genesis validators root.
        found: Root,
    },
    /// A bug: said rather than restored from.
    #[error("the history of {name} was not merged: {why}")]
    NotMerged {
        /// The source.
        name: String,
        /// What the state answered.
        why: String,
    },
}

/// Puts all sources together.
///
/// # Errors
/// [`MergeError`]; nothing is used in part.
pub fn combine(sources: Vec<Source>, records: Vec<Records>) -> Result<Combined, MergeError> {
    check_alike(&sources)?;
    let mut sources = sources;
    // Raft's own order: the last entry's term, then its index. A survivor before a backup of the same position.
    sources.sort_by_key(|source| {
        let place = source.position.map(|position| (position.term, position.index));
        std::cmp::Reverse((place, source.kind == SourceKind::Survivor))
    });
    let mut rest = sources.into_iter();
    let base = rest.next().ok_or(MergeError::NoSource)?;
    let (mut state, identity) = (base.state.clone(), base.identity.clone());
    let mut reports = vec![report(&base, true, Maxima::of(&state).validators)];
    for source in rest {
        let raised = merge(&mut state, &source.name, source.state.histories().collect())?;
        reports.push(report(&source, false, raised));
    }
    for Records { name, kind, histories } in records {
        let maxima = maxima_of(&histories);
        let raised = merge(&mut state, &name, histories)?;
        let kind = match kind {
            RecordsKind::Interchange => "interchange",
            RecordsKind::Archive => "archive",
        };
        let (base, position, uncommitted) = (false, None, 0);
        reports.push(SourceReport { name, kind, base, position, uncommitted, maxima, raised });
    }
    let maxima = Maxima::of(&state);
    Ok(Combined { identity, state, reports, maxima })
}

fn check_alike(sources: &[Source]) -> Result<(), MergeError> {
    let Some((first, others)) = sources.split_first() else { return Err(MergeError::NoSource) };
    for other in others {
        let (expected, found) = (&first.identity, &other.identity);
        let (first, other) = (first.name.clone(), other.name.clone());
        if found.cluster_id != expected.cluster_id {
            let (expected, found) = (expected.cluster_id, found.cluster_id);
            return Err(MergeError::OtherCluster { first, expected, other, found });
        }
        if found.genesis_validators_root != expected.genesis_validators_root {
            let (expected, found) = (expected.genesis_validators_root, found.genesis_validators_root);
            return Err(MergeError::OtherChain { first, expected, other, found });
        }
    }
    Ok(())
}

/// Merges by the very rule by which an import is merged. Answers how many histories rose.
fn merge(state: &mut State, name: &str, histories: Vec<HistoryImport>) -> Result<u64, MergeError> {
    let commands: Vec<Command> = histories.into_iter().map(Command::ImportHistory).collect();
    let applied = state.apply(&CommandBatch { proposed_at_ms: 0, checkpoint: None, commands });
    let mut raised = 0;
    for outcome in &applied.outcomes {
        let Outcome::HistoryMerged { raised: rose, .. } = outcome else {
            return Err(MergeError::NotMerged { name: name.to_owned(), why: format!("{outcome:?}") });
        };
        raised += u64::from(*rose);
    }
    Ok(raised)
}

fn report(source: &Source, base: bool, raised: u64) -> SourceReport {
    let kind = match source.kind {
        SourceKind::Backup => "backup",
        SourceKind::Survivor => "survivor",
    };
    let Source { name, position, uncommitted, .. } = source;
    let (name, position, uncommitted) = (name.clone(), *position, *uncommitted);
    SourceReport { name, kind, base, position, uncommitted, maxima: source.maxima(), raised }
}

fn maxima_of(histories: &[HistoryImport]) -> Maxima {
    Maxima {
        validators: histories.len() as u64,
        slot: histories.iter().filter_map(|history| Some(history.block?.slot)).max(),
        source: histories.iter().filter_map(|history| Some(history.attestation?.max_source_epoch)).max(),
        target: histories.iter().filter_map(|history| Some(history.attestation?.max_target_epoch)).max(),
    }
}
