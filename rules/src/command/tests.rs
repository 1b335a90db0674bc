//! Commands as text and as bytes.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::codec;

#[test]
fn debug_shows_no_key_material() {
    let data_key = DataKey { id: [0x11; 16], sealer: "local".to_owned(), wrapped: vec![0xee; 40] };
    assert_eq!(format!("{data_key:?}"), format!("DataKey({}, local)", "11".repeat(16)));
    let sealed = SealedKey {
        format: 1,
        public_key: PublicKey([0x22; 48]),
        data_key: [0x11; 16],
        nonce: [0xdd; 12],
        ciphertext: vec![0xee; 48],
    };
    let command = Command::ImportKey { sealed, history: None, deletions_seen: 0 };
    let text = format!("{command:?}");
    assert!(text.contains(&format!("SealedKey({})", PublicKey([0x22; 48]))), "{text}");
    assert!(!text.contains("238") && !text.contains("221") && !text.contains("eeee"), "{text}");
}

#[test]
fn a_thousand_intents_fit_into_one_entry() {
    let intent = SignIntent {
        request_id: RequestId([0xff; 16]),
        public_key: PublicKey([0xff; 48]),
        duty: AgreedDuty::Attestation { source_epoch: u64::MAX - 1, target_epoch: u64::MAX },
        signing_root: Root([0xff; 32]),
        peer: "validator-client-01.example".to_owned(),
        policy_version: u64::MAX,
    };
    let commands = vec![Command::Sign(intent); 1_000];
    let batch = CommandBatch { proposed_at_ms: u64::MAX, checkpoint: None, commands };
    assert!(codec::encode(&batch).len() <= COMMAND_BYTES_MAX, "{}", codec::encode(&batch).len());
}

#[test]
fn five_hundred_resealed_keys_fit_into_one_command() {
    let sealed = SealedKey {
        format: u8::MAX,
        public_key: PublicKey([0xff; 48]),
        data_key: [0xff; 16],
        nonce: [0xff; 12],
        ciphertext: vec![0xff; 64],
    };
    let command = Command::Reseal(vec![ResealedKey { from: [0xff; 16], sealed }; 500]);
    assert!(codec::encode(&command).len() <= COMMAND_BYTES_MAX / 2, "{}", codec::encode(&command).len());
}

/// Format 1 lies on disks: see `format_1_is_pinned`.
#[test]
fn the_commands_about_keys_are_pinned() {
    let sealed =
        SealedKey { format: 1, public_key: PublicKey([1; 48]), data_key: [2; 16], nonce: [3; 12], ciphertext: vec![4] };
    let (key, old, new, nonce) = ("01".repeat(48), "05".repeat(16), "02".repeat(16), "03".repeat(12));
    let (delete, reseal, remove) = (hex::encode("DeleteKey"), hex::encode("Reseal"), hex::encode("RemoveDataKey"));
    let cases = [
        (
            Command::DeleteKey { public_key: PublicKey([1; 48]), deletions_seen: 7 },
            format!("0181a9{delete}92c430{key}07"),
        ),
        (
            Command::Reseal(vec![ResealedKey { from: [5; 16], sealed }]),
            format!("0181a6{reseal}9192c410{old}9501c430{key}c410{new}c40c{nonce}c40104"),
        ),
        (Command::RemoveDataKey([2; 16]), format!("0181ad{remove}c410{new}")),
    ];
    for (command, expected) in cases {
        assert_eq!(hex::encode(codec::encode(&command)), expected);
        assert_eq!(codec::decode::<Command>(&hex::decode(expected).unwrap()).unwrap(), command);
    }
}

/// Format 1 lies on disks: see `format_1_is_pinned`.
#[test]
fn the_commands_about_access_are_pinned() {
    let text = r#"{version: 1, hosts: [a], addresses: {sign: ["::1"]}, future-slots: 64,
        roles: {r: {keys: all, operations: [duties]}},
        clients: [{name: c, certificate: {common-name: n}, roles: [r], rate: {per-second: 1}}]}"#;
    let policy = Box::new(Policy::parse(text).unwrap());
    let texts = |names: [&str; 3]| names.map(hex::encode);
    let [set, add, revoke] = texts(["SetPolicy", "AddToken", "RevokeToken"]);
    let [anchor, all, duties] = texts(["AnchorAudit", "All", "duties"]);
    let token = TokenRecord {
        id: [1; 8],
        name: "t".to_owned(),
        hash: [2; 32],
        roles: ["r".to_owned()].into(),
        created_ms: 3,
        expires_ms: Some(4),
    };
    let (id, hash, other) = ("01".repeat(8), "02".repeat(32), "05".repeat(32));
    let cases = [
        (
            Command::SetPolicy { policy, replaces: 7 },
            format!(
                "0181a9{set}929691a1619491a33a3a31c0c0c0408081a17293a3{all}91a6{duties}c09195a16394a16ec0c0c0c091a1729201\
                 0107"
            ),
        ),
        (Command::AddToken { token, policy_version: 7 }, format!("0181a8{add}9296c408{id}a174c420{hash}91a172030407")),
        (Command::RevokeToken { id: [1; 8] }, format!("0181ab{revoke}91c408{id}")),
        (
            Command::AnchorAudit(AuditAnchor { node: 1, public_key: [2; 32], sequence: 3, hash: [5; 32] }),
            format!("0181ab{anchor}9401c420{hash}03c420{other}"),
        ),
    ];
    for (command, expected) in cases {
        assert_eq!(hex::encode(codec::encode(&command)), expected);
        assert_eq!(codec::decode::<Command>(&hex::decode(expected).unwrap()).unwrap(), command);
    }
}

#[test]
fn the_longest_policy_fits_into_one_command() {
    let keys: Vec<String> = (0..1_700_u32).map(|number| format!("0x{number:096x}")).collect();
    let text = format!("version: 1\ntags: {{t: [{}]}}", keys.join(","));
    let policy = Box::new(Policy::parse(&text).unwrap());
    let command = Command::SetPolicy { policy, replaces: u64::MAX };
    assert!(codec::encode(&command).len() <= COMMAND_BYTES_MAX / 2, "keys are half as long there");
}
