//! Bytes that lie on disks: every command, change and record of format 1, written down by hand.
//!
//! A rolling upgrade replays old logs to the same digest, so none of these may ever change: a new binary brings new
//! variants at the end of an enum and new kinds of records, nothing else (docs/FORMATS.md).

#![allow(clippy::unwrap_used, reason = "tests")]

mod slashing_common;

use consigner_rules::command::{
    AuditAnchor, ClusterIdentity, DataKey, Floor, HighWatermark, HistoryImport, ImportedAttestation, ImportedBlock,
    JoinToken, NodePosition, ResealedKey,
};
use consigner_rules::policy::{Policy, TokenRecord};
use consigner_rules::primitives::{ClusterId, RequestId};
use consigner_rules::slashing::Violation;
use consigner_rules::state::{Rebirth, State};
use consigner_rules::{AgreedDuty, ArchiveMark, Change, Command, CommandBatch, SealedKey, SignIntent, codec};
use serde::{Serialize, de::DeserializeOwned};
use slashing_common::{batch, key, root};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// MessagePack text of less than 32 bytes.
fn text(text: &str) -> String {
    format!("{:02x}{}", 0xa0 + text.len(), hex::encode(text))
}

/// MessagePack bytes: `length` times the same one.
fn bytes(byte: u8, length: usize) -> String {
    format!("c4{length:02x}{}", format!("{byte:02x}").repeat(length))
}

/// A variant with content.
fn variant(name: &str, content: &str) -> String {
    format!("81{}{content}", text(name))
}

/// A record with these fields.
fn fields(fields: &[&str]) -> String {
    format!("9{:x}{}", fields.len(), fields.concat())
}

fn assert_bytes<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, expected: &str) {
    let expected = format!("01{expected}");
    assert_eq!(hex::encode(codec::encode(value)), expected, "{value:?}");
    assert_eq!(&codec::decode::<T>(&hex::decode(expected).unwrap()).unwrap(), value);
}

fn identity() -> (ClusterIdentity, String) {
    let identity =
        ClusterIdentity { cluster_id: ClusterId([7; 16]), network: "net".to_owned(), genesis_validators_root: root(8) };
    (identity, fields(&[&bytes(7, 16), &text("net"), &bytes(8, 32)]))
}

fn sealed() -> (SealedKey, String) {
    let sealed = SealedKey { format: 1, public_key: key(1), data_key: [2; 16], nonce: [3; 12], ciphertext: vec![4, 4] };
    (sealed, fields(&["01", &bytes(1, 48), &bytes(2, 16), &bytes(3, 12), &bytes(4, 2)]))
}

fn data_key() -> (DataKey, String) {
    let data_key = DataKey { id: [2; 16], sealer: "local".to_owned(), wrapped: vec![5; 3] };
    (data_key, fields(&[&bytes(2, 16), &text("local"), &bytes(5, 3)]))
}

fn history() -> (HistoryImport, String) {
    let block = Some(ImportedBlock { slot: 300, signing_root: Some(root(6)) });
    let attestation =
        Some(ImportedAttestation { max_source_epoch: 9, max_target_epoch: 10, at_max_target: Some((9, root(7))) });
    let (of_block, at_target) = (fields(&["cd012c", &bytes(6, 32)]), fields(&["09", &bytes(7, 32)]));
    let expected = fields(&[&bytes(1, 48), &of_block, &fields(&["09", "0a", &at_target])]);
    (HistoryImport { public_key: key(1), block, attestation }, expected)
}

fn policy() -> (Policy, String) {
    let yaml = "{version: 1, hosts: [a], roles: {r: {keys: all, operations: [duties]}}}";
    let role = fields(&[&text("All"), &format!("91{}", text("duties")), "c0"]);
    let (hosts, roles) = (format!("91{}", text("a")), format!("81{}{role}", text("r")));
    let expected = fields(&[&hosts, &fields(&["c0"; 4]), "c0", "80", &roles, "90"]);
    (Policy::parse(yaml).unwrap(), expected)
}

fn token() -> (TokenRecord, String) {
    let token = TokenRecord {
        id: [1; 8],
        name: "t".to_owned(),
        hash: [2; 32],
        roles: ["r".to_owned()].into(),
        created_ms: 3,
        expires_ms: Some(4),
    };
    (token, fields(&[&bytes(1, 8), &text("t"), &bytes(2, 32), &format!("91{}", text("r")), "03", "04"]))
}

