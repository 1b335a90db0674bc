//! What a new policy changes, line by line.

use super::model::{Addresses, CertificateMatch, JwtMatch, KeyScope, Policy, PolicyClient, Rate, Role};
use crate::primitives::PublicKey;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// Items of one list that are named before the rest is only counted.
const NAMED_MAX: usize = 8;

/// What `new` changes of `old`: lines that begin with `+`, `-` or `~`, in a fixed order; none if nothing changes.
#[must_use]
pub fn diff(old: Option<&Policy>, new: &Policy) -> Vec<String> {
    let nothing = Policy::default();
    let mut lines = Lines(Vec::new());
    if old.is_none() {
        lines.push("+ a policy: from now on it alone grants, and what it does not grant is denied".to_owned());
    }
    let old = old.unwrap_or(&nothing);
    lines.value(
        "hosts",
        old.hosts.as_ref().map(|list| list.join(", ")),
        new.hosts.as_ref().map(|list| list.join(", ")),
    );
    for ((door, old), (_, new)) in doors(&old.addresses).into_iter().zip(doors(&new.addresses)) {
        let text = |list: &Option<Vec<String>>| list.as_ref().map(|list| list.join(", "));
        lines.value(&format!("addresses.{door}"), text(old), text(new));
    }
    lines.value("future-slots", old.future_slots, new.future_slots);
    lines.map("tag", &old.tags, &new.tags, |keys| format!("{} keys", keys.len()), tag_changes);
    lines.map("role", &old.roles, &new.roles, describe_role, role_changes);
    lines.map(
        "client",
        &by_name(old),
        &by_name(new),
        |client| describe_client(client),
        |old, new| client_changes(old, new),
    );
    if order(old, new) != order(new, old) {
        lines.push("~ the order of clients (the first that matches names the caller)".to_owned());
    }
    lines.0
}

fn doors(addresses: &Addresses) -> [(&'static str, &Option<Vec<String>>); 4] {
    let Addresses { sign, keymanager, admin, metrics } = addresses;
    [("sign", sign), ("keymanager", keymanager), ("admin", admin), ("metrics", metrics)]
}

fn by_name(policy: &Policy) -> BTreeMap<String, &PolicyClient> {
    policy.clients.iter().map(|client| (client.name.clone(), client)).collect()
}

/// The clients of one policy that the other has too, in order.
fn order<'p>(policy: &'p Policy, other: &Policy) -> Vec<&'p str> {
    let others: BTreeSet<&str> = other.clients.iter().map(|client| client.name.as_str()).collect();
    policy.clients.iter().map(|client| client.name.as_str()).filter(|name| others.contains(name)).collect()
}

struct Lines(Vec<String>);

impl Lines {
    fn push(&mut self, line: String) {
        self.0.push(line);
    }

