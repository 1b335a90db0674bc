//! `BLOCK` and `BLOCK_V2`: slashable, through the log.
//!
//! A header hashes like the block that it stands for, so it is taken for every version; a full block only for PHASE0 and
//! ALTAIR, as in Web3Signer. Deliberately absent: later block bodies.

use super::containers::{ATTESTATION, ATTESTATION_DATA, BEACON_BLOCK_HEADER, BYTES32, BYTES48, COMMITTEE, SIGNATURE};
use super::containers::{UINT64, VOLUNTARY_EXIT};
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::{Fault, ParseError};
use super::json::clip;
use super::request::{Context, Message};
use super::schema::{Field, Schema};
use crate::network::Fork;
use crate::slashing::AgreedDuty;

/// The old type: always a phase 0 block.
pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    message(body, &body.field("block")?, &PHASE0_BLOCK, context)
}

/// The type that carries its version.
pub(super) fn read_v2(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let payload = body.field("beacon_block")?;
    let full = match version(&payload.field("version")?)? {
        Fork::Phase0 => Some(&PHASE0_BLOCK),
        Fork::Altair => Some(&ALTAIR_BLOCK),
        Fork::Bellatrix | Fork::Capella | Fork::Deneb | Fork::Electra | Fork::Fulu | Fork::Gloas | Fork::Heze => None,
    };
    let header = payload.optional("block_header")?;
    let Some(schema) = full else {
        return message(body, &payload.field("block_header")?, &BEACON_BLOCK_HEADER, context);
    };
    match (header, payload.optional("block")?) {
        // Two blocks in one request: which of them was checked by whoever sent it?
        (Some(header), Some(_)) => Err(header.fault(Fault::Both("block"))),
        (Some(header), None) => message(body, &header, &BEACON_BLOCK_HEADER, context),
        (None, _) => message(body, &payload.field("block")?, schema, context),
    }
}

/// Upper case exactly, as in Web3Signer (Java's `valueOf`).
fn version(at: &Cursor<'_, '_>) -> Result<Fork, ParseError> {
    let name = at.text()?;
    Fork::ALL.iter().copied().find(|fork| fork.name() == name).ok_or_else(|| {
        at.fault(Fault::Version {
            found: clip(name).into_owned(),
            known: Fork::ALL.iter().map(|fork| fork.name()).collect::<Vec<_>>().join(", "),
        })
    })
}

fn message(
    body: &Cursor<'_, '_>,
    block: &Cursor<'_, '_>,
    schema: &Schema,
    context: &Context<'_>,
) -> Result<Message, ParseError> {
    let slot = block.field("slot")?.uint64()?;
    let object_root = context.hash(schema, block)?;
    let fork_info = context.fork_info(body)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(object_root, DomainType::BEACON_PROPOSER, epoch, &fork_info)
        .for_slot(slot)
        .agreed(AgreedDuty::Block { slot }))
}

/// Operations of a phase 0 or altair block; equal in all presets.
const MAX_PROPOSER_SLASHINGS: u64 = 16;
const MAX_ATTESTER_SLASHINGS: u64 = 2;
const MAX_ATTESTATIONS: u64 = 128;
const MAX_DEPOSITS: u64 = 16;
const MAX_VOLUNTARY_EXITS: u64 = 16;
/// `DEPOSIT_CONTRACT_TREE_DEPTH` and the mixed-in count.
const DEPOSIT_PROOF_LENGTH: u64 = 33;

static PHASE0_BLOCK: Schema = Schema::Container(&[
    Field("slot", &UINT64),
    Field("proposer_index", &UINT64),
    Field("parent_root", &BYTES32),
    Field("state_root", &BYTES32),
    Field("body", &PHASE0_BODY),
]);

static ALTAIR_BLOCK: Schema = Schema::Container(&[
    Field("slot", &UINT64),
    Field("proposer_index", &UINT64),
    Field("parent_root", &BYTES32),
    Field("state_root", &BYTES32),
    Field("body", &ALTAIR_BODY),
]);

