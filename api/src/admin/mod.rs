//! `/admin/v1`: what operators ask, each endpoint by the right that `permission` has for it.

mod archive;
mod audit_anchors;
mod backup;
pub(crate) mod cluster;
mod data_keys;
mod history_export;
mod history_import;
mod history_query;
mod history_recorded;
pub(crate) mod keys;
pub(crate) mod policy;
mod resume;
mod rewrap;
mod watermarks;

pub use archive::ArchiveView;
pub(crate) use archive::{backfill as archive_backfill, show as archive_show};
pub(crate) use audit_anchors::get as audit_anchors;
pub(crate) use backup::get as cluster_backup;
pub(crate) use cluster::{
    cluster_accept_restart, cluster_init, cluster_status, cluster_transfer_leader, join_tokens_create,
    join_tokens_list, join_tokens_revoke, members_add, members_promote, members_remove, members_replace,
};
pub(crate) use data_keys::{list as data_keys_list, make as data_keys_make, remove as data_keys_remove};
pub(crate) use history_export::get as history_export;
pub(crate) use history_import::post as history_import;
pub(crate) use history_recorded::get as history_recorded;
pub(crate) use keys::{delete as keys_delete, import as keys_import, list as keys_list};
pub use policy::TOKEN_LIFE_MAX;
pub(crate) use policy::{
    apply as policy_apply, check as policy_check, show as policy_show, tokens_create, tokens_list, tokens_revoke,
};
pub(crate) use resume::post as cluster_resume;
pub(crate) use rewrap::post as keys_rewrap;
pub(crate) use watermarks::{
    high_clear as watermarks_high_clear, high_set as watermarks_high_set, raise as watermarks_raise,
    show as watermarks_show,
};

use crate::app::Shared;
use crate::error::ApiError;
use crate::metrics;
use tokio::sync::OwnedSemaphorePermit;

/// Leave to hold a history file in memory.
fn history_turn(shared: &Shared) -> Result<OwnedSemaphorePermit, ApiError> {
    shared.slots.history.clone().try_acquire_owned().map_err(|_| {
        metrics::shed("history_files");
        ApiError::Unavailable("another history import or export is running on this node".to_owned())
    })
}

/// The id of a data key, 32 hexadecimal digits.
fn id(field: &str, text: &str) -> Result<[u8; 16], ApiError> {
    consigner_rules::primitives::decode_fixed(text)
        .map_err(|why| ApiError::BadRequest(format!("{field}: {text:?} is not the id of a data key: {why}")))
}
