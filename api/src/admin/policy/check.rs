//! `POST /admin/v1/policy/check`: what somebody else may do, and by which line of the policy.
//!
//! In: `{"as": ["cn:vc-1", "dns:..", "uri:..", "fingerprint:..", "token:ID", "jwt:issuer=..", "jwt:groups=ops"], "key":
//! "0x.." or absent, "operation": "ATTESTATION"}`. Out: `{"allowed", "client", "role", "reason"}`, by the policy that
//! this node acts by. What the nodes' own configurations take away is not part of it, but for `api.clients` of the asked
//! node, which `reason` names.

use super::{BODY, understood};
use crate::admission::{Admin, read_body};
use crate::app::{App, ClientPolicy, Shared};
use crate::error::ApiError;
use crate::json::Json;
use axum::extract::{Request, State};
use consigner_rules::policy::{Caller, CertificateNames, Claims, Operation, Permission, TokenRecord};
use consigner_rules::{PublicKey, State as Agreed};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is asked for, as it is said in a refusal.
const SHAPE: &str = "{\"as\": [\"cn:..\", ..], \"key\": \"0x..\" or absent, \"operation\": \"..\"}";

/// The kinds of proof, as they are said in a refusal.
const KINDS: &str = "cn:, dns:, uri:, fingerprint:, token: and jwt:";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    r#as: Vec<String>,
    #[serde(default)]
    key: Option<String>,
    operation: String,
}

/// A question that was understood.
pub(crate) struct Question {
    shown: Shown,
    key: Option<PublicKey>,
    operation: Operation,
}

/// What the caller in question would show.
#[derive(Default)]
struct Shown {
    common_name: Option<String>,
    dns_names: Vec<String>,
    uris: Vec<String>,
    fingerprint: Option<[u8; 32]>,
    token: Option<[u8; 8]>,
    claims: Option<Claims>,
}

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    _admin: Admin,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = read_body(request, BODY, None).await?;
    let question = read(&body)?;
    let answer = shared.app.cluster.read(|state| answer(&shared.app, state, &question));
    Ok(Json(match answer? {
        Ok(Permission { client, role, rate }) => {
            let rate = rate.map(|rate| json!({"per_second": rate.per_second, "burst": rate.burst}));
            json!({"allowed": true, "client": client, "role": role, "rate": rate, "reason": null})
        }
        Err(why) => json!({"allowed": false, "client": null, "role": null, "rate": null, "reason": why}),
    }))
}

fn answer(app: &App, state: &Agreed, question: &Question) -> Result<Result<Permission, String>, ApiError> {
    let Question { shown, key, operation } = question;
    let token = match shown.token {
        None => None,
        Some(id) => Some(
            state
                .token(&id)
                .ok_or_else(|| ApiError::BadRequest(format!("as: the cluster has no token {}", hex::encode(id))))?,
        ),
    };
    let caller = shown.caller(token.map(AsRef::as_ref));
    let Some(policy) = state.policy() else {
        return Ok(Err("there is no policy: api.admins of each node may do everything, api.clients sign".to_owned()));
    };
    let judged = policy.decide(&caller, *operation, key.as_ref()).map_err(|denial| denial.to_string());
    Ok(judged.and_then(|permission| match (&app.clients, operation) {
        (ClientPolicy::Named(names), Operation::Sign(_) | Operation::ListKeys)
            if caller.certificate.is_some() && !names.iter().any(|name| shown.common_name.as_ref() == Some(name)) =>
        {
            let Permission { client, role, .. } = permission;
            Err(format!("the policy grants it to {client} as {role}, but api.clients of this node does not name it"))
        }
        _ => Ok(permission),
    }))
}

/// Reads a question.
pub(crate) fn read(body: &[u8]) -> Result<Question, ApiError> {
    let asked: Check = understood(body, SHAPE)?;
    let bad = |why: String| ApiError::BadRequest(why);
    let operation = Operation::parse(&asked.operation)
        .ok_or_else(|| bad(format!("operation: {:?} is none; see docs: Policy", asked.operation)))?;
    let key = asked.key.as_deref().map(str::parse).transpose().map_err(|why| bad(format!("key: {why}")))?;
    let mut shown = Shown::default();
    for proof in &asked.r#as {
        shown.add(proof).map_err(|why| bad(format!("as: {proof:?}: {why}")))?;
    }
    Ok(Question { shown, key, operation })
}

impl Shown {
    fn add(&mut self, proof: &str) -> Result<(), String> {
        let (kind, value) = proof.split_once(':').ok_or_else(|| format!("none of {KINDS}"))?;
        match kind {
            "cn" => once(&mut self.common_name, value.to_owned()),
            "dns" => {
                self.dns_names.push(value.to_owned());
                Ok(())
            }
            "uri" => {
                self.uris.push(value.to_owned());
                Ok(())
            }
            "fingerprint" => once(&mut self.fingerprint, hexadecimal(&value.replace(':', ""))?),
            "token" => once(&mut self.token, hexadecimal(value.strip_prefix("cst_").unwrap_or(value))?),
            "jwt" => {
                let (name, value) = value.split_once('=').ok_or("jwt: must be jwt:CLAIM=VALUE")?;
                self.add_claim(name, value);
                Ok(())
            }
            _ => Err(format!("none of {KINDS}")),
        }
    }

    fn add_claim(&mut self, name: &str, value: &str) {
        let claims = self.claims.get_or_insert_with(|| Claims {
            issuer: String::new(),
            subject: String::new(),
            values: BTreeMap::new(),
        });
        match name {
            "issuer" | "iss" => value.clone_into(&mut claims.issuer),
            "subject" | "sub" => value.clone_into(&mut claims.subject),
            _ => claims.values.entry(name.to_owned()).or_default().push(value.to_owned()),
        }
    }

    fn caller<'a>(&'a self, token: Option<&'a TokenRecord>) -> Caller<'a> {
        let is_certificate = self.common_name.is_some()
            || !self.dns_names.is_empty()
            || !self.uris.is_empty()
            || self.fingerprint.is_some();
        let certificate = is_certificate.then(|| CertificateNames {
            common_name: self.common_name.as_deref(),
            dns_names: &self.dns_names,
            uris: &self.uris,
            fingerprint: self.fingerprint,
        });
        Caller { certificate, token, claims: self.claims.as_ref() }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), String> {
    if place.is_some() {
        return Err("a caller has only one of these".to_owned());
    }
    *place = Some(value);
    Ok(())
}

fn hexadecimal<const N: usize>(text: &str) -> Result<[u8; N], String> {
    consigner_rules::primitives::decode_fixed(text).map_err(|why| why.to_string())
}
