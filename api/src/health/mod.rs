//! Answers for load balancers and monitors. Any accepted certificate may ask; nothing here waits for the cluster.
//!
//! | path | 200 | else |
//! |---|---|---|
//! | `/upcheck` | the process answers | - |
//! | `/healthcheck` | this node can serve, in Web3Signer's shape | 503, same shape |
//! | `/ready` | this node can serve | 503 with the reason |
//! | `/leader` | this node leads and can serve | 503 with the leader, never a redirect |

mod healthcheck;
mod key_count;
mod leader;
mod ready;
mod upcheck;

pub(crate) use healthcheck::get as healthcheck;
pub(crate) use key_count::KeyCount;
pub(crate) use leader::get as leader;
pub(crate) use ready::get as ready;
pub(crate) use upcheck::get as upcheck;

use crate::app::Shared;

/// Whether this node can serve, or why not. One key that cannot be unsealed does not take a node (and, as it fails
/// alike everywhere, the cluster) out of service; no key at all does.
fn readiness(shared: &Shared) -> Result<(), String> {
    (shared.node_ready)()?;
    shared.app.cluster.ready().map_err(|unavailable| unavailable.reason)?;
    let known = shared.key_count.known(&shared.app.cluster);
    if known > 0 && shared.app.keyring.is_empty() {
        let why = shared.app.custody.status().trouble().unwrap_or_else(|| "they are being opened".to_owned());
        return Err(format!("none of the {known} keys is open on this node: {why}"));
    }
    Ok(())
}
