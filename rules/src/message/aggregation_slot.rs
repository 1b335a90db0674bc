//! `AGGREGATION_SLOT`: the selection proof of an aggregator.

use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::merkle::uint64_chunk;
use super::request::{Context, Message};
use crate::permit::UnslashableType;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let slot = body.field("aggregation_slot")?.field("slot")?.uint64()?;
    let fork_info = context.fork_info(body)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(uint64_chunk(slot), DomainType::SELECTION_PROOF, epoch, &fork_info)
        .for_slot(slot)
        .local(UnslashableType::AggregationSlot))
}
