//! A policy as text: one way to write each, which reads back to the same.

use crate::policy::model::{Addresses, CertificateMatch, JwtMatch, KeyScope, Policy, PolicyClient, Role};
use std::fmt::Write;

/// The whole document.
pub(super) fn document(policy: &Policy) -> String {
    let Policy { hosts, addresses, future_slots, tags, roles, clients } = policy;
    let mut text = Lines(String::new());
    text.line(0, "version: 1");
    if let Some(hosts) = hosts {
        text.list(0, "hosts", hosts.iter());
    }
    write_addresses(&mut text, addresses);
    if let Some(slots) = future_slots {
        text.line(0, &format!("future-slots: {slots}"));
    }
    if !tags.is_empty() {
        text.line(0, "tags:");
        for (name, keys) in tags {
            text.list(1, &scalar(name), keys);
        }
    }
    if !roles.is_empty() {
        text.line(0, "roles:");
        for (name, role) in roles {
            write_role(&mut text, name, role);
        }
    }
    if !clients.is_empty() {
        text.line(0, "clients:");
        for client in clients {
            write_client(&mut text, client);
        }
    }
    text.0
}

fn write_addresses(text: &mut Lines, addresses: &Addresses) {
    if *addresses == Addresses::default() {
        return;
    }
    text.line(0, "addresses:");
    let Addresses { sign, keymanager, admin, metrics } = addresses;
    for (name, list) in [("sign", sign), ("keymanager", keymanager), ("admin", admin), ("metrics", metrics)] {
        if let Some(list) = list {
            text.list(1, name, list.iter());
        }
    }
}

fn write_role(text: &mut Lines, name: &str, role: &Role) {
    text.line(1, &format!("{}:", scalar(name)));
    match &role.keys {
        None => {}
        Some(KeyScope::All) => text.line(2, "keys: all"),
        Some(KeyScope::Keys(keys)) => text.list(2, "keys", keys),
        Some(KeyScope::Tags(tags)) => {
            text.line(2, "keys:");
            text.list(3, "tags", tags);
        }
    }
    text.list(2, "operations", role.operations.iter().map(|grant| grant.name()));
    if let Some(recipients) = &role.fee_recipients {
        text.list(2, "fee-recipients", recipients);
    }
}

fn write_client(text: &mut Lines, client: &PolicyClient) {
    text.line(1, &format!("- name: {}", scalar(&client.name)));
    if let Some(CertificateMatch { common_name, dns, uri, fingerprint }) = &client.certificate {
        text.line(2, "certificate:");
        let fingerprint = fingerprint.map(hex::encode);
        for (name, value) in [("common-name", common_name), ("dns", dns), ("uri", uri), ("fingerprint", &fingerprint)] {
            if let Some(value) = value {
                text.line(3, &format!("{name}: {}", scalar(value)));
            }
        }
    }
    if let Some(JwtMatch { issuer, subject, claims }) = &client.jwt {
        text.line(2, "jwt:");
        text.line(3, &format!("issuer: {}", scalar(issuer)));
        if let Some(subject) = subject {
            text.line(3, &format!("subject: {}", scalar(subject)));
        }
        if !claims.is_empty() {
            text.line(3, "claims:");
            for (name, values) in claims {
                text.list(4, &scalar(name), values);
            }
        }
    }
    text.list(2, "roles", &client.roles);
    if let Some(rate) = client.rate {
        text.line(2, &format!("rate: {{per-second: {}, burst: {}}}", rate.per_second, rate.burst));
    }
}

struct Lines(String);

impl Lines {
    fn line(&mut self, depth: usize, line: &str) {
        for _ in 0..depth {
            self.0.push_str("  ");
        }
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn list<T: ToString>(&mut self, depth: usize, name: &str, items: impl IntoIterator<Item = T>) {
        let items: Vec<String> = items.into_iter().map(|item| scalar(&item.to_string())).collect();
        if items.is_empty() {
            return self.line(depth, &format!("{name}: []"));
        }
        self.line(depth, &format!("{name}:"));
        for item in items {
            self.line(depth + 1, &format!("- {item}"));
        }
    }
}

/// Words that a reader of YAML may take for something else than a text.
const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// A scalar that every reader of YAML takes for this text: bare if it is a simple word, else in double quotes.
fn scalar(text: &str) -> String {
    let simple = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let word = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic()) && text.bytes().all(simple);
    if word && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ if character.is_alphanumeric() => quoted.push(character),
            // Writing to a string does not fail.
            _ => drop(write!(quoted, "\\U{:08X}", u32::from(character))),
        }
    }
    quoted.push('"');
    quoted
}
