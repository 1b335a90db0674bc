//! `PAYLOAD_ATTESTATION_MESSAGE` (Gloas): a payload timeliness vote. Not slashable.

use super::containers::{BOOL, BYTES32, UINT64};
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use super::schema::{Field, Schema};
use super::versioned::unwrap;
use crate::network::Fork;
use crate::permit::UnslashableType;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let payload = match body.optional("payload_attestation_data")? {
        // Lighthouse's name.
        Some(payload) if body.optional("payload_attestation_message")?.is_none() => payload,
        Some(_) | None => body.field("payload_attestation_message")?,
    };
    let object = unwrap(&payload, Fork::Gloas)?;
    let slot = object.data.field("slot")?.uint64()?;
    let object_root = context.hash(&PAYLOAD_ATTESTATION_DATA, &object.data)?;
    let fork_info = context.fork_info(body)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(object_root, DomainType::PTC_ATTESTER, epoch, &fork_info)
        .for_slot(slot)
        .local(UnslashableType::PayloadAttestationMessage))
}

static PAYLOAD_ATTESTATION_DATA: Schema = Schema::Container(&[
    Field("beacon_block_root", &BYTES32),
    Field("slot", &UINT64),
    Field("payload_present", &BOOL),
    Field("blob_data_available", &BOOL),
]);
