//! How far a cluster has signed already, so that the tour and the bench begin above it.

use super::{CallError, ClusterClient, admin};
use consigner_rules::interchange::Interchange;
use consigner_rules::{Epoch, Slot};

/// The greatest of all validators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Highest {
    /// Target epoch.
    pub target: Epoch,
    /// Block slot.
    pub slot: Slot,
}

/// Reads it from an export.
///
/// # Errors
/// The cluster does not answer, or its export is not an interchange file.
pub async fn highest(admin: &ClusterClient) -> Result<Highest, CallError> {
    let text = admin::export(admin).await?;
    let understood = |error: &dyn std::error::Error| CallError::Answer {
        url: admin.endpoints().first().cloned().unwrap_or_default(),
        reason: error.to_string(),
    };
    let file = Interchange::parse(&text).map_err(|error| understood(&error))?;
    let histories = file.reduce();
    let target = histories.iter().filter_map(|history| Some(history.attestation?.max_target_epoch)).max();
    let slot = histories.iter().filter_map(|history| Some(history.block?.slot)).max();
    Ok(Highest { target: target.unwrap_or(0), slot: slot.unwrap_or(0) })
}