static PHASE0_BODY: Schema = Schema::Container(&[
    Field("randao_reveal", &SIGNATURE),
    Field("eth1_data", &ETH1_DATA),
    Field("graffiti", &BYTES32),
    Field("proposer_slashings", &PROPOSER_SLASHINGS),
    Field("attester_slashings", &ATTESTER_SLASHINGS),
    Field("attestations", &ATTESTATIONS),
    Field("deposits", &DEPOSITS),
    Field("voluntary_exits", &VOLUNTARY_EXITS),
]);

static ALTAIR_BODY: Schema = Schema::Container(&[
    Field("randao_reveal", &SIGNATURE),
    Field("eth1_data", &ETH1_DATA),
    Field("graffiti", &BYTES32),
    Field("proposer_slashings", &PROPOSER_SLASHINGS),
    Field("attester_slashings", &ATTESTER_SLASHINGS),
    Field("attestations", &ATTESTATIONS),
    Field("deposits", &DEPOSITS),
    Field("voluntary_exits", &VOLUNTARY_EXITS),
    Field("sync_aggregate", &SYNC_AGGREGATE),
]);

static PROPOSER_SLASHINGS: Schema = Schema::List(&PROPOSER_SLASHING, |_| MAX_PROPOSER_SLASHINGS);
static ATTESTER_SLASHINGS: Schema = Schema::List(&ATTESTER_SLASHING, |_| MAX_ATTESTER_SLASHINGS);
static ATTESTATIONS: Schema = Schema::List(&ATTESTATION, |_| MAX_ATTESTATIONS);
static DEPOSITS: Schema = Schema::List(&DEPOSIT, |_| MAX_DEPOSITS);
static VOLUNTARY_EXITS: Schema = Schema::List(&SIGNED_VOLUNTARY_EXIT, |_| MAX_VOLUNTARY_EXITS);

static ETH1_DATA: Schema = Schema::Container(&[
    Field("deposit_root", &BYTES32),
    Field("deposit_count", &UINT64),
    Field("block_hash", &BYTES32),
]);

static PROPOSER_SLASHING: Schema =
    Schema::Container(&[Field("signed_header_1", &SIGNED_HEADER), Field("signed_header_2", &SIGNED_HEADER)]);

static SIGNED_HEADER: Schema =
    Schema::Container(&[Field("message", &BEACON_BLOCK_HEADER), Field("signature", &SIGNATURE)]);

static ATTESTER_SLASHING: Schema =
    Schema::Container(&[Field("attestation_1", &INDEXED_ATTESTATION), Field("attestation_2", &INDEXED_ATTESTATION)]);

static INDEXED_ATTESTATION: Schema = Schema::Container(&[
    Field("attesting_indices", &Schema::List(&UINT64, COMMITTEE)),
    Field("data", &ATTESTATION_DATA),
    Field("signature", &SIGNATURE),
]);

static DEPOSIT: Schema =
    Schema::Container(&[Field("proof", &Schema::Vector(&BYTES32, DEPOSIT_PROOF_LENGTH)), Field("data", &DEPOSIT_DATA)]);

static DEPOSIT_DATA: Schema = Schema::Container(&[
    Field("pubkey", &BYTES48),
    Field("withdrawal_credentials", &BYTES32),
    Field("amount", &UINT64),
    Field("signature", &SIGNATURE),
]);

static SIGNED_VOLUNTARY_EXIT: Schema =
    Schema::Container(&[Field("message", &VOLUNTARY_EXIT), Field("signature", &SIGNATURE)]);

static SYNC_AGGREGATE: Schema = Schema::Container(&[
    Field("sync_committee_bits", &Schema::Bitvector(|preset| preset.sync_committee_size)),
    Field("sync_committee_signature", &SIGNATURE),
]);
