//! The naive oracle: keeps everything ever signed or imported and knows the slashing conditions of the consensus
//! specification, and nothing about watermarks.

use consigner_rules::{AgreedDuty, Epoch, Root, Slot};

/// A message of one validator. Without a root it stands for any message of its slot or epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Message {
    Block { slot: Slot, root: Option<Root> },
    Attestation { source: Epoch, target: Epoch, root: Option<Root> },
}

impl Message {
    pub fn duty(&self) -> AgreedDuty {
        match *self {
            Self::Block { slot, .. } => AgreedDuty::Block { slot },
            Self::Attestation { source, target, .. } => {
                AgreedDuty::Attestation { source_epoch: source, target_epoch: target }
            }
        }
    }

    pub fn root(&self) -> Option<Root> {
        match *self {
            Self::Block { root, .. } | Self::Attestation { root, .. } => root,
        }
    }

    /// Whether both could prove a slashing (consensus specification: `is_slashable_attestation_data`, and two block
    /// headers of one slot), or could be known not to only with a root that is missing.
    pub fn slashable_with(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Block { slot: a, root: one }, Self::Block { slot: b, root: two }) => a == b && differ(one, two),
            (
                Self::Attestation { source: s1, target: t1, root: one },
                Self::Attestation { source: s2, target: t2, root: two },
            ) => {
                let double = t1 == t2 && (s1 != s2 || differ(one, two));
                double || (s1 < s2 && t2 < t1) || (s2 < s1 && t1 < t2)
            }
            _ => false,
        }
    }

    /// Whether this is above everything in `others` of its kind, so that refusing it would be needless.
    fn is_fresh(&self, others: impl Iterator<Item = Self>) -> bool {
        let mut others = others;
        match *self {
            Self::Block { slot: new, .. } => others.all(|other| match other {
                Self::Block { slot, .. } => new > slot,
                Self::Attestation { .. } => true,
            }),
            Self::Attestation { source: s, target: t, .. } => {
                s <= t
                    && others.all(|other| match other {
                        Self::Attestation { source, target, .. } => s >= source && t > target,
                        Self::Block { .. } => true,
                    })
            }
        }
    }
}

fn differ(one: Option<Root>, two: Option<Root>) -> bool {
    one.is_none() || two.is_none() || one != two
}

/// Everything that one validator signed here or elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Oracle {
    pub signed: Vec<Message>,
    pub imported: Vec<Message>,
}

/// What the oracle demands of the rule for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Signing would be slashable, or would repeat what this cluster never judged safe.
    Refuse,
    /// Above everything: refusing would cost a duty.
    AllowFresh,
    /// The newest message again, and nothing imported speaks against it.
    AllowRepeat,
    /// Signed before and not slashable: may be repeated or refused, but must not count as new.
    NotFresh,
    /// Harmless but not above everything: the minimal rule refuses, the complete one would not.
    Either,
}

impl Oracle {
    pub fn demand(&self, message: &Message) -> Demand {
        let others = || self.signed.iter().chain(&self.imported);
        if others().any(|other| message.slashable_with(other)) {
            return Demand::Refuse;
        }
        if !self.signed.contains(message) {
            if self.imported.contains(message) || !is_sound(message) {
                return Demand::Refuse;
            }
            return if message.is_fresh(others().copied()) { Demand::AllowFresh } else { Demand::Either };
        }
        let newest = self.signed.iter().rfind(|other| same_kind(other, message)) == Some(message);
        if newest && self.imported.iter().all(|import| import == message || message.is_fresh([*import].into_iter())) {
            Demand::AllowRepeat
        } else {
            Demand::NotFresh
        }
    }
}

fn is_sound(message: &Message) -> bool {
    match message {
        Message::Block { .. } => true,
        Message::Attestation { source, target, .. } => source <= target,
    }
}

fn same_kind(one: &Message, two: &Message) -> bool {
    matches!(
        (one, two),
        (Message::Block { .. }, Message::Block { .. }) | (Message::Attestation { .. }, Message::Attestation { .. })
    )
}
