//! Three nodes are rolled to a binary with newer rules, one at a time, and one of them back, under load: no duty fails,
//! nobody judges by rules that another member does not know, and no signature offends another (DESIGN 10).
//!
//! `CONSIGNER_NEXT_BIN` names the next binary: `cargo build --bin consigner --features consigner-node/next-rules`, copied
//! aside. Without it there is nothing to roll to, and the test says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "common/colony.rs"]
mod colony;

use colony::{ATTACKED, Colony, PERFORMING, first_epoch, goes_on, key, longest, until};
use consigner_chaos::invariants::l1::RESUME_MAX;
use consigner_chaos::invariants::life::{Era, judge_life};
use consigner_chaos::storm::Duties;
use consigner_rules::RULES_VERSION;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Names the next binary.
const VARIABLE: &str = "CONSIGNER_NEXT_BIN";

/// The newest rules of the next binary.
const NEXT: u64 = RULES_VERSION as u64 + 1;

/// The newest rules of this one.
const THIS: u64 = RULES_VERSION as u64;

const MEMBERS: [u64; 3] = [1, 2, 3];

/// The way out that an old binary names.
const WAY_OUT: &str = "run a newer binary";

#[tokio::test]
async fn rules_rise_with_the_last_node_and_no_duty_fails_on_the_way() {
    let Some(next) = next_binary() else { return };
    let mut colony = Colony::found(3, &MEMBERS, "").await;
    let old = colony.fleet.binary().to_owned();
    let load = colony.duties(first_epoch(&colony.chain));
    goes_on(&load).await;
    until("the rules of this binary", async || all_judge_by(&colony, THIS).await).await;

    // The leader first, so that a new binary leads old ones or is led by them by turns.
    let leader = colony.leader(&MEMBERS).await;
    let order = [leader, leader % 3 + 1, (leader + 1) % 3 + 1];
    colony.fleet.upgrade(&next);
    roll(&mut colony, &load, order[0]).await;
    roll(&mut colony, &load, order[1]).await;
    mixed(&colony, &load, order[2]).await;

    // One of them back: nothing was raised, so nothing stands in the way.
    colony.fleet.upgrade(&old);
    roll(&mut colony, &load, order[0]).await;
    assert_eq!(known(&colony).await.values().filter(|(_, max)| *max == NEXT).count(), 1);
    assert!(all_judge_by(&colony, THIS).await);

    colony.fleet.upgrade(&next);
    roll(&mut colony, &load, order[0]).await;
    roll(&mut colony, &load, order[2]).await;
    until("the rules of the next binary", async || all_judge_by(&colony, NEXT).await).await;
    goes_on(&load).await;

    // Now there is no way back for the old binary: it says so, and touches nothing that the new one could not use again.
    let late = colony.follower(&MEMBERS).await;
    let rest: Vec<u64> = MEMBERS.into_iter().filter(|id| *id != late).collect();
    colony.doors.set(&rest);
    colony.stop(late).await;
    colony.fleet.upgrade(&old);
    let seat = colony.seat(late);
    let said = colony.refused(&seat, late, &load, WAY_OUT).await;
    println!("the old binary: {}", said.lines().last().unwrap_or_default());
    colony.fleet.upgrade(&next);
    colony.start(late);
    colony.until_ready(&MEMBERS).await;
    colony.doors.set(&MEMBERS);
    goes_on(&load).await;
    judged(colony, load).await;
}

/// The next binary, or `None` after saying plainly that there is none.
fn next_binary() -> Option<PathBuf> {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        println!("SKIPPED: {VARIABLE} names no next binary to roll to (.ci/run builds one)");
        return None;
    };
    assert!(path.is_file(), "{VARIABLE} names {}, which is not there", path.display());
    Some(path)
}

/// SIGTERM, then a start from the fleet's binary; clients know that the node is being rolled only by its `/ready`.
async fn roll(colony: &mut Colony, load: &Duties, id: u64) {
    colony.stop(id).await;
    goes_on(load).await;
    colony.start(id);
    colony.until_ready(&MEMBERS).await;
    goes_on(load).await;
}

/// Two nodes are new: the cluster signs by the old rules, for as long as the last one is old.
async fn mixed(colony: &Colony, load: &Duties, last: u64) {
    let seen = known(colony).await;
    let expected = |id: u64| (THIS, if id == last { THIS } else { NEXT });
    assert_eq!(seen, MEMBERS.into_iter().map(|id| (id, expected(id))).collect());
    // Far longer than a leader takes to ask all members: a round of duties at each look.
    for _ in 0..3 {
        goes_on(load).await;
        assert!(all_judge_by(colony, THIS).await, "{:?}", known(colony).await);
    }
}

async fn all_judge_by(colony: &Colony, rules: u64) -> bool {
    let known = known(colony).await;
    known.len() == MEMBERS.len() && known.values().all(|(judges_by, _)| *judges_by == rules)
}

/// By member: the rules it judges by, and the newest that its binary knows. Without those that gave no answer.
async fn known(colony: &Colony) -> BTreeMap<u64, (u64, u64)> {
    let ended = colony.fleet.cli(&MEMBERS).run(&["cluster", "status"], &["--json"]).await.unwrap();
    let told: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
    let nodes = told["nodes"].as_array().cloned().unwrap_or_default();
    let of = |node: &Value| {
        let status = &node["status"];
        Some((node["id"].as_u64()?, (status["rules"].as_u64()?, status["rules_max"].as_u64()?)))
    };
    nodes.iter().filter_map(of).collect()
}

/// Every duty was performed, none waited longer than one election, and no signature offends another.
async fn judged(colony: Colony, load: Duties) {
    let (duties, _) = load.stop().await;
    let longest = longest(&duties);
    println!("{} duties, the longest took {longest:?}", duties.len());
    assert!(longest < RESUME_MAX, "a duty took {longest:?}: longer than an election on a loaded machine");
    colony.until_level(&MEMBERS).await;
    let (to, nodes) = (colony.now() + Duration::from_secs(1), MEMBERS.to_vec());
    let evidence = colony.evidence(nodes.clone()).await;
    let performing: Vec<_> = (ATTACKED..ATTACKED + PERFORMING).map(key).collect();
    assert!(performing.iter().all(|key| evidence.genuine().any(|release| release.validator == *key)));
    // As if raised: nobody asked for rivals and repeats of the newest at the end, so S4 has nothing to look at.
    let era = Era { members: nodes.clone(), nodes, from: Duration::ZERO, to, is_raised: true };
    assert_eq!(judge_life(&evidence, &[era]), []);
}