    fn value<T: Display + PartialEq>(&mut self, name: &str, old: Option<T>, new: Option<T>) {
        match (old, new) {
            (None, Some(new)) => self.push(format!("+ {name}: {new}")),
            (Some(old), None) => self.push(format!("- {name}: {old}")),
            (Some(old), Some(new)) if old != new => self.push(format!("~ {name}: {old} -> {new}")),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    fn map<T: PartialEq>(
        &mut self,
        kind: &str,
        old: &BTreeMap<String, T>,
        new: &BTreeMap<String, T>,
        describe: impl Fn(&T) -> String,
        changes: impl Fn(&T, &T) -> Vec<String>,
    ) {
        for (name, gone) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
            self.push(format!("- {kind} {name}: {}", describe(gone)));
        }
        for (name, now) in new {
            match old.get(name) {
                None => self.push(format!("+ {kind} {name}: {}", describe(now))),
                Some(before) if before != now => {
                    let changes = changes(before, now);
                    self.0.extend(changes.into_iter().map(|change| format!("~ {kind} {name}: {change}")));
                }
                Some(_) => {}
            }
        }
    }
}

fn tag_changes(old: &BTreeSet<PublicKey>, new: &BTreeSet<PublicKey>) -> Vec<String> {
    set_changes("", old, new)
}

/// `+a, b -c`, long lists cut.
fn set_changes<T: Ord + Display>(name: &str, old: &BTreeSet<T>, new: &BTreeSet<T>) -> Vec<String> {
    let prefix = if name.is_empty() { String::new() } else { format!("{name} ") };
    let part = |sign: char, left: &BTreeSet<T>, right: &BTreeSet<T>| {
        let items: Vec<&T> = left.difference(right).collect();
        (!items.is_empty()).then(|| format!("{prefix}{sign} {}", listed(items.into_iter())))
    };
    [part('+', new, old), part('-', old, new)].into_iter().flatten().collect()
}

/// The first of them, and how many more there are.
fn listed<T: Display>(items: impl ExactSizeIterator<Item = T>) -> String {
    let more = items.len().saturating_sub(NAMED_MAX);
    let named: Vec<String> = items.take(NAMED_MAX).map(|item| item.to_string()).collect();
    let named = named.join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

fn describe_role(role: &Role) -> String {
    let mut text = listed(role.operations.iter().map(|grant| grant.name()));
    if let Some(keys) = &role.keys {
        text.push_str(&format!("; keys {}", describe_scope(keys)));
    }
    if let Some(recipients) = &role.fee_recipients {
        text.push_str(&format!("; fee recipients {}", listed(recipients.iter())));
    }
    text
}

fn describe_scope(scope: &KeyScope) -> String {
    match scope {
        KeyScope::All => "all".to_owned(),
        KeyScope::Keys(keys) => format!("{} by name", keys.len()),
        KeyScope::Tags(tags) => format!("of tags {}", listed(tags.iter())),
    }
}

fn role_changes(old: &Role, new: &Role) -> Vec<String> {
    let names = |role: &Role| role.operations.iter().map(|grant| grant.name()).collect::<BTreeSet<_>>();
    let mut changes = set_changes("operations", &names(old), &names(new));
    match (&old.keys, &new.keys) {
        (Some(KeyScope::Keys(old)), Some(KeyScope::Keys(new))) => changes.extend(set_changes("keys", old, new)),
        (Some(KeyScope::Tags(old)), Some(KeyScope::Tags(new))) => changes.extend(set_changes("tags", old, new)),
        (old, new) if old != new => {
            let text = |scope: &Option<KeyScope>| scope.as_ref().map_or_else(|| "any".to_owned(), describe_scope);
            changes.push(format!("keys {} -> {}", text(old), text(new)));
        }
        (_, _) => {}
    }
    match (&old.fee_recipients, &new.fee_recipients) {
        (Some(old), Some(new)) => changes.extend(set_changes("fee recipients", old, new)),
        (None, Some(new)) => changes.push(format!("fee recipients any -> {}", listed(new.iter()))),
        (Some(_), None) => changes.push("fee recipients any".to_owned()),
        (None, None) => {}
    }
    changes
}

fn describe_client(client: &PolicyClient) -> String {
    let mut parts = Vec::new();
    parts.extend(client.certificate.as_ref().map(describe_certificate));
    parts.extend(client.jwt.as_ref().map(describe_jwt));
    parts.push(format!("roles {}", listed(client.roles.iter())));
    parts.extend(client.rate.map(describe_rate));
    parts.join("; ")
}

fn describe_certificate(named: &CertificateMatch) -> String {
    let CertificateMatch { common_name, dns, uri, fingerprint } = named;
    let fingerprint = fingerprint.map(hex::encode);
    let parts = [("CN", common_name), ("DNS", dns), ("URI", uri), ("SHA-256", &fingerprint)];
    let named: Vec<String> =
        parts.into_iter().filter_map(|(kind, value)| value.as_ref().map(|value| format!("{kind} {value}"))).collect();
    format!("certificate {}", named.join(" and "))
}

fn describe_jwt(named: &JwtMatch) -> String {
    let mut parts = vec![format!("issuer {}", named.issuer)];
    parts.extend(named.subject.as_ref().map(|subject| format!("subject {subject}")));
    parts.extend(named.claims.iter().map(|(name, values)| format!("{name} {}", listed(values.iter()))));
    format!("JWT of {}", parts.join(" and "))
}

fn describe_rate(rate: Rate) -> String {
    format!("{} requests per second, {} at once", rate.per_second, rate.burst)
}

fn client_changes(old: &PolicyClient, new: &PolicyClient) -> Vec<String> {
    let mut changes = Vec::new();
    let mut moved = |old: Option<String>, new: Option<String>, none: &str| {
        if old != new {
            let text = |value: Option<String>| value.unwrap_or_else(|| none.to_owned());
            changes.push(format!("{} -> {}", text(old), text(new)));
        }
    };
    let certificate = |client: &PolicyClient| client.certificate.as_ref().map(describe_certificate);
    moved(certificate(old), certificate(new), "no certificate");
    let jwt = |client: &PolicyClient| client.jwt.as_ref().map(describe_jwt);
    moved(jwt(old), jwt(new), "no JWT");
    moved(old.rate.map(describe_rate), new.rate.map(describe_rate), "no rate of its own");
    changes.extend(set_changes("roles", &old.roles, &new.roles));
    changes
}
