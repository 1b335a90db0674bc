//! Who may do what: tables over one policy, with the inputs that a hostile or careless caller brings.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::message::{Moment, Particulars, SignPath, SignRequest, SigningType};
use crate::permit::UnslashableType;
use crate::primitives::{Address, PublicKey, Root};
use std::collections::BTreeMap;

const A: PublicKey = PublicKey([1; 48]);
const B: PublicKey = PublicKey([2; 48]);
const C: PublicKey = PublicKey([3; 48]);
const HERE: Address = Address([0xaa; 20]);
const ELSEWHERE: Address = Address([0xbb; 20]);

fn policy() -> Policy {
    let text = format!(
        r#"
version: 1
future-slots: 64
tags: {{pool-a: ["{A}"], pool-b: []}}
roles:
  validator: {{keys: {{tags: [pool-a, pool-b]}}, operations: [duties, VALIDATOR_REGISTRATION],
    fee-recipients: ["{HERE}"]}}
  proposer: {{keys: ["{B}"], operations: [BLOCK_V2, RANDAO_REVEAL]}}
  waiting: {{keys: {{tags: [pool-b]}}, operations: [duties]}}
  exiter: {{keys: all, operations: [VOLUNTARY_EXIT]}}
  lister: {{keys: ["{C}"], operations: [list-keys]}}
  keeper: {{keys: ["{A}"], operations: [keymanager.list, keymanager.delete]}}
  operator: {{operations: ["admin.*", "keymanager.*"]}}
clients:
  - {{name: vc-1, certificate: {{common-name: vc-1}}, roles: [validator], rate: {{per-second: 5}}}}
  - {{name: vc-1-pinned, certificate: {{common-name: vc-1, fingerprint: "{fingerprint}"}},
     roles: [proposer], rate: {{per-second: 9}}}}
  - {{name: dns, certificate: {{dns: VC.Example}}, roles: [exiter]}}
  - {{name: spiffe, certificate: {{uri: "spiffe://trust/vc"}}, roles: [waiting, lister]}}
  - {{name: both, certificate: {{common-name: ops}}, jwt: {{issuer: "https://idp", claims: {{groups: [ops, admins]}}}},
     roles: [operator]}}
  - {{name: robot, jwt: {{issuer: "https://idp", subject: robot}}, roles: [keeper]}}
"#,
        fingerprint = "07".repeat(32),
    );
    Policy::parse(&text).unwrap()
}

fn certificate(common_name: Option<&str>) -> CertificateNames<'_> {
    CertificateNames { common_name, dns_names: &[], uris: &[], fingerprint: None }
}

fn by_name(common_name: &str) -> Caller<'_> {
    Caller { certificate: Some(certificate(Some(common_name))), ..Caller::default() }
}

fn claims(issuer: &str, subject: &str, groups: &[&str]) -> Claims {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let values = BTreeMap::from([("groups".to_owned(), groups)]);
    Claims { issuer: issuer.to_owned(), subject: subject.to_owned(), values }
}

fn token(roles: &[&str]) -> TokenRecord {
    TokenRecord {
        id: [1; 8],
        name: "ci".to_owned(),
        hash: [2; 32],
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        created_ms: 0,
        expires_ms: None,
    }
}

fn sign(signing_type: SigningType) -> Operation {
    Operation::Sign(signing_type)
}

/// `client/role` of the permission, or the denial.
fn decided(caller: &Caller<'_>, operation: Operation, key: Option<&PublicKey>) -> Result<String, Denial> {
    policy().decide(caller, operation, key).map(|permission| format!("{}/{}", permission.client, permission.role))
}

fn not_granted(client: &str, operation: Operation) -> Result<String, Denial> {
    Err(Denial::NotGranted { client: client.to_owned(), operation })
}

fn key_not_granted(client: &str, operation: Operation, key: PublicKey) -> Result<String, Denial> {
    Err(Denial::KeyNotGranted { client: client.to_owned(), operation, key })
}

fn granted(by: &str) -> Result<String, Denial> {
    Ok(by.to_owned())
}

