//! `AGGREGATE_AND_PROOF` and `AGGREGATE_AND_PROOF_V2`: either shape, bare or `{version, data}`, for either type.

use super::containers::{ATTESTATION, ATTESTATION_DATA, SIGNATURE, UINT64};
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use super::schema::{Field, Limit, Schema};
use super::versioned::{schema_of, unwrap};
use crate::network::Fork;
use crate::permit::UnslashableType;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>, kind: UnslashableType) -> Result<Message, ParseError> {
    let payload = body.field("aggregate_and_proof")?;
    let object = unwrap(&payload, Fork::Phase0)?;
    let slot = object.data.field("aggregate")?.field("data")?.field("slot")?.uint64()?;
    let fork_info = context.fork_info(body)?;
    let schema = schema_of(&object, slot, &fork_info, context.network, schema)?;
    let object_root = context.hash(schema, &object.data)?;
    let epoch = context.network.epoch_at_slot(slot);
    Ok(Message::on_chain(object_root, DomainType::AGGREGATE_AND_PROOF, epoch, &fork_info).for_slot(slot).local(kind))
}

/// Electra joined the committees of a slot (EIP-7549); Gloas made the attestation progressive (EIP-7688).
fn schema(fork: Fork) -> &'static Schema {
    match fork {
        Fork::Phase0 | Fork::Altair | Fork::Bellatrix | Fork::Capella | Fork::Deneb => &PHASE0,
        Fork::Electra | Fork::Fulu => &ELECTRA,
        Fork::Gloas | Fork::Heze => &GLOAS,
    }
}

static PHASE0: Schema = Schema::Container(&[
    Field("aggregator_index", &UINT64),
    Field("aggregate", &ATTESTATION),
    Field("selection_proof", &SIGNATURE),
]);

static ELECTRA: Schema = Schema::Container(&[
    Field("aggregator_index", &UINT64),
    Field(
        "aggregate",
        &Schema::Container(&[
            Field("aggregation_bits", &Schema::Bitlist(ALL_COMMITTEES)),
            Field("data", &ATTESTATION_DATA),
            Field("signature", &SIGNATURE),
            Field("committee_bits", &COMMITTEE_BITS),
        ]),
    ),
    Field("selection_proof", &SIGNATURE),
]);

static GLOAS: Schema = Schema::Container(&[
    Field("aggregator_index", &UINT64),
    Field(
        "aggregate",
        &Schema::ProgressiveContainer(&[
            Field("aggregation_bits", &Schema::ProgressiveBitlist),
            Field("data", &ATTESTATION_DATA),
            Field("signature", &SIGNATURE),
            Field("committee_bits", &COMMITTEE_BITS),
        ]),
    ),
    Field("selection_proof", &SIGNATURE),
]);

static COMMITTEE_BITS: Schema = Schema::Bitvector(|preset| preset.max_committees_per_slot);

/// Members of all committees of a slot.
const ALL_COMMITTEES: Limit = |preset| preset.max_validators_per_committee * preset.max_committees_per_slot;
