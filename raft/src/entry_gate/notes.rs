//! The leader notes, every few seconds of activity, how far each member's disk has come, so that every caught-up peer
//! durably knows a floor for every other.
//!
//! In: what the members acknowledged. Out: one command now and then. Deliberately absent: anything when nothing but the
//! last note moved: an idle cluster writes nothing.

use super::floors;
use crate::cluster::Cluster;
use crate::types::Leadership;
use consigner_rules::Command;
use consigner_rules::command::NodePosition;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the leader looks. What a disk loses in less than this may stay unnoticed, if everybody who saw it is gone.
const NOTE_EVERY: Duration = Duration::from_secs(2);

/// How long a note may take; another follows anyway.
const NOTE_DEADLINE: Duration = Duration::from_secs(2);

type Positions = BTreeMap<u64, NodePosition>;

/// Notes positions while this node leads. Runs until it is cancelled.
pub async fn note_positions(cluster: Cluster) {
    let needed = Command::NotePositions(Positions::new()).rules_needed();
    let mut tick = tokio::time::interval(NOTE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_note = 0;
    loop {
        tick.tick().await;
        if cluster.leadership() != Leadership::This || cluster.read(|state| state.rules_version()) < needed {
            continue;
        }
        let seen = cluster.acknowledged_positions();
        let noted = cluster.read(|state| state.positions().clone());
        let news = news(&seen, &noted, last_note);
        if news.is_empty() {
            continue;
        }
        match cluster.propose_logged(vec![Command::NotePositions(news)], NOTE_DEADLINE).await {
            Ok(outcomes) => last_note = outcomes.first().map_or(last_note, |outcome| outcome.index),
            Err(error) => tracing::debug!(error = crate::chain(&error), "positions were not noted"),
        }
    }
}

/// What is worth noting. That everybody has the last note is not.
fn news(seen: &Positions, noted: &Positions, last_note: u64) -> Positions {
    let rises = |(node, position): &(&u64, &NodePosition)| noted.get(node).is_none_or(|noted| noted < position);
    let risen: Positions = seen.iter().filter(rises).map(|(node, position)| (*node, *position)).collect();
    let highest = noted.values().map(|position| position.index).max();
    let is_worth_it = risen.iter().any(|(node, position)| {
        // Beyond the last note, or still behind what that note said of the others.
        position.index > last_note || noted.get(node).map(|noted| noted.index) < highest
    });
    if is_worth_it { risen } else { Positions::new() }
}

impl Cluster {
    /// Every member's newest committed position, as far as it was acknowledged to this leader; its own too.
    fn acknowledged_positions(&self) -> Positions {
        let me = self.node_id();
        let members = self
            .inner
            .shared
            .read_standing(|_, standing| standing.membership.nodes().map(|(id, _)| *id).collect::<Vec<_>>());
        let of = |node: u64| {
            if node == me { self.inner.wal.committed() } else { self.inner.floors.committed(node) }
        };
        members.into_iter().filter_map(|node| Some((node, floors::noted(of(node)?)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(positions: &[(u64, u64)]) -> Positions {
        positions.iter().map(|(node, index)| (*node, NodePosition { term: 1, leader: 1, index: *index })).collect()
    }

    #[test]
    fn an_idle_cluster_notes_nothing_and_a_member_that_catches_up_is_noted() {
        assert_eq!(news(&at(&[(1, 5), (2, 4)]), &at(&[]), 0), at(&[(1, 5), (2, 4)]), "the first");
        let noted = at(&[(1, 5), (2, 4)]);
        // The note was entry 6; everybody has it.
        assert_eq!(news(&at(&[(1, 6), (2, 4)]), &noted, 6), at(&[]), "the note alone moved");
        assert_eq!(news(&at(&[(1, 6), (2, 6)]), &noted, 6), at(&[(1, 6), (2, 6)]), "node 2 was behind");
        let noted = at(&[(1, 6), (2, 6)]);
        assert_eq!(news(&at(&[(1, 7), (2, 7)]), &noted, 7), at(&[]), "quiet again");
        assert_eq!(news(&at(&[(1, 8), (2, 7)]), &noted, 7), at(&[(1, 8), (2, 7)]), "activity");
    }
}