#[test]
fn a_client_has_its_roles_and_nothing_else() {
    let vc = by_name("vc-1");
    let attestation = sign(SigningType::Attestation);
    let (exit, delete) = (sign(SigningType::VoluntaryExit), Operation::KeyManager(KeyManagerVerb::Delete));
    let cases = [
        (attestation, Some(A), granted("vc-1/validator")),
        (attestation, None, granted("vc-1/validator")),
        (attestation, Some(B), key_not_granted("vc-1", attestation, B)),
        (sign(SigningType::BlockV2), Some(B), key_not_granted("vc-1", sign(SigningType::BlockV2), B)),
        (sign(SigningType::ValidatorRegistration), Some(A), granted("vc-1/validator")),
        (sign(SigningType::Deposit), Some(A), not_granted("vc-1", sign(SigningType::Deposit))),
        (exit, Some(A), not_granted("vc-1", exit)),
        (Operation::ListKeys, Some(A), granted("vc-1/validator")),
        (Operation::ListKeys, Some(C), key_not_granted("vc-1", Operation::ListKeys, C)),
        (delete, Some(A), not_granted("vc-1", delete)),
        (Operation::Admin(AdminVerb::Status), None, not_granted("vc-1", Operation::Admin(AdminVerb::Status))),
    ];
    for (operation, key, expected) in cases {
        assert_eq!(decided(&vc, operation, key.as_ref()), expected, "{operation} {key:?}");
    }
}

#[test]
fn duties_are_all_signing_types_but_three() {
    for signing_type in SigningType::ALL {
        let special = [SigningType::VoluntaryExit, SigningType::Deposit, SigningType::ValidatorRegistration];
        assert_eq!(Grant::Duties.includes(sign(*signing_type)), !special.contains(signing_type), "{signing_type}");
    }
    for operation in Operation::all().filter(|operation| !matches!(operation, Operation::Sign(_))) {
        assert!(!Grant::Duties.includes(operation), "{operation}");
        assert_eq!(Grant::AnyAdmin.includes(operation), matches!(operation, Operation::Admin(_)));
        assert_eq!(Grant::AnyKeyManager.includes(operation), matches!(operation, Operation::KeyManager(_)));
    }
}

#[test]
fn every_proof_of_an_entry_must_hold_and_names_are_compared_whole() {
    let attestation = sign(SigningType::Attestation);
    let nobody = |caller: &Caller<'_>| {
        let denied = decided(caller, attestation, Some(&A)).unwrap_err();
        let Denial::UnknownCaller { seen } = denied else { panic!("{denied}") };
        assert_eq!(seen, caller.describe());
        seen
    };
    for name in ["VC-1", "vc-1 ", "vc-1\0", "vc", "vc-11", "", "*", "token:ci", "vc-1-pinned"] {
        nobody(&by_name(name));
    }
    assert_eq!(nobody(&Caller::default()), "no certificate, token or JWT");
    let unnamed = Caller { certificate: Some(certificate(None)), ..Caller::default() };
    assert_eq!(nobody(&unnamed), "certificate without CN", "a fingerprint that nobody named is not told");
    let pinned = CertificateNames { fingerprint: Some([8; 32]), ..certificate(None) };
    let pinned = nobody(&Caller { certificate: Some(pinned), ..Caller::default() });
    assert!(pinned.starts_with("certificate without CN, SHA-256 0808"), "{pinned}");
    // A line break in a name does not make a line of its own, and a long one is cut.
    let hostile = "vc\n\u{1b}[31m".to_owned() + &"x".repeat(500);
    let seen = nobody(&by_name(&hostile));
    assert!(!seen.contains(['\n', '\u{1b}']) && seen.len() < 400, "{seen}");
    // The common name "ops" alone, the token alone, a claim short, another issuer: not the entry that names both.
    let right = claims("https://idp", "me", &["users", "admins", "ops"]);
    let cases = [
        (Some("ops"), Some(right.clone()), true),
        (Some("ops"), None, false),
        (Some("OPS"), Some(right.clone()), false),
        (None, Some(right), false),
        (Some("ops"), Some(claims("https://idp", "me", &["ops"])), false),
        (Some("ops"), Some(claims("https://idp", "me", &[])), false),
        (Some("ops"), Some(claims("https://idp/", "me", &["ops", "admins"])), false),
        (Some("ops"), Some(Claims { values: BTreeMap::new(), ..claims("https://idp", "me", &[]) }), false),
    ];
    for (name, claims, known) in cases {
        let certificate = name.map(|name| certificate(Some(name)));
        let caller = Caller { certificate, token: None, claims: claims.as_ref() };
        let decided = decided(&caller, Operation::Admin(AdminVerb::Tokens), None);
        assert_eq!(decided.is_ok(), known, "{name:?} {claims:?}");
    }
    let robot = claims("https://idp", "robot", &[]);
    let caller = Caller { claims: Some(&robot), ..Caller::default() };
    assert_eq!(decided(&caller, Operation::KeyManager(KeyManagerVerb::List), None), granted("robot/keeper"));
    assert!(
        nobody(&Caller { claims: Some(&claims("https://idp", "Robot", &[])), ..Caller::default() }).contains("Robot")
    );
}

