//! `INCLUSION_LIST` (Heze): the transactions that a committee member wants included.
//!
//! The remote-signing API does not name it yet; the shape is Lodestar's, bare, and `{version, data}` is taken too.

use super::containers::{BYTES32, TRANSACTIONS, UINT64};
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use super::schema::{Field, Schema};
use super::versioned::unwrap;
use crate::network::Fork;
use crate::permit::UnslashableType;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let payload = body.field("inclusion_list")?;
    let object = unwrap(&payload, Fork::Heze)?;
    let slot = object.data.field("slot")?.uint64()?;
    let object_root = context.hash(&INCLUSION_LIST, &object.data)?;
    let fork_info = context.fork_info(body)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(object_root, DomainType::INCLUSION_LIST_COMMITTEE, epoch, &fork_info)
        .for_slot(slot)
        .local(UnslashableType::InclusionList))
}

static INCLUSION_LIST: Schema = Schema::Container(&[
    Field("slot", &UINT64),
    Field("validator_index", &UINT64),
    Field("dependent_root", &BYTES32),
    Field("transactions", &TRANSACTIONS),
]);
