//! The policy itself: plain values, in a fixed order, as they travel through the log.

use super::operation::Grant;
use crate::primitives::{Address, PublicKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Upper bound of an encoded policy, in bytes: with its envelope it must fit into one command.
pub const POLICY_BYTES_MAX: usize = 224 * 1024;

const _: () = assert!(POLICY_BYTES_MAX + 16 * 1024 <= crate::command::COMMAND_BYTES_MAX);

/// Who may ask what, on every node alike. What is not granted is denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The only values of `Host` that are answered, in lower case, on every door; narrows the nodes' own lists.
    pub hosts: Option<Vec<String>>,
    /// The only addresses that are answered; narrows the nodes' own lists.
    pub addresses: Addresses,
    /// How many slots ahead of the clock what is to be signed may lie; admission alone, no safety rests on it.
    pub future_slots: Option<u64>,
    /// Named sets of keys.
    pub tags: BTreeMap<String, BTreeSet<PublicKey>>,
    /// Named sets of rights.
    pub roles: BTreeMap<String, Role>,
    /// Who has which roles, in the order of the document.
    pub clients: Vec<PolicyClient>,
}

/// Addresses and networks (`10.0.0.1`, `10.0.0.0/8`, `fd00::/8`) per door; `None` does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Where signatures are asked for.
    pub sign: Option<Vec<String>>,
    /// The key manager API.
    pub keymanager: Option<Vec<String>>,
    /// The administrators' API.
    pub admin: Option<Vec<String>>,
    /// Metrics.
    pub metrics: Option<Vec<String>>,
}

/// What a role may do, and with which keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// The keys that its operations may name. `None`, which only a role without signing operations may have, is any.
    pub keys: Option<KeyScope>,
    /// What it may ask for.
    pub operations: BTreeSet<Grant>,
    /// The only fee recipients that registrations and proposer preferences of this role may name.
    pub fee_recipients: Option<BTreeSet<Address>>,
}

/// A set of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyScope {
    /// Every key, also those of later.
    All,
    /// These.
    Keys(BTreeSet<PublicKey>),
    /// The keys of these tags.
    Tags(BTreeSet<String>),
}

/// A client: who has proved all that is named here has the roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyClient {
    /// Its name in records, limits and the audit log.
    pub name: String,
    /// What its certificate must be.
    pub certificate: Option<CertificateMatch>,
    /// What its access token must be.
    pub jwt: Option<JwtMatch>,
    /// What it may do.
    pub roles: BTreeSet<String>,
    /// How often it may ask.
    pub rate: Option<Rate>,
}

/// What a certificate must be; all that is named must hold. Names are compared whole, there are no patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateMatch {
    /// The subject's common name, exactly.
    pub common_name: Option<String>,
    /// One of the DNS names, whatever its case.
    pub dns: Option<String>,
    /// One of the URIs (SPIFFE ids among them), exactly.
    pub uri: Option<String>,
    /// SHA-256 of the certificate.
    #[serde(with = "serde_bytes")]
    pub fingerprint: Option<[u8; 32]>,
}

/// What a JWT must say; all that is named must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtMatch {
    /// `iss`, exactly.
    pub issuer: String,
    /// `sub`, exactly.
    pub subject: Option<String>,
    /// Claims, each of which must hold all the values named.
    pub claims: BTreeMap<String, BTreeSet<String>>,
}

/// How often a client may ask: a bucket that holds `burst` and gains `per_second`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Requests per second in the long run.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}
