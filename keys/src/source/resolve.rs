//! One candidate after the other: opened, fetched, checked against the public key that its source names.
//!
//! In: groups of candidates. Out: results. Deliberately absent: the order and number of groups in work (see `loading`).

use super::error::SourceError;
use super::files::Warning;
use super::loading::{Fetch, Loaded, Outcome};
use super::remote::RemoteSecret;
use super::{Candidate, Material, wallet};
use crate::bls::SecretKey;
use crate::keystore::{DecryptPool, Keystore, Password};
use consigner_rules::PublicKey;
use std::collections::HashMap;
use std::sync::Arc;

/// Whether a public key is in the cluster already.
type Known = Arc<dyn Fn(&PublicKey) -> bool + Send + Sync>;

/// What all groups share.
pub(super) struct Tools {
    pub(super) pool: DecryptPool,
    pub(super) fetch: Option<Fetch>,
    pub(super) known: Known,
}

/// A group that is done.
pub(super) struct Done {
    pub(super) candidates: usize,
    pub(super) results: Vec<Loaded>,
}

/// Candidates of the same public key together, in the order of their first; the others alone.
pub(super) fn group(candidates: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    let mut groups: Vec<Vec<Candidate>> = Vec::with_capacity(candidates.len());
    let mut places: HashMap<PublicKey, usize> = HashMap::new();
    for candidate in candidates {
        let place = candidate.public_key.map(|public_key| *places.entry(public_key).or_insert(groups.len()));
        match place.and_then(|place| groups.get_mut(place)) {
            Some(group) => group.push(candidate),
            None => groups.push(vec![candidate]),
        }
    }
    groups
}

pub(super) async fn load_group(group: Vec<Candidate>, tools: Arc<Tools>) -> Done {
    let (candidates, mut results) = (group.len(), Vec::with_capacity(group.len()));
    let mut opened: Option<String> = None;
    for candidate in group {
        for candidate in expand(candidate, &tools).await {
            let loaded = load_one(candidate, opened.as_deref(), &tools).await;
            if candidates > 1 && matches!(loaded.outcome, Outcome::Secret(_)) {
                opened = Some(loaded.origin.clone());
            }
            results.push(loaded);
        }
    }
    Done { candidates, results }
}

/// A candidate that holds one key, or nothing but a reason.
struct Single {
    origin: String,
    public_key: Option<PublicKey>,
    warnings: Vec<Warning>,
    material: SingleMaterial,
}

enum SingleMaterial {
    Keystore(Box<Keystore>, Password),
    Raw(SecretKey),
    Failed(SourceError),
}

/// Opens wallets and fetches remote secrets; both may hold several keys.
async fn expand(candidate: Candidate, tools: &Tools) -> Vec<Single> {
    let Candidate { origin, public_key, material, warnings } = candidate;
    let single = |material| Single { origin: origin.clone(), public_key, warnings: warnings.clone(), material };
    let several = match material {
        Material::Keystore { keystore, password } => return vec![single(SingleMaterial::Keystore(keystore, password))],
        Material::Raw(secret) => return vec![single(SingleMaterial::Raw(secret))],
        Material::Failed(error) => return vec![single(SingleMaterial::Failed(error))],
        Material::Wallet { keystore, password } => open_wallet(&origin, *keystore, password, tools).await,
        Material::Remote(secret) => fetch(&origin, secret, tools).await,
    };
    match several {
        Ok(mut several) => {
            // What is to be said about the file is said once.
            if let Some(first) = several.first_mut() {
                first.warnings.extend(warnings);
            }
            several
        }
        Err(error) => vec![single(SingleMaterial::Failed(error))],
    }
}

async fn open_wallet(
    origin: &str,
    keystore: Keystore,
    password: Password,
    tools: &Tools,
) -> Result<Vec<Single>, SourceError> {
    let payload = tools.pool.decrypt_payload(keystore, password).await?;
    let keys = wallet::read(&payload)?;
    if keys.is_empty() {
        return Err(SourceError::Wallet { reason: "it holds no key".to_owned() });
    }
    let single = |(public_key, secret): wallet::WalletKey| Single {
        origin: origin.to_owned(),
        public_key,
        warnings: Vec::new(),
        material: secret.map_or_else(SingleMaterial::Failed, SingleMaterial::Raw),
    };
    Ok(keys.into_iter().map(single).collect())
}

async fn fetch(origin: &str, secret: RemoteSecret, tools: &Tools) -> Result<Vec<Single>, SourceError> {
    let Some(fetch) = &tools.fetch else {
        return Err(SourceError::Unsupported("secrets of vaults are not fetched here".to_owned()));
    };
    let fetched = fetch(secret).await;
    if fetched.is_empty() {
        return Err(SourceError::Unsupported("the secret holds no key".to_owned()));
    }
    let single = |candidate: Candidate| Single {
        origin: format!("{origin}: {}", candidate.origin),
        public_key: candidate.public_key,
        warnings: candidate.warnings,
        material: match candidate.material {
            Material::Keystore { keystore, password } => SingleMaterial::Keystore(keystore, password),
            Material::Raw(secret) => SingleMaterial::Raw(secret),
            Material::Failed(error) => SingleMaterial::Failed(error),
            Material::Wallet { .. } | Material::Remote(_) => {
                let reason = "a secret that leads to another wallet or secret is not followed".to_owned();
                SingleMaterial::Failed(SourceError::Unsupported(reason))
            }
        },
    };
    Ok(fetched.into_iter().map(single).collect())
}

async fn load_one(single: Single, opened: Option<&str>, tools: &Tools) -> Loaded {
    let Single { origin, public_key, warnings, material } = single;
    let known = public_key.is_some_and(|public_key| (tools.known)(&public_key));
    let result = match (material, opened) {
        (SingleMaterial::Failed(error), _) => Err(error),
        (SingleMaterial::Keystore(..) | SingleMaterial::Raw(_), Some(of)) => {
            let outcome = Outcome::Duplicate { of: of.to_owned() };
            return Loaded { origin, public_key, warnings, outcome };
        }
        (SingleMaterial::Keystore(..) | SingleMaterial::Raw(_), None) if known => {
            return Loaded { origin, public_key, warnings, outcome: Outcome::Known };
        }
        (SingleMaterial::Keystore(keystore, password), None) => {
            tools.pool.decrypt(*keystore, password).await.map_err(SourceError::Keystore)
        }
        (SingleMaterial::Raw(secret), None) => Ok(secret),
    };
    let checked = result.and_then(|secret| match (public_key, secret.public_key()) {
        (Some(named), held) if named != held => Err(SourceError::WrongPublicKey { named, held }),
        (Some(_) | None, held) => Ok((secret, held)),
    });
    match checked {
        // A keystore that does not name its validator shows only now that the cluster has it.
        Ok((_, held)) if public_key.is_none() && (tools.known)(&held) => {
            Loaded { origin, public_key: Some(held), warnings, outcome: Outcome::Known }
        }
        Ok((secret, held)) => Loaded { origin, public_key: Some(held), warnings, outcome: Outcome::Secret(secret) },
        Err(error) => Loaded { origin, public_key, warnings, outcome: Outcome::Failed(error) },
    }
}
