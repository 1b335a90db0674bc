//! An archive with some thousand rows of all kinds, and what must come out of it.

use consigner_rules::archive::{ArchiveMark, ArchiveRow, archive_rows};
use consigner_rules::command::{Floor, HighWatermark, HistoryImport, ImportedAttestation, ImportedBlock};
use consigner_rules::interchange::Interchange;
use consigner_rules::{AgreedDuty, Change, PublicKey, Root, Violation};
use consigner_storage::archive::{Archive, Lineage};

use crate::common::{Door, Servers, begin, key};

/// Entries of a life; each of the first ones has a row of another table.
pub const ENTRIES: u64 = 1_500;

/// Numbers that are the same in every run, and look like nothing in particular.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What a cluster did: each validator's slots and targets rise, as the rules have it.
pub fn life(entries: u64) -> Vec<ArchiveRow> {
    let mut dice = Dice(7);
    let mut rows = Vec::new();
    for index in 1..=entries {
        // Some entries changed nothing.
        let many = dice.roll(4);
        let changes: Vec<Change> = (0..many).map(|_| any(&mut dice, index)).collect();
        rows.extend(archive_rows(index, 1_700_000_000_000 + index * 40, changes));
    }
    rows
}

fn any(dice: &mut Dice, index: u64) -> Change {
    let public_key = key(u8::try_from(dice.roll(9)).unwrap() + 1);
    let signing_root = Root([u8::try_from(dice.roll(250)).unwrap(); 32]);
    let (peer, node) = (format!("vc-{}\\", dice.roll(3)), dice.roll(3) + 1);
    // A slot of its own for every change.
    let mark = index * 8 + dice.roll(8);
    let duty = match dice.roll(7) {
        0 => AgreedDuty::Block { slot: mark },
        1 => AgreedDuty::VoluntaryExit { epoch: mark, validator_index: u64::MAX - mark },
        _ => AgreedDuty::Attestation { source_epoch: mark, target_epoch: mark + 1 },
    };
    match dice.roll(12) {
        0 => {
            let violation = Violation::BlockBelow { asked: 1, stored: mark };
            Change::RefusedVia { public_key, duty, signing_root, peer, violation, node }
        }
        1 => Change::KeyAdded(public_key),
        2 => Change::PolicyRenewed(index),
        3 => Change::NodeRetired { node },
        4 => Change::Signed { public_key, duty, signing_root, peer },
        _ => Change::SignedVia { public_key, duty, signing_root, peer, node },
    }
}

/// Rows that raise watermarks beside signatures; their own log indices.
pub fn imports(first: u64) -> Vec<ArchiveRow> {
    let attestation = ImportedAttestation {
        max_source_epoch: 70_000,
        max_target_epoch: 70_001,
        at_max_target: Some((70_000, Root([3; 32]))),
    };
    let block = Some(ImportedBlock { slot: 1_000_000, signing_root: Some(Root([4; 32])) });
    let import = |number, block, attestation| {
        Change::HistoryMerged(HistoryImport { public_key: key(number), block, attestation })
    };
    let entries = vec![
        vec![Change::KeyAdded(key(100)), import(100, block, Some(attestation))],
        vec![import(1, block, None), import(101, None, Some(attestation))],
        vec![Change::HighWatermarkSet(Some(HighWatermark { epoch: u64::MAX, slot: 9_000_000 }))],
        vec![Change::KeyRemoved(key(2)), Change::KeyAdded(key(102))],
    ];
    (first..).zip(entries).flat_map(|(index, changes)| archive_rows(index, 1, changes)).collect()
}

pub fn floor() -> Floor {
    Floor { slot: 800_000, source: 60_000, target: 60_001 }
}

/// Writes rows in batches of about so many rows, whole entries only, up to `upto`; the mark behind them.
pub async fn write(
    archive: &mut Archive,
    lineage: &Lineage,
    before: ArchiveMark,
    rows: &[ArchiveRow],
    upto: u64,
    about: usize,
) -> ArchiveMark {
    let (mut before, mut rest) = (before, rows);
    while !rest.is_empty() {
        let last = rest[(about - 1).min(rest.len() - 1)].index;
        let (batch, more) = rest.split_at(rest.partition_point(|row| row.index <= last));
        let mut after = before;
        for row in batch {
            after.add(row);
        }
        after.pass(if more.is_empty() { upto } else { last });
        archive.write(lineage, &before, batch, &after, 3).await.unwrap();
        (before, rest) = (after, more);
    }
    before
}

/// A database with a whole life in it; its rows, and the mark behind them.
pub async fn archived(servers: &Servers, database: &'static str) -> (Archive, Lineage, Vec<ArchiveRow>, ArchiveMark) {
    servers.migrated(database).await;
    let (mut archive, lineage) = servers.entered(Door::Pooler, database).await;
    let rows = life(ENTRIES);
    let mark = write(&mut archive, &lineage, begin(), &rows, ENTRIES + 5, 400).await;
    (archive, lineage, rows, mark)
}

/// What these rows and histories come to, by the rules' own reduction.
pub fn expected<'a>(rows: impl IntoIterator<Item = &'a ArchiveRow>, more: &[HistoryImport]) -> Vec<HistoryImport> {
    let mut complete = consigner_rules::interchange::Complete::new(Root([9; 32]));
    for history in more {
        complete.add_history(history);
    }
    for row in rows {
        complete.add(&row.change);
    }
    let file: Interchange = complete.finish(None);
    file.reduce()
}

/// Slot; source and target.
pub type Greatest = (Option<u64>, Option<(u64, u64)>);

/// The marks of one validator alone.
pub fn marks(histories: &[HistoryImport], key: PublicKey) -> Option<Greatest> {
    let history = histories.iter().find(|history| history.public_key == key)?;
    let vote = history.attestation.map(|vote| (vote.max_source_epoch, vote.max_target_epoch));
    Some((history.block.map(|block| block.slot), vote))
}
