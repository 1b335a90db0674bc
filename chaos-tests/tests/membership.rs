//! 1 -> 3 -> 5 -> 3 members under load: no duty fails, none takes longer than an election, nothing is forgotten (S3).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "common/colony.rs"]
mod colony;
#[path = "common/growth.rs"]
mod growth;

use colony::{Colony, first_epoch, goes_on, longest};
use consigner_chaos::invariants::l1::RESUME_MAX;
use consigner_chaos::invariants::life::{Era, judge_life};
use std::time::Duration;

#[tokio::test]
async fn from_one_to_three_to_five_to_three_under_load_no_duty_fails() {
    let mut colony = Colony::found(5, &[1], "").await;
    let load = colony.duties(first_epoch(&colony.chain));
    goes_on(&load).await;
    let mut members = vec![1];
    for id in 2..=5 {
        growth::add(&mut colony, &members, id).await;
        members.push(id);
        colony.doors.set(&members);
        goes_on(&load).await;
    }
    // The leader is among those that go: it hands over first.
    let leader = colony.leader(&members).await;
    let other = members.iter().copied().find(|id| *id != leader).unwrap();
    for gone in [leader, other] {
        let rest: Vec<u64> = members.iter().copied().filter(|id| *id != gone).collect();
        colony.doors.set(&rest);
        growth::remove(&mut colony, &rest, gone).await;
        members = rest;
        goes_on(&load).await;
    }
    let (duties, _) = load.stop().await;
    let longest = longest(&duties);
    println!("{} duties, the longest took {longest:?}", duties.len());
    assert!(longest < RESUME_MAX, "a duty took {longest:?}: longer than an election on a loaded machine");
    colony.until_level(&members).await;
    let to = colony.now() + Duration::from_secs(1);
    let evidence = colony.evidence(members.clone()).await;
    let era = Era { members, nodes: (1..=5).collect(), from: Duration::ZERO, to, is_raised: true };
    assert_eq!(judge_life(&evidence, &[era]), []);
}
