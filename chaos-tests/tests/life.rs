//! The life of a cluster on real processes, from one node to a disaster and back, under one oracle: nothing that any
//! node ever signed, in whichever cluster of the lineage, offends anything else (S1-S5, S8).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "common/colony.rs"]
mod colony;
#[path = "common/disaster.rs"]
mod disaster;
#[path = "common/growth.rs"]
mod growth;

use colony::{ATTACKED, Colony, first_epoch, goes_on, longest};
use consigner_chaos::fleet::disk;
use consigner_chaos::invariants::l1::RESUME_MAX;
use consigner_chaos::invariants::life::{Era, judge_life};
use consigner_chaos::oracle::Phase;
use consigner_chaos::scenario::probe;
use consigner_chaos::storm::{Duties, Duty, Generator, Plan, Storm};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Names the program of the next version, if one was built.
const NEXT_BINARY: &str = "CONSIGNER_NEXT_BIN";

/// Places for the nodes of both clusters.
const SEATS: u16 = 7;

/// Rival requests beside the duties: enough that each fault meets some, few enough for two shared cores.
const ROUNDS_PER_SECOND: u32 = 2;

/// The way out for a disk that cannot be trusted any more.
const REPLACE: &str = "consigner cluster replace";

#[tokio::test]
async fn a_life_from_one_node_to_a_disaster_and_back() {
    let (begun, mut colony) = (Instant::now(), Colony::found(SEATS, &[1], "").await);
    let load = colony.duties(first_epoch(&colony.chain));
    let storm = storm(&colony);
    goes_on(&load).await;
    said(begun, "one node signs");

    let mut members = grown(&mut colony, vec![1], &[2, 3], &load).await;
    said(begun, "three members");
    members = wiped_and_replaced(&mut colony, members, 4, &load).await;
    said(begun, "a wiped disk was refused, its node replaced");
    older_copy(&mut colony, &members, &load).await;
    said(begun, "an older copy was refused");
    members = grown(&mut colony, members, &[5, 6], &load).await;
    said(begun, "five members");
    upgraded(&mut colony, &members, &load).await;
    said(begun, "all upgraded");
    let backup = disaster::back_up(&colony, &members).await;
    goes_on(&load).await;
    members = shrunk(&mut colony, members, &load).await;
    said(begun, "backed up, three members");

    storm.stop().await;
    let (before, epoch) = load.stop().await;
    asked_for_the_last_word(&colony, &members).await;
    said(begun, "every member repeats and refuses");

    // What the survivor does not see any more: signed after it froze, acknowledged by the other two.
    let load = colony.duties(epoch);
    goes_on(&load).await;
    let survivor = colony.follower(&members).await;
    let lost: Vec<u64> = members.iter().copied().filter(|id| *id != survivor).collect();
    colony.doors.set(&lost);
    disaster::freeze(&mut colony, survivor);
    goes_on(&load).await;
    let (last, _) = load.stop().await;
    for id in &lost {
        colony.kill(*id).await;
        disk::wipe(&colony.disk(*id)).unwrap();
    }
    let ended = colony.now();
    colony.kill(survivor).await;
    said(begun, "two of three are gone for good");

    let restored = disaster::restored(&mut colony, u64::from(SEATS), &backup, survivor).await;
    said(begun, "restored, and not signing yet");
    let epoch = disaster::resumed(&colony, &restored).await;
    let resumed = colony.now();
    colony.watch.look_once().await;
    disaster::nothing_from_before_is_signed(&colony, &restored).await;
    colony.doors.set(&[restored.node]);
    let load = colony.duties(epoch);
    goes_on(&load).await;
    let (after, _) = load.stop().await;
    said(begun, "resumed");
    served_well(&[before, last, after]);

    colony.watch.look_once().await;
    let to = colony.now() + Duration::from_secs(1);
    let old = Era { members, nodes: (1..=6).collect(), from: Duration::ZERO, to: ended, is_raised: false };
    let new = vec![restored.node];
    let raised = Era { members: new.clone(), nodes: new.clone(), from: ended, to, is_raised: true };
    let mut evidence = colony.evidence(new).await;
    // Before the floor the restored cluster lacks by nature what nobody who survived had seen; that is why it waits.
    evidence.exports.retain(|export| export.answered_at < ended || export.asked_at >= resumed);
    assert_eq!(judge_life(&evidence, &[old, raised]), []);
    let refused =
        evidence.exchanges.iter().filter(|one| one.phase == Phase::Storm && one.status() == Some(412)).count();
    assert!(refused > 0, "no rival was refused: the storm showed nothing");
    said(begun, &format!("{} signatures judged, {refused} rivals refused", evidence.releases.len()));
}

