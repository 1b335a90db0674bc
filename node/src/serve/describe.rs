//! What this process tells in `cluster status` beside its part in the cluster.
//!
//! In: custody, readiness, the identity towards other nodes. Out: a [`Description`], made anew for every question.
//! Deliberately absent: the disk, which the cluster's own guard measures.

use super::readiness::Readiness;
use consigner_gate::ReloadableClientTls;
use consigner_gate::tls::Expiry;
use consigner_keys::Custody;
use consigner_raft::{CertificateEnd, Describe, Description, SealerHealth};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Describes a node by these parts.
pub(super) fn describer(custody: Arc<Custody>, peer_tls: Arc<ReloadableClientTls>, readiness: Readiness) -> Describe {
    Arc::new(move || {
        let status = custody.status();
        let keys_waiting = (status.waiting_keys + status.failed_keys) as u64;
        Description {
            not_ready: readiness.reason().map(str::to_owned).or_else(|| status.trouble()),
            sealers: sealers(&status.data_keys),
            keys_open: custody.keyring().len() as u64,
            keys_waiting,
            certificate: first(peer_tls.expiries()),
            disk: None,
        }
    })
}

/// One line per sealer; it is well when every data key that it wrapped is open.
fn sealers(data_keys: &[consigner_keys::DataKeyStatus]) -> Vec<SealerHealth> {
    let mut by_kind: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for data_key in data_keys {
        let error = (!data_key.open).then(|| data_key.error.clone().unwrap_or_else(|| "being opened".to_owned()));
        by_kind
            .entry(&data_key.sealer)
            .and_modify(|known| *known = known.take().or_else(|| error.clone()))
            .or_insert(error);
    }
    by_kind.into_iter().map(|(kind, error)| SealerHealth { kind: kind.to_owned(), error }).collect()
}

/// The node's own doors present the same or later ones; a metric tells each.
fn first(expiries: Vec<Expiry>) -> Option<CertificateEnd> {
    let first = expiries.into_iter().min_by_key(|expiry| expiry.unix)?;
    Some(CertificateEnd { what: format!("peer {}", first.what.label()), not_after: first.unix })
}
