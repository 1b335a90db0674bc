//! Documents that are read, and documents that are refused with the place and the reason.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::policy::{AdminVerb, Grant, KeyScope, Operation, Rate};
use crate::primitives::{Address, PublicKey};

fn key(number: u8) -> String {
    PublicKey([number; 48]).to_string()
}

/// Everything that a document can say.
fn full() -> String {
    format!(
        r#"# Who may ask what.
version: 1
hosts: [Signer.example, 127.0.0.1, "[::1]"]
addresses:
  sign: [10.0.0.0/8, "fd00::/8"]
  metrics: [127.0.0.1]
future-slots: 64
tags: {{pool-a: ["{a}", "{b}"], pool-b: []}}
roles:
  validator: {{keys: {{tags: [pool-a]}}, operations: [duties, VALIDATOR_REGISTRATION],
    fee-recipients: ["0x{fee}"]}}
  exiter: {{keys: ["{a}"], operations: [VOLUNTARY_EXIT]}}
  lister: {{keys: all, operations: [list-keys]}}
  operator: {{operations: ["admin.*", keymanager.list]}}
clients:
  - {{name: vc-1, certificate: {{common-name: VC-1, dns: VC.example}}, roles: [validator, lister],
     rate: {{per-second: 500}}}}
  - name: vc-2
    certificate:
      uri: spiffe://mainnet.example/vc/2
      fingerprint: {colons}
    roles: [validator, exiter]
    rate: {{per-second: 5, burst: 20}}
  - {{name: ops@example, jwt: {{issuer: "https://idp", subject: me, claims: {{groups: [a, b], team: c}}}}, roles: [operator]}}
"#,
        a = key(1),
        b = key(2),
        fee = "AB".repeat(20),
        colons = ["AB"; 32].join(":"),
    )
}

#[test]
fn a_full_document_says_what_it_says() {
    let policy = Policy::parse(&full()).unwrap();
    assert_eq!(policy.hosts.as_deref(), Some(&["signer.example", "127.0.0.1", "::1"].map(str::to_owned)[..]));
    assert_eq!(policy.addresses.sign.as_deref(), Some(&["10.0.0.0/8", "fd00::/8"].map(str::to_owned)[..]));
    assert_eq!((policy.addresses.admin.as_ref(), policy.addresses.keymanager.as_ref()), (None, None));
    assert_eq!(policy.future_slots, Some(64));
    assert_eq!(policy.tags["pool-a"], [PublicKey([1; 48]), PublicKey([2; 48])].into());
    assert!(policy.tags["pool-b"].is_empty(), "a tag may wait for its keys");
    let validator = &policy.roles["validator"];
    assert_eq!(validator.keys, Some(KeyScope::Tags(["pool-a".to_owned()].into())));
    assert_eq!(validator.fee_recipients, Some([Address([0xab; 20])].into()));
    assert_eq!(policy.roles["exiter"].keys, Some(KeyScope::Keys([PublicKey([1; 48])].into())));
    assert_eq!(policy.roles["lister"].keys, Some(KeyScope::All));
    assert_eq!(policy.roles["operator"].keys, None);
    assert!(policy.roles["operator"].operations.contains(&Grant::AnyAdmin));
    let [one, two, ops] = &policy.clients[..] else { panic!("three clients") };
    let certificate = one.certificate.as_ref().unwrap();
    assert_eq!(certificate.common_name.as_deref(), Some("VC-1"), "a common name keeps its case");
    assert_eq!(certificate.dns.as_deref(), Some("vc.example"));
    assert_eq!(one.rate, Some(Rate { per_second: 500, burst: 500 }));
    assert_eq!(two.certificate.as_ref().unwrap().fingerprint, Some([0xab; 32]));
    assert_eq!(two.rate, Some(Rate { per_second: 5, burst: 20 }));
    let jwt = ops.jwt.as_ref().unwrap();
    assert_eq!((jwt.issuer.as_str(), jwt.subject.as_deref()), ("https://idp", Some("me")));
    assert_eq!(jwt.claims["groups"], ["a".to_owned(), "b".to_owned()].into());
    assert_eq!(jwt.claims["team"], ["c".to_owned()].into());
    assert_eq!(Policy::parse(&policy.to_yaml()).unwrap(), policy);
}

