//! The archive beside the live state: nothing that the cluster knows is missing in it, nothing in it was invented.
//!
//! ```text
//! watermarks before  <=  maxima of the archive and of the rows behind it  <=  watermarks after
//! ```
//! The cluster goes on signing meanwhile, so the archive is compared with what it knew before and what it knows after.
//! Deliberately absent: the chain, which is compared with the replicated mark by those who read the rows.

use super::maxima::Maxima;
use crate::client::records::{self, Which};
use crate::client::{CallError, ClusterClient, archive};
use consigner_api::MarkView;
use consigner_rules::Root;
use consigner_rules::archive::ArchiveMark;
use serde::Serialize;

/// Differences that are named; of more, people need the first.
const NAMED_MAX: usize = 100;

/// What the cluster knew before the archive was read.
#[derive(Debug)]
pub(super) struct Live {
    client: ClusterClient,
    before: Maxima,
    /// How far the cluster agreed that the archive is.
    pub(super) mark: Option<ArchiveMark>,
}

/// What came of the comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Compared {
    /// Validators that were compared.
    pub(super) validators: usize,
    /// Log index of the replicated mark.
    pub(super) mark: Option<u64>,
    /// What the cluster knows and the archive (with the rows behind it) does not.
    pub(super) missing: Vec<String>,
    /// What is in the archive and the cluster never knew.
    pub(super) invented: Vec<String>,
    /// What could not be compared.
    pub(super) notes: Vec<String>,
}

impl Compared {
    /// Whether archive and cluster agree.
    pub(super) fn agrees(&self) -> bool {
        self.missing.is_empty() && self.invented.is_empty()
    }
}

/// Why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub(super) enum LiveError {
    /// The cluster did not answer.
    #[error("the cluster cannot be asked what it knows")]
    Call(#[from] CallError),
    /// It answered something else.
    #[error("the cluster's answer is not understood: {0}")]
    Answer(String),
}

impl Live {
    /// Asks; before the archive is read.
    pub(super) async fn before(client: ClusterClient) -> Result<Self, LiveError> {
        let mark = archive::mark(&client).await?.as_ref().map(understood).transpose()?;
        let before = watermarks(&client).await?;
        Ok(Self { client, before, mark })
    }

    /// Compares with what was read, which ends with log index `after`. `is_whole`: from the cluster's begin.
    pub(super) async fn compare(&self, mut read: Maxima, after: u64, is_whole: bool) -> Result<Compared, LiveError> {
        let mut compared = Compared { mark: self.mark.map(|mark| mark.index), ..Compared::default() };
        let since = self.rows_behind(after, &mut read).await?;
        let now = watermarks(&self.client).await?;
        compared.validators = now.len();
        compared.invented = now_named(read.beyond(&now, "in the archive, in the cluster"));
        if !is_whole {
            compared.notes.push("what the archive does not begin with was not compared with the cluster".to_owned());
        } else if since > after.saturating_add(1) {
            compared.notes.push(format!(
                "no node has the rows of log indexes {} to {}; whether something is missing was not compared",
                after.saturating_add(1),
                since.saturating_sub(1)
            ));
        } else {
            compared.missing = now_named(self.before.beyond(&read, "in the cluster, in the archive"));
        }
        Ok(compared)
    }

    /// Adds what was recorded behind `after`, from the node that misses least; from which log index on that is all.
    async fn rows_behind(&self, after: u64, read: &mut Maxima) -> Result<u64, LiveError> {
        let (mut least, mut failure) = (None, CallError::NoEndpoint);
        for endpoint in self.client.endpoints() {
            let only = self.client.only(endpoint);
            match behind(&only, after).await {
                Ok((since, found)) => {
                    let is_enough = since <= after.saturating_add(1);
                    if least.as_ref().is_none_or(|(known, _)| since < *known) {
                        least = Some((since, found));
                    }
                    if is_enough {
                        break;
                    }
                }
                Err(LiveError::Call(error)) => failure = error,
                Err(error @ LiveError::Answer(_)) => return Err(error),
            }
        }
        let (since, files) = least.ok_or(LiveError::Call(failure))?;
        for file in &files {
            read.add_file(file).map_err(LiveError::Answer)?;
        }
        Ok(since)
    }
}

/// What one node recorded behind `after`, and from which log index on it has everything.
async fn behind(client: &ClusterClient, after: u64) -> Result<(u64, Vec<records::File>), LiveError> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| LiveError::Answer(format!("{text:?} is no number")));
    let (mut files, mut next, mut upto, mut since) = (Vec::new(), after.to_string(), None, 0);
    loop {
        let page = records::recorded(client, &next, upto.as_deref(), &Which::All).await?;
        // A hole may be filled between two pages; what it held is missing in the first.
        since = number(&page.complete_from_log_index)?.max(since);
        files.push(page.interchange);
        upto = Some(page.upto);
        match page.next {
            Some(following) => next = following,
            None => return Ok((since, files)),
        }
    }
}

async fn watermarks(client: &ClusterClient) -> Result<Maxima, LiveError> {
    let lines = records::watermarks(client, &Which::All).await?;
    Maxima::of_lines(&lines.data).map_err(LiveError::Answer)
}

fn understood(mark: &MarkView) -> Result<ArchiveMark, LiveError> {
    let chain: Root =
        mark.chain.parse().map_err(|_| LiveError::Answer(format!("{:?} is no chain of an archive", mark.chain)))?;
    Ok(ArchiveMark { index: mark.index, rows: mark.rows, chain })
}

fn now_named(differences: impl Iterator<Item = String>) -> Vec<String> {
    differences.take(NAMED_MAX).collect()
}
