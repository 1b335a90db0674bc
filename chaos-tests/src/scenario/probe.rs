//! The last word: when all is healed, every node must repeat the newest message of every validator and refuse a rival.
//!
//! In: the newest export, the history. Out: exchanges marked as probes. What is newest is taken from the export, because
//! a message may have been recorded whose answers were all lost; the export's truth is judged by S2.

use crate::oracle::courier::Agent;
use crate::oracle::message::MessageError;
use crate::oracle::{Content, Courier, ExportSample, Message, Phase, Reply};
use crate::storm::Chain;
use consigner_rules::{PublicKey, Root};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two tries: an election is over after about a second.
const AGAIN: Duration = Duration::from_millis(500);

/// How often a node may answer that it cannot before that is its last word.
const TRIES: usize = 100;

/// No storm numbers its messages so high, so a rival made here is new.
const RIVAL_HEAD: u64 = u64::MAX;

/// Asks these nodes to repeat and to refuse, for every validator of the export.
///
/// # Errors
/// A rival cannot be made: a slip of this program.
pub async fn run(courier: &Courier, nodes: &[u64], chain: &Chain, export: &ExportSample) -> Result<(), MessageError> {
    let asked = asked(courier);
    for (validator, marks) in &export.marks {
        let roots = [marks.block.and_then(|(_, root)| root), marks.target.and_then(|(_, root)| root)];
        for root in roots.into_iter().flatten() {
            // A root that nobody asked for is a violation of S2, found there.
            let Some(newest) = asked.get(&(*validator, root)) else { continue };
            let rival = Arc::new(chain.message(*validator, newest.content, RIVAL_HEAD)?);
            let doubled = doubled(newest.content);
            let doubled = doubled.map(|content| chain.message(*validator, content, RIVAL_HEAD)).transpose()?;
            for node in nodes {
                until_verdict(courier, *node, &rival).await;
                until_verdict(courier, *node, newest).await;
                if let Some(doubled) = doubled.clone().map(Arc::new) {
                    until_verdict(courier, *node, &doubled).await;
                }
            }
        }
    }
    Ok(())
}

/// A vote with the same target and another source: a double vote, too.
fn doubled(content: Content) -> Option<Content> {
    match content {
        Content::Block { .. } | Content::Unslashable { .. } => None,
        Content::Attestation { source, target } => Some(Content::Attestation { source: source + 1, target }),
    }
}

fn asked(courier: &Courier) -> BTreeMap<(PublicKey, Root), Arc<Message>> {
    let exchanges = courier.history().exchanges();
    exchanges.into_iter().map(|one| ((one.message.validator, one.message.root), one.message)).collect()
}

async fn until_verdict(courier: &Courier, node: u64, message: &Arc<Message>) {
    for _ in 0..TRIES {
        let reply = courier.ask(node, message, Agent::Unknown, Phase::Probe).await;
        if let Some(Reply::Answer { status: 200 | 412, .. }) = reply {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}
