//! `BUILDER_REQUEST_AUTH` (Gloas): authenticates a proposer's request to a builder's API.
//!
//! Belongs to no chain: genesis fork version of the network, zero root, `fork_info` not read.

use super::containers::UINT64;
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use super::schema::{Field, Schema};
use super::versioned::unwrap;
use crate::network::Fork;
use crate::permit::UnslashableType;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let payload = match body.optional("request_auth")? {
        // Lighthouse's name.
        Some(payload) if body.optional("builder_request_auth")?.is_none() => payload,
        Some(_) | None => body.field("builder_request_auth")?,
    };
    let object = unwrap(&payload, Fork::Gloas)?;
    let object_root = context.hash(&REQUEST_AUTH, &object.data)?;
    let slot = object.data.field("slot")?.uint64()?;
    let version = context.network.genesis_fork_version();
    Ok(Message::without_chain(object_root, DomainType::BUILDER_REQUEST_AUTH, version)
        .for_slot(slot)
        .local(UnslashableType::BuilderRequestAuth))
}

/// Builder specification, June 2026.
const MAX_DATA_BYTES: u64 = 4096;

static REQUEST_AUTH: Schema =
    Schema::Container(&[Field("data", &Schema::ByteList(|_| MAX_DATA_BYTES)), Field("slot", &UINT64)]);
