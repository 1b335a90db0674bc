//! The verifier: opens what the cut left and compares it with what was acknowledged.
//! Ends with 0 (all there), 1 (something acknowledged is missing), or anything else (does not open).

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use consigner_storage::{DataDir, Opened, RealDisk, StartFacts, StateStore, Wal, WalOptions, check_start};

use crate::acks::Acks;
use crate::writer::{ME, payload, position, row, snapshot_body};

pub fn run(dir: &Path, acks: &Path) -> ExitCode {
    let acks = Acks::read(acks);
    match verify(dir, &acks) {
        Ok(missing) if missing.is_empty() => ExitCode::SUCCESS,
        Ok(missing) => {
            println!("lost: {}", missing.join("; "));
            ExitCode::from(1)
        }
        Err(refused) => {
            println!("refused: {refused}");
            ExitCode::from(2)
        }
    }
}

/// What is missing; an error when something does not open.
fn verify(dir: &Path, acks: &Acks) -> Result<Vec<String>, String> {
    let data = DataDir::open(Arc::new(RealDisk), dir, ME).map_err(|error| format!("{error:?}"))?;
    let wal = data.open_wal(WalOptions::default()).map_err(|error| format!("{error:?}"))?;
    let snapshots = data.open_snapshots().map_err(|error| format!("{error:?}"))?;
    let (state, opened) = StateStore::open(&data.state_dir()).map_err(|error| format!("{error:?}"))?;
    let mut missing = Vec::new();
    let mut reached = |what: &str, found: Option<u64>, promised: Option<u64>| {
        if found < promised {
            missing.push(format!("{what} at {found:?}, acknowledged {promised:?}"));
        }
    };
    reached("log", wal.last().map(|last| last.index), acks.log);
    reached("vote", vote(&wal), acks.vote);
    reached("purge", wal.purged().map(|purged| purged.index), acks.purged);
    let snapshot = snapshots.latest().map_err(|error| format!("{error:?}"))?;
    let covered = snapshot.as_ref().and_then(|snapshot| snapshot.info.position);
    reached("snapshot", covered.map(|position| position.index), acks.snapshot);
    reached("state", state_reaches(&state, &opened)?, acks.state);
    if let (Some(snapshot), Some(covered)) = (snapshot, covered)
        && snapshot.body != snapshot_body(covered.index)
    {
        return Err("the snapshot holds something else".into());
    }
    check_entries(&wal)?;
    let facts = StartFacts {
        log_first: wal.first(),
        log_last: wal.last(),
        purged: wal.purged(),
        committed: wal.committed(),
        snapshot: covered,
        state: None,
    };
    check_start(&facts).map_err(|refusal| refusal.to_string())?;
    Ok(missing)
}

fn vote(wal: &Wal) -> Option<u64> {
    std::str::from_utf8(&wal.vote()?).ok()?.strip_prefix("vote ")?.parse().ok()
}

/// Every entry that is there must be the one that was written.
fn check_entries(wal: &Wal) -> Result<(), String> {
    let entries = wal.read(.., usize::MAX).map_err(|error| error.to_string())?;
    match entries.into_iter().find(|(at, bytes)| *at != position(at.index) || *bytes != payload(at.index)) {
        Some((at, _)) => Err(format!("entry {} is not what was written", at.index)),
        None => Ok(()),
    }
}

/// The state is rebuilt after a cut; how far its old database had come shows in the outbox rows carried over, which
/// were written in the same batches as the records.
fn state_reaches(state: &StateStore, opened: &Opened) -> Result<Option<u64>, String> {
    if let Opened::Clean(loaded) = opened {
        return if loaded.records.is_empty() { Ok(None) } else { Err("a cut is no clean stop".into()) };
    }
    let rows = state.outbox_read(0, usize::MAX).map_err(|error| error.to_string())?;
    for (place, (index, content)) in rows.iter().enumerate() {
        if *index != place as u64 || *content != row(*index) {
            return Ok((place as u64).checked_sub(1));
        }
    }
    Ok(rows.last().map(|last| last.0))
}
