//! `VALIDATOR_REGISTRATION`: for block builders (builder specification), not for the chain.
//!
//! `fork_info` is not read: Nimbus sends one with a zero root, SSV one with `fork: null`, others none. The domain has the
//! network's genesis fork version.

use super::containers::{ADDRESS, BYTES48, UINT64};
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use super::schema::{Field, Schema};
use crate::permit::UnslashableType;
use crate::primitives::Address;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let registration = body.field("validator_registration")?;
    let object_root = context.hash(&VALIDATOR_REGISTRATION, &registration)?;
    let fee_recipient = Address(registration.field("fee_recipient")?.bytes()?);
    let version = context.network.genesis_fork_version();
    Ok(Message::without_chain(object_root, DomainType::APPLICATION_BUILDER, version)
        .paying_to(fee_recipient)
        .local(UnslashableType::ValidatorRegistration))
}

static VALIDATOR_REGISTRATION: Schema = Schema::Container(&[
    Field("fee_recipient", &ADDRESS),
    Field("gas_limit", &UINT64),
    Field("timestamp", &UINT64),
    Field("pubkey", &BYTES48),
]);
