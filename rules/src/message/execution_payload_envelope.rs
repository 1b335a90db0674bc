//! `EXECUTION_PAYLOAD_ENVELOPE` (Gloas): the payload of a builder, or of a proposer that builds for itself.
//!
//! The one body that may be large: megabytes of transactions.

use super::containers::{ADDRESS, BYTES32, BYTES48, SIGNATURE, TRANSACTIONS, UINT64};
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use super::schema::{Field, Schema};
use super::versioned::unwrap;
use crate::network::Fork;
use crate::permit::UnslashableType;

/// Gloas and heze share the shape, so the version is only checked to have envelopes at all.
pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let payload = body.field("execution_payload_envelope")?;
    let object = unwrap(&payload, Fork::Gloas)?;
    // The envelope itself has no slot; the payload's is that of the block.
    let slot = object.data.field("payload")?.field("slot_number")?.uint64()?;
    let object_root = context.hash(&ENVELOPE, &object.data)?;
    let fork_info = context.fork_info(body)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(object_root, DomainType::BEACON_BUILDER, epoch, &fork_info)
        .for_slot(slot)
        .local(UnslashableType::ExecutionPayloadEnvelope))
}

/// Consensus specification, bellatrix: `MAX_EXTRA_DATA_BYTES`, equal in all presets.
const MAX_EXTRA_DATA_BYTES: u64 = 32;
/// Consensus specification, bellatrix: `BYTES_PER_LOGS_BLOOM`, equal in all presets.
const BYTES_PER_LOGS_BLOOM: u64 = 256;

static ENVELOPE: Schema = Schema::ProgressiveContainer(&[
    Field("payload", &PAYLOAD),
    Field("execution_requests", &REQUESTS),
    Field("builder_index", &UINT64),
    Field("beacon_block_root", &BYTES32),
    Field("parent_beacon_block_root", &BYTES32),
]);

static PAYLOAD: Schema = Schema::ProgressiveContainer(&[
    Field("parent_hash", &BYTES32),
    Field("fee_recipient", &ADDRESS),
    Field("state_root", &BYTES32),
    Field("receipts_root", &BYTES32),
    Field("logs_bloom", &Schema::Bytes(BYTES_PER_LOGS_BLOOM)),
    Field("prev_randao", &BYTES32),
    Field("block_number", &UINT64),
    Field("gas_limit", &UINT64),
    Field("gas_used", &UINT64),
    Field("timestamp", &UINT64),
    Field("extra_data", &Schema::ByteList(|_| MAX_EXTRA_DATA_BYTES)),
    Field("base_fee_per_gas", &Schema::Uint256),
    Field("block_hash", &BYTES32),
    Field("transactions", &TRANSACTIONS),
    Field("withdrawals", &Schema::ProgressiveList(&WITHDRAWAL)),
    Field("blob_gas_used", &UINT64),
    Field("excess_blob_gas", &UINT64),
    Field("block_access_list", &Schema::ProgressiveByteList),
    Field("slot_number", &UINT64),
]);

static WITHDRAWAL: Schema = Schema::Container(&[
    Field("index", &UINT64),
    Field("validator_index", &UINT64),
    Field("address", &ADDRESS),
    Field("amount", &UINT64),
]);

static REQUESTS: Schema = Schema::ProgressiveContainer(&[
    Field("deposits", &Schema::ProgressiveList(&DEPOSIT_REQUEST)),
    Field("withdrawals", &Schema::ProgressiveList(&WITHDRAWAL_REQUEST)),
    Field("consolidations", &Schema::ProgressiveList(&CONSOLIDATION_REQUEST)),
    Field("builder_deposits", &Schema::ProgressiveList(&BUILDER_DEPOSIT_REQUEST)),
    Field("builder_exits", &Schema::ProgressiveList(&BUILDER_EXIT_REQUEST)),
]);

static DEPOSIT_REQUEST: Schema = Schema::Container(&[
    Field("pubkey", &BYTES48),
    Field("withdrawal_credentials", &BYTES32),
    Field("amount", &UINT64),
    Field("signature", &SIGNATURE),
    Field("index", &UINT64),
]);

static WITHDRAWAL_REQUEST: Schema = Schema::Container(&[
    Field("source_address", &ADDRESS),
    Field("validator_pubkey", &BYTES48),
    Field("amount", &UINT64),
]);

static CONSOLIDATION_REQUEST: Schema = Schema::Container(&[
    Field("source_address", &ADDRESS),
    Field("source_pubkey", &BYTES48),
    Field("target_pubkey", &BYTES48),
]);

static BUILDER_DEPOSIT_REQUEST: Schema = Schema::Container(&[
    Field("pubkey", &BYTES48),
    Field("withdrawal_credentials", &BYTES32),
    Field("amount", &UINT64),
    Field("signature", &SIGNATURE),
]);

static BUILDER_EXIT_REQUEST: Schema =
    Schema::Container(&[Field("source_address", &ADDRESS), Field("pubkey", &BYTES48)]);