fn anchor() -> (AuditAnchor, String) {
    let anchor = AuditAnchor { node: 1, public_key: [2; 32], sequence: 3, hash: [5; 32] };
    (anchor, fields(&["01", &bytes(2, 32), "03", &bytes(5, 32)]))
}

fn duties() -> [(AgreedDuty, String); 3] {
    [
        (AgreedDuty::Block { slot: 300 }, variant("Block", &fields(&["cd012c"]))),
        (AgreedDuty::Attestation { source_epoch: 9, target_epoch: 10 }, variant("Attestation", &fields(&["09", "0a"]))),
        (
            AgreedDuty::VoluntaryExit { epoch: 5, validator_index: 70_000 },
            variant("VoluntaryExit", &fields(&["05", "ce00011170"])),
        ),
    ]
}

fn intent(duty: AgreedDuty) -> SignIntent {
    SignIntent {
        request_id: RequestId([9; 16]),
        public_key: key(1),
        duty,
        signing_root: root(6),
        peer: "vc".to_owned(),
        policy_version: 7,
    }
}

/// The commands of rules version 1, each with its bytes.
fn commands_of_version_1() -> Vec<(Command, String)> {
    let id = bytes(2, 16);
    let limit = HighWatermark { epoch: 9, slot: 300 };
    let mut commands = vec![
        (Command::Initialise(identity().0), variant("Initialise", &identity().1)),
        (Command::AddDataKey(data_key().0), variant("AddDataKey", &data_key().1)),
        (
            Command::ImportKey { sealed: sealed().0, history: Some(history().0), deletions_seen: 7 },
            variant("ImportKey", &fields(&[&sealed().1, &history().1, "07"])),
        ),
        (
            Command::ImportKey { sealed: sealed().0, history: None, deletions_seen: 0 },
            variant("ImportKey", &fields(&[&sealed().1, "c0", "00"])),
        ),
        (Command::ImportHistory(history().0), variant("ImportHistory", &history().1)),
        (Command::SetHighWatermark(Some(limit)), variant("SetHighWatermark", &fields(&["09", "cd012c"]))),
        (Command::SetHighWatermark(None), variant("SetHighWatermark", "c0")),
        (Command::RenewPolicy, text("RenewPolicy")),
        (
            Command::DeleteKey { public_key: key(1), deletions_seen: 7 },
            variant("DeleteKey", &fields(&[&bytes(1, 48), "07"])),
        ),
        (
            Command::Reseal(vec![ResealedKey { from: [5; 16], sealed: sealed().0 }]),
            variant("Reseal", &format!("91{}", fields(&[&bytes(5, 16), &sealed().1]))),
        ),
        (Command::RemoveDataKey([2; 16]), variant("RemoveDataKey", &id)),
        (
            Command::SetPolicy { policy: Box::new(policy().0), replaces: 7 },
            variant("SetPolicy", &fields(&[&policy().1, "07"])),
        ),
        (Command::AddToken { token: token().0, policy_version: 7 }, variant("AddToken", &fields(&[&token().1, "07"]))),
        (Command::RevokeToken { id: [1; 8] }, variant("RevokeToken", &fields(&[&bytes(1, 8)]))),
        (Command::AnchorAudit(anchor().0), variant("AnchorAudit", &anchor().1)),
    ];
    for (duty, encoded) in duties() {
        let expected = fields(&[&bytes(9, 16), &bytes(1, 48), &encoded, &bytes(6, 32), &text("vc"), "07"]);
        commands.push((Command::Sign(intent(duty)), variant("Sign", &expected)));
    }
    commands
}

