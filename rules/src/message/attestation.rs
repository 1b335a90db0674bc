//! `ATTESTATION`: slashable, through the log.
//!
//! The index is not compared with zero: from Gloas on it carries the payload status.

use super::containers::ATTESTATION_DATA;
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use crate::slashing::AgreedDuty;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let attestation = body.field("attestation")?;
    let source_epoch = attestation.field("source")?.field("epoch")?.uint64()?;
    let target_epoch = attestation.field("target")?.field("epoch")?.uint64()?;
    let object_root = context.hash(&ATTESTATION_DATA, &attestation)?;
    let slot = attestation.field("slot")?.uint64()?;
    // Nothing here says that slot, source and target agree: the one furthest ahead counts.
    let latest = target_epoch.max(source_epoch).max(context.network.epoch_at_slot(slot));
    let fork_info = context.fork_info(body)?;
    Ok(Message::on_chain(object_root, DomainType::BEACON_ATTESTER, target_epoch, &fork_info)
        .for_epoch(latest, context.network)
        .agreed(AgreedDuty::Attestation { source_epoch, target_epoch }))
}