#[test]
fn dns_names_have_no_case_and_uris_have() {
    let exit = sign(SigningType::VoluntaryExit);
    let list = |name: &str| vec!["first.example".to_owned(), name.to_owned()];
    for (dns, uri, expected) in [
        ("vc.example", "x:y", Some("dns")),
        ("VC.EXAMPLE", "x:y", Some("dns")),
        ("*.example", "x:y", None),
        ("a.vc.example", "x:y", None),
        ("example", "spiffe://trust/vc", Some("spiffe")),
        ("example", "spiffe://trust/VC", None),
        ("example", "spiffe://trust/vc/1", None),
        ("example", "spiffe://trust/vc/", None),
        ("vc.example", "spiffe://trust/vc", Some("dns")),
    ] {
        let (dns_names, uris) = (list(dns), list(uri));
        let names = CertificateNames { common_name: None, dns_names: &dns_names, uris: &uris, fingerprint: None };
        let caller = Caller { certificate: Some(names), ..Caller::default() };
        let identified = policy().identify(&caller).map(|(client, _)| client);
        assert_eq!(identified.as_deref(), expected, "{dns} {uri}");
        assert_eq!(decided(&caller, exit, Some(&C)).is_ok(), expected == Some("dns"));
    }
}

#[test]
fn a_certificate_that_is_two_clients_has_the_roles_of_both() {
    let names = CertificateNames { fingerprint: Some([7; 32]), ..certificate(Some("vc-1")) };
    let both = Caller { certificate: Some(names), ..Caller::default() };
    let block = sign(SigningType::BlockV2);
    assert_eq!(decided(&both, block, Some(&A)), granted("vc-1/validator"));
    assert_eq!(decided(&both, block, Some(&B)), granted("vc-1-pinned/proposer"));
    assert_eq!(decided(&both, block, Some(&C)), key_not_granted("vc-1", block, C));
    let attestation = sign(SigningType::Attestation);
    assert_eq!(decided(&both, attestation, Some(&B)), key_not_granted("vc-1", attestation, B));
    // Named after the first entry that matches; each permission after the entry that gives it.
    let policy = policy();
    assert_eq!(policy.identify(&both), Some(("vc-1".to_owned(), Some(Rate { per_second: 5, burst: 5 }))));
    assert_eq!(policy.decide(&both, block, Some(&B)).unwrap().rate, Some(Rate { per_second: 9, burst: 9 }));
    // The fingerprint alone, under another name, is neither.
    let renamed = CertificateNames { fingerprint: Some([7; 32]), ..certificate(Some("vc-2")) };
    assert_eq!(policy.identify(&Caller { certificate: Some(renamed), ..Caller::default() }), None);
}

#[test]
fn a_token_carries_its_roles_by_itself_as_far_as_the_policy_has_them() {
    let attestation = sign(SigningType::Attestation);
    let held = token(&["validator", "gone"]);
    let alone = Caller { token: Some(&held), ..Caller::default() };
    assert_eq!(decided(&alone, attestation, Some(&A)), granted("token:ci/validator"));
    assert_eq!(policy().identify(&alone), Some(("token:ci".to_owned(), None)));
    // On top of a certificate the roles are united, and the certificate names the caller.
    let operator = token(&["operator"]);
    let both = Caller { token: Some(&operator), ..by_name("vc-1") };
    assert_eq!(decided(&both, attestation, Some(&A)), granted("vc-1/validator"));
    assert_eq!(decided(&both, Operation::Admin(AdminVerb::Audit), None), granted("token:ci/operator"));
    assert_eq!(policy().identify(&both).unwrap().0, "vc-1");
    let gone = token(&["gone"]);
    assert_eq!(
        decided(&Caller { token: Some(&gone), ..Caller::default() }, attestation, Some(&A)),
        not_granted("token:ci", attestation)
    );
}