#[test]
fn the_least_document_grants_nothing() {
    for text in ["version: 1", "version: 1\nclients: []\nroles: {}\ntags: {}\naddresses: {}\n", "\u{feff}version: 1\n"]
    {
        assert_eq!(Policy::parse(text).unwrap(), Policy::default(), "{text:?}");
    }
    assert_eq!(Policy::default().to_yaml(), "version: 1\n");
}

#[test]
fn every_operation_has_one_name() {
    for operation in Operation::all() {
        assert_eq!(Operation::parse(operation.name()), Some(operation));
        assert_eq!(Grant::parse(operation.name()), Some(Grant::One(operation)));
    }
    let names: std::collections::BTreeSet<_> = Grant::names().collect();
    assert_eq!(names.len(), Grant::names().count());
    assert_eq!(Operation::parse("admin.policy-write"), Some(Operation::Admin(AdminVerb::PolicyWrite)));
    for unknown in ["", "attestation", "duties", "admin", "admin.", "admin.*", "*"] {
        assert_eq!(Operation::parse(unknown), None, "{unknown}");
    }
}

/// Asserts place and words of a refusal.
fn refused(text: &str, line: usize, column: usize, words: &str) {
    let error = Policy::parse(text).unwrap_err();
    assert_eq!((error.line, error.column), (line, column), "{error} in\n{text}");
    assert!(error.what.contains(words), "{error}\ndoes not say: {words}");
    let shown = error.to_string();
    assert!(shown.starts_with(&format!("line {line}, column {column}: ")) && shown.len() < 3_000, "{shown}");
}

#[test]
fn what_is_no_policy_is_refused_with_its_place() {
    let cases: &[(&str, usize, usize, &str)] = &[
        ("", 1, 1, "empty"),
        ("# only a comment\n", 1, 1, "empty"),
        ("null", 1, 1, "empty"),
        ("- version", 1, 1, "a policy must be a mapping, not a list"),
        ("hosts: [a]", 1, 1, "needs the field \"version\""),
        ("version: 2", 1, 10, "version 2 is not known"),
        ("version: 1.0", 1, 10, "\"1.0\" is no number"),
        ("version: -1", 1, 10, "is no number"),
        ("version: [1]", 1, 10, "must be a text, not a list"),
        ("version: 1\nversion: 1", 2, 1, "\"version\" is set already in line 1"),
        (
            "version: 1\nhsots: [a]",
            2,
            1,
            "unknown field of a policy \"hsots\"; did you mean \"hosts\"? known: version, hosts",
        ),
        ("version: 1\nhosts: []", 2, 8, "empty list"),
        ("version: 1\nhosts: a", 2, 8, "hosts must be a list, not a text"),
        ("version: 1\nhosts:", 2, 6, "hosts must be a list, not nothing"),
        ("version: 1\nhosts: [a, b, A]", 2, 15, "already in line 2"),
        ("version: 1\nhosts: ['*']", 2, 9, "stands for no host"),
        ("version: 1\nhosts: ['a:9000']", 2, 9, "no port"),
        ("version: 1\naddresses: {sgin: [::1]}", 2, 13, "did you mean \"sign\"?"),
        ("version: 1\naddresses: {sign: [10.0.0.1/8]}", 2, 20, "write 10.0.0.0/8"),
        ("version: 1\naddresses: {sign: []}", 2, 19, "empty list"),
        ("version: 1\nfuture-slots: many", 2, 15, "is no number"),
        ("version: 1\nfuture-slots: 10000001", 2, 15, "at most 10000000"),
        ("version: 1\nfuture-slots: 99999999999999999999", 2, 15, "is no number"),
        ("version: 1\ntags: {a: ['0x00']}", 2, 12, "is no public key: expected 48 bytes"),
        ("version: 1\ntags: {a b: []}", 2, 8, "\"a b\" is no name"),
        ("version: 1\ntags: [a]", 2, 7, "tags must be a mapping"),
        ("version: 1\n--- \nversion: 1", 3, 1, "second document"),
        ("version: &x 1\nfuture-slots: *x", 1, 13, "anchors"),
        ("version: !!int 1", 1, 16, "tags"),
        ("version: 1\n? [a]\n: b", 2, 3, "plain word"),
        ("version: 1\n\thosts: [a]", 1, 10, "not YAML"),
        ("version: 1\nhosts: [a", 2, 8, "unclosed bracket"),
    ];
    for (text, line, column, words) in cases {
        refused(text, *line, *column, words);
    }
}