/// Those of version 2, and the one that leads there.
fn commands_of_version_2() -> Vec<(Command, String)> {
    let token = JoinToken { id: [1; 8], node: 4, hash: [2; 32], created_ms: 3, expires_ms: 300 };
    let position = NodePosition { term: 1, leader: 2, index: 300 };
    vec![
        (Command::RaiseRules { version: 2 }, variant("RaiseRules", &fields(&["02"]))),
        (
            Command::AddJoinToken(token),
            variant("AddJoinToken", &fields(&[&bytes(1, 8), "04", &bytes(2, 32), "03", "cd012c"])),
        ),
        (Command::RevokeJoinToken { id: [1; 8] }, variant("RevokeJoinToken", &fields(&[&bytes(1, 8)]))),
        (
            Command::AdmitNode { node: 4, name: "n".to_owned(), incarnation: [5; 16], token: [1; 8] },
            variant("AdmitNode", &fields(&["04", &text("n"), &bytes(5, 16), &bytes(1, 8)])),
        ),
        (Command::RetireNode { node: 4 }, variant("RetireNode", &fields(&["04"]))),
        (
            Command::NotePositions([(1, position), (300, position)].into()),
            variant("NotePositions", "8201930102cd012ccd012c930102cd012c"),
        ),
        (
            Command::Resume(Floor { slot: 300, source: 9, target: 10 }),
            variant("Resume", &fields(&["cd012c", "09", "0a"])),
        ),
    ]
}

fn mark() -> (ArchiveMark, String) {
    (ArchiveMark { index: 300, rows: 7, chain: root(6) }, fields(&["cd012c", "07", &bytes(6, 32)]))
}

/// Those of version 3.
fn commands_of_version_3() -> Vec<(Command, String)> {
    let advance = Command::AdvanceArchive { after: 9, mark: mark().0 };
    vec![(advance, variant("AdvanceArchive", &fields(&["09", &mark().1])))]
}

#[test]
fn every_command_is_pinned() {
    let newer = commands_of_version_2().into_iter().chain(commands_of_version_3());
    let commands: Vec<_> = commands_of_version_1().into_iter().chain(newer).collect();
    for (command, expected) in &commands {
        assert_bytes(command, expected);
    }
    let (commands, encoded): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
    let whole = CommandBatch { proposed_at_ms: 300, checkpoint: None, commands };
    assert_bytes(&whole, &fields(&["cd012c", "c0", &format!("dc{:04x}{}", encoded.len(), encoded.concat())]));
    let checkpoint = consigner_rules::command::Checkpoint { index: 300, digest: root(3) };
    let empty = CommandBatch { proposed_at_ms: 0, checkpoint: Some(checkpoint), commands: Vec::new() };
    assert_bytes(&empty, &fields(&["00", &fields(&["cd012c", &bytes(3, 32)]), "90"]));
}

/// What lies in the outbox and goes to the archive.
#[test]
fn every_change_is_pinned() {
    let signed = |duty, encoded: &str| {
        let change = Change::Signed { public_key: key(1), duty, signing_root: root(6), peer: "vc".to_owned() };
        (change, variant("Signed", &fields(&[&bytes(1, 48), encoded, &bytes(6, 32), &text("vc")])))
    };
    let [(duty, of_duty), ..] = duties();
    let refused = Change::Refused {
        public_key: key(1),
        duty,
        signing_root: root(6),
        peer: "vc".to_owned(),
        violation: Violation::DoubleBlock { slot: 300 },
    };
    let violation = variant("DoubleBlock", &fields(&["cd012c"]));
    let mut changes = vec![
        (Change::ClusterInitialised(identity().0), variant("ClusterInitialised", &identity().1)),
        (refused, variant("Refused", &fields(&[&bytes(1, 48), &of_duty, &bytes(6, 32), &text("vc"), &violation]))),
        (Change::KeyAdded(key(1)), variant("KeyAdded", &bytes(1, 48))),
        (Change::HistoryMerged(history().0), variant("HistoryMerged", &history().1)),
        (Change::HighWatermarkSet(None), variant("HighWatermarkSet", "c0")),
        (Change::PolicyRenewed(7), variant("PolicyRenewed", "07")),
        (Change::KeyRemoved(key(1)), variant("KeyRemoved", &bytes(1, 48))),
        (Change::KeysResealed { data_key: [2; 16], keys: 7 }, variant("KeysResealed", &fields(&[&bytes(2, 16), "07"]))),
        (Change::DataKeyRemoved([2; 16]), variant("DataKeyRemoved", &bytes(2, 16))),
        (
            Change::TokenAdded { id: [1; 8], name: "t".to_owned() },
            variant("TokenAdded", &fields(&[&bytes(1, 8), &text("t")])),
        ),
        (
            Change::TokenRevoked { id: [1; 8], name: "t".to_owned() },
            variant("TokenRevoked", &fields(&[&bytes(1, 8), &text("t")])),
        ),
        (Change::AuditAnchored(anchor().0), variant("AuditAnchored", &anchor().1)),
        // An array of numbers: it came before the others were written as bytes, and stays.
        (Change::DataKeyAdded([2; 16]), variant("DataKeyAdded", &format!("dc0010{}", "02".repeat(16)))),
    ];
    changes.extend(duties().into_iter().map(|(duty, encoded)| signed(duty, &encoded)));
    for (change, expected) in changes {
        assert_bytes(&change, &expected);
    }
}