#[test]
fn a_tag_without_keys_reaches_no_key() {
    let uris = ["spiffe://trust/vc".to_owned()];
    let names = CertificateNames { uris: &uris, ..certificate(None) };
    let caller = Caller { certificate: Some(names), ..Caller::default() };
    let attestation = sign(SigningType::Attestation);
    assert_eq!(decided(&caller, attestation, Some(&A)), key_not_granted("spiffe", attestation, A));
    assert_eq!(decided(&caller, attestation, None), not_granted("spiffe", attestation));
    assert_eq!(decided(&caller, Operation::ListKeys, Some(&C)), granted("spiffe/lister"));
    assert_eq!(decided(&caller, Operation::ListKeys, Some(&A)), key_not_granted("spiffe", Operation::ListKeys, A));
}

#[test]
fn keys_bound_the_key_manager_too() {
    let robot = claims("https://idp", "robot", &[]);
    let keeper = Caller { claims: Some(&robot), ..Caller::default() };
    let delete = Operation::KeyManager(KeyManagerVerb::Delete);
    assert_eq!(decided(&keeper, delete, Some(&A)), granted("robot/keeper"));
    assert_eq!(decided(&keeper, delete, Some(&B)), key_not_granted("robot", delete, B));
    let held = token(&["operator"]);
    assert_eq!(
        decided(&Caller { token: Some(&held), ..Caller::default() }, delete, Some(&B)),
        granted("token:ci/operator")
    );
}

fn request(signing_type: SigningType, particulars: Particulars) -> SignRequest {
    SignRequest {
        public_key: A,
        signing_type,
        signing_root: Root([0; 32]),
        genesis_validators_root: None,
        path: SignPath::Local(UnslashableType::ValidatorRegistration),
        particulars,
    }
}

#[test]
fn fee_recipients_are_those_of_one_role_that_grants_the_rest() {
    let registration = |fee_recipient| {
        request(SigningType::ValidatorRegistration, Particulars { fee_recipient: Some(fee_recipient), moment: None })
    };
    let mut policy = policy();
    let vc = by_name("vc-1");
    assert_eq!(policy.admit(&vc, &registration(HERE), None).unwrap().role, "validator");
    let denied = Denial::FeeRecipient { client: "vc-1".to_owned(), fee_recipient: ELSEWHERE };
    assert_eq!(policy.admit(&vc, &registration(ELSEWHERE), None), Err(denied.clone()));
    let preferences = SignRequest { signing_type: SigningType::ProposerPreferences, ..registration(ELSEWHERE) };
    assert_eq!(policy.admit(&vc, &preferences, None), Err(denied.clone()));
    let bid = SignRequest { signing_type: SigningType::ExecutionPayloadBid, ..registration(ELSEWHERE) };
    assert!(policy.admit(&vc, &bid, None).is_ok(), "a bid names the builder's");
    // A second role with the recipient, but for another key, or without the operation, does not help.
    let second = |keys, operation, fee_recipients| Role {
        keys: Some(keys),
        operations: [Grant::One(sign(operation))].into(),
        fee_recipients,
    };
    let useless = [
        second(KeyScope::Keys([B].into()), SigningType::ValidatorRegistration, Some([ELSEWHERE].into())),
        second(KeyScope::All, SigningType::Attestation, Some([ELSEWHERE].into())),
    ];
    for (number, role) in useless.into_iter().enumerate() {
        policy.roles.insert(format!("second-{number}"), role);
        policy.clients[0].roles.insert(format!("second-{number}"));
        assert_eq!(policy.admit(&vc, &registration(ELSEWHERE), None), Err(denied.clone()));
    }
    policy.roles.insert("third".to_owned(), second(KeyScope::All, SigningType::ValidatorRegistration, None));
    policy.clients[0].roles.insert("third".to_owned());
    assert_eq!(policy.admit(&vc, &registration(ELSEWHERE), None).unwrap().role, "third");
}

#[test]
fn nothing_far_ahead_of_the_clock_is_admitted() {
    let at = |moment| request(SigningType::Attestation, Particulars { fee_recipient: None, moment });
    let slot = |slot| at(Some(Moment::Slot(slot)));
    let mut policy = policy();
    let vc = by_name("vc-1");
    let too_far = |asked, now| Err(Denial::TooFarAhead { asked, bound: 64, now });
    let judged = |policy: &Policy, request, now| policy.admit(&vc, &request, now).map(|_| ());
    let cases = [
        (slot(0), Some(1_000), Ok(())),
        (slot(1_064), Some(1_000), Ok(())),
        (slot(1_065), Some(1_000), too_far(1_065, 1_000)),
        (slot(u64::MAX), Some(0), too_far(u64::MAX, 0)),
        (slot(u64::MAX), Some(u64::MAX), Ok(())),
        (at(Some(Moment::Epoch { epoch: 33, first_slot: 1_056 })), Some(1_000), Ok(())),
        (at(Some(Moment::Epoch { epoch: 34, first_slot: 1_088 })), Some(1_000), too_far(1_088, 1_000)),
        (slot(0), None, Err(Denial::NoClock)),
        (at(None), None, Ok(())),
    ];
    for (request, now, expected) in cases {
        assert_eq!(judged(&policy, request.clone(), now), expected, "{request:?} {now:?}");
    }
    // Who has no right learns nothing of the clock.
    assert!(matches!(policy.admit(&by_name("x"), &slot(u64::MAX), None), Err(Denial::UnknownCaller { .. })));
    policy.future_slots = None;
    assert_eq!(judged(&policy, slot(u64::MAX), None), Ok(()));
}

