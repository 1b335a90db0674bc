//! One row for people and for scripts.

use crate::cli::audit::escaped;
use consigner_rules::AgreedDuty;
use consigner_rules::archive::ArchiveRow;
use consigner_storage::archive::project::{Marks, Projection, unescape};
use consigner_storage::audit::time_text;
use serde::Serialize;

/// What a row says. Numbers beyond 53 bits do not occur but in slots and epochs, which are texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// The cluster's id.
    pub(super) lineage: String,
    log_index: u64,
    ordinal: u32,
    time: String,
    time_ms: u64,
    /// `signed`, `refused`, or what happened.
    pub(super) what: String,
    /// `block`, `attestation`, `exit`; nothing for an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    duty: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pubkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    /// Why it was refused; what an event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Line {
    /// Of a row of this cluster.
    pub(super) fn of(lineage: &str, row: &ArchiveRow, columns: &Projection) -> Self {
        let text = |number: Option<u64>| number.map(|number| number.to_string());
        let Marks { slot, source_epoch, target_epoch } = marks(columns);
        let asked = match columns {
            Projection::Signed(signed) => Some(signed),
            Projection::Refused(refused) => Some(&refused.asked),
            Projection::Event(..) => None,
        };
        let (what, note, node) = match columns {
            Projection::Signed(signed) => ("signed".to_owned(), None, signed.node),
            Projection::Refused(refused) => ("refused".to_owned(), Some(refused.reason.clone()), refused.asked.node),
            Projection::Event(_, event) => {
                let subject = unescape(&event.subject).unwrap_or_else(|| event.subject.clone());
                (event.kind.clone(), Some(subject).filter(|subject| !subject.is_empty()), event.node)
            }
        };
        Self {
            lineage: lineage.to_owned(),
            log_index: row.index,
            ordinal: row.ordinal,
            time: time_text(row.proposed_at_ms),
            time_ms: row.proposed_at_ms,
            what,
            duty: asked.map(|asked| duty(asked.duty)),
            pubkey: columns.public_key().map(ToString::to_string),
            slot: text(slot),
            source_epoch: text(source_epoch),
            target_epoch: text(target_epoch),
            signing_root: asked.map(|asked| asked.signing_root.to_string()),
            client: asked.map(|asked| unescape(&asked.peer).unwrap_or_else(|| asked.peer.clone())),
            node,
            note,
        }
    }

    /// The columns of [`HEAD`].
    pub(super) fn cells(&self) -> Vec<String> {
        let what = match self.duty {
            Some(duty) => format!("{} {duty}", self.what),
            None => self.what.clone(),
        };
        let numbers = match (&self.slot, &self.source_epoch, &self.target_epoch) {
            (Some(slot), None, None) => format!("slot {slot}"),
            (None, Some(source), Some(target)) => format!("{source} -> {target}"),
            (None, None, Some(epoch)) => format!("epoch {epoch}"),
            (slot, source, target) => {
                let parts = [("slot", slot), ("source", source), ("target", target)];
                let known = parts.iter().filter_map(|(name, number)| Some(format!("{name} {}", number.as_ref()?)));
                known.collect::<Vec<_>>().join(" ")
            }
        };
        let note = self.note.clone().or_else(|| self.signing_root.as_ref().map(|root| short(root)));
        let node = self.node.map(|node| node.to_string()).unwrap_or_default();
        let key = self.pubkey.as_deref().map(short).unwrap_or_default();
        let client = self.client.clone().unwrap_or_default();
        let cells =
            [self.time.clone(), self.log_index.to_string(), what, key, numbers, client, node, note.unwrap_or_default()];
        cells.iter().map(|cell| escaped(cell)).collect()
    }
}

/// What the cells of a line mean.
pub(super) const HEAD: [&str; 8] = ["TIME", "LOG", "WHAT", "VALIDATOR", "NUMBERS", "CLIENT", "NODE", "ROOT OR NOTE"];

/// Slot and epochs of any row; the epoch of an exit counts as a target.
pub(super) fn marks(columns: &Projection) -> Marks {
    match columns {
        Projection::Signed(signed) => of_duty(signed.duty),
        Projection::Refused(refused) => of_duty(refused.asked.duty),
        Projection::Event(_, event) => event.marks,
    }
}

const fn of_duty(duty: AgreedDuty) -> Marks {
    match duty {
        AgreedDuty::Block { slot } => Marks { slot: Some(slot), source_epoch: None, target_epoch: None },
        AgreedDuty::Attestation { source_epoch, target_epoch } => {
            Marks { slot: None, source_epoch: Some(source_epoch), target_epoch: Some(target_epoch) }
        }
        AgreedDuty::VoluntaryExit { epoch, .. } => Marks { slot: None, source_epoch: None, target_epoch: Some(epoch) },
    }
}

const fn duty(duty: AgreedDuty) -> &'static str {
    match duty {
        AgreedDuty::Block { .. } => "block",
        AgreedDuty::Attestation { .. } => "attestation",
        AgreedDuty::VoluntaryExit { .. } => "exit",
    }
}

/// `0x93247f2209ab..`: enough to tell apart; --json has all of it.
fn short(hex: &str) -> String {
    match hex.get(..14) {
        Some(head) if hex.len() > 16 => format!("{head}.."),
        Some(_) | None => hex.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use consigner_rules::{Change, PublicKey, Root};

    #[test]
    fn a_row_says_who_signed_what_for_whom() {
        let duty = AgreedDuty::Attestation { source_epoch: 3, target_epoch: 4 };
        let (public_key, signing_root, peer) = (PublicKey([7; 48]), Root([1; 32]), "vc\u{1b}\0".to_owned());
        let change = Change::SignedVia { public_key, duty, signing_root, peer, node: 2 };
        let row = ArchiveRow { index: 5, ordinal: 0, proposed_at_ms: 0, change };
        let line = Line::of("c", &row, &Projection::of(&row.change));
        let cells = line.cells();
        assert_eq!(cells[2..5], ["signed attestation", "0x070707070707..", "3 -> 4"]);
        assert_eq!((cells[5].as_str(), cells[6].as_str()), ("vc\\u{1b}\\u{0}", "2"), "nothing steers the terminal");
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!((&json["target_epoch"], &json["client"]), (&"4".into(), &"vc\u{1b}\0".into()));
    }

    #[test]
    fn an_event_says_what_happened() {
        let change = Change::PolicyRenewed(4);
        let row = ArchiveRow { index: 9, ordinal: 1, proposed_at_ms: 0, change };
        let cells = Line::of("c", &row, &Projection::of(&row.change)).cells();
        assert_eq!((cells[2].as_str(), cells[7].as_str()), ("policy_renewed", "version 4"));
    }
}
