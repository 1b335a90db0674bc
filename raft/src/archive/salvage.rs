//! Rows below the mark that some node still has: for a database that lost what it had confirmed.
//!
//! In: a range of entries. Out: the first rows of it that any node has, and which nodes. Deliberately absent: keeping them
//! here (this node let go of them on purpose), and what becomes of the rest.
//!
//! Below the mark each node has what it happens to have: a segment that reaches over the mark, or everything where the rows
//! are the archive. All are asked for the same page. Where several have a row it must be the same: one that contradicts
//! this node is not believed; of others that contradict each other, none is. Who is not believed, or gives no answer, is
//! named, and not asked again.

use super::heal::{Unused, usable};
use super::serve::{ROWS_MAX, read};
use crate::cluster::Cluster;
use crate::outbox::{Recorded, decoded};
use crate::peer::wire::{AskRows, Row, Rows};
use std::collections::BTreeMap;

/// Nodes that are not asked any more, by their ids, and why.
pub type Unheard = BTreeMap<u64, String>;

/// All rows of some entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Who gave them, each the same; this node can be one of them.
    pub nodes: Vec<u64>,
    /// They are those of the entries after this log index ..
    pub after: u64,
    /// .. up to and with this one.
    pub upto: u64,
    /// In log order; entries that changed nothing have none.
    pub rows: Vec<Recorded>,
}

/// What the answers to one question come to.
#[derive(Debug, PartialEq, Eq)]
enum Sum {
    /// These nodes have all rows up to and with this log index; the rows are those of the first.
    Page(Vec<u64>, u64),
    /// The next rows that anybody has are those behind this log index.
    Later(u64),
    /// Nobody has any of it.
    Nothing,
    /// Somebody is not believed any more: the others are asked again.
    Again,
}

impl Cluster {
    /// The first rows of the entries after `after`, up to and with `upto`, that this node or any other member has: some
    /// thousand at a time. `None`: nobody who is heard has any of them. Waits at most some seconds for each member that
    /// does not answer, once.
    pub async fn salvage(&self, after: u64, upto: u64, unheard: &mut Unheard) -> Option<Salvaged> {
        let mut from = after;
        while from < upto {
            let asked = AskRows { after: from, upto, max: u32::try_from(ROWS_MAX).unwrap_or(u32::MAX) };
            let mut answers = self.ask_everybody(asked, unheard).await;
            match sum(&answers, asked, self.node_id(), unheard) {
                Sum::Page(nodes, upto) => {
                    let given = nodes.first().and_then(|node| answers.remove(node)).map(|answer| answer.rows);
                    let rows = given.unwrap_or_default().into_iter().filter(|row| row.index <= upto);
                    let rows: Result<Vec<Recorded>, _> = rows.map(|row| decoded(row.index, &row.content)).collect();
                    match rows {
                        Ok(rows) => return Some(Salvaged { nodes, after: from, upto, rows }),
                        Err(error) => unheard.extend(nodes.into_iter().map(|node| (node, error.to_string()))),
                    }
                }
                Sum::Later(next) => from = next,
                Sum::Nothing => return None,
                Sum::Again => {}
            }
        }
        None
    }

    async fn ask_everybody(&self, asked: AskRows, unheard: &mut Unheard) -> BTreeMap<u64, Rows> {
        let others = self.other_members().into_iter().filter(|(id, _)| !unheard.contains_key(id));
        let others = others.map(|(id, member)| async move { (id, self.ask_member((id, &member), asked).await) });
        let own = async {
            let answer = if unheard.contains_key(&self.node_id()) { None } else { Some(self.ask_myself(asked).await) };
            answer.map(|answer| (self.node_id(), answer))
        };
        let (others, own) = futures::future::join(futures::future::join_all(others), own).await;
        let mut answers = BTreeMap::new();
        for (node, answer) in others.into_iter().chain(own) {
            match answer {
                Ok(rows) => drop(answers.insert(node, rows)),
                Err(reason) => drop(unheard.insert(node, reason)),
            }
        }
        answers
    }

    async fn ask_myself(&self, asked: AskRows) -> Result<Rows, String> {
        let (outbox, applied) = (self.outbox().map_err(|error| crate::chain(&error))?, self.applied_index());
        let answer = super::off_the_runtime(move || Ok(read(&outbox, asked, applied)?)).await;
        answer.map_err(|error| crate::chain(&error))
    }
}

/// Only as far as all answers go that have these rows, so that each row is compared with everybody's.
fn sum(answers: &BTreeMap<u64, Rows>, asked: AskRows, own: u64, unheard: &mut Unheard) -> Sum {
    let (mut having, mut next) = (Vec::new(), u64::MAX);
    for (&node, answer) in answers {
        if answer.since > asked.after {
            next = next.min(answer.since);
            continue;
        }
        match usable(answer, asked) {
            Ok(covered) => having.push((node, covered, &answer.rows)),
            Err(Unused::Unreached(reason) | Unused::Silent(reason)) => drop(unheard.insert(node, reason)),
            Err(Unused::Contradicts(index)) => drop(unheard.insert(node, other_row(index))),
        }
    }
    let Some(upto) = having.iter().map(|(_, covered, _)| *covered).min() else {
        return if next < asked.upto { Sum::Later(next) } else { Sum::Nothing };
    };
    // This node's own, if it has them: what it applied itself.
    let ours = having.iter().position(|(node, ..)| *node == own);
    let Some(&(believed, _, rows)) = having.get(ours.unwrap_or(0)) else { return Sum::Nothing };
    let differ = |theirs: &[Row]| first_difference(rows, theirs, upto);
    let contradicting: Unheard =
        having.iter().filter_map(|(node, _, theirs)| Some((*node, other_row(differ(theirs)?)))).collect();
    if contradicting.is_empty() {
        let others = having.iter().map(|(node, ..)| *node).filter(|node| *node != believed);
        return Sum::Page(std::iter::once(believed).chain(others).collect(), upto);
    }
    for (node, reason) in &contradicting {
        metrics::counter!("consigner_outbox_conflicts_total").increment(1);
        tracing::error!(node, reason, "members have different outbox rows");
    }
    if ours.is_none() {
        let all = having.iter().map(|(node, ..)| (*node, "other members contradict its rows".to_owned()));
        unheard.extend(all);
    }
    unheard.extend(contradicting);
    Sum::Again
}