#[test]
fn an_entry_that_proves_nothing_is_nobodys() {
    // No document says this; a state that was made otherwise must still grant nothing by it.
    let empty = PolicyClient {
        name: "x".to_owned(),
        certificate: None,
        jwt: None,
        roles: ["operator".to_owned()].into(),
        rate: None,
    };
    let entries = [
        empty.clone(),
        PolicyClient { certificate: Some(CertificateMatch::default()), ..empty.clone() },
        PolicyClient { jwt: Some(JwtMatch { issuer: "https://idp".to_owned(), ..JwtMatch::default() }), ..empty },
    ];
    let (robot, held) = (claims("https://idp", "someone", &["ops", "admins"]), certificate(Some("vc-1")));
    for entry in entries {
        let policy = Policy { clients: vec![entry], ..policy() };
        let caller = Caller { certificate: Some(held), token: None, claims: Some(&robot) };
        assert!(matches!(policy.decide(&caller, Operation::ListKeys, None), Err(Denial::UnknownCaller { .. })));
    }
}

#[test]
fn a_policy_without_clients_denies_everything() {
    for policy in [Policy::default(), Policy { clients: Vec::new(), ..policy() }] {
        for operation in Operation::all() {
            assert!(matches!(policy.decide(&by_name("vc-1"), operation, None), Err(Denial::UnknownCaller { .. })));
        }
    }
}

#[test]
fn what_changes_is_said() {
    let old = policy();
    let mut new = old.clone();
    new.future_slots = None;
    new.hosts = Some(vec!["signer.example".to_owned()]);
    new.tags.get_mut("pool-b").unwrap().insert(B);
    new.roles.remove("lister");
    new.roles.get_mut("validator").unwrap().operations.remove(&Grant::One(sign(SigningType::ValidatorRegistration)));
    new.clients[3].roles.remove("lister");
    new.clients.swap(0, 1);
    new.clients[2].certificate = Some(CertificateMatch { common_name: Some("x".to_owned()), ..Default::default() });
    assert_eq!(
        diff(Some(&old), &new),
        [
            "+ hosts: signer.example".to_owned(),
            "- future-slots: 64".to_owned(),
            format!("~ tag pool-b: + {B}"),
            "- role lister: list-keys; keys 1 by name".to_owned(),
            "~ role validator: operations - VALIDATOR_REGISTRATION".to_owned(),
            "~ client dns: certificate DNS vc.example -> certificate CN x".to_owned(),
            "~ client spiffe: roles - lister".to_owned(),
            "~ the order of clients (the first that matches names the caller)".to_owned(),
        ]
    );
    let first = diff(None, &old);
    assert!(first[0].starts_with("+ a policy: from now on it alone grants"), "{first:?}");
    assert!(
        first.contains(
            &"+ client vc-1: certificate CN vc-1; roles validator; 5 requests per second, 5 at once".to_owned()
        )
    );
    assert_eq!(diff(None, &Policy::default()).len(), 1);
}

#[test]
fn what_is_probably_not_meant_is_said() {
    let warnings = policy().warnings();
    assert!(warnings.iter().any(|warning| warning.contains("role exiter may exit every validator")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("names tag pool-b, which has no keys")), "{warnings:?}");
    assert!(!warnings.iter().any(|warning| warning.contains("admin.policy-write")), "the operator has it");
    let mut policy = policy();
    policy.clients.retain(|client| client.name == "vc-1");
    policy.roles.get_mut("validator").unwrap().fee_recipients = None;
    let warnings = policy.warnings();
    assert!(warnings.iter().any(|warning| warning.contains("no client has admin.policy-write")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("any fee recipient")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("role proposer is given to no client")), "{warnings:?}");
}
