//! `PROPOSER_PREFERENCES` (Gloas): what a coming proposer asks of builders.

use super::containers::{ADDRESS, BYTES32, UINT64};
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use super::schema::{Field, Schema};
use super::versioned::unwrap;
use crate::network::Fork;
use crate::permit::UnslashableType;
use crate::primitives::Address;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let payload = body.field("proposer_preferences")?;
    let object = unwrap(&payload, Fork::Gloas)?;
    let slot = object.data.field("proposal_slot")?.uint64()?;
    let object_root = context.hash(&PROPOSER_PREFERENCES, &object.data)?;
    let fee_recipient = Address(object.data.field("fee_recipient")?.bytes()?);
    let fork_info = context.fork_info(body)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(object_root, DomainType::PROPOSER_PREFERENCES, epoch, &fork_info)
        .for_slot(slot)
        .paying_to(fee_recipient)
        .local(UnslashableType::ProposerPreferences))
}

static PROPOSER_PREFERENCES: Schema = Schema::Container(&[
    Field("dependent_root", &BYTES32),
    Field("proposal_slot", &UINT64),
    Field("validator_index", &UINT64),
    Field("fee_recipient", &ADDRESS),
    Field("target_gas_limit", &UINT64),
]);