#[test]
fn roles_name_what_there_is() {
    let roles = |role: &str| format!("version: 1\ntags: {{pool: []}}\nroles:\n  r: {role}\n");
    let cases: &[(&str, usize, &str)] = &[
        ("{keys: all}", 6, "a role needs the field \"operations\""),
        ("{operations: []}", 19, "empty list"),
        ("{operations: [ATTESTATION]}", 6, "must say with which keys"),
        ("{operations: [list-keys]}", 6, "must say with which keys"),
        ("{operations: [attestation], keys: all}", 20, "did you mean \"ATTESTATION\"?"),
        ("{operations: [\"admin*\"]}", 20, "did you mean \"admin.*\"?"),
        ("{operations: [BLS_TO_EXECUTION_CHANGE], keys: all}", 20, "unknown operation"),
        ("{operations: [duties, duties], keys: all}", 28, "already"),
        ("{operations: duties, keys: all}", 19, "must be a list, not a text"),
        ("{operations: [duties], keys: everything}", 35, "\"all\", a list of keys"),
        ("{operations: [duties], keys: ALL}", 35, "\"all\", a list of keys"),
        ("{operations: [duties], keys: []}", 35, "empty list"),
        ("{operations: [duties], keys: {tags: [pol]}}", 43, "unknown tag \"pol\"; did you mean \"pool\"?"),
        ("{operations: [duties], keys: {tags: []}}", 42, "empty list"),
        ("{operations: [duties], keys: {tag: [pool]}}", 36, "did you mean \"tags\"?"),
        ("{operations: [duties], keys: all, fee-recipients: []}", 56, "empty list"),
        ("{operations: [duties], keys: all, fee-recipients: ['0x11']}", 57, "is no address: expected 20 bytes"),
        ("{operations: [duties], keys: all, fee-recipient: []}", 40, "did you mean \"fee-recipients\"?"),
        ("{}", 6, "needs the field"),
        ("validator", 6, "a role must be a mapping"),
    ];
    for (role, column, words) in cases {
        refused(&roles(role), 4, *column, words);
    }
    let twice = format!("{{operations: [BLOCK], keys: [\"{0}\", \"{0}\"]}}", key(1));
    refused(&roles(&twice), 4, 137, "already");
}

