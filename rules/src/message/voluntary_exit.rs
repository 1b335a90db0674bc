//! `VOLUNTARY_EXIT`: not slashable but irrevocable, through the log.
//!
//! EIP-7044: on a chain at Deneb or later an exit is valid under the Capella domain for ever, whatever fork the client
//! names. The chain counts as at Deneb or later when the exit's epoch is (by the network's schedule), or when
//! `fork_info` names the version of a fork of this network that is: an exit may name an epoch long past.

use super::containers::VOLUNTARY_EXIT;
use super::cursor::Cursor;
use super::domain::{DomainType, ForkInfo};
use super::error::ParseError;
use super::request::{Context, Message};
use crate::network::{Fork, Network, Version};
use crate::primitives::Epoch;
use crate::slashing::AgreedDuty;

pub(super) fn read(body: &Cursor<'_, '_>, context: &Context<'_>) -> Result<Message, ParseError> {
    let exit = body.field("voluntary_exit")?;
    let epoch = exit.field("epoch")?.uint64()?;
    let validator_index = exit.field("validator_index")?.uint64()?;
    let object_root = context.hash(&VOLUNTARY_EXIT, &exit)?;
    let fork_info = context.fork_info(body)?;
    let version = domain_version(epoch, &fork_info, context.network);
    Ok(Message::with_version(object_root, DomainType::VOLUNTARY_EXIT, version, &fork_info)
        .for_epoch(epoch, context.network)
        .agreed(AgreedDuty::VoluntaryExit { epoch, validator_index }))
}

fn domain_version(epoch: Epoch, fork_info: &ForkInfo, network: &Network) -> Version {
    let by_epoch = network.fork_at_epoch(epoch) >= Fork::Deneb;
    let by_version = network.fork_of_version(fork_info.current_version()).is_some_and(|fork| fork >= Fork::Deneb);
    match network.fork_version(Fork::Capella) {
        Some(capella) if by_epoch || by_version => capella,
        Some(_) | None => fork_info.version_at(epoch),
    }
}
