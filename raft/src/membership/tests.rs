#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::MembershipRefusal;
use super::identify::join_proof;
use super::join_token::join_token_hash;
use super::quorum::{check_quorum, majority, warning};
use crate::types::Member;
use std::collections::{BTreeMap, BTreeSet};

fn voters(count: u64) -> BTreeSet<u64> {
    (1..=count).collect()
}

fn down(nodes: &[u64]) -> BTreeMap<u64, String> {
    nodes.iter().map(|node| (*node, "refused".to_owned())).collect()
}

#[test]
fn those_that_remain_must_have_a_quorum_among_those_that_live() {
    for (count, dead, holds) in [
        (1, &[][..], true),
        (2, &[][..], true),
        (2, &[2][..], false),
        (3, &[3][..], true),
        (3, &[2, 3][..], false),
        (4, &[4][..], true),
        (4, &[3, 4][..], false),
        (5, &[4, 5][..], true),
        // Who leaves does not count, dead or alive.
        (2, &[9][..], true),
    ] {
        assert_eq!(check_quorum(&voters(count), &down(dead)).is_ok(), holds, "{count} voters without {dead:?}");
    }
    let refusal = check_quorum(&voters(2), &down(&[2])).unwrap_err();
    assert!(matches!(refusal, MembershipRefusal::QuorumLost { needed: 2, .. }));
    let said = refusal.to_string();
    assert!(said.contains("node 2 is down (refused)") && said.contains("1, 2"), "{said}");
}

#[test]
fn only_even_numbers_are_warned_of() {
    for count in 1..=7 {
        assert_eq!(warning(count).is_some(), count % 2 == 0, "{count}");
        assert!(majority(count) * 2 > count);
    }
    assert!(warning(4).unwrap().starts_with("4 voters bear the loss of 1, as 3 do"));
}

#[test]
fn a_proof_is_for_one_token_one_question_and_one_disk() {
    let member = |name: &str, incarnation: &str| Member {
        name: name.to_owned(),
        incarnation: incarnation.to_owned(),
        ..Member::default()
    };
    let disk = "00112233445566778899aabbccddeeff";
    let [token, other] = ["cjt_a", "cjt_b"].map(join_token_hash);
    let proof = join_proof(&token, &[1; 32], 4, &member("node4", disk));
    let others = [
        join_proof(&other, &[1; 32], 4, &member("node4", disk)),
        join_proof(&token, &[2; 32], 4, &member("node4", disk)),
        join_proof(&token, &[1; 32], 5, &member("node4", disk)),
        join_proof(&token, &[1; 32], 4, &member("node5", disk)),
        join_proof(&token, &[1; 32], 4, &member("node4", "ff112233445566778899aabbccddeeff")),
    ];
    assert!(others.iter().all(|other| *other != proof));
    assert_eq!(join_token_hash(" cjt_a\n"), token, "space around it does not count");
}