#[test]
fn clients_are_proved_and_named_once() {
    let document =
        |clients: &str| format!("version: 1\nroles: {{r: {{operations: [\"admin.*\"]}}}}\nclients:\n{clients}");
    let one: &[(&str, usize, &str)] = &[
        ("{roles: [r], certificate: {common-name: a}}", 5, "a client needs the field \"name\""),
        ("{name: a, roles: [r]}", 5, "must be proved by"),
        ("{name: a, certificate: {common-name: a}}", 5, "needs the field \"roles\""),
        ("{name: a, certificate: {common-name: a}, roles: []}", 53, "empty list"),
        ("{name: a, certificate: {common-name: a}, roles: [R]}", 54, "unknown role \"R\"; did you mean \"r\"?"),
        ("{name: a, certificate: {}, roles: [r]}", 28, "needs one of common-name"),
        ("{name: a, certificate: {common-name: ''}, roles: [r]}", 42, "common-name is empty"),
        ("{name: a, certificate: {common-name: ' a'}, roles: [r]}", 42, "begins or ends with a space"),
        ("{name: a, certificate: {common-name: '*'}, roles: [r]}", 42, "no patterns"),
        ("{name: a, certificate: {common-name: \"a\\u202Eb\"}, roles: [r]}", 42, "cannot be seen"),
        ("{name: a, certificate: {common-name: \"a\\nb\"}, roles: [r]}", 42, "cannot be seen"),
        ("{name: a, certificate: {cn: a}, roles: [r]}", 29, "unknown field of a certificate \"cn\""),
        ("{name: a, certificate: {dns: '*.example'}, roles: [r]}", 34, "no patterns"),
        ("{name: a, certificate: {dns: 'a b'}, roles: [r]}", 34, "is no host name"),
        ("{name: a, certificate: {uri: vc}, roles: [r]}", 34, "has no scheme"),
        ("{name: a, certificate: {uri: 'spiffe://Trust/vc'}, roles: [r]}", 34, "is no SPIFFE id"),
        ("{name: a, certificate: {uri: 'SPIFFE://trust/vc'}, roles: [r]}", 34, "is no SPIFFE id"),
        ("{name: a, certificate: {uri: 'spiffe://trust/vc/'}, roles: [r]}", 34, "is no SPIFFE id"),
        ("{name: a, certificate: {uri: 'spiffe:///vc'}, roles: [r]}", 34, "is no SPIFFE id"),
        ("{name: a, certificate: {fingerprint: ab}, roles: [r]}", 42, "is no SHA-256 fingerprint"),
        ("{name: a, jwt: {issuer: i}, roles: [r]}", 20, "needs a subject or a claim"),
        ("{name: a, jwt: {subject: s}, roles: [r]}", 20, "needs the field \"issuer\""),
        ("{name: a, jwt: {issuer: i, claims: {g: []}}, roles: [r]}", 44, "empty list"),
        ("{name: a, jwt: {issuer: i, claims: {g: [b, b]}}, roles: [r]}", 48, "already"),
        ("{name: a, jwt: {issuer: i, claims: {g: {x: y}}}, roles: [r]}", 44, "must be a text, not a mapping"),
        ("{name: a, jwt: {issuer: i, claim: {g: b}}, roles: [r]}", 32, "did you mean \"claims\"?"),
        ("{name: 'token:a', jwt: {issuer: i, subject: s}, roles: [r]}", 12, "is no name"),
        ("{name: a, jwt: {issuer: i, subject: s}, roles: [r], rate: {burst: 1}}", 63, "needs the field \"per-second\""),
        ("{name: a, jwt: {issuer: i, subject: s}, roles: [r], rate: {per-second: 0}}", 76, "at least 1"),
        ("{name: a, jwt: {issuer: i, subject: s}, roles: [r], rate: {per-second: 1000001}}", 76, "at most"),
        ("{name: a, token: t, roles: [r]}", 15, "unknown field of a client"),
    ];
    for (client, column, words) in one {
        refused(&document(&format!("  - {client}\n")), 4, *column, words);
    }
    let same_name = "  - {name: a, certificate: {common-name: a}, roles: [r]}
  - {name: a, certificate: {common-name: b}, roles: [r]}\n";
    refused(&document(same_name), 5, 5, "client a stands already in line 4");
    let same_proof = same_name.replace("name: b", "name: a").replacen("name: a, c", "name: b, c", 1);
    refused(&document(&same_proof), 5, 5, "proves the same as the client in line 4");
}

#[test]
fn sizes_and_counts_are_bounded() {
    refused(&format!("version: 1\n#{}", "x".repeat(POLICY_TEXT_BYTES_MAX)), 1, 1, "more than 196608");
    let many = |name: &str, count: usize, item: fn(usize) -> String| {
        let items: Vec<String> = (0..count).map(item).collect();
        format!("version: 1\n{name}: [{}]", items.join(", "))
    };
    assert!(Policy::parse(&many("hosts", 256, |number| format!("h{number}"))).is_ok());
    assert!(
        Policy::parse(&many("hosts", 257, |number| format!("h{number}"))).unwrap_err().what.contains("at most 256")
    );
    let nested = |depth: usize| format!("version: 1\nhosts: {}{}", "[".repeat(depth), "]".repeat(depth));
    refused(&nested(9), 2, 16, "nested too deeply");
    assert!(Policy::parse(&nested(50_000)).is_err());
    // Short in flow style, too long when written out.
    let flow = many("hosts", 256, |number| format!("h{number}")).replace("hosts", "tags: {t: []}\nhosts");
    assert!(Policy::parse(&flow).is_ok());
    let keys: Vec<String> = (0..1_870_u32).map(|number| format!("0x{number:096x}")).collect();
    let keys = format!("version: 1\ntags: {{t: [{}]}}", keys.join(","));
    assert!(keys.len() < POLICY_TEXT_BYTES_MAX);
    refused(&keys, 1, 1, "written out, the policy has");
    let long = format!("version: 1\n{}: 1", "x".repeat(10_000));
    assert!(Policy::parse(&long).unwrap_err().to_string().len() < 300, "an error repeats little of the text");
}
