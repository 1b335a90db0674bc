//! A node whose disk was wiped, put back from an older copy, taken from another cluster, or is in two machines at once is
//! refused, says the way out, has signed nothing, and the others go on (S5).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "common/colony.rs"]
mod colony;

use colony::{ATTACKED, Colony, DEADLINE, first_epoch, goes_on, key, longest, until};
use consigner_chaos::fleet::{disk, new_cluster_id};
use consigner_chaos::invariants::life::{Era, judge_life};
use consigner_chaos::storm::Duties;
use std::time::Duration;

const MEMBERS: [u64; 3] = [1, 2, 3];

/// The disk that things happen to.
const VICTIM: u64 = 3;

/// The one way out for a disk that cannot be trusted any more.
const REPLACE: &str = "consigner cluster replace";

#[tokio::test]
async fn a_wiped_disk_an_older_copy_and_a_foreign_disk_are_refused() {
    let mut colony = Colony::found(3, &MEMBERS, "").await;
    let load = colony.duties(first_epoch(&colony.chain));
    goes_on(&load).await;
    let (place, old, newest) = (colony.disk(VICTIM), colony.shelf("old"), colony.shelf("newest"));
    take_out(&mut colony, &load).await;
    disk::copy(&place, &old).unwrap();
    // Started once more than the copy would be: nobody can take that for a second copy of one start.
    for _ in 0..2 {
        put_back(&mut colony, &load).await;
        take_out(&mut colony, &load).await;
    }
    disk::take_out(&place, &newest).unwrap();

    // The directory is empty: a new disk under the old name.
    let seat = colony.seat(VICTIM);
    let said = colony.refused(&seat, VICTIM, &load, REPLACE).await;
    println!("wiped: {}", last_line(&said));

    disk::put_in(&old, &place).unwrap();
    let said = colony.refused(&seat, VICTIM, &load, REPLACE).await;
    assert!(said.contains("older copy"), "{said}");
    println!("older copy: {}", last_line(&said));

    // A disk that another cluster's node 3 has initialised.
    disk::wipe(&place).unwrap();
    let mut foreign = colony.seat(VICTIM);
    foreign.cluster_id = new_cluster_id().unwrap();
    colony.start_at(&foreign);
    until("the other cluster's disk", async || place.join("initialized").exists()).await;
    colony.kill(VICTIM).await;
    let said = colony.refused(&seat, VICTIM, &load, &foreign.cluster_id).await;
    println!("foreign: {}", last_line(&said));

    // None of that spoils the real disk.
    disk::wipe(&place).unwrap();
    disk::take_out(&newest, &place).unwrap();
    put_back(&mut colony, &load).await;
    judged(colony, load).await;
}

#[tokio::test]
async fn one_disk_in_two_processes_is_refused_in_the_second() {
    let mut colony = Colony::found(4, &MEMBERS, "").await;
    let load = colony.duties(first_epoch(&colony.chain));
    goes_on(&load).await;

    // The same directory: the lock file says it before a socket opens.
    let seat = colony.seat(VICTIM);
    let mut second = colony.fleet.start(&seat).unwrap();
    let status = second.ended(DEADLINE).await.unwrap();
    let said = second.said();
    assert!(!status.success() && said.contains("in use by another process"), "{status}: {said}");
    println!("twice: {}", last_line(&said));
    drop(second);
    goes_on(&load).await;

    // A copy of the disk in another machine: same next boot counter, another nonce.
    let image = colony.shelf("image");
    take_out(&mut colony, &load).await;
    disk::copy(&colony.disk(VICTIM), &image).unwrap();
    put_back(&mut colony, &load).await;
    let twin = colony.fleet.twin(VICTIM, 4);
    std::fs::create_dir_all(twin.dir(colony.fleet.dir())).unwrap();
    disk::put_in(&image, &colony.fleet.data(&twin)).unwrap();
    let said = colony.refused(&twin, 4, &load, REPLACE).await;
    println!("twin: {}", last_line(&said));
    assert!(!colony.node(VICTIM).is_over(), "the original was refused instead:\n{}", colony.fleet.tail(VICTIM));
    colony.until_ready(&MEMBERS).await;
    judged(colony, load).await;
}

/// Stops the victim in order.
async fn take_out(colony: &mut Colony, load: &Duties) {
    colony.doors.set(&[1, 2]);
    colony.stop(VICTIM).await;
    goes_on(load).await;
}

/// Starts the victim on the disk in its place, which must be welcome.
async fn put_back(colony: &mut Colony, load: &Duties) {
    colony.start(VICTIM);
    colony.until_ready(&MEMBERS).await;
    colony.doors.set(&MEMBERS);
    goes_on(load).await;
}

/// Whatever happened: every duty was performed, and no signature offends another.
async fn judged(colony: Colony, load: Duties) {
    let (duties, _) = load.stop().await;
    println!("{} duties, the longest took {:?}", duties.len(), longest(&duties));
    colony.until_level(&MEMBERS).await;
    let (to, nodes) = (colony.now() + Duration::from_secs(1), MEMBERS.to_vec());
    let evidence = colony.evidence(nodes.clone()).await;
    assert!(evidence.genuine().any(|release| release.validator == key(ATTACKED)));
    let era = Era { members: nodes.clone(), nodes, from: Duration::ZERO, to, is_raised: true };
    assert_eq!(judge_life(&evidence, &[era]), []);
}

fn last_line(said: &str) -> &str {
    said.lines().last().unwrap_or_default()
}
