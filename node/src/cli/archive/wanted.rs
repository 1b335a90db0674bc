//! Which rows somebody wants to see: the same question for a database and for segments.

use crate::cli::audit::moment;
use clap::{Args, ValueEnum};
use consigner_rules::archive::ArchiveRow;
use consigner_rules::{Network, PublicKey};
use consigner_storage::archive::project::{Marks, Projection, Table};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// More than anybody reads, and bounded.
const LAST_DEFAULT: usize = 1_000;

/// What a database answers at most (`storage::archive::SHOWN_MAX`).
const LAST_MAX: u64 = 10_000;

/// Of Ethereum's chains; of others by their name.
const SLOTS_PER_EPOCH: u64 = 32;

/// A table of rows, by the name that people give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Signed blocks.
    Block,
    /// Signed attestations.
    Attestation,
    /// Signed exits.
    Exit,
    /// What was refused for ever.
    Refusal,
    /// Keys added, removed; histories imported.
    Key,
    /// Policy, tokens, limits.
    Policy,
    /// Nodes, rules, restores.
    Cluster,
}

impl Kind {
    const fn table(self) -> Table {
        match self {
            Self::Block => Table::Blocks,
            Self::Attestation => Table::Attestations,
            Self::Exit => Table::Exits,
            Self::Refusal => Table::Refusals,
            Self::Key => Table::KeyEvents,
            Self::Policy => Table::PolicyEvents,
            Self::Cluster => Table::ClusterEvents,
        }
    }
}

/// Flags that choose rows.
#[derive(Debug, Clone, Args)]
pub(super) struct WantedArgs {
    /// Rows of this validator
    #[arg(long, value_name = "PUBKEY")]
    pub(super) pubkey: Option<PublicKey>,
    /// Attestations with this target, blocks in this epoch: a number, or FROM-TO
    #[arg(long, value_name = "EPOCH", value_parser = range)]
    epoch: Option<RangeInclusive<u64>>,
    /// Blocks at this slot: a number, or FROM-TO
    #[arg(long, value_name = "SLOT", value_parser = range, conflicts_with = "epoch")]
    slot: Option<RangeInclusive<u64>>,
    /// Not before: a time (2026-01-31T12:00:00Z, 2026-01-31) or how long ago (90s, 15min, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,
    /// Rows of these kinds, with commas
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<Kind>,
    /// What this client asked for: the name in its certificate, as the policy has it
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// What was asked of (or happened to) this node
    #[arg(long, value_name = "ID")]
    node: Option<u64>,
    /// At most so many, the newest
    #[arg(long, value_name = "COUNT", default_value_t = LAST_DEFAULT as u64,
        value_parser = clap::value_parser!(u64).range(1..=LAST_MAX))]
    last: u64,
}

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) public_key: Option<PublicKey>,
    pub(super) epochs: Option<RangeInclusive<u64>>,
    pub(super) slots: Option<RangeInclusive<u64>>,
    pub(super) since_ms: Option<u64>,
    pub(super) tables: Option<BTreeSet<Table>>,
    pub(super) client: Option<String>,
    pub(super) node: Option<u64>,
    pub(super) last: usize,
}

impl WantedArgs {
    pub(super) fn wanted(&self) -> Wanted {
        let tables: BTreeSet<Table> = self.kind.iter().map(|kind| kind.table()).collect();
        Wanted {
            public_key: self.pubkey,
            epochs: self.epoch.clone(),
            slots: self.slot.clone(),
            since_ms: self.since,
            tables: Some(tables).filter(|tables| !tables.is_empty()),
            client: self.client.clone(),
            node: self.node,
            last: usize::try_from(self.last).unwrap_or(LAST_DEFAULT),
        }
    }
}

impl Wanted {
    /// On a chain of this name, whose epochs have their own length: an epoch means the blocks in it, too.
    pub(super) fn on(&self, network: Option<&str>) -> Self {
        let known = network.and_then(Network::by_name).map(|network| network.slots_per_epoch());
        let per_epoch = known.unwrap_or(SLOTS_PER_EPOCH);
        let of_epochs = self.epochs.as_ref().map(|epochs| slots_of(epochs, per_epoch));
        Self { slots: self.slots.clone().or(of_epochs), ..self.clone() }
    }

