//! `EXECUTION_PAYLOAD_BID` (Gloas): what a builder offers for a slot.

use super::containers::{ADDRESS, BYTES32, BYTES48, UINT64};
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use super::schema::{Field, Schema};
use super::versioned::{schema_of, unwrap};
use crate::network::Fork;
use crate::permit::UnslashableType;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let payload = body.field("execution_payload_bid")?;
    let object = unwrap(&payload, Fork::Gloas)?;
    let slot = object.data.field("slot")?.uint64()?;
    let fork_info = context.fork_info(body)?;
    let schema = schema_of(&object, slot, &fork_info, context.network, schema)?;
    let object_root = context.hash(schema, &object.data)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(object_root, DomainType::BEACON_BUILDER, epoch, &fork_info)
        .for_slot(slot)
        .local(UnslashableType::ExecutionPayloadBid))
}

/// Heze added the inclusion list bits. Before Gloas there are no bids; a bare one is read as the first shape.
fn schema(fork: Fork) -> &'static Schema {
    if fork >= Fork::Heze { &HEZE } else { &GLOAS }
}

/// Consensus specification, heze: `INCLUSION_LIST_COMMITTEE_SIZE`, equal in all presets.
const INCLUSION_LIST_COMMITTEE_SIZE: u64 = 16;

static BLOB_KZG_COMMITMENTS: Schema = Schema::ProgressiveList(&BYTES48);

static GLOAS: Schema = Schema::ProgressiveContainer(&[
    Field("parent_block_hash", &BYTES32),
    Field("parent_block_root", &BYTES32),
    Field("block_hash", &BYTES32),
    Field("prev_randao", &BYTES32),
    Field("fee_recipient", &ADDRESS),
    Field("gas_limit", &UINT64),
    Field("builder_index", &UINT64),
    Field("slot", &UINT64),
    Field("value", &UINT64),
    Field("execution_payment", &UINT64),
    Field("blob_kzg_commitments", &BLOB_KZG_COMMITMENTS),
    Field("execution_requests_root", &BYTES32),
]);

static HEZE: Schema = Schema::ProgressiveContainer(&[
    Field("parent_block_hash", &BYTES32),
    Field("parent_block_root", &BYTES32),
    Field("block_hash", &BYTES32),
    Field("prev_randao", &BYTES32),
    Field("fee_recipient", &ADDRESS),
    Field("gas_limit", &UINT64),
    Field("builder_index", &UINT64),
    Field("slot", &UINT64),
    Field("value", &UINT64),
    Field("execution_payment", &UINT64),
    Field("blob_kzg_commitments", &BLOB_KZG_COMMITMENTS),
    Field("execution_requests_root", &BYTES32),
    Field("inclusion_list_bits", &Schema::Bitvector(|_| INCLUSION_LIST_COMMITTEE_SIZE)),
]);
