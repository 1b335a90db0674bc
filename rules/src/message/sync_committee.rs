//! `SYNC_COMMITTEE_MESSAGE`, `SYNC_COMMITTEE_SELECTION_PROOF`, `SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF`.

use super::containers::{BYTES32, SIGNATURE, UINT64};
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use super::schema::{Field, Schema};
use crate::permit::UnslashableType;

/// What is signed is the block root alone; the slot only selects the domain.
pub(super) fn read_message(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let message = body.field("sync_committee_message")?;
    let slot = message.field("slot")?.uint64()?;
    let object_root = message.field("beacon_block_root")?.bytes()?;
    let fork_info = context.fork_info(body)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(object_root, DomainType::SYNC_COMMITTEE, epoch, &fork_info)
        .for_slot(slot)
        .local(UnslashableType::SyncCommitteeMessage))
}

/// The selection proof of a sync committee aggregator.
pub(super) fn read_selection_proof(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let data = body.field("sync_aggregator_selection_data")?;
    let slot = data.field("slot")?.uint64()?;
    let object_root = context.hash(&SELECTION_DATA, &data)?;
    let fork_info = context.fork_info(body)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(object_root, DomainType::SYNC_COMMITTEE_SELECTION_PROOF, epoch, &fork_info)
        .for_slot(slot)
        .local(UnslashableType::SyncCommitteeSelectionProof))
}

/// The aggregate of a sync subcommittee.
pub(super) fn read_contribution(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let proof = body.field("contribution_and_proof")?;
    let slot = proof.field("contribution")?.field("slot")?.uint64()?;
    let object_root = context.hash(&CONTRIBUTION_AND_PROOF, &proof)?;
    let fork_info = context.fork_info(body)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(object_root, DomainType::CONTRIBUTION_AND_PROOF, epoch, &fork_info)
        .for_slot(slot)
        .local(UnslashableType::SyncCommitteeContributionAndProof))
}

/// Consensus specification, altair: `SYNC_COMMITTEE_SUBNET_COUNT`.
const SYNC_COMMITTEE_SUBNET_COUNT: u64 = 4;

static SELECTION_DATA: Schema = Schema::Container(&[Field("slot", &UINT64), Field("subcommittee_index", &UINT64)]);

static CONTRIBUTION: Schema = Schema::Container(&[
    Field("slot", &UINT64),
    Field("beacon_block_root", &BYTES32),
    Field("subcommittee_index", &UINT64),
    Field("aggregation_bits", &Schema::Bitvector(|preset| preset.sync_committee_size / SYNC_COMMITTEE_SUBNET_COUNT)),
    Field("signature", &SIGNATURE),
]);

static CONTRIBUTION_AND_PROOF: Schema = Schema::Container(&[
    Field("aggregator_index", &UINT64),
    Field("contribution", &CONTRIBUTION),
    Field("selection_proof", &SIGNATURE),
]);
