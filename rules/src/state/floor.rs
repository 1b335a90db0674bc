//! After a restore: nothing is signed until every history was raised above whatever the sources may have missed.
//!
//! In: the state that was put together from backups and survivors; the command that ends the wait. Out: a state that
//! refuses to sign; a state whose histories all lie at the floor or above. Deliberately absent: where the floor comes
//! from (a clock and every source that can be reached; the operator decides).

use super::apply::Step;
use super::records;
use super::{Cluster, State, Validator};
use crate::command::{Change, ClusterIdentity, DataKey, Floor, Outcome, Rejection, SealedKey};
use crate::primitives::PublicKey;
use crate::slashing::History;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a restored cluster knows of its floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum HeldFloor {
    /// None yet: nothing is signed.
    Awaited,
    /// All histories were raised to this, and so is that of every key that comes later: it may have signed in the old
    /// cluster after the backup was made.
    Raised(Floor),
}

/// What makes a new cluster out of an old one's state.
#[derive(Debug, Clone)]
pub struct Rebirth {
    /// Who it is now.
    pub identity: ClusterIdentity,
    /// The data keys under which its keys lie.
    pub data_keys: Vec<DataKey>,
    /// Its keys, sealed anew for the new identity.
    pub keys: Vec<SealedKey>,
}

impl State {
    /// Whether the cluster was restored and signs nothing until it is told a floor.
    #[must_use]
    pub fn awaiting_floor(&self) -> bool {
        self.floor == Some(HeldFloor::Awaited)
    }

    /// The floor to which all histories were raised after a restore.
    #[must_use]
    pub fn floor(&self) -> Option<Floor> {
        match self.floor? {
            HeldFloor::Awaited => None,
            HeldFloor::Raised(floor) => Some(floor),
        }
    }

    /// The state of a new cluster that knows what the old one signed.
    ///
    /// Histories, deletions, high watermark and policy stay. Everything that let somebody in goes: bearer tokens, join
    /// tokens, node records, positions, audit anchors. So does the mark of the archive, which is another lineage now.
    /// Admissions by the old policy version are stale. Keys that are not named in `rebirth` are not held any more.
    #[must_use]
    pub fn reborn(self, rebirth: Rebirth) -> Self {
        let cluster = Cluster {
            identity: Some(rebirth.identity),
            rules_version: super::RULES_VERSION,
            policy_version: self.cluster.policy_version.saturating_add(1),
            high_watermark: self.cluster.high_watermark,
        };
        let without_key = |(public_key, validator)| (public_key, Validator { key: None, ..validator });
        let mut reborn = Self {
            cluster,
            data_keys: rebirth.data_keys.into_iter().map(|data_key| (data_key.id, data_key)).collect(),
            validators: self.validators.into_iter().map(without_key).collect(),
            policy: self.policy,
            floor: Some(HeldFloor::Awaited),
            ..Self::default()
        };
        for sealed in rebirth.keys {
            let public_key = sealed.public_key;
            reborn.validators.entry(public_key).or_default().key = Some(Arc::new(sealed));
        }
        // What is in no record is not loaded again: a validator without key, history and deletions.
        reborn.validators.retain(|_, validator| *validator != Validator::default());
        reborn.with_digest()
    }
}

impl Step<'_> {
    /// All or nothing: a floor below what one validator signed was made without looking at that validator.
    pub(super) fn resume(&mut self, floor: &Floor) -> Outcome {
        match self.state.floor {
            Some(HeldFloor::Awaited) => {}
            // The same proposal, sent again because its answer was lost.
            Some(HeldFloor::Raised(raised)) if raised == *floor => return Outcome::Resumed { raised: 0 },
            Some(HeldFloor::Raised(_)) | None => return Outcome::Rejected(Rejection::NotAwaitingFloor),
        }
        let below = self.state.validators.iter().find(|(_, known)| !covers(floor, &known.history));
        if let Some((public_key, _)) = below {
            return Outcome::Rejected(Rejection::FloorBelowHistory(*public_key));
        }
        let before = self.state.floor.as_ref().map(records::floor_record);
        let held = HeldFloor::Raised(*floor);
        self.write(before, records::floor_record(&held));
        self.state.floor = Some(held);
        let validators: Vec<PublicKey> = self.state.validators.keys().copied().collect();
        let raised = validators.iter().filter(|public_key| self.raise_to_floor(public_key)).count() as u64;
        self.changes.push(Change::Resumed(*floor));
        Outcome::Resumed { raised }
    }

    /// Raises one history to the floor, if there is one. Whether it rose. Told by [`Change::Resumed`] alone.
    pub(super) fn raise_to_floor(&mut self, public_key: &PublicKey) -> bool {
        let Some(floor) = self.state.floor() else { return false };
        let mut history = self.state.validator(public_key).map_or_else(History::default, |known| known.history);
        let raised = history.merge(&floor.as_import(*public_key));
        if raised {
            self.replace_history(public_key, history);
        }
        raised
    }
}

/// Whether a floor lies at or above everything that one validator signed.
fn covers(floor: &Floor, history: &History) -> bool {
    history.block.is_none_or(|mark| mark.max_slot <= floor.slot)
        && history.attestation.is_none_or(|mark| mark.max_source <= floor.source && mark.max_target <= floor.target)
}
