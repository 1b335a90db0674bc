//! The clients of a policy: what each must prove, and which roles it then has.

use super::PolicyError;
use super::fields::{Fields, quoted, unknown};
use super::network;
use super::tree::{Node, Value};
use crate::policy::model::{CertificateMatch, JwtMatch, PolicyClient, Rate, Role};
use crate::policy::token::ROLES_OF_ONE_MAX;
use crate::primitives::decode_fixed;
use std::collections::{BTreeMap, BTreeSet};

/// Every request is compared with every client.
const CLIENTS_MAX: usize = 1_024;
const CLAIMS_MAX: usize = 16;
const CLAIM_VALUES_MAX: usize = 16;
/// Above what one node can answer.
const RATE_MAX: u64 = 1_000_000;

type Roles = BTreeMap<String, Role>;

pub(super) fn clients(node: &Node, roles: &Roles) -> Result<Vec<PolicyClient>, PolicyError> {
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        return Ok(Vec::new());
    }
    let mut names = BTreeMap::new();
    let mut proofs = BTreeMap::new();
    let mut clients = Vec::new();
    for item in node.list("clients", CLIENTS_MAX)? {
        let client = client(item, roles)?;
        let line = item.at.line();
        if let Some(first) = names.insert(client.name.clone(), line) {
            return Err(item.at.error(format!("client {} stands already in line {first}", client.name)));
        }
        // Debug is a total text of what is compared.
        if let Some(first) = proofs.insert(format!("{:?}{:?}", client.certificate, client.jwt), line) {
            return Err(item.at.error(format!(
                "client {} proves the same as the client in line {first}; give one entry all the roles",
                client.name
            )));
        }
        clients.push(client);
    }
    Ok(clients)
}

fn client(node: &Node, known: &Roles) -> Result<PolicyClient, PolicyError> {
    let fields = Fields::of(node, "a client", &["name", "certificate", "jwt", "roles", "rate"])?;
    let certificate = fields.get("certificate").map(certificate).transpose()?;
    let jwt = fields.get("jwt").map(jwt).transpose()?;
    if certificate.is_none() && jwt.is_none() {
        return Err(fields.at().error("a client must be proved by a \"certificate\", a \"jwt\", or both"));
    }
    let roles = fields.require("roles")?.distinct("roles", ROLES_OF_ONE_MAX, |item| {
        let name = item.scalar("a role")?;
        let names = || known.keys().map(String::as_str);
        if known.contains_key(name) { Ok(name.to_owned()) } else { Err(item.at.error(unknown("role", name, names()))) }
    })?;
    Ok(PolicyClient {
        name: fields.require("name")?.name("the name of a client")?,
        certificate,
        jwt,
        roles: roles.into_iter().collect(),
        rate: fields.get("rate").map(rate).transpose()?,
    })
}

fn certificate(node: &Node) -> Result<CertificateMatch, PolicyError> {
    let fields = Fields::of(node, "a certificate", &["common-name", "dns", "uri", "fingerprint"])?;
    let named = CertificateMatch {
        common_name: fields.get("common-name").map(|node| node.exact("common-name")).transpose()?,
        dns: fields.get("dns").map(dns).transpose()?,
        uri: fields.get("uri").map(uri).transpose()?,
        fingerprint: fields.get("fingerprint").map(fingerprint).transpose()?,
    };
    if named == CertificateMatch::default() {
        return Err(fields
            .at()
            .error("a certificate needs one of common-name, dns, uri, fingerprint: any would else do"));
    }
    Ok(named)
}

fn dns(node: &Node) -> Result<String, PolicyError> {
    let text = node.exact("dns")?;
    network::host(&text).map_err(|problem| node.at.error(format!("{} {problem}", quoted(&text))))
}

/// SPIFFE ids are checked further: a trust domain in capitals would never match.
fn uri(node: &Node) -> Result<String, PolicyError> {
    let text = node.exact("uri")?;
    let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty())
    else {
        return Err(node.at.error(format!("{} is no URI: it has no scheme", quoted(&text))));
    };
    if scheme.eq_ignore_ascii_case("spiffe") {
        let domain = rest.strip_prefix("//").map(|rest| rest.split('/').next().unwrap_or_default());
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_');
        let valid = scheme == "spiffe"
            && domain.is_some_and(|domain| !domain.is_empty() && domain.bytes().all(plain))
            && !rest.contains(['?', '#'])
            && !rest.ends_with('/');
        if !valid {
            let problem = "is no SPIFFE id: spiffe://trust.domain/path, the trust domain in lower case";
            return Err(node.at.error(format!("{} {problem}", quoted(&text))));
        }
    }
    Ok(text)
}

fn is_scheme(scheme: &str) -> bool {
    let first = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    first && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Hexadecimal, with colons as openssl prints it or without.
fn fingerprint(node: &Node) -> Result<[u8; 32], PolicyError> {
    let text = node.scalar("fingerprint")?;
    let grouped = text.split(':').all(|group| group.len() == 2);
    let digits = if grouped { text.replace(':', "") } else { text.to_owned() };
    decode_fixed(&digits)
        .map_err(|error| node.at.error(format!("{} is no SHA-256 fingerprint of a certificate: {error}", quoted(text))))
}

fn jwt(node: &Node) -> Result<JwtMatch, PolicyError> {
    let fields = Fields::of(node, "a jwt", &["issuer", "subject", "claims"])?;
    let named = JwtMatch {
        issuer: fields.require("issuer")?.exact("issuer")?,
        subject: fields.get("subject").map(|node| node.exact("subject")).transpose()?,
        claims: fields.get("claims").map_or_else(|| Ok(BTreeMap::new()), claims)?,
    };
    if named.subject.is_none() && named.claims.is_empty() {
        return Err(fields
            .at()
            .error("a jwt needs a subject or a claim: whoever has an account at the issuer would else do"));
    }
    Ok(named)
}

fn claims(node: &Node) -> Result<BTreeMap<String, BTreeSet<String>>, PolicyError> {
    let entries = node.map("claims")?;
    if let Some(extra) = entries.get(CLAIMS_MAX) {
        return Err(extra.at.error(format!("claims has {} entries, at most {CLAIMS_MAX}", entries.len())));
    }
    let mut claims = BTreeMap::new();
    for entry in entries {
        let name = Node { at: entry.at, value: Value::Text(entry.name.clone()) }.exact("the name of a claim")?;
        let values = match &entry.node.value {
            Value::List(_) => {
                entry.node.distinct("a claim", CLAIM_VALUES_MAX, |item| item.exact("the value of a claim"))?
            }
            Value::Null | Value::Text(_) | Value::Map(_) => vec![entry.node.exact("the value of a claim")?],
        };
        claims.insert(name, values.into_iter().collect());
    }
    Ok(claims)
}

fn rate(node: &Node) -> Result<Rate, PolicyError> {
    let fields = Fields::of(node, "a rate", &["per-second", "burst"])?;
    let number = |node: &Node, what: &str| {
        let number = node.number(what, RATE_MAX)?;
        u32::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| node.at.error(format!("{what} must be at least 1")))
    };
    let per_second = number(fields.require("per-second")?, "per-second")?;
    let burst = fields.get("burst").map_or(Ok(per_second), |node| number(node, "burst"))?;
    Ok(Rate { per_second, burst })
}
