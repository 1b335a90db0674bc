//! What each validator has signed at most, gathered from rows, histories and files; and two such lists compared.
//!
//! Deliberately absent: where the lists come from ([`super::live`], [`super::segments`], a database).

use crate::client::records::{File, MarkLine};
use consigner_rules::command::{Floor, HistoryImport};
use consigner_rules::{AgreedDuty, Change, PublicKey};
use std::collections::BTreeMap;

/// Greatest slot, source epoch, target epoch.
pub(super) type Marks = [Option<u64>; 3];

/// Their names, in this order.
const NAMES: [&str; 3] = ["slot", "source epoch", "target epoch"];

/// By validator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Maxima {
    of: BTreeMap<PublicKey, Marks>,
    /// What speaks for every validator that was ever named.
    floor: Marks,
}

impl Maxima {
    /// What one change says.
    pub(super) fn add_change(&mut self, change: &Change) {
        if let Some(signed) = change.signed() {
            let marks = match signed.duty {
                AgreedDuty::Block { slot } => [Some(slot), None, None],
                AgreedDuty::Attestation { source_epoch, target_epoch } => {
                    [None, Some(source_epoch), Some(target_epoch)]
                }
                AgreedDuty::VoluntaryExit { .. } => [None; 3],
            };
            self.raise(signed.public_key, marks);
        } else if let Change::HistoryMerged(history) = change {
            self.add_history(history);
        } else if let Change::KeyAdded(key) = change {
            self.raise(*key, [None; 3]);
        } else if let Change::Resumed(Floor { slot, source, target }) = change {
            raised(&mut self.floor, [Some(*slot), Some(*source), Some(*target)]);
        }
    }

    /// What an imported or reduced history says.
    pub(super) fn add_history(&mut self, history: &HistoryImport) {
        let slot = history.block.map(|block| block.slot);
        let votes = history.attestation.map(|votes| (votes.max_source_epoch, votes.max_target_epoch));
        self.raise(history.public_key, [slot, votes.map(|votes| votes.0), votes.map(|votes| votes.1)]);
    }

    /// What an interchange file says.
    ///
    /// # Errors
    /// What is not a number or a key.
    pub(super) fn add_file(&mut self, file: &File) -> Result<(), String> {
        for validator in &file.data {
            let key = validator.pubkey.parse().map_err(|_| format!("{:?} is no public key", validator.pubkey))?;
            for block in &validator.signed_blocks {
                self.raise(key, [Some(number(&block.slot)?), None, None]);
            }
            for vote in &validator.signed_attestations {
                self.raise(key, [None, Some(number(&vote.source_epoch)?), Some(number(&vote.target_epoch)?)]);
            }
        }
        Ok(())
    }

    /// The watermarks of a live cluster.
    ///
    /// # Errors
    /// What is not a number or a key.
    pub(super) fn of_lines(lines: &[MarkLine]) -> Result<Self, String> {
        let mut maxima = Self::default();
        for line in lines {
            let key = line.pubkey.parse().map_err(|_| format!("{:?} is no public key", line.pubkey))?;
            let marks = &line.marks;
            let numbers = [&marks.slot, &marks.source_epoch, &marks.target_epoch];
            let [slot, source, target] = numbers.map(|text| text.as_deref().map(number).transpose());
            maxima.raise(key, [slot?, source?, target?]);
        }
        Ok(maxima)
    }

    /// How many validators are named.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// Of one validator, the floor included.
    pub(super) fn get(&self, key: &PublicKey) -> Marks {
        let mut marks = self.of.get(key).copied().unwrap_or_default();
        if self.of.contains_key(key) {
            raised(&mut marks, self.floor);
        }
        marks
    }

    /// Only what rows and histories say of each.
    pub(super) fn without_floor(self) -> Self {
        Self { floor: [None; 3], ..self }
    }

    /// By validator, the floor included.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PublicKey, Marks)> + '_ {
        self.of.keys().map(|key| (*key, self.get(key)))
    }

    /// Where `self` knows more than `other`, in words: `lacking` is said of `other`.
    pub(super) fn beyond<'a>(&'a self, other: &'a Self, lacking: &'a str) -> impl Iterator<Item = String> + 'a {
        self.iter().flat_map(move |(key, marks)| {
            let (theirs, floor) = (other.get(&key), other.floor);
            let named = NAMES.into_iter().zip(marks.into_iter().zip(theirs.into_iter().zip(floor)));
            let beyond = named.filter(|(_, (own, (theirs, floor)))| *own > (*theirs).max(*floor));
            beyond.map(move |(name, (own, (theirs, _)))| {
                let text = |number: Option<u64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
                format!("{key}: {name} {} {lacking} {}", text(own), text(theirs))
            })
        })
    }

    fn raise(&mut self, key: PublicKey, marks: Marks) {
        raised(self.of.entry(key).or_default(), marks);
    }
}

fn raised(known: &mut Marks, marks: Marks) {
    for (known, mark) in known.iter_mut().zip(marks) {
        *known = (*known).max(mark);
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use consigner_rules::Root;

    fn signed(key: u8, duty: AgreedDuty) -> Change {
        let (public_key, signing_root) = (PublicKey([key; 48]), Root([1; 32]));
        Change::SignedVia { public_key, duty, signing_root, peer: "vc".to_owned(), node: 1 }
    }

    #[test]
    fn two_lists_are_compared_number_by_number() {
        let (mut archive, mut live) = (Maxima::default(), Maxima::default());
        archive.add_change(&signed(1, AgreedDuty::Block { slot: 7 }));
        archive.add_change(&signed(1, AgreedDuty::Attestation { source_epoch: 3, target_epoch: 4 }));
        live.clone_from(&archive);
        assert_eq!(archive.beyond(&live, "-").count() + live.beyond(&archive, "-").count(), 0);
        live.add_change(&signed(1, AgreedDuty::Block { slot: 8 }));
        live.add_change(&signed(2, AgreedDuty::Block { slot: 1 }));
        let missing: Vec<String> = live.beyond(&archive, "live, in the archive").collect();
        assert_eq!(missing.len(), 2);
        assert!(missing[0].contains("slot 8 live, in the archive 7") && missing[1].ends_with("none"), "{missing:?}");
        assert_eq!(archive.beyond(&live, "-").count(), 0);
    }

    #[test]
    fn a_floor_speaks_for_all() {
        let (mut archive, mut live) = (Maxima::default(), Maxima::default());
        archive.add_change(&Change::KeyAdded(PublicKey([1; 48])));
        archive.add_change(&Change::Resumed(Floor { slot: 64, source: 1, target: 2 }));
        let lines = [MarkLine {
            pubkey: PublicKey([1; 48]).to_string(),
            held: true,
            marks: crate::client::records::Marks {
                slot: Some("64".to_owned()),
                source_epoch: Some("1".to_owned()),
                target_epoch: Some("2".to_owned()),
            },
        }];
        live.clone_from(&Maxima::of_lines(&lines).unwrap());
        assert_eq!(archive.beyond(&live, "-").count() + live.beyond(&archive, "-").count(), 0);
    }
}
