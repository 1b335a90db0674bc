//! Any policy that can be written is read back as it was; any text is read or refused, never more.

use super::super::model::{Addresses, CertificateMatch, JwtMatch, KeyScope, Policy, PolicyClient, Rate, Role};
use super::super::operation::{Grant, Operation};
use super::super::{diff, token::TokenRecord};
use super::PolicyError;
use crate::codec;
use crate::primitives::{Address, PublicKey};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn names() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[A-Za-z0-9._@/-]{1,12}", 1 => prop::sample::select(vec!["null", "true", "y", "~x", "0x12", "1.5"])
        .prop_map(|name| name.replace('~', "-"))]
}

/// Texts that YAML could trip over.
fn texts() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9éß漢😀'\"\\\\:#{}\\[\\],&!|>%@`=?-]([ a-z'\"\\\\:#é\u{300}-]{0,10}[a-z0-9'\":#])?"
}

fn keys() -> impl Strategy<Value = PublicKey> {
    (0_u8..6).prop_map(|number| PublicKey([number; 48]))
}

fn hosts() -> impl Strategy<Value = Option<Vec<String>>> {
    let host = prop_oneof![Just("::1".to_owned()), Just("10.0.0.1".to_owned()), "[a-z][a-z0-9.-]{0,8}x"];
    option::of(btree_set(host, 1..4).prop_map(|hosts| hosts.into_iter().collect()))
}

fn networks() -> impl Strategy<Value = Option<Vec<String>>> {
    let known = ["10.0.0.0/8", "127.0.0.1", "::/0", "fd00::/8", "2001:db8::1"].map(str::to_owned).to_vec();
    option::of(btree_set(prop::sample::select(known), 1..4).prop_map(|networks| networks.into_iter().collect()))
}

fn addresses() -> impl Strategy<Value = Addresses> {
    (networks(), networks(), networks(), networks()).prop_map(|(sign, keymanager, admin, metrics)| Addresses {
        sign,
        keymanager,
        admin,
        metrics,
    })
}

fn grants() -> impl Strategy<Value = BTreeSet<Grant>> {
    let all: Vec<Grant> =
        Operation::all().map(Grant::One).chain([Grant::Duties, Grant::AnyAdmin, Grant::AnyKeyManager]).collect();
    btree_set(prop::sample::select(all), 1..6)
}

fn roles(tags: Vec<String>) -> impl Strategy<Value = BTreeMap<String, Role>> {
    let keys = btree_set(keys(), 1..4).prop_map(KeyScope::Keys);
    let scope = if tags.is_empty() {
        prop_oneof![Just(KeyScope::All), keys].boxed()
    } else {
        let tags = btree_set(prop::sample::select(tags), 1..3).prop_map(KeyScope::Tags);
        prop_oneof![Just(KeyScope::All), keys, tags].boxed()
    };
    let recipients = btree_set((0_u8..4).prop_map(|number| Address([number; 20])), 1..3);
    let role = (option::of(scope), grants(), option::of(recipients)).prop_map(|(keys, operations, fee_recipients)| {
        let needed = operations.iter().any(|grant| grant.is_about_keys());
        Role { keys: keys.or(needed.then_some(KeyScope::All)), operations, fee_recipients }
    });
    btree_map(names(), role, 1..4)
}

fn clients(roles: Vec<String>) -> impl Strategy<Value = Vec<PolicyClient>> {
    let certificate = (option::of(texts()), any::<bool>(), any::<bool>(), any::<[u8; 32]>()).prop_map(
        |(common_name, dns, uri, fingerprint)| CertificateMatch {
            common_name: common_name.filter(|name| !name.contains('*')),
            dns: dns.then(|| "vc.example".to_owned()),
            uri: uri.then(|| "spiffe://a.b/vc".to_owned()),
            fingerprint: Some(fingerprint),
        },
    );
    let claims = btree_map(texts(), btree_set(texts(), 1..3), 0..3);
    let jwt = (texts(), texts(), claims).prop_map(|(issuer, subject, claims)| JwtMatch {
        issuer,
        subject: Some(subject),
        claims,
    });
    let rate = (1_u32..1_000_000, 1_u32..1_000_000).prop_map(|(per_second, burst)| Rate { per_second, burst });
    let roles = btree_set(prop::sample::select(roles), 1..3);
    let client = (names(), certificate, option::of(jwt), roles, option::of(rate)).prop_map(
        |(name, certificate, jwt, roles, rate)| PolicyClient { name, certificate: Some(certificate), jwt, roles, rate },
    );
    vec(client, 0..5).prop_map(|mut clients| {
        let mut seen = BTreeSet::new();
        clients.retain(|client| seen.insert(client.name.clone()));
        clients
    })
}

/// Policies that a document can say.
pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    let tags = btree_map(names(), btree_set(keys(), 0..4), 0..4);
    tags.prop_flat_map(|tags| {
        let names: Vec<String> = tags.keys().cloned().collect();
        (Just(tags), roles(names))
    })
    .prop_flat_map(|(tags, roles)| {
        let names: Vec<String> = roles.keys().cloned().collect();
        (Just(tags), Just(roles), clients(names), hosts(), addresses(), option::of(0_u64..1_000))
    })
    .prop_map(|(tags, roles, clients, hosts, addresses, future_slots)| Policy {
        hosts,
        addresses,
        future_slots,
        tags,
        roles,
        clients,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn what_is_written_is_read_back(policy in policies(), other in policies()) {
        let text = policy.to_yaml();
        prop_assert_eq!(Policy::parse(&text), Ok(policy.clone()), "{}", text);
        prop_assert_eq!(codec::decode::<Policy>(&codec::encode(&policy)).ok(), Some(policy.clone()));
        prop_assert!(diff(Some(&policy), &policy).is_empty());
        let changes = diff(Some(&other), &policy);
        prop_assert_eq!(changes.is_empty(), other == policy, "{:?}", changes);
        prop_assert!(!diff(None, &policy).is_empty());
        let _ = policy.warnings();
    }

    #[test]
    fn a_text_is_read_or_refused_with_a_place_in_it(text in "[ -~\n\t\u{0}-\u{1f}é]{0,80}") {
        if let Err(PolicyError { line, column, what }) = Policy::parse(&text) {
            prop_assert!(line >= 1 && column >= 1 && !what.is_empty());
            // A carriage return by itself ends a line in YAML, too.
            let breaks = text.chars().filter(|character| matches!(character, '\n' | '\r')).count();
            prop_assert!(line <= breaks + 2, "{line} of {text:?}");
        }
    }

    /// A damaged document, which is nearer to a policy than noise is.
    #[test]
    fn a_damaged_document_is_read_or_refused(policy in policies(), at in any::<usize>(), with in "[ -~\n]{0,3}") {
        let mut text = policy.to_yaml();
        let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
        let place = places[at % places.len()];
        let end = text[place..].char_indices().nth(1).map_or(text.len(), |(width, _)| place + width);
        text.replace_range(place..end, &with);
        if let Ok(policy) = Policy::parse(&text) {
            prop_assert_eq!(Policy::parse(&policy.to_yaml()), Ok(policy), "{}", text);
        }
    }

    #[test]
    fn a_token_survives_the_codec(
        name in names(),
        roles in btree_set(names(), 1..4),
        expires_ms in option::of(any::<u64>()),
    ) {
        let token = TokenRecord { id: [1; 8], name, hash: [2; 32], roles, created_ms: 7, expires_ms };
        prop_assert!(token.check().is_ok());
        prop_assert_eq!(codec::decode::<TokenRecord>(&codec::encode(&token)).ok(), Some(token));
    }
}
