//! `RANDAO_REVEAL`: a proposer's contribution to the randomness of an epoch.

use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::merkle::uint64_chunk;
use super::request::{Context, Message};
use crate::permit::UnslashableType;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let epoch = body.field("randao_reveal")?.field("epoch")?.uint64()?;
    let fork_info = context.fork_info(body)?;
    Ok(Message::on_chain(uint64_chunk(epoch), DomainType::RANDAO, epoch, &fork_info)
        .for_epoch(epoch, context.network)
        .local(UnslashableType::RandaoReveal))
}
