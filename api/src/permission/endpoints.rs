//! What each endpoint is in the words of a policy: one table, which a test compares with the router's routes.
//!
//! In: the method and the path of a route. Out: what the caller needs. A route that does not stand here serves nobody
//! who must be permitted: the proofs that its handler asks for are refused with 500. Deliberately absent: who has what.

use consigner_rules::policy::{AdminVerb, KeyManagerVerb, Operation};
use http::Method;

/// What the caller of an endpoint needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// No permission: to have come through the door is enough.
    Nothing,
    /// To be known: what may be signed and with which key is judged when the request is understood.
    Signing,
    /// This operation.
    Operation(Operation),
    /// One of these operations, from wherever either may be asked.
    Either(Operation, Operation),
}

impl Needs {
    /// By which the endpoint's group of addresses is found; `None`: it has none.
    pub(crate) const fn operation(self) -> Option<Operation> {
        match self {
            Self::Nothing | Self::Either(..) => None,
            Self::Signing => Some(Operation::ListKeys),
            Self::Operation(operation) => Some(operation),
        }
    }
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoint {
    /// `HEAD` goes with `GET`.
    pub(super) method: &'static str,
    /// As the router has it.
    pub(super) path: &'static str,
    pub(super) needs: Needs,
}

/// What the caller of this route needs; `None` if the table does not know it.
pub(crate) fn needs(method: &Method, path: &str) -> Option<Needs> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    ENDPOINTS.iter().find(|known| known.path == path && known.method == method).map(|known| known.needs)
}

/// All of them, the most frequent first.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    post("/api/v1/eth2/sign/{identifier}", Needs::Signing),
    get("/api/v1/eth2/publicKeys", LIST_KEYS),
    get("/api/v1/eth2/highWatermark", LIST_KEYS),
    get("/upcheck", Needs::Nothing),
    get("/healthcheck", Needs::Nothing),
    get("/leader", Needs::Nothing),
    get("/ready", Needs::Nothing),
    // How the last reading of the key sources went: for validator clients, as Web3Signer has it, and for who starts one.
    get("/reload", Needs::Either(Operation::ListKeys, Operation::Admin(AdminVerb::Reload))),
    post("/reload", admin(AdminVerb::Reload)),
    get("/eth/v1/keystores", keymanager(KeyManagerVerb::List)),
    post("/eth/v1/keystores", keymanager(KeyManagerVerb::Import)),
    delete("/eth/v1/keystores", keymanager(KeyManagerVerb::Delete)),
    get("/eth/v1/remotekeys", keymanager(KeyManagerVerb::List)),
    post("/eth/v1/remotekeys", keymanager(KeyManagerVerb::Import)),
    delete("/eth/v1/remotekeys", keymanager(KeyManagerVerb::Delete)),
    get("/admin/v1/cluster/status", admin(AdminVerb::Status)),
    post("/admin/v1/cluster/init", admin(AdminVerb::Cluster)),
    post("/admin/v1/cluster/members", admin(AdminVerb::Cluster)),
    post("/admin/v1/cluster/members/promote", admin(AdminVerb::Cluster)),
    post("/admin/v1/cluster/members/remove", admin(AdminVerb::Cluster)),
    post("/admin/v1/cluster/members/replace", admin(AdminVerb::Cluster)),
    post("/admin/v1/cluster/transfer-leader", admin(AdminVerb::Cluster)),
    post("/admin/v1/cluster/accept-restart", admin(AdminVerb::Cluster)),
    get("/admin/v1/cluster/join-tokens", admin(AdminVerb::Cluster)),
    post("/admin/v1/cluster/join-tokens", admin(AdminVerb::Cluster)),
    post("/admin/v1/cluster/join-tokens/revoke", admin(AdminVerb::Cluster)),
    get("/admin/v1/cluster/backup", admin(AdminVerb::Cluster)),
    post("/admin/v1/cluster/resume", admin(AdminVerb::Cluster)),
    get("/admin/v1/history/export", admin(AdminVerb::HistoryExport)),
    post("/admin/v1/history/import", admin(AdminVerb::HistoryImport)),
    get("/admin/v1/history/recorded", admin(AdminVerb::HistoryExport)),
    get("/admin/v1/history/watermarks", admin(AdminVerb::HistoryExport)),
    post("/admin/v1/history/watermarks/raise", admin(AdminVerb::HistoryImport)),
    // The one call about histories that allows again what was refused.
    post("/admin/v1/history/watermarks/high", admin(AdminVerb::Cluster)),
    post("/admin/v1/history/watermarks/high/clear", admin(AdminVerb::Cluster)),
    get("/admin/v1/keys", admin(AdminVerb::KeysList)),
    post("/admin/v1/keys/import", admin(AdminVerb::KeysImport)),
    post("/admin/v1/keys/delete", admin(AdminVerb::KeysDelete)),
    post("/admin/v1/keys/rewrap", admin(AdminVerb::KeysRewrap)),
    // Of use to a rewrap alone, and it names master keys.
    get("/admin/v1/keys/data-keys", admin(AdminVerb::KeysRewrap)),
    post("/admin/v1/keys/data-keys", admin(AdminVerb::KeysRewrap)),
    post("/admin/v1/keys/data-keys/remove", admin(AdminVerb::KeysRewrap)),
    get("/admin/v1/policy", admin(AdminVerb::PolicyRead)),
    post("/admin/v1/policy/check", admin(AdminVerb::PolicyRead)),
    post("/admin/v1/policy/apply", admin(AdminVerb::PolicyWrite)),
    get("/admin/v1/policy/tokens", admin(AdminVerb::Tokens)),
    post("/admin/v1/policy/tokens", admin(AdminVerb::Tokens)),
    post("/admin/v1/policy/tokens/revoke", admin(AdminVerb::Tokens)),
    get("/admin/v1/audit/anchors", admin(AdminVerb::Audit)),
    get("/admin/v1/archive", admin(AdminVerb::Status)),
    // It says for ever that rows are lost.
    post("/admin/v1/archive/backfill", admin(AdminVerb::Cluster)),
];

const LIST_KEYS: Needs = Needs::Operation(Operation::ListKeys);

const fn get(path: &'static str, needs: Needs) -> Endpoint {
    Endpoint { method: "GET", path, needs }
}

const fn post(path: &'static str, needs: Needs) -> Endpoint {
    Endpoint { method: "POST", path, needs }
}

const fn delete(path: &'static str, needs: Needs) -> Endpoint {
    Endpoint { method: "DELETE", path, needs }
}

const fn admin(verb: AdminVerb) -> Needs {
    Needs::Operation(Operation::Admin(verb))
}

const fn keymanager(verb: KeyManagerVerb) -> Needs {
    Needs::Operation(Operation::KeyManager(verb))
}
