//! `/admin/v1/cluster`: making a cluster and looking at it. One endpoint, one file.

pub(crate) mod init;
mod status;

pub(crate) use init::post as cluster_init;
pub(crate) use status::get as cluster_status;
