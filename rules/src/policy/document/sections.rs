//! The sections of a policy but the clients: hosts, addresses, tags, roles.

use super::PolicyError;
use super::fields::{Fields, quoted, unknown};
use super::network;
use super::tree::{Node, Value};
use crate::policy::model::{Addresses, KeyScope, Role};
use crate::policy::operation::Grant;
use crate::primitives::{Address, PublicKey};
use std::collections::{BTreeMap, BTreeSet};

/// Limits of a document; far above any deployment, far below what slows a decision down.
const HOSTS_MAX: usize = 256;
const ADDRESSES_MAX: usize = 1_024;
const TAGS_MAX: usize = 256;
const TAGS_OF_ROLE_MAX: usize = 64;
const ROLES_MAX: usize = 256;
const OPERATIONS_MAX: usize = 64;
const FEE_RECIPIENTS_MAX: usize = 256;
/// As many as fit into the longest text.
const KEYS_MAX: usize = 4_096;
/// A year of slots on mainnet is 2.6 million; more is no bound.
const FUTURE_SLOTS_MAX: u64 = 10_000_000;

pub(super) fn hosts(node: &Node) -> Result<Vec<String>, PolicyError> {
    node.distinct("hosts", HOSTS_MAX, |item| {
        let text = item.scalar("a host")?;
        network::host(text).map_err(|problem| item.at.error(format!("{} {problem}", quoted(text))))
    })
}

pub(super) fn addresses(node: &Node) -> Result<Addresses, PolicyError> {
    let fields = Fields::of(node, "addresses", &["sign", "keymanager", "admin", "metrics"])?;
    let networks = |name: &str| fields.get(name).map(networks).transpose();
    Ok(Addresses {
        sign: networks("sign")?,
        keymanager: networks("keymanager")?,
        admin: networks("admin")?,
        metrics: networks("metrics")?,
    })
}

fn networks(node: &Node) -> Result<Vec<String>, PolicyError> {
    node.distinct("a list of addresses", ADDRESSES_MAX, |item| {
        let text = item.scalar("an address")?;
        network::network(text).map_err(|problem| item.at.error(format!("{} {problem}", quoted(text))))
    })
}

pub(super) fn future_slots(node: &Node) -> Result<u64, PolicyError> {
    node.number("future-slots", FUTURE_SLOTS_MAX)
}

/// A tag without keys is one that is to be filled; a role with it has no key until then.
pub(super) fn tags(node: &Node) -> Result<BTreeMap<String, BTreeSet<PublicKey>>, PolicyError> {
    let mut tags = BTreeMap::new();
    for entry in node.named("tags", TAGS_MAX)? {
        let empty = matches!(&entry.node.value, Value::List(items) if items.is_empty());
        let keys = if empty { BTreeSet::new() } else { keys(&entry.node, "a tag")? };
        tags.insert(entry.name.clone(), keys);
    }
    Ok(tags)
}

fn keys(node: &Node, what: &str) -> Result<BTreeSet<PublicKey>, PolicyError> {
    let read = |item: &Node| {
        let text = item.scalar("a key")?;
        let parsed = text.parse::<PublicKey>();
        parsed.map_err(|error| item.at.error(format!("{} is no public key: {error}", quoted(text))))
    };
    Ok(node.distinct(what, KEYS_MAX, read)?.into_iter().collect())
}

type Tags = BTreeMap<String, BTreeSet<PublicKey>>;

pub(super) fn roles(node: &Node, tags: &Tags) -> Result<BTreeMap<String, Role>, PolicyError> {
    let entries = node.named("roles", ROLES_MAX)?;
    entries.iter().map(|entry| Ok((entry.name.clone(), role(&entry.node, tags)?))).collect()
}

fn role(node: &Node, tags: &Tags) -> Result<Role, PolicyError> {
    let fields = Fields::of(node, "a role", &["keys", "operations", "fee-recipients"])?;
    let operations = fields.require("operations")?.distinct("operations", OPERATIONS_MAX, |item| {
        let name = item.scalar("an operation")?;
        Grant::parse(name).ok_or_else(|| item.at.error(unknown_operation(name)))
    })?;
    let keys = fields.get("keys").map(|node| scope(node, tags)).transpose()?;
    if keys.is_none() && operations.iter().any(|grant| grant.is_about_keys()) {
        return Err(fields.at().error(NO_KEYS));
    }
    let fee_recipients = fields.get("fee-recipients").map(fee_recipients).transpose()?;
    Ok(Role { keys, operations: operations.into_iter().collect(), fee_recipients })
}

/// A role that signs, without a word on keys: neither all nor none is what everybody would expect.
const NO_KEYS: &str = "a role that signs or lists must say with which keys: \"keys: all\", a list of keys, or \
                       \"keys: {tags: [..]}\"";

fn unknown_operation(name: &str) -> String {
    let names: Vec<&str> = Grant::names().collect();
    unknown("operation", name, names.into_iter())
}

fn scope(node: &Node, tags: &Tags) -> Result<KeyScope, PolicyError> {
    match &node.value {
        Value::Text(text) if text == "all" => Ok(KeyScope::All),
        Value::List(_) => Ok(KeyScope::Keys(keys(node, "keys")?)),
        Value::Map(_) => {
            let fields = Fields::of(node, "keys", &["tags"])?;
            let names = fields.require("tags")?.distinct("tags", TAGS_OF_ROLE_MAX, |item| {
                let name = item.scalar("a tag")?;
                let known = || tags.keys().map(String::as_str);
                if tags.contains_key(name) {
                    Ok(name.to_owned())
                } else {
                    Err(item.at.error(unknown("tag", name, known())))
                }
            })?;
            Ok(KeyScope::Tags(names.into_iter().collect()))
        }
        Value::Text(_) | Value::Null => Err(node.not("keys", "\"all\", a list of keys, or {tags: [..]}")),
    }
}

fn fee_recipients(node: &Node) -> Result<BTreeSet<Address>, PolicyError> {
    let read = |item: &Node| {
        let text = item.scalar("a fee recipient")?;
        let parsed = text.parse::<Address>();
        parsed.map_err(|error| item.at.error(format!("{} is no address: {error}", quoted(text))))
    };
    Ok(node.distinct("fee-recipients", FEE_RECIPIENTS_MAX, read)?.into_iter().collect())
}
