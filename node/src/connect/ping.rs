//! Keeps a warm connection to every node, and learns meanwhile who answers and who leads.
//!
//! Without it a frozen node would be noticed by a duty. Deliberately absent: verdicts; see [`super::nodes`].

use super::dispatch::Dispatcher;
use crate::report;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at one node: the leader changed at most so long ago without our knowing.
const INTERVAL: Duration = Duration::from_secs(2);

/// A node that needs longer for a look is not one to ask first.
const DEADLINE: Duration = Duration::from_secs(1);

/// Looks at one node for ever.
pub(super) async fn keep_warm(dispatcher: Arc<Dispatcher>, node: usize) {
    loop {
        look(&dispatcher, node).await;
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn look(dispatcher: &Dispatcher, node: usize) {
    let nodes = dispatcher.nodes();
    let trouble = match dispatcher.look(node, "/upcheck", DEADLINE).await {
        Ok(StatusCode::OK) => None,
        Ok(status) => Some(format!("/upcheck answered {status}")),
        Err(error) => Some(report::one_line(&error)),
    };
    let changed = nodes.mark(node, trouble.is_some());
    match trouble {
        Some(reason) if changed => tracing::warn!(node = nodes.url(node), reason, "a node does not answer"),
        Some(_) => {}
        None => {
            if changed {
                tracing::info!(node = nodes.url(node), "a node answers again");
            }
            learn_leader(dispatcher, node).await;
        }
    }
}

/// 200 on the serving leader only.
async fn learn_leader(dispatcher: &Dispatcher, node: usize) {
    let nodes = dispatcher.nodes();
    let leads = matches!(dispatcher.look(node, "/leader", DEADLINE).await, Ok(StatusCode::OK));
    if leads && nodes.prefer(node) {
        tracing::info!(node = nodes.url(node), "now asked first: it leads");
    }
}
