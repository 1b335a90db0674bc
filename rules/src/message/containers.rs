//! Containers that more than one message kind uses, as schemas.
//!
//! Source: consensus specification 1.7.0b4. Deliberately absent: containers of one kind only (they stand in its file).

use super::schema::{Field, Limit, Schema};

pub(super) static UINT64: Schema = Schema::Uint64;
pub(super) static BOOL: Schema = Schema::Bool;
/// `Root`, `Hash32`, `Bytes32`
pub(super) static BYTES32: Schema = Schema::Bytes(32);
/// `ExecutionAddress`
pub(super) static ADDRESS: Schema = Schema::Bytes(20);
/// `BLSPubkey`, `KZGCommitment`
pub(super) static BYTES48: Schema = Schema::Bytes(48);
/// `BLSSignature`
pub(super) static SIGNATURE: Schema = Schema::Bytes(96);

static CHECKPOINT: Schema = Schema::Container(&[Field("epoch", &UINT64), Field("root", &BYTES32)]);

pub(super) static ATTESTATION_DATA: Schema = Schema::Container(&[
    Field("slot", &UINT64),
    Field("index", &UINT64),
    Field("beacon_block_root", &BYTES32),
    Field("source", &CHECKPOINT),
    Field("target", &CHECKPOINT),
]);

/// The aggregate of phase 0 to deneb: one committee.
pub(super) static ATTESTATION: Schema = Schema::Container(&[
    Field("aggregation_bits", &Schema::Bitlist(COMMITTEE)),
    Field("data", &ATTESTATION_DATA),
    Field("signature", &SIGNATURE),
]);

/// Members of one committee.
pub(super) const COMMITTEE: Limit = |preset| preset.max_validators_per_committee;

pub(super) static BEACON_BLOCK_HEADER: Schema = Schema::Container(&[
    Field("slot", &UINT64),
    Field("proposer_index", &UINT64),
    Field("parent_root", &BYTES32),
    Field("state_root", &BYTES32),
    Field("body_root", &BYTES32),
]);

pub(super) static VOLUNTARY_EXIT: Schema =
    Schema::Container(&[Field("epoch", &UINT64), Field("validator_index", &UINT64)]);

/// From Gloas on (EIP-7688); before, transactions stand in blocks only, which are signed as headers.
pub(super) static TRANSACTIONS: Schema = Schema::ProgressiveList(&Schema::ProgressiveByteList);
