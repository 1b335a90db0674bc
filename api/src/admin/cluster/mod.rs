//! `/admin/v1/cluster`: making a cluster, looking at it, changing who belongs to it. One endpoint, one file; those that
//! change the membership have one in common.

mod accept_restart;
pub(crate) mod init;
mod join_tokens;
mod members;
#[cfg(test)]
mod members_tests;
mod status;

pub(crate) use accept_restart::post as cluster_accept_restart;
pub(crate) use init::post as cluster_init;
pub(crate) use join_tokens::{create as join_tokens_create, list as join_tokens_list, revoke as join_tokens_revoke};
pub(crate) use members::{
    add as members_add, promote as members_promote, remove as members_remove, replace as members_replace,
    transfer as cluster_transfer_leader,
};
pub(crate) use status::get as cluster_status;

use crate::admission::BodyRules;
use std::time::Duration;

/// A few fields.
const BODY: BodyRules = BodyRules { bytes_max: 64 << 10, time_max: Duration::from_secs(10) };