fn other_row(index: u64) -> String {
    format!("its row of log index {index} is another one than that of another node")
}

/// The first log index, up to and with `upto`, of which one has another row, or the only one.
fn first_difference(ours: &[Row], theirs: &[Row], upto: u64) -> Option<u64> {
    let upto = |rows: &[Row]| rows.partition_point(|row| row.index <= upto);
    let (ours, theirs) = (&ours[..upto(ours)], &theirs[..upto(theirs)]);
    let shared = ours.iter().zip(theirs).find(|(our, their)| our != their);
    let longer = || ours.get(theirs.len()).or_else(|| theirs.get(ours.len())).map(|row| row.index);
    shared.map(|(our, their)| our.index.min(their.index)).or_else(longer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use consigner_rules::{Change, PublicKey, codec};

    const ASKED: AskRows = AskRows { after: 10, upto: 50, max: 100 };
    const OWN: u64 = 1;

    fn row(index: u64, content: u8) -> Row {
        Row { index, content: codec::encode(&(index, vec![Change::KeyAdded(PublicKey([content; 48]))])) }
    }

    fn has(upto: u64, rows: &[(u64, u8)]) -> Rows {
        Rows { since: ASKED.after, applied: 90, upto, rows: rows.iter().map(|&(index, it)| row(index, it)).collect() }
    }

    fn begins(since: u64) -> Rows {
        Rows { since, applied: 90, upto: ASKED.after, rows: Vec::new() }
    }

    fn summed(answers: &[(u64, Rows)]) -> (Sum, Vec<u64>) {
        let mut unheard = Unheard::new();
        let sum = sum(&answers.iter().cloned().collect(), ASKED, OWN, &mut unheard);
        (sum, unheard.into_keys().collect())
    }

    #[test]
    fn rows_come_from_whoever_has_them_and_go_as_far_as_everybodys() {
        let some: &[(u64, u8)] = &[(20, 1), (30, 1)];
        assert_eq!(summed(&[(1, begins(60)), (2, begins(40)), (3, has(50, some))]), (Sum::Page(vec![3], 50), vec![]));
        let two = [(2, has(50, some)), (3, has(25, &some[..1]))];
        assert_eq!(summed(&two), (Sum::Page(vec![2, 3], 25), vec![]), "what is behind comes with the next question");
        let own = [(1, has(50, some)), (2, begins(60)), (3, has(50, some))];
        assert_eq!(summed(&own), (Sum::Page(vec![1, 3], 50), vec![]));
        assert_eq!(summed(&[(1, begins(60)), (2, begins(40)), (3, begins(u64::MAX))]), (Sum::Later(40), vec![]));
        assert_eq!(summed(&[(1, begins(50)), (2, begins(70)), (3, begins(u64::MAX))]), (Sum::Nothing, vec![]));
        assert_eq!(summed(&[]), (Sum::Nothing, vec![]));
    }

    #[test]
    fn who_contradicts_this_node_is_not_believed_and_of_others_none_is() {
        let (good, altered, less) = (&[(20, 1), (30, 1)][..], &[(20, 1), (30, 2)][..], &[(20, 1)][..]);
        let more = &[(20, 1), (25, 9), (30, 1)][..];
        for wrong in [altered, less, more] {
            let against_own = [(1, has(50, good)), (2, has(50, good)), (3, has(50, wrong))];
            assert_eq!(summed(&against_own), (Sum::Again, vec![3]), "{wrong:?}");
            let others = [(1, begins(60)), (2, has(50, good)), (3, has(50, wrong)), (4, begins(12))];
            assert_eq!(summed(&others), (Sum::Again, vec![2, 3]), "nobody knows who is right: {wrong:?}");
        }
        let mut unheard = Unheard::new();
        let _again = sum(&[(2, has(50, good)), (3, has(50, altered))].into(), ASKED, OWN, &mut unheard);
        assert!(unheard[&3].contains("log index 30"), "{unheard:?}");
    }

    #[test]
    fn an_answer_that_is_none_is_named_and_the_others_count() {
        let disorder = has(50, &[(30, 1), (20, 1)]);
        assert_eq!(summed(&[(2, disorder), (3, has(50, &[(20, 1)]))]), (Sum::Page(vec![3], 50), vec![2]));
        let not_applied = Rows { applied: 10, ..has(50, &[]) };
        assert_eq!(summed(&[(2, not_applied), (3, begins(40))]), (Sum::Later(40), vec![2]));
    }
}
