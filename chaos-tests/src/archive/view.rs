//! How the archive stands, as each node tells: `GET /admin/v1/archive`.
//!
//! In: answers. Out: [`Views`]. What nodes say decides when a run is over and nothing else; what is right is judged by
//! rows and answers. One thing has no other witness: what lies in an outbox.

use crate::oracle::Courier;
use serde::Deserialize;

/// What one node says.
#[derive(Debug, Clone, Deserialize)]
pub struct View {
    /// The node.
    pub node: u64,
    /// Whether it leads.
    pub leader: bool,
    /// How far the cluster agreed that the archive is.
    pub mark: Option<Mark>,
    /// What waits there.
    pub outbox: Outbox,
    /// What it does about the database.
    pub exporter: Option<Exporter>,
}

/// A mark.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Mark {
    /// Last archived log index.
    pub index: u64,
    /// Rows so far.
    pub rows: u64,
}

/// An outbox.
#[derive(Debug, Clone, Deserialize)]
pub struct Outbox {
    /// Rows that wait.
    pub rows: u64,
    /// The oldest one's log index.
    pub oldest_index: Option<u64>,
}

/// An exporter.
#[derive(Debug, Clone, Deserialize)]
pub struct Exporter {
    /// What it does.
    pub state: String,
    /// Why it does not export.
    pub reason: Option<String>,
    /// Entries that wait.
    pub lag_entries: u64,
}

/// What all nodes say that answered.
#[derive(Debug, Clone, Default)]
pub struct Views(pub Vec<View>);

/// Asks all.
pub async fn look(courier: &Courier) -> Views {
    let mut views = Vec::new();
    for address in courier.nodes() {
        if let Ok(answer) = courier.look(&address.url, "/admin/v1/archive").await
            && answer.status == 200
        {
            views.extend(serde_json::from_slice::<View>(&answer.body).ok());
        }
    }
    Views(views)
}

impl Views {
    /// The furthest mark.
    #[must_use]
    pub fn mark(&self) -> Option<u64> {
        self.0.iter().filter_map(|view| view.mark).map(|mark| mark.index).max()
    }

    /// Whether nothing waits anywhere: the leader has no lag, and no node holds a row.
    #[must_use]
    pub fn is_archived(&self, nodes: usize) -> bool {
        let idle = |view: &View| view.exporter.as_ref().is_some_and(|exporter| exporter.lag_entries == 0);
        self.0.len() == nodes
            && self.0.iter().any(|view| view.leader && idle(view))
            && self.0.iter().all(|view| view.outbox.rows == 0 && view.mark.is_some())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn view(leader: bool, rows: u64, lag: u64) -> View {
        let text = format!(
            r#"{{"node":1,"leader":{leader},"mode":"postgres","mark":{{"index":9,"rows":7,"chain":"00"}},
            "applied_index":11,"outbox":{{"rows":{rows},"oldest_index":null}},
            "exporter":{{"state":"exporting","reason":null,"lag_entries":{lag}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn archived_is_what_no_node_waits_for() {
        assert!(Views(vec![view(true, 0, 0), view(false, 0, 3)]).is_archived(2));
        assert!(!Views(vec![view(true, 0, 0)]).is_archived(2));
        assert!(!Views(vec![view(false, 0, 0), view(false, 0, 0)]).is_archived(2));
        assert!(!Views(vec![view(true, 0, 1), view(false, 0, 0)]).is_archived(2));
        assert!(!Views(vec![view(true, 0, 0), view(false, 1, 0)]).is_archived(2));
        assert_eq!(Views(vec![view(true, 0, 0)]).mark(), Some(9));
    }
}
