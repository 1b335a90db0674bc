//! Places of sign requests, so that what matters most finds one when a node has too much to do.
//!
//! ```text
//! request head -> a place to read in -> body, type known -> a place of its tier -> permission, cluster, signature
//! ```
//! All tiers share the places; each may take one only while fewer than its share of them are taken. So attestations
//! find the places that other duties must leave free, and blocks those that attestations must leave free. Nobody waits
//! for a place: who finds none is answered 503 at once. Deliberately absent: rates of callers.

use consigner_keys::Urgency;
use consigner_rules::SigningType;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many requests may be between their head and their type for each that may be served. A body is read in a moment,
/// or it is a slow one, of which as many again as are served may dawdle before readers are turned away.
const READERS_PER_PLACE: usize = 2;

/// What is served first under overload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// A block: one per slot in the whole network, worth more than a day of attestations.
    Blocks,
    /// What a block cannot be proposed without: the RANDAO reveal before it, the payload's envelope behind it.
    Proposals,
    /// Attestations.
    Attestations,
    /// Everything else.
    Others,
}

impl Tier {
    pub(crate) const fn of(signing_type: SigningType) -> Self {
        match signing_type {
            SigningType::Block | SigningType::BlockV2 => Self::Blocks,
            SigningType::RandaoReveal | SigningType::ExecutionPayloadEnvelope => Self::Proposals,
            SigningType::Attestation => Self::Attestations,
            SigningType::VoluntaryExit
            | SigningType::AggregationSlot
            | SigningType::AggregateAndProof
            | SigningType::AggregateAndProofV2
            | SigningType::Deposit
            | SigningType::SyncCommitteeMessage
            | SigningType::SyncCommitteeSelectionProof
            | SigningType::SyncCommitteeContributionAndProof
            | SigningType::ValidatorRegistration
            | SigningType::ExecutionPayloadBid
            | SigningType::PayloadAttestationMessage
            | SigningType::ProposerPreferences
            | SigningType::BuilderRequestAuth
            | SigningType::InclusionList => Self::Others,
        }
    }

    /// Of all places, in percent, how many may be taken when one of this tier asks.
    const fn percent(self) -> usize {
        match self {
            Self::Blocks => 100,
            Self::Proposals => 95,
            Self::Attestations => 85,
            Self::Others => 60,
        }
    }

    /// When its signature is made, beside others that wait for a processor.
    pub(crate) const fn urgency(self) -> Urgency {
        match self {
            Self::Blocks | Self::Proposals => Urgency::High,
            Self::Attestations => Urgency::Middle,
            Self::Others => Urgency::Low,
        }
    }

    /// A word for metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "sign_blocks",
            Self::Proposals => "sign_proposals",
            Self::Attestations => "sign_attestations",
            Self::Others => "sign_others",
        }
    }
}

/// The places of one router.
#[derive(Debug)]
pub(crate) struct Places {
    readers: Arc<Taken>,
    readers_max: usize,
    served: Arc<Taken>,
    served_max: usize,
}

/// How many places are taken.
#[derive(Debug, Default)]
struct Taken(AtomicUsize);

/// A place, until it is dropped.
#[derive(Debug)]
#[must_use = "the place is given back at once"]
pub(crate) struct Place(Arc<Taken>);

impl Places {
    /// `served_max` sign requests are served at one time; at least one.
    pub(crate) fn new(served_max: usize) -> Self {
        let served_max = served_max.max(1);
        let readers_max = served_max.saturating_mul(READERS_PER_PLACE);
        Self { readers: Arc::default(), readers_max, served: Arc::default(), served_max }
    }

    /// A place for reading a body and understanding it; `None` when all are taken.
    pub(crate) fn reader(&self) -> Option<Place> {
        take(&self.readers, self.readers_max)
    }

    /// A place among those that are served; `None` when this tier's share is taken.
    pub(crate) fn of(&self, tier: Tier) -> Option<Place> {
        take(&self.served, bound(self.served_max, tier))
    }
}

/// Rounded up, so that no tier is shut out of a small node altogether.
fn bound(places: usize, tier: Tier) -> usize {
    let (hundreds, rest) = (places / 100, places % 100);
    hundreds * tier.percent() + (rest * tier.percent()).div_ceil(100)
}

fn take(taken: &Arc<Taken>, bound: usize) -> Option<Place> {
    let more = |count: usize| (count < bound).then_some(count + 1);
    taken.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok().map(|_| Place(Arc::clone(taken)))
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIERS: [Tier; 4] = [Tier::Others, Tier::Attestations, Tier::Proposals, Tier::Blocks];

    /// As many places as the tier gets.
    fn all(places: &Places, tier: Tier) -> Vec<Place> {
        std::iter::from_fn(|| places.of(tier)).collect()
    }

    #[test]
    fn each_tier_leaves_places_to_those_above_it() {
        let places = Places::new(100);
        let taken: Vec<Vec<Place>> = TIERS.into_iter().map(|tier| all(&places, tier)).collect();
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [60, 25, 10, 5]);
        assert!(TIERS.into_iter().all(|tier| places.of(tier).is_none()));
        drop(taken);
        assert_eq!(all(&places, Tier::Blocks).len(), 100, "all are given back, and one tier alone may take them");
    }

    #[test]
    fn a_tier_that_took_its_share_takes_no_more_when_others_leave() {
        let places = Places::new(10);
        let attestations = all(&places, Tier::Attestations);
        assert_eq!(attestations.len(), 9);
        let _left = attestations.into_iter().take(6).collect::<Vec<_>>();
        assert!(places.of(Tier::Others).is_none(), "those of the greater tiers count");
    }

    #[test]
    fn small_nodes_serve_every_tier_and_large_numbers_do_not_wrap() {
        for served in [0, 1, 2, 7] {
            let places = Places::new(served);
            assert!(TIERS.into_iter().all(|tier| places.of(tier).is_some()), "{served}");
        }
        assert_eq!(bound(usize::MAX, Tier::Blocks), usize::MAX);
        assert!(TIERS.windows(2).all(|pair| bound(usize::MAX, pair[0]) < bound(usize::MAX, pair[1])));
        assert!(Places::new(usize::MAX).reader().is_some());
    }

    #[test]
    fn readers_have_places_of_their_own() {
        let places = Places::new(1);
        let _served = places.of(Tier::Blocks);
        let readers: Vec<Place> = std::iter::from_fn(|| places.reader()).collect();
        assert_eq!(readers.len(), READERS_PER_PLACE);
        drop(readers);
        assert!(places.reader().is_some());
    }

    #[test]
    fn every_type_has_a_tier() {
        let blocks = SigningType::ALL.iter().filter(|kind| Tier::of(**kind) == Tier::Blocks).count();
        assert_eq!(blocks, 2);
        assert_eq!(Tier::of(SigningType::Attestation), Tier::Attestations);
        assert_eq!(Tier::of(SigningType::AggregateAndProof), Tier::Others);
    }
}