fn said(begun: Instant, what: &str) {
    println!("{:6.1} s: {what}", begun.elapsed().as_secs_f64());
}

/// Rivals of each other, to every place, whoever sits there.
fn storm(colony: &Colony) -> Storm {
    let seed = u64::from(getrandom::u32().unwrap());
    println!("seed {seed}");
    let plan = Plan { seed, validators: ATTACKED, rounds_per_second: ROUNDS_PER_SECOND };
    let places: Vec<u64> = (1..u64::from(SEATS)).collect();
    let generator = Generator::new(seed, colony.chain.clone(), places, ATTACKED).unwrap();
    Storm::start(colony.courier.clone(), generator, &plan)
}

async fn grown(colony: &mut Colony, mut members: Vec<u64>, more: &[u64], load: &Duties) -> Vec<u64> {
    for id in more {
        growth::add(colony, &members, *id).await;
        members.push(*id);
        colony.doors.set(&members);
        goes_on(load).await;
    }
    members
}

async fn wiped_and_replaced(colony: &mut Colony, members: Vec<u64>, new: u64, load: &Duties) -> Vec<u64> {
    let victim = colony.follower(&members).await;
    let mut rest: Vec<u64> = members.into_iter().filter(|id| *id != victim).collect();
    colony.kill_noted(victim).await;
    colony.doors.set(&rest);
    disk::wipe(&colony.disk(victim)).unwrap();
    let seat = colony.seat(victim);
    colony.refused(&seat, victim, load, REPLACE).await;
    growth::replace(colony, &rest, victim, new).await;
    rest.push(new);
    colony.doors.set(&rest);
    goes_on(load).await;
    rest
}

async fn older_copy(colony: &mut Colony, members: &[u64], load: &Duties) {
    let victim = colony.follower(members).await;
    let rest: Vec<u64> = members.iter().copied().filter(|id| *id != victim).collect();
    let (place, old, newest) = (colony.disk(victim), colony.shelf("hour-old"), colony.shelf("newest"));
    colony.doors.set(&rest);
    colony.stop(victim).await;
    disk::copy(&place, &old).unwrap();
    colony.start(victim);
    colony.until_ready(members).await;
    goes_on(load).await;
    colony.kill_noted(victim).await;
    disk::take_out(&place, &newest).unwrap();
    disk::put_in(&old, &place).unwrap();
    let seat = colony.seat(victim);
    colony.refused(&seat, victim, load, REPLACE).await;
    disk::wipe(&place).unwrap();
    disk::take_out(&newest, &place).unwrap();
    colony.start(victim);
    colony.until_ready(members).await;
    colony.doors.set(members);
}

/// One node after the other, each of them ready before the next one stops.
async fn upgraded(colony: &mut Colony, members: &[u64], load: &Duties) {
    if let Some(next) = std::env::var_os(NEXT_BINARY).map(PathBuf::from) {
        println!("upgrading to {}", next.display());
        colony.fleet.upgrade(&next);
    }
    for id in members {
        let rest: Vec<u64> = members.iter().copied().filter(|other| other != id).collect();
        colony.doors.set(&rest);
        colony.stop(*id).await;
        colony.start(*id);
        colony.until_ready(members).await;
        goes_on(load).await;
    }
    colony.doors.set(members);
}

async fn shrunk(colony: &mut Colony, mut members: Vec<u64>, load: &Duties) -> Vec<u64> {
    while members.len() > 3 {
        let gone = if members.len() == 5 { colony.leader(&members).await } else { members[0] };
        members.retain(|id| *id != gone);
        colony.doors.set(&members);
        growth::remove(colony, &members, gone).await;
        goes_on(load).await;
    }
    members
}

/// Every member repeats the newest message of each validator and refuses a rival of it (S4, S8).
async fn asked_for_the_last_word(colony: &Colony, members: &[u64]) {
    colony.until_level(members).await;
    let newest = colony.watch.newest_export().await.unwrap();
    probe::run(&colony.courier, members, &colony.chain, &newest).await.unwrap();
    colony.until_level(members).await;
}

/// No duty was refused or given up, and none took longer than an election on a loaded machine.
fn served_well(loads: &[Vec<Duty>]) {
    for duties in loads {
        let longest = longest(duties);
        println!("{} duties, the longest took {longest:?}", duties.len());
        assert!(longest < RESUME_MAX, "a duty took {longest:?}");
    }
}
