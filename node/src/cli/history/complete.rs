//! `--complete`: the pages of one node's outbox, joined, and over them the minimal export, so that the file covers
//! everything that was ever signed whatever the node still has.
//!
//! In: pages, bounded in size. Out: a file, written as it comes. A validator is listed again when the records that are
//! gathered at one time do not hold all of its own; importers add such lists up (EIP-3076 has tests of it).

use super::export::ExportError;
use super::sink::Sink;
use crate::client::records::{self, File, Page, Validator, Which};
use crate::client::{CallError, ClusterClient};
use std::collections::BTreeMap;
use std::path::Path;

/// Records gathered before they are written: some 60 MB in memory.
const GATHERED_MAX: usize = 250_000;

/// What was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Exported {
    /// Different validators.
    pub(super) validators: usize,
    /// Blocks and attestations.
    pub(super) records: u64,
    /// From which log index on nothing is missing, decimal; `None`: not a complete export.
    pub(super) complete_from: Option<String>,
    /// The node that was asked.
    pub(super) node: u64,
}

impl Exported {
    /// What is missing, in words.
    pub(super) fn gap(&self) -> Option<String> {
        let from = self.complete_from.as_deref().filter(|from| *from != "1")?;
        Some(format!(
            "node {} has every record from log index {from} on; of what was signed before, the file has the maxima of \
             each validator. Another node may have more: name it with --endpoint",
            self.node
        ))
    }
}

/// Greatest numbers written so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Maxima {
    slot: Option<u64>,
    source: Option<u64>,
    target: Option<u64>,
}

/// Records on their way into the file.
#[derive(Default)]
struct Gathered {
    waiting: BTreeMap<String, Validator>,
    count: usize,
    written: u64,
    maxima: BTreeMap<String, Maxima>,
}

/// Writes everything that one node has, and what covers the rest.
pub(super) async fn export(client: &ClusterClient, which: &Which, to: Option<&Path>) -> Result<Exported, ExportError> {
    let (client, first) = first_page(client, which).await?;
    let mut sink = Sink::new(to, &first.interchange.metadata)?;
    let mut gathered = Gathered::default();
    let (node, upto) = (first.node, first.upto.clone());
    let mut page = first;
    let mut complete_from = 0;
    loop {
        check(&page, node)?;
        // A hole may be filled between two pages; what it held is missing in the first.
        complete_from = number(&page.complete_from_log_index)?.max(complete_from);
        gathered.take(page.interchange)?;
        gathered.write(&mut sink, GATHERED_MAX)?;
        let Some(next) = page.next else { break };
        page = records::recorded(&client, &next, Some(&upto), which).await?;
    }
    // Last, so that it covers what was signed while the pages were read.
    let minimal = records::minimal(&client, which).await?;
    gathered.cover(minimal)?;
    gathered.write(&mut sink, 0)?;
    sink.finish()?;
    let (validators, records) = (gathered.maxima.len(), gathered.written);
    Ok(Exported { validators, records, complete_from: Some(complete_from.to_string()), node })
}

/// The first node that answers gives all pages: each has an outbox of its own.
async fn first_page(client: &ClusterClient, which: &Which) -> Result<(ClusterClient, Page), CallError> {
    let mut last = CallError::NoEndpoint;
    for endpoint in client.endpoints() {
        let only = client.only(endpoint);
        match records::recorded(&only, "0", None, which).await {
            Ok(page) => return Ok((only, page)),
            Err(error) if error.may_pass() => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn check(page: &Page, node: u64) -> Result<(), ExportError> {
    if page.node == node {
        return Ok(());
    }
    let reason = format!("node {} answered after node {node}: name one node, not a load balancer", page.node);
    Err(ExportError::Answer(reason))
}

fn number(text: &str) -> Result<u64, ExportError> {
    text.parse().map_err(|_| ExportError::Answer(format!("{text:?} is no number")))
}

impl Gathered {
    fn take(&mut self, file: File) -> Result<(), ExportError> {
        for mut validator in file.data {
            let maxima = self.maxima.entry(validator.pubkey.clone()).or_default();
            for block in &validator.signed_blocks {
                maxima.slot = maxima.slot.max(Some(number(&block.slot)?));
            }
            for vote in &validator.signed_attestations {
                maxima.source = maxima.source.max(Some(number(&vote.source_epoch)?));
                maxima.target = maxima.target.max(Some(number(&vote.target_epoch)?));
            }
            self.count += validator.signed_blocks.len() + validator.signed_attestations.len();
            let known = self
                .waiting
                .entry(validator.pubkey.clone())
                .or_insert_with(|| Validator { pubkey: validator.pubkey.clone(), ..Validator::default() });
            known.signed_blocks.append(&mut validator.signed_blocks);
            known.signed_attestations.append(&mut validator.signed_attestations);
        }
        Ok(())
    }

    /// Adds of the minimal export what nothing in the file covers: of a gap, and of the last moments.
    fn cover(&mut self, minimal: File) -> Result<(), ExportError> {
        let mut missing = Vec::new();
        for mut validator in minimal.data {
            let known = self.maxima.get(&validator.pubkey).copied().unwrap_or_default();
            let (mut blocks, mut votes) = (Vec::new(), Vec::new());
            for block in validator.signed_blocks {
                if Some(number(&block.slot)?) > known.slot {
                    blocks.push(block);
                }
            }
            for vote in validator.signed_attestations {
                let (source, target) = (number(&vote.source_epoch)?, number(&vote.target_epoch)?);
                if Some(source) > known.source || Some(target) > known.target {
                    votes.push(vote);
                }
            }
            (validator.signed_blocks, validator.signed_attestations) = (blocks, votes);
            if !(validator.signed_blocks.is_empty() && validator.signed_attestations.is_empty()) {
                missing.push(validator);
            }
        }
        self.take(File { metadata: minimal.metadata, data: missing })
    }

    /// Writes what is waiting if it is more than `limit`.
    fn write(&mut self, sink: &mut Sink, limit: usize) -> std::io::Result<()> {
        if self.count <= limit {
            return Ok(());
        }
        self.written += self.count as u64;
        self.count = 0;
        std::mem::take(&mut self.waiting).values().try_for_each(|validator| sink.add(validator))
    }
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