/// Those that came with rules version 2 and 3.
#[test]
fn every_newer_change_is_pinned() {
    let (public_key, signing_root, peer, node) = (key(1), root(6), "vc".to_owned(), 300);
    let (duty, of_duty) = duties()[0].clone();
    let violation = Violation::DoubleBlock { slot: 300 };
    let of_violation = variant("DoubleBlock", &fields(&["cd012c"]));
    let (name, incarnation) = ("n".to_owned(), [5; 16]);
    let common = [bytes(1, 48), of_duty, bytes(6, 32), text("vc")].concat();
    let changes = [
        (Change::RulesRaised(3), variant("RulesRaised", "03")),
        (Change::JoinTokenAdded { id: [1; 8], node }, variant("JoinTokenAdded", &fields(&[&bytes(1, 8), "cd012c"]))),
        (
            Change::JoinTokenRevoked { id: [1; 8], node },
            variant("JoinTokenRevoked", &fields(&[&bytes(1, 8), "cd012c"])),
        ),
        (
            Change::NodeAdmitted { node, name, incarnation },
            variant("NodeAdmitted", &fields(&["cd012c", &text("n"), &bytes(5, 16)])),
        ),
        (Change::NodeRetired { node }, variant("NodeRetired", &fields(&["cd012c"]))),
        (
            Change::Resumed(Floor { slot: 300, source: 9, target: 10 }),
            variant("Resumed", &fields(&["cd012c", "09", "0a"])),
        ),
        (
            Change::SignedVia { public_key, duty, signing_root, peer: peer.clone(), node },
            variant("SignedVia", &format!("95{common}cd012c")),
        ),
        (
            Change::RefusedVia { public_key, duty, signing_root, peer, violation, node },
            variant("RefusedVia", &format!("96{common}{of_violation}cd012c")),
        ),
    ];
    for (change, expected) in changes {
        assert_bytes(&change, &expected);
    }
}

/// Who asked for a signature stands at the end of the request's id.
#[test]
fn the_node_in_a_request_id_is_pinned() {
    let id = RequestId::new(300, [9; 8]);
    assert_eq!(hex::encode(id.0), format!("{}000000000000012c", "09".repeat(8)));
    assert_eq!((id.node(), RequestId([9; 16]).node()), (300, 0x0909_0909_0909_0909));
}

fn records(state: &State) -> BTreeMap<String, String> {
    state.records().map(|record| (hex::encode(record.key), hex::encode(record.value))).collect()
}

fn name(kind: char, name: &str) -> String {
    format!("{:02x}{name}", u32::from(kind))
}

