//! Which log indexes are covered: disjoint ranges `(after, upto]`, because an entry without a change leaves no row.
//!
//! In: ranges. Out: their union, what is left of it, the gaps in it. Deliberately absent: the rows themselves.

/// Log indexes, as ranges `(after, upto]` that neither touch nor overlap, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The ranges, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether nothing is covered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Covers `(after, upto]` too; an empty range changes nothing.
    pub fn add(&mut self, after: u64, upto: u64) {
        if upto <= after {
            return;
        }
        let (mut from, mut to) = (after, upto);
        self.0.retain(|&(start, end)| {
            let touches = start <= to && end >= from;
            if touches {
                (from, to) = (from.min(start), to.max(end));
            }
            !touches
        });
        let place = self.0.partition_point(|&(start, _)| start < from);
        self.0.insert(place, (from, to));
    }

    /// Covers all of `other` too.
    pub fn add_all(&mut self, other: &Ranges) {
        for &(after, upto) in &other.0 {
            self.add(after, upto);
        }
    }

    /// Covers `(after, upto]` no longer.
    pub fn remove(&mut self, after: u64, upto: u64) {
        if upto <= after {
            return;
        }
        let parts = self.0.iter().flat_map(|&(start, end)| [(start, end.min(after)), (start.max(upto), end)]);
        self.0 = parts.filter(|(start, end)| end > start).collect();
    }

    /// Covers nothing of `other` any longer.
    pub fn remove_all(&mut self, other: &Ranges) {
        for &(after, upto) in &other.0 {
            self.remove(after, upto);
        }
    }

    /// How far everything behind `after` is covered; `None` if the next index is not.
    #[must_use]
    pub fn reach(&self, after: u64) -> Option<u64> {
        self.0.iter().find(|&&(start, end)| start <= after && after < end).map(|&(_, end)| end)
    }

    /// Whether log index `index` is covered.
    #[must_use]
    pub fn covers(&self, index: u64) -> bool {
        index.checked_sub(1).is_some_and(|before| self.reach(before).is_some())
    }

    /// What of `(after, upto]` is not covered.
    #[must_use]
    pub fn gaps(&self, after: u64, upto: u64) -> Ranges {
        let mut gaps = Ranges::default();
        gaps.add(after, upto);
        gaps.remove_all(self);
        gaps
    }

    /// What of them lies in `(after, upto]`.
    #[must_use]
    pub fn within(&self, after: u64, upto: u64) -> Ranges {
        let cut = self.0.iter().map(|&(start, end)| (start.max(after), end.min(upto)));
        Ranges(cut.filter(|(start, end)| end > start).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ranges_are_sets_of_indexes(steps in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u64..40), 0..30)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (adds, after, upto) in steps {
                let indexes = after + 1..=upto;
                if adds {
                    ranges.add(after, upto);
                    model.extend(indexes);
                } else {
                    ranges.remove(after, upto);
                    model.retain(|index| !indexes.contains(index));
                }
                let flat: BTreeSet<u64> = ranges.0.iter().flat_map(|&(after, upto)| after + 1..=upto).collect();
                prop_assert_eq!(&flat, &model);
                prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
                let gaps = ranges.gaps(5, 30);
                let is_gap = |index: &u64| (6..=30).contains(index) && !flat.contains(index);
                prop_assert!((1..40).all(|index| gaps.covers(index) == is_gap(&index)));
                let reach = (4..).find(|index| !flat.contains(&(index + 1))).unwrap();
                prop_assert_eq!(ranges.reach(4), Some(reach).filter(|reach| *reach > 4));
            }
        }
    }
}
