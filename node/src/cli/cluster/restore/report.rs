//! What a restore says: what each source brought, and what the operator must do next.

use super::super::backup::describe;
use crate::cli::output;
use consigner_raft::Maxima;
use consigner_raft::restore::SourceReport;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Epoch, Root};
use serde::Serialize;
use std::path::PathBuf;

/// What was restored.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) old_cluster: ClusterId,
    pub(super) new_cluster: ClusterId,
    pub(super) node: u64,
    pub(super) data_dir: PathBuf,
    pub(super) config: PathBuf,
    pub(super) keys: u64,
    pub(super) sealer: &'static str,
    pub(super) maxima: Maxima,
    /// The base first.
    pub(super) sources: Vec<SourceReport>,
    /// `None`: nothing is signed before `cluster resume`.
    pub(super) signs_from_epoch: Option<Epoch>,
    /// The earliest that a resume would take now; `None` without a genesis time.
    pub(super) earliest_epoch: Option<Epoch>,
    pub(super) digest: Root,
}

impl Report {
    pub(super) fn tell(&self, json: bool) {
        if json {
            match serde_json::to_string_pretty(self) {
                Ok(text) => output::line(&text),
                Err(error) => output::complain(&error.to_string()),
            }
            return;
        }
        let Self { new_cluster, old_cluster, node, data_dir, keys, sealer, maxima, .. } = self;
        output::line(&self.table());
        output::line(&format!("all sources together: {}", describe(maxima)));
        output::line(&format!(
            "{keys} keys sealed anew by the sealer {sealer}; tokens and join tokens were left behind"
        ));
        output::line(&format!(
            "{}: cluster {new_cluster}, restored from {old_cluster}, node {node} alone",
            data_dir.display()
        ));
        for (number, step) in (1..).zip(self.next_steps()) {
            output::line(&format!("{number}. {step}"));
        }
    }

    fn table(&self) -> String {
        let mark = |mark: Option<u64>| mark.map_or_else(|| "-".to_owned(), |mark| mark.to_string());
        let rows: Vec<Vec<String>> = self
            .sources
            .iter()
            .map(|source| {
                vec![
                    source.name.clone(),
                    if source.base { format!("{}, base", source.kind) } else { source.kind.to_owned() },
                    mark(source.position.map(|position| position.index)),
                    source.uncommitted.to_string(),
                    source.maxima.validators.to_string(),
                    mark(source.maxima.slot),
                    mark(source.maxima.source),
                    mark(source.maxima.target),
                    source.raised.to_string(),
                ]
            })
            .collect();
        let head =
            ["SOURCE", "KIND", "INDEX", "UNAGREED", "HISTORIES", "SLOT", "SOURCE-EPOCH", "TARGET-EPOCH", "RAISED"];
        output::table(&head, &rows)
    }

    fn next_steps(&self) -> Vec<String> {
        let config = self.config.display();
        let mut steps = vec![
            format!(
                "make sure that no node of {} ever starts again: revoke its access to KMS or Vault, destroy or keep away its \
                 disks and its key file",
                self.old_cluster
            ),
            format!("consigner run --config {config}"),
        ];
        match (self.signs_from_epoch, self.earliest_epoch) {
            (Some(epoch), _) => steps.push(format!("it signs from epoch {epoch} on")),
            (None, Some(least)) => {
                steps.push(format!(
                    "it signs nothing before: consigner cluster resume --at-epoch EPOCH, {least} or later"
                ));
            }
            (None, None) => steps.push("it signs nothing before: consigner cluster resume --at-epoch EPOCH".to_owned()),
        }
        steps.push("grow it: consigner cluster join-token and consigner cluster add, once per node".to_owned());
        steps
    }
}
