//! Random batches of commands, bytes and files: what must hold whatever happens.
//!
//! `Checked` asserts after every batch: no watermark falls (S3), equal nodes agree (S8), the batch split into single
//! commands gives the same, the incremental digest is the recomputed one, and the records handed to the store are the
//! state. The tests here add the oracle, the codec and the interchange. Longer than other files: half of it makes the random
//! commands that all of them are tried with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod slashing_common;

use consigner_rules::command::{
    AuditAnchor, ClusterIdentity, DataKey, Floor, HighWatermark, HistoryImport, ImportedAttestation, ImportedBlock,
    JoinToken, KeyDeletion, NodePosition, Rejection, ResealedKey,
};
use consigner_rules::interchange::{Interchange, SignedAttestation, SignedBlock};
use consigner_rules::policy::{Grant, KeyScope, Policy, Role, TokenRecord};
use consigner_rules::primitives::ClusterId;
use consigner_rules::slashing::History;
use consigner_rules::state::{Cluster, Rebirth, State};
use consigner_rules::{
    AgreedDuty, ArchiveMark, Command, CommandBatch, Outcome, PublicKey, Root, Ruling, SealedKey, codec,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use slashing_common::oracle::{Demand, Message, Oracle};
use slashing_common::{Checked, batch, data_key, identity, intent, key, root, sealed};
use std::collections::BTreeMap;

fn keys() -> impl Strategy<Value = PublicKey> {
    (1_u8..4).prop_map(key)
}

fn roots() -> impl Strategy<Value = Root> {
    (1_u8..4).prop_map(root)
}

/// Small numbers collide; the greatest one must not overflow anything.
fn small(last: u64) -> impl Strategy<Value = u64> {
    prop_oneof![40 => 0..=last, 1 => Just(u64::MAX)]
}

fn duties() -> impl Strategy<Value = AgreedDuty> {
    prop_oneof![
        4 => small(8).prop_map(|slot| AgreedDuty::Block { slot }),
        8 => (small(6), small(8))
            .prop_map(|(source_epoch, target_epoch)| AgreedDuty::Attestation { source_epoch, target_epoch }),
        1 => small(8).prop_map(|epoch| AgreedDuty::VoluntaryExit { epoch, validator_index: 3 }),
    ]
}

fn imports() -> impl Strategy<Value = HistoryImport> {
    let block = (small(8), option::of(roots())).prop_map(|(slot, signing_root)| ImportedBlock { slot, signing_root });
    let attestation = (small(6), small(8), option::of((small(6), roots()))).prop_map(
        |(max_source_epoch, max_target_epoch, at_max_target)| ImportedAttestation {
            max_source_epoch,
            max_target_epoch,
            at_max_target,
        },
    );
    (keys(), option::of(block), option::of(attestation)).prop_map(|(public_key, block, attestation)| HistoryImport {
        public_key,
        block,
        attestation,
    })
}

fn commands() -> impl Strategy<Value = Command> {
    let data_keys = (1_u8..4, prop::bool::weighted(0.2)).prop_map(|(number, other)| {
        let sealer = if other { "vault" } else { "local" }.to_owned();
        DataKey { sealer, ..data_key(number) }
    });
    let sealed_keys = || {
        (keys(), 1_u8..4, any::<u8>())
            .prop_map(|(public_key, data_key, nonce)| SealedKey { nonce: [nonce; 12], ..sealed(public_key, data_key) })
    };
    let resealed = (1_u8..4, sealed_keys()).prop_map(|(from, sealed)| ResealedKey { from: [from; 16], sealed });
    let limits = (2_u64..12, 2_u64..12).prop_map(|(epoch, slot)| HighWatermark { epoch, slot });
    prop_oneof![
        1 => (1_u8..3).prop_map(|number| {
            Command::Initialise(ClusterIdentity { cluster_id: ClusterId([number; 16]), ..identity(root(9)) })
        }),
        30 => (keys(), duties(), roots(), prop_oneof![9 => Just(1_u64), 1 => 2_u64..4]).prop_map(
            |(public_key, duty, root, policy_version)| {
                Command::Sign(consigner_rules::SignIntent { policy_version, ..intent(public_key, duty, root) })
            }
        ),
        3 => data_keys.prop_map(Command::AddDataKey),
        5 => (sealed_keys(), option::of(imports()), 0_u64..3).prop_map(|(sealed, history, deletions_seen)| {
            Command::ImportKey { sealed, history, deletions_seen }
        }),
        6 => imports().prop_map(Command::ImportHistory),
        2 => option::of(limits).prop_map(Command::SetHighWatermark),
        1 => Just(Command::RenewPolicy),
        4 => (keys(), 0_u64..3)
            .prop_map(|(public_key, deletions_seen)| Command::DeleteKey { public_key, deletions_seen }),
        4 => vec(resealed, 0..4).prop_map(Command::Reseal),
        2 => (1_u8..4).prop_map(|number| Command::RemoveDataKey([number; 16])),
        3 => access(),
        3 => lifecycle(),
    ]
}

/// Commands about the life of the cluster, and the one that lets them mean anything.
fn lifecycle() -> impl Strategy<Value = Command> {
    let tokens = (1_u8..4, 1_u64..6, 1_u8..3).prop_map(|(id, node, hash)| JoinToken {
        id: [id; 8],
        node,
        hash: [hash; 32],
        created_ms: 1,
        expires_ms: 2,
    });
    let positions =
        (1_u64..4, 1_u64..3, 0_u64..9).prop_map(|(term, leader, index)| NodePosition { term, leader, index });
    prop_oneof![
        2 => (0_u32..=3).prop_map(|version| Command::RaiseRules { version }),
        4 => tokens.prop_map(Command::AddJoinToken),
        1 => (1_u8..4).prop_map(|id| Command::RevokeJoinToken { id: [id; 8] }),
        4 => (1_u64..6, 1_u8..3, 1_u8..4).prop_map(|(node, disk, token)| Command::AdmitNode {
            node,
            name: format!("node{node}"),
            incarnation: [disk; 16],
            token: [token; 8],
        }),
        1 => (1_u64..6).prop_map(|node| Command::RetireNode { node }),
        3 => prop::collection::btree_map(1_u64..6, positions, 0..4).prop_map(Command::NotePositions),
        1 => floors().prop_map(Command::Resume),
        3 => (0_u64..4, 0_u64..6, 0_u64..4, roots()).prop_map(|(after, index, rows, chain)| Command::AdvanceArchive {
            after,
            mark: ArchiveMark { index, rows, chain },
        }),
    ]
}

fn floors() -> impl Strategy<Value = Floor> {
    (small(10), small(10), small(10)).prop_map(|(slot, source, target)| Floor { slot, source, target })
}

/// Commands about who may ask; versions as they are in the first steps of a cluster.
fn access() -> impl Strategy<Value = Command> {
    let role = || Role { keys: Some(KeyScope::All), operations: [Grant::Duties].into(), fee_recipients: None };
    let policies = vec(prop::sample::select(vec!["a", "b", "c"]), 0..3).prop_map(move |names| Policy {
        roles: names.into_iter().map(|name| (name.to_owned(), role())).collect(),
        ..Policy::default()
    });
    let tokens =
        (1_u8..4, prop::sample::select(vec!["a", "b", "c"]), 1_u8..3).prop_map(|(id, role, hash)| TokenRecord {
            id: [id; 8],
            name: format!("token-{id}"),
            hash: [hash; 32],
            roles: [role.to_owned()].into(),
            created_ms: 1,
            expires_ms: None,
        });
    let anchors = (1_u64..3, 1_u8..3, 0_u64..6, 1_u8..3).prop_map(|(node, key, sequence, hash)| AuditAnchor {
        node,
        public_key: [key; 32],
        sequence,
        hash: [hash; 32],
    });
    prop_oneof![
        2 => (policies, 1_u64..5)
            .prop_map(|(policy, replaces)| Command::SetPolicy { policy: Box::new(policy), replaces }),
        3 => (tokens, 1_u64..5).prop_map(|(token, policy_version)| Command::AddToken { token, policy_version }),
        1 => (1_u8..4).prop_map(|id| Command::RevokeToken { id: [id; 8] }),
        1 => anchors.prop_map(Command::AnchorAudit),
    ]
}

fn batches() -> impl Strategy<Value = CommandBatch> {
    vec(commands(), 0..6).prop_map(batch)
}

/// Messages of one validator, signed or imported in files of several records.
#[derive(Debug, Clone)]
enum Step {
    Sign(Message),
    Import(Vec<Message>),
    /// Deletes the key and imports it again, without any history.
    Renew,
}

fn messages(roots: impl Strategy<Value = Option<Root>> + Clone) -> impl Strategy<Value = Message> {
    prop_oneof![
        (0_u64..7, roots.clone()).prop_map(|(slot, root)| Message::Block { slot, root }),
        (0_u64..7, 0_u64..7, roots).prop_map(|(source, target, root)| Message::Attestation { source, target, root }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let signed = (1_u8..3).prop_map(|number| Some(root(number)));
    let imported = option::of((1_u8..3).prop_map(root));
    vec(
        prop_oneof![
            5 => messages(signed).prop_map(Step::Sign),
            1 => vec(messages(imported), 0..5).prop_map(Step::Import),
            1 => Just(Step::Renew),
        ],
        1..24,
    )
}

fn file_of(messages: &[Message]) -> Interchange {
    let mut file = Interchange::new(root(9));
    let records = file.records_mut(key(1));
    for message in messages {
        match *message {
            Message::Block { slot, root } => records.blocks.push(SignedBlock { slot, signing_root: root }),
            Message::Attestation { source, target, root } => records.attestations.push(SignedAttestation {
                source_epoch: source,
                target_epoch: target,
                signing_root: root,
            }),
        }
    }
    file
}

/// A cluster that holds keys and whatever the random batches made of them.
fn busy_cluster(batches: &[CommandBatch]) -> Checked {
    let mut cluster = Checked::initialised(root(9));
    for number in 1..4 {
        cluster.import_key(key(number));
    }
    for batch in batches {
        cluster.apply(batch);
    }
    cluster
}

/// A cluster with a policy and tokens, to which the random commands about them apply more often.
fn governed_cluster(commands: Vec<Vec<Command>>) {
    let mut cluster = Checked::initialised(root(9));
    for commands in commands {
        cluster.apply(&batch(commands));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn random_batches_keep_every_promise(batches in vec(batches(), 1..12)) {
        busy_cluster(&batches);
        // And from nothing, where most commands are rejected.
        let mut empty = Checked::default();
        for batch in &batches {
            empty.apply(batch);
        }
    }

    #[test]
    fn rights_come_and_go_with_a_version(commands in vec(vec(access(), 1..6), 1..12)) {
        governed_cluster(commands);
    }

    #[test]
    fn nodes_come_and_go_once(commands in vec(vec(lifecycle(), 1..6), 1..12)) {
        governed_cluster(commands);
    }

    /// Under the first rules a command of the second ones is as if it had not been there.
    #[test]
    fn newer_commands_mean_nothing_under_older_rules(batches in vec(vec((commands(), lifecycle()), 0..4), 1..8)) {
        let mut plain = Checked::initialised(root(9));
        let mut sprinkled = Checked::initialised(root(9));
        let raises = |command: &Command| matches!(command, Command::RaiseRules { .. });
        for pairs in batches {
            let old: Vec<Command> =
                pairs.iter().map(|(old, _)| old.clone()).filter(|old| old.rules_needed() == 1 && !raises(old)).collect();
            let new: Vec<Command> = pairs.into_iter().map(|(_, new)| new).filter(|new| !raises(new)).collect();
            let needs = |command: &Command| {
                Outcome::Rejected(Rejection::NeedsRules { needed: command.rules_needed() })
            };
            let needs: Vec<Outcome> = new.iter().map(needs).collect();
            plain.apply(&batch(old.clone()));
            let applied = sprinkled.apply(&batch([new, old].concat()));
            prop_assert_eq!(&applied.outcomes[..needs.len()], &needs[..]);
            prop_assert_eq!(plain.state.digest(), sprinkled.state.digest());
        }
    }

    /// S3 through a disaster: a restored cluster signs nothing, then nothing at the floor or below; nor does a key that
    /// comes later.
    #[test]
    fn a_restored_cluster_signs_nothing_up_to_its_floor(
        before in vec(batches(), 0..6),
        waiting in vec(batches(), 0..4),
        floor in floors(),
        after in vec(batches(), 0..4),
        tries in vec((keys(), duties(), roots()), 1..16),
    ) {
        let old = busy_cluster(&before).state;
        let rebirth = Rebirth { identity: identity(root(9)), data_keys: vec![data_key(1)], keys: vec![sealed(key(1), 1)] };
        let mut cluster = Checked::of(old.clone().reborn(rebirth));
        let signed = |state: &State| -> Vec<HistoryImport> {
            state.histories().filter(|history| history.block.is_some() || history.attestation.is_some()).collect()
        };
        prop_assert_eq!(signed(&cluster.state), signed(&old));
        let resumes = |command: &Command| matches!(command, Command::Resume(_));
        for mut batch in waiting {
            batch.commands.retain(|command| !resumes(command));
            let applied = cluster.apply(&batch);
            prop_assert!(!applied.changes.iter().any(|change| change.signed().is_some()));
        }
        if cluster.one(Command::Resume(floor)) == Outcome::Rejected(Rejection::FloorBelowHistory(key(1))) {
            prop_assert!(cluster.state.awaiting_floor());
        }
        for batch in &after {
            cluster.apply(batch);
        }
        let Some(floor) = cluster.state.floor() else { return Ok(()) };
        for (public_key, duty, root) in tries {
            let policy_version = cluster.state.cluster().policy_version;
            let asked = consigner_rules::SignIntent { policy_version, ..intent(public_key, duty, root) };
            let Outcome::Judged(verdict) = cluster.one(Command::Sign(asked)) else { panic!("not judged") };
            let below = match duty {
                AgreedDuty::Block { slot } => slot <= floor.slot,
                AgreedDuty::Attestation { source_epoch, target_epoch } => {
                    source_epoch < floor.source || target_epoch <= floor.target
                }
                AgreedDuty::VoluntaryExit { .. } => false,
            };
            prop_assert!(!below || !matches!(verdict.ruling, Ruling::Safe | Ruling::Repeat), "{:?} {:?}", duty, floor);
        }
    }

    /// Policy is admission: two clusters of which one has policies reach the same verdicts on what is not stale.
    #[test]
    fn no_policy_changes_a_verdict(steps in steps(), rights in vec(access(), 24)) {
        let mut plain = Checked::initialised(root(9));
        let mut governed = Checked::initialised(root(9));
        plain.import_key(key(1));
        governed.import_key(key(1));
        for (step, right) in steps.into_iter().zip(rights) {
            governed.one(right);
            let Step::Sign(message) = step else { continue };
            let intent = intent(key(1), message.duty(), message.root().unwrap());
            let expected = plain.one(Command::Sign(intent.clone()));
            let policy_version = governed.state.cluster().policy_version;
            let found = governed.one(Command::Sign(consigner_rules::SignIntent { policy_version, ..intent }));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_cluster_agrees_with_the_oracle(steps in steps()) {
        let mut cluster = Checked::initialised(root(9));
        cluster.import_key(key(1));
        let mut oracle = Oracle::default();
        for step in steps {
            match step {
                Step::Import(messages) => {
                    for history in file_of(&messages).reduce() {
                        cluster.one(Command::ImportHistory(history));
                    }
                    oracle.imported.extend(messages);
                }
                Step::Renew => {
                    let deleted = Outcome::KeyDeleted { public_key: key(1), status: KeyDeletion::Deleted };
                    let delete = Command::DeleteKey { public_key: key(1), deletions_seen: u64::MAX };
                    prop_assert_eq!(cluster.one(delete), deleted);
                    cluster.import_key(key(1));
                }
                Step::Sign(message) => {
                    let intent = intent(key(1), message.duty(), message.root().unwrap());
                    let Outcome::Judged(verdict) = cluster.one(Command::Sign(intent)) else { panic!("not judged") };
                    match oracle.demand(&message) {
                        Demand::Refuse => prop_assert!(matches!(verdict.ruling, Ruling::Refused(_)), "{verdict:?}"),
                        // A file's maxima may come from two records, so a repeat may be refused after an import.
                        Demand::AllowRepeat if oracle.imported.is_empty() => {
                            prop_assert_eq!(&verdict.ruling, &Ruling::Repeat);
                        }
                        Demand::AllowFresh => prop_assert_eq!(&verdict.ruling, &Ruling::Safe),
                        Demand::AllowRepeat | Demand::NotFresh => prop_assert_ne!(&verdict.ruling, &Ruling::Safe),
                        Demand::Either => prop_assert_ne!(&verdict.ruling, &Ruling::Repeat),
                    }
                    if verdict.ruling == Ruling::Safe {
                        oracle.signed.push(message);
                    }
                }
            }
        }
    }

    /// S2: whatever was signed or imported is refused by a cluster that took the export, and more is hardly refused.
    #[test]
    fn the_export_covers_the_state(
        batches in vec(batches(), 0..12),
        tries in vec((keys(), duties(), roots()), 1..32),
    ) {
        let cluster = busy_cluster(&batches);
        let text = Interchange::minimal(root(9), cluster.state.histories()).to_json();
        let file = Interchange::parse(&text).unwrap();
        prop_assert!(file.check_genesis(&root(9)).is_ok());
        prop_assert!(file.report().iter().all(|report| report.warnings.is_empty()), "{}", text);
        prop_assert_eq!(&file.to_json(), &text);
        let imported: BTreeMap<_, _> = file.reduce().into_iter().map(|import| (import.public_key, import)).collect();
        for (public_key, validator) in cluster.state.validators() {
            let mut fresh = History::default();
            if let Some(import) = imported.get(public_key) {
                fresh.merge(import);
            }
            prop_assert_eq!(validator.history.block.map(|mark| mark.max_slot), fresh.block.map(|mark| mark.max_slot));
            let (old, new) = (validator.history.attestation, fresh.attestation);
            prop_assert_eq!(old.map(|mark| mark.max_source), new.map(|mark| mark.max_source));
            let covering = old.map(|mark| mark.max_target.max(mark.max_source));
            prop_assert_eq!(covering, new.map(|mark| mark.max_target));
        }
        for (public_key, duty, root) in tries {
            let here = cluster.state.validator(&public_key).map_or_else(History::default, |known| known.history);
            let mut there = History::default();
            if let Some(import) = imported.get(&public_key) {
                there.merge(import);
            }
            let (mut first, mut second) = (here, there);
            let exit = matches!(duty, AgreedDuty::VoluntaryExit { .. });
            let refused_here = matches!(first.judge(&duty, &root, None), Ruling::Refused(_) | Ruling::Repeat);
            let ruling = second.judge(&duty, &root, None);
            prop_assert!(exit || !refused_here || matches!(ruling, Ruling::Refused(_)), "{:?} {:?}", duty, ruling);
        }
    }

    #[test]
    fn an_imported_root_is_never_repeatable(import in imports(), duty in duties(), root in roots()) {
        let mut history = History::default();
        history.merge(&import);
        prop_assert_ne!(history.judge(&duty, &root, None), Ruling::Repeat);
    }

    #[test]
    fn batches_survive_the_codec(batch in batches()) {
        prop_assert_eq!(codec::decode::<CommandBatch>(&codec::encode(&batch)).unwrap(), batch);
    }

    #[test]
    fn a_damaged_batch_is_an_error_or_another_batch(batch in batches(), at in any::<usize>(), bits in 1_u8..) {
        let mut bytes = codec::encode(&batch);
        let at = at % bytes.len();
        bytes[at] ^= bits;
        let damaged = codec::decode::<CommandBatch>(&bytes);
        prop_assert!(at > 0 || damaged.is_err());
        bytes[at] ^= bits;
        prop_assert!(codec::decode::<CommandBatch>(&bytes[..bytes.len() - 1]).is_err());
        bytes.push(0xc0);
        prop_assert!(codec::decode::<CommandBatch>(&bytes).is_err());
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..256)) {
        if let Some(version) = bytes.first_mut() {
            *version = codec::FORMAT_VERSION;
        }
        let _ = codec::decode::<CommandBatch>(&bytes);
        let _ = codec::decode::<History>(&bytes);
        let _ = codec::decode::<Cluster>(&bytes);
        let _ = codec::decode::<Outcome>(&bytes);
        let _ = codec::decode::<Policy>(&bytes);
        let _ = Interchange::parse(&bytes);
        for kind in [b'a', b'c', b'd', b'f', b'h', b'j', b'k', b'n', b'p', b'q', b't', b'x'] {
            let mut name = vec![kind];
            name.extend_from_slice(bytes.get(..48).unwrap_or(&bytes));
            let _ = State::from_records([(name, &bytes)]);
            for length in [0, 8, 32] {
                let name = [&[kind], bytes.get(..length).unwrap_or(&bytes)].concat();
                let _ = State::from_records([(name, &bytes)]);
            }
        }
    }

    #[test]
    fn random_json_never_panics_and_never_half_parses(text in json(4)) {
        let file = format!(
            r#"{{"metadata":{{"interchange_format_version":"5","genesis_validators_root":"{}"}},"data":[{text}]}}"#,
            root(9)
        );
        let _ = Interchange::parse(&text);
        prop_assert!(Interchange::parse(&file).is_err(), "random JSON has no public key of 48 bytes");
    }
}

/// JSON that has the right names in the wrong places.
fn json(depth: u32) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f32>().prop_filter("JSON has no infinity", |number| number.is_finite()).prop_map(|n| format!("{n:?}")),
        any::<u64>().prop_map(|number| format!("\"{number}\"")),
        "[0-9a-fx+é-]{0,12}".prop_map(|text| format!("\"{text}\"")),
    ];
    let names = ["pubkey", "signed_blocks", "signed_attestations", "slot", "source_epoch", "signing_root", "data"];
    leaf.prop_recursive(depth, 32, 4, move |inner| {
        let entries = prop::sample::subsequence(names.to_vec(), 0..=4).prop_flat_map({
            let inner = inner.clone();
            move |names| {
                let count = names.len();
                (Just(names), vec(inner.clone(), count))
            }
        });
        prop_oneof![
            vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            entries.prop_map(|(names, values)| {
                let entries = names.iter().zip(values).map(|(name, value)| format!("\"{name}\":{value}"));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}
