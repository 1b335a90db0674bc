//! `DEPOSIT`: valid on any chain that has the genesis fork version of the request.

use super::containers::{BYTES32, BYTES48, UINT64};
use super::cursor::Cursor;
use super::domain::DomainType;
use super::error::ParseError;
use super::request::{Context, Message};
use super::schema::{Field, Schema};
use crate::network::Version;
use crate::permit::UnslashableType;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let deposit = body.field("deposit")?;
    let genesis_fork_version = Version(deposit.field("genesis_fork_version")?.bytes()?);
    let object_root = context.hash(&DEPOSIT_MESSAGE, &deposit)?;
    Ok(Message::without_chain(object_root, DomainType::DEPOSIT, genesis_fork_version).local(UnslashableType::Deposit))
}

static DEPOSIT_MESSAGE: Schema = Schema::Container(&[
    Field("pubkey", &BYTES48),
    Field("withdrawal_credentials", &BYTES32),
    Field("amount", &UINT64),
]);