    /// Whether a row is wanted; as the database answers it.
    pub(super) fn fits(&self, row: &ArchiveRow, columns: &Projection) -> bool {
        let key = self.public_key.is_none_or(|key| columns.public_key() == Some(&key));
        let since = self.since_ms.is_none_or(|since| row.proposed_at_ms >= since);
        let table = self.tables.as_ref().is_none_or(|tables| tables.contains(&columns.table()));
        let asked = match columns {
            Projection::Signed(signed) => Some(signed),
            Projection::Refused(refused) => Some(&refused.asked),
            Projection::Event(..) => None,
        };
        let node = match columns {
            Projection::Event(_, event) => event.node,
            Projection::Signed(_) | Projection::Refused(_) => asked.and_then(|asked| asked.node),
        };
        let client = self.client.as_ref().is_none_or(|name| {
            asked.is_some_and(|asked| asked.peer == consigner_storage::archive::project::escape(name))
        });
        let asked_node = self.node.is_none_or(|asked| node == Some(asked));
        key && since && table && client && asked_node && self.is_within(columns)
    }

    fn is_within(&self, columns: &Projection) -> bool {
        if self.epochs.is_none() && self.slots.is_none() {
            return true;
        }
        let Marks { slot, target_epoch, .. } = super::line::marks(columns);
        let within = |number: Option<u64>, range: &Option<RangeInclusive<u64>>| {
            number.is_some_and(|number| range.as_ref().is_some_and(|range| range.contains(&number)))
        };
        let is_event = matches!(columns, Projection::Event(..));
        !is_event && (within(slot, &self.slots) || within(target_epoch, &self.epochs))
    }

    /// As the database is asked.
    #[cfg(feature = "postgres")]
    pub(super) fn question(&self) -> consigner_storage::archive::Question {
        consigner_storage::archive::Question {
            public_key: self.public_key,
            epochs: self.epochs.clone(),
            slots: self.slots.clone(),
            since_ms: self.since_ms,
            tables: self.tables.clone(),
            client: self.client.clone(),
            node: self.node,
            max: self.last,
        }
    }
}

fn slots_of(epochs: &RangeInclusive<u64>, per_epoch: u64) -> RangeInclusive<u64> {
    let last = epochs.end().saturating_mul(per_epoch).saturating_add(per_epoch - 1);
    epochs.start().saturating_mul(per_epoch)..=last
}

/// `7`, or `7-9`.
fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| "a number, or FROM-TO, is expected".to_owned());
    match text.split_once('-') {
        None => number(text).map(|number| number..=number),
        Some((from, to)) => {
            let (from, to) = (number(from)?, number(to)?);
            if from <= to { Ok(from..=to) } else { Err(format!("{from} lies behind {to}")) }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use consigner_rules::{AgreedDuty, Change, Root};

    fn row(duty: AgreedDuty) -> (ArchiveRow, Projection) {
        let (public_key, signing_root, peer) = (PublicKey([7; 48]), Root([1; 32]), "vc-1".to_owned());
        let change = Change::SignedVia { public_key, duty, signing_root, peer, node: 2 };
        let columns = Projection::of(&change);
        (ArchiveRow { index: 5, ordinal: 0, proposed_at_ms: 1_000, change }, columns)
    }

    #[test]
    fn rows_are_chosen_as_the_database_does() {
        let (vote, votes) = row(AgreedDuty::Attestation { source_epoch: 3, target_epoch: 4 });
        let (block, blocks) = row(AgreedDuty::Block { slot: 130 });
        let all = Wanted { last: 10, ..Wanted::default() };
        assert!(all.fits(&vote, &votes) && all.fits(&block, &blocks));
        let epoch = Wanted { epochs: Some(4..=4), ..all.clone() };
        let on_mainnet = epoch.on(Some("mainnet"));
        assert!(on_mainnet.fits(&vote, &votes) && on_mainnet.fits(&block, &blocks), "slot 130 lies in epoch 4");
        let on_gnosis = epoch.on(Some("gnosis"));
        assert!(on_gnosis.fits(&vote, &votes) && !on_gnosis.fits(&block, &blocks), "and on gnosis in epoch 8");
        let slot = Wanted { slots: Some(131..=140), ..all.clone() };
        assert!(!slot.fits(&vote, &votes) && !slot.fits(&block, &blocks));
        for (wanted, fits) in [
            (Wanted { node: Some(2), ..all.clone() }, true),
            (Wanted { node: Some(1), ..all.clone() }, false),
            (Wanted { client: Some("vc-1".to_owned()), ..all.clone() }, true),
            (Wanted { client: Some("vc-2".to_owned()), ..all.clone() }, false),
            (Wanted { since_ms: Some(1_001), ..all.clone() }, false),
            (Wanted { tables: Some([Table::Blocks].into()), ..all.clone() }, false),
            (Wanted { public_key: Some(PublicKey([8; 48])), ..all }, false),
        ] {
            assert_eq!(wanted.fits(&vote, &votes), fits, "{wanted:?}");
        }
    }

    #[test]
    fn ranges_are_numbers_in_order() {
        assert_eq!(range("7"), Ok(7..=7));
        assert_eq!(range("7-9"), Ok(7..=9));
        assert!(range("9-7").is_err() && range("x").is_err() && range("").is_err());
    }
}