/// Digests are compared between binaries of two versions: this one must come out the same for ever.
#[test]
fn every_record_of_version_1_and_its_digest_are_pinned() {
    let mut state = State::default();
    let policy_version = |intent: SignIntent, policy_version| SignIntent { policy_version, ..intent };
    let [block, vote, _] = duties().map(|(duty, _)| intent(duty));
    let commands = vec![
        Command::Initialise(identity().0),
        Command::AddDataKey(data_key().0),
        Command::ImportKey { sealed: sealed().0, history: None, deletions_seen: 0 },
        Command::DeleteKey { public_key: key(1), deletions_seen: 0 },
        Command::ImportKey { sealed: sealed().0, history: None, deletions_seen: 1 },
        Command::SetPolicy { policy: Box::new(policy().0), replaces: 1 },
        Command::AddToken { token: token().0, policy_version: 2 },
        Command::AnchorAudit(anchor().0),
        Command::SetHighWatermark(Some(HighWatermark { epoch: 90, slot: 3_000 })),
        Command::Sign(policy_version(block, 2)),
        Command::Sign(policy_version(vote, 2)),
    ];
    state.apply(&batch(commands));
    let key = "01".repeat(48);
    let marks = fields(&[&fields(&["cd012c", &bytes(6, 32)]), &fields(&["09", "0a", &fields(&["09", &bytes(6, 32)])])]);
    let expected: BTreeMap<String, String> = [
        (name('a', &"02".repeat(32)), anchor().1),
        (name('c', ""), fields(&[&identity().1, "01", "02", &fields(&["5a", "cd0bb8"])])),
        (name('d', &"02".repeat(16)), data_key().1),
        (name('h', &key), marks),
        (name('k', &key), sealed().1),
        (name('p', ""), fields(&["02", &policy().1])),
        (name('t', &"01".repeat(8)), token().1),
        (name('x', &key), "01".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name, format!("01{value}")))
    .collect();
    assert_eq!(records(&state), expected);
    assert_eq!(hex::encode(state.digest().0), DIGEST_OF_VERSION_1);
    let old = expected.into_iter().map(|(name, value)| (hex::decode(name).unwrap(), hex::decode(value).unwrap()));
    assert_eq!(State::from_records(old).unwrap().digest(), state.digest());
}

/// The sum, lane by lane, of the SHA-256 of those eight records, computed by another program.
const DIGEST_OF_VERSION_1: &str = "9278d099daf0c19f7cd12d6c2c6060fd057ea29d221a2988355146737ef15a61";

#[test]
fn every_record_of_version_2_is_pinned() {
    let token = JoinToken { id: [1; 8], node: 5, hash: [2; 32], created_ms: 3, expires_ms: 4 };
    let joining = JoinToken { id: [3; 8], node: 4, ..token.clone() };
    let position = NodePosition { term: 1, leader: 2, index: 300 };
    let mut state = State::default().reborn(Rebirth { identity: identity().0, data_keys: vec![], keys: vec![] });
    let awaited = records(&state).remove(&name('f', ""));
    assert_eq!(awaited, Some(format!("01{}", text("Awaited"))));
    let admit = Command::AdmitNode { node: 4, name: "n".to_owned(), incarnation: [5; 16], token: [3; 8] };
    let commands = vec![
        Command::AddJoinToken(token),
        Command::AddJoinToken(joining),
        admit,
        Command::RetireNode { node: 300 },
        Command::NotePositions([(4, position)].into()),
        Command::Resume(Floor { slot: 300, source: 9, target: 10 }),
    ];
    state.apply(&batch(commands));
    let mut found = records(&state);
    let rules = format!("{:02x}", consigner_rules::RULES_VERSION);
    assert_eq!(found.remove(&name('c', "")), Some(format!("01{}", fields(&[&identity().1, &rules, "02", "c0"]))));
    let expected: BTreeMap<String, String> = [
        (name('f', ""), variant("Raised", &fields(&["cd012c", "09", "0a"]))),
        (name('j', &"01".repeat(8)), fields(&[&bytes(1, 8), "05", &bytes(2, 32), "03", "04"])),
        (name('n', "0000000000000004"), fields(&[&bytes(5, 16), "c2"])),
        (name('n', "000000000000012c"), fields(&["c0", "c3"])),
        (name('q', "0000000000000004"), fields(&["01", "02", "cd012c"])),
    ]
    .into_iter()
    .map(|(name, value)| (name, format!("01{value}")))
    .collect();
    assert_eq!(found, expected);
}

/// Of the record that came with version 3, and of the digest with it.
#[test]
fn the_record_of_version_3_is_pinned() {
    let mut state = State::default();
    state.apply(&batch(vec![Command::Initialise(identity().0), Command::RaiseRules { version: 3 }]));
    let before = records(&state);
    assert_eq!(before.keys().collect::<Vec<_>>(), [&name('c', "")]);
    state.apply(&batch(vec![Command::AdvanceArchive { after: 0, mark: mark().0 }]));
    let mut found = records(&state);
    assert_eq!(found.remove(&name('m', "")), Some(format!("01{}", mark().1)));
    assert_eq!(found, before);
}
