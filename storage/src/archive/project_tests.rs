#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
use super::*;
use proptest::prelude::*;

fn key() -> impl Strategy<Value = PublicKey> {
    any::<u8>().prop_map(|byte| PublicKey([byte; 48]))
}

fn root() -> impl Strategy<Value = Root> {
    any::<[u8; 32]>().prop_map(Root)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), Just(1 << 63)]
}

fn duty() -> impl Strategy<Value = AgreedDuty> {
    prop_oneof![
        number().prop_map(|slot| AgreedDuty::Block { slot }),
        (number(), number())
            .prop_map(|(source_epoch, target_epoch)| AgreedDuty::Attestation { source_epoch, target_epoch }),
        (number(), number()).prop_map(|(epoch, validator_index)| AgreedDuty::VoluntaryExit { epoch, validator_index }),
    ]
}

fn violation() -> impl Strategy<Value = Violation> {
    (number(), number(), number()).prop_map(|(asked, target_epoch, stored)| Violation::SourceBelow {
        asked,
        target_epoch,
        stored,
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,20}", "[a\\\\0\u{0}]{0,8}"]
}

fn history() -> impl Strategy<Value = HistoryImport> {
    use consigner_rules::command::{ImportedAttestation, ImportedBlock};
    let block = (number(), proptest::option::of(root()));
    let block = block.prop_map(|(slot, signing_root)| ImportedBlock { slot, signing_root });
    let vote = (number(), number(), proptest::option::of((number(), root())));
    let vote = vote.prop_map(|(max_source_epoch, max_target_epoch, at_max_target)| ImportedAttestation {
        max_source_epoch,
        max_target_epoch,
        at_max_target,
    });
    (key(), proptest::option::of(block), proptest::option::of(vote))
        .prop_map(|(public_key, block, attestation)| HistoryImport { public_key, block, attestation })
}

fn recorded() -> impl Strategy<Value = Change> {
    let what = (key(), duty(), root(), text(), violation(), number(), 0..4_u8);
    what.prop_map(|(public_key, duty, signing_root, peer, violation, node, which)| match which {
        0 => Change::Signed { public_key, duty, signing_root, peer },
        1 => Change::SignedVia { public_key, duty, signing_root, peer, node },
        2 => Change::Refused { public_key, duty, signing_root, peer, violation },
        _ => Change::RefusedVia { public_key, duty, signing_root, peer, violation, node },
    })
}

fn event() -> impl Strategy<Value = Change> {
    use consigner_rules::command::{AuditAnchor, ClusterIdentity};
    use consigner_rules::primitives::ClusterId;
    let identity = (any::<[u8; 16]>(), text(), root()).prop_map(|(id, network, genesis_validators_root)| {
        Change::ClusterInitialised(ClusterIdentity { cluster_id: ClusterId(id), network, genesis_validators_root })
    });
    let anchor =
        (number(), any::<[u8; 32]>(), number(), any::<[u8; 32]>()).prop_map(|(node, public_key, sequence, hash)| {
            Change::AuditAnchored(AuditAnchor { node, public_key, sequence, hash })
        });
    let limit = proptest::option::of((number(), number()));
    let limit = limit.prop_map(|limit| limit.map(|(epoch, slot)| HighWatermark { epoch, slot }));
    let floor = (number(), number(), number()).prop_map(|(slot, source, target)| Floor { slot, source, target });
    let token = || (any::<[u8; 8]>(), text());
    let join = || (any::<[u8; 8]>(), number());
    prop_oneof![
        identity,
        anchor,
        any::<[u8; 16]>().prop_map(Change::DataKeyAdded),
        any::<[u8; 16]>().prop_map(Change::DataKeyRemoved),
        (any::<[u8; 16]>(), number()).prop_map(|(data_key, keys)| Change::KeysResealed { data_key, keys }),
        key().prop_map(Change::KeyAdded),
        key().prop_map(Change::KeyRemoved),
        history().prop_map(Change::HistoryMerged),
        limit.prop_map(Change::HighWatermarkSet),
        number().prop_map(Change::PolicyRenewed),
        token().prop_map(|(id, name)| Change::TokenAdded { id, name }),
        token().prop_map(|(id, name)| Change::TokenRevoked { id, name }),
        any::<u32>().prop_map(Change::RulesRaised),
        join().prop_map(|(id, node)| Change::JoinTokenAdded { id, node }),
        join().prop_map(|(id, node)| Change::JoinTokenRevoked { id, node }),
        (number(), text(), any::<[u8; 16]>()).prop_map(|(node, name, incarnation)| Change::NodeAdmitted {
            node,
            name,
            incarnation
        }),
        number().prop_map(|node| Change::NodeRetired { node }),
        floor.prop_map(Change::Resumed),
    ]
}

fn texts(columns: &Projection) -> Vec<&str> {
    match columns {
        Projection::Signed(signed) => vec![&signed.peer],
        Projection::Refused(refused) => vec![&refused.asked.peer, &refused.kind, &refused.reason],
        Projection::Event(_, event) => vec![&event.kind, &event.subject],
    }
}

proptest! {
    #[test]
    fn a_change_comes_back_as_it_was(change in prop_oneof![recorded(), event()]) {
        let columns = Projection::of(&change);
        prop_assert_eq!(columns.change().unwrap(), change);
        prop_assert!(texts(&columns).iter().all(|text| !text.contains('\0')), "Postgres's text knows no zero byte");
    }

    #[test]
    fn a_column_that_says_something_else_is_noticed(change in event(), other in number()) {
        let Projection::Event(events, columns) = Projection::of(&change) else { panic!("an event") };
        let altered = EventColumns { subject: format!("{} ", columns.subject), ..columns.clone() };
        prop_assert_eq!(Projection::Event(events, altered).change(), Err(ProjectionError::Columns));
        let marks = Marks { slot: Some(columns.marks.slot.map_or(other, |slot| slot.wrapping_add(1))), ..columns.marks };
        let altered = EventColumns { marks, ..columns.clone() };
        prop_assert_eq!(Projection::Event(events, altered).change(), Err(ProjectionError::Columns));
        let altered = EventColumns { content: vec![1], ..columns };
        prop_assert!(matches!(Projection::Event(events, altered).change(), Err(ProjectionError::Content(_))));
    }

    #[test]
    fn any_text_survives(text in text()) {
        prop_assert_eq!(unescape(&escape(&text)), Some(text));
    }
}

#[test]
fn a_text_that_was_never_escaped_is_refused() {
    assert_eq!([unescape("\\x"), unescape("\\"), unescape("\0")], [None, None, None]);
}

#[test]
fn each_change_has_its_table() {
    let key = PublicKey([1; 48]);
    let (signing_root, peer) = (Root([2; 32]), "client".to_owned());
    let signed = |duty| Change::Signed { public_key: key, duty, signing_root, peer: peer.clone() };
    let votes = AgreedDuty::Attestation { source_epoch: 1, target_epoch: 2 };
    for (change, table) in [
        (signed(AgreedDuty::Block { slot: 1 }), Table::Blocks),
        (signed(votes), Table::Attestations),
        (signed(AgreedDuty::VoluntaryExit { epoch: 1, validator_index: 2 }), Table::Exits),
        (Change::KeyAdded(key), Table::KeyEvents),
        (Change::PolicyRenewed(7), Table::PolicyEvents),
        (Change::RulesRaised(3), Table::ClusterEvents),
    ] {
        assert_eq!(Projection::of(&change).table(), table);
    }
}
