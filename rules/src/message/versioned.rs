//! Which fork's SSZ shape an object has.
//!
//! In: an object, bare or as `{version, data}`, its slot. Out: the object's place and its fork. The rule, which follows
//! the network's schedule as far as it reaches:
//!
//! 1. The fork of a bare object is the one that the schedule has at the object's slot. Only when the request's
//!    `fork_info` names, for that slot, the version of a fork that this network knows but has not scheduled, that
//!    fork is meant: the binary may be older than the decision on the date.
//! 2. The fork of `{version, data}` is `version`, in any case. If that fork is scheduled, its SSZ shape must be the
//!    shape of the fork at the slot; the name alone may differ (Electra and Fulu share one shape). If it is not
//!    scheduled, the version is trusted.
//!
//! Deliberately absent: any effect on the domain, which comes from `fork_info` alone.

use super::cursor::Cursor;
use super::domain::ForkInfo;
use super::error::{Fault, ParseError};
use super::json::clip;
use super::schema::Schema;
use crate::network::{Fork, Network};
use crate::primitives::Slot;

/// An object and the version beside it, if it has one.
pub(super) struct Versioned<'j, 'p> {
    /// The object itself.
    pub(super) data: Cursor<'j, 'p>,
    /// The fork that the request names, and where.
    pub(super) version: Option<(Fork, Cursor<'j, 'p>)>,
}

/// Unwraps `{version, data}`; anything without a `version` is bare. Versions before `first` do not have the object.
pub(super) fn unwrap<'j, 'p, 's>(payload: &'s Cursor<'j, 'p>, first: Fork) -> Result<Versioned<'j, 's>, ParseError>
where
    'p: 's,
{
    let Some(version) = payload.optional("version")? else { return Ok(Versioned { data: *payload, version: None }) };
    let name = version.text()?;
    let known = || Fork::ALL.iter().copied().filter(|fork| *fork >= first);
    match known().find(|fork| fork.name().eq_ignore_ascii_case(name)) {
        Some(fork) => Ok(Versioned { data: payload.field("data")?, version: Some((fork, version)) }),
        None => Err(version.fault(Fault::Version {
            found: clip(name).into_owned(),
            known: known().map(Fork::name).collect::<Vec<_>>().join(", "),
        })),
    }
}

/// The schema of the object, chosen by the rule at the head of this file. `schema` gives the schema of each fork; forks
/// with the same static share a shape.
pub(super) fn schema_of(
    object: &Versioned<'_, '_>,
    slot: Slot,
    fork_info: &ForkInfo,
    network: &Network,
    schema: fn(Fork) -> &'static Schema,
) -> Result<&'static Schema, ParseError> {
    let scheduled = network.fork_at_slot(slot);
    match &object.version {
        None => {
            let version = fork_info.version_at(network.epoch_at_slot(slot));
            Ok(schema(network.unscheduled_fork(version).unwrap_or(scheduled)))
        }
        Some((fork, at)) if network.is_scheduled(*fork) && !std::ptr::eq(schema(*fork), schema(scheduled)) => {
            Err(at.fault(Fault::Schedule { version: fork.name(), slot, scheduled: scheduled.name() }))
        }
        Some((fork, _)) => Ok(schema(*fork)),
    }
}
