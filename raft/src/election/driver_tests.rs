#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::super::simulation::{LEASE, Sim, X, ms};
use super::*;
use consigner_storage::LogPosition;
use std::collections::BTreeSet;

fn set(ids: &[u64]) -> BTreeSet<u64> {
    ids.iter().copied().collect()
}

/// A network in which somebody leads; the leader, and the others.
fn led(voters: u64) -> (Sim, u64, Vec<u64>) {
    let mut sim = Sim::new(voters);
    let all: Vec<u64> = (1..=voters).collect();
    sim.until_led(&all);
    sim.run(ms(2_000));
    let leader = sim.leader_of(&all).unwrap();
    sim.stood.clear();
    (sim, leader, all.into_iter().filter(|id| *id != leader).collect())
}

#[test]
fn a_killed_leader_is_replaced_after_its_lease_by_one_election() {
    for voters in [3, 5, 7] {
        for offset in 0..80 {
            let (mut sim, leader, others) = led(voters);
            sim.run(ms(offset));
            sim.kill(leader);
            let took = sim.until_led(&others);
            assert!(took <= LEASE + ms(20), "{voters} voters, {offset} ms: {took:?}");
            assert_eq!(sim.stood.len(), 1, "{voters} voters, {offset} ms: {:?}", sim.stood);
        }
    }
}

#[test]
fn a_silent_failure_takes_x_and_a_little() {
    for voters in [3, 5] {
        for offset in (0..80).step_by(7) {
            let (mut sim, leader, others) = led(voters);
            sim.run(ms(offset));
            sim.vanish(leader);
            let took = sim.until_led(&others);
            assert!(took <= X + ms(50), "{voters} voters, {offset} ms: {took:?}");
            assert_eq!(sim.stood.len(), 1, "{:?}", sim.stood);
        }
    }
}

#[test]
fn a_cluster_starts_with_one_election_and_a_single_voter_at_once() {
    let mut sim = Sim::new(5);
    assert!(sim.until_led(&[1, 2, 3, 4, 5]) < ms(500));
    assert_eq!(sim.stood.len(), 1);
    let mut sim = Sim::new(1);
    assert!(sim.until_led(&[1]) < ms(20));
}

#[test]
fn a_thawed_follower_deposes_nobody() {
    for voters in [3, 5] {
        for time in [200, 1_000, 3_000, 10_000] {
            let (mut sim, leader, others) = led(voters);
            sim.freeze(others[0], ms(time));
            sim.run(ms(time + 5_000));
            assert_eq!((sim.leader_of(&others), sim.stood.len()), (None, 0), "the leader is none of the others");
            assert!(sim.nodes[&leader].leads);
        }
    }
}

#[test]
fn a_frozen_leader_is_replaced_and_comes_back_as_a_follower() {
    let (mut sim, leader, others) = led(3);
    sim.freeze(leader, ms(5_000));
    let took = sim.until_led(&others);
    assert!(took <= X + ms(50), "{took:?}");
    sim.run(ms(6_000));
    assert!(!sim.nodes[&leader].leads, "it heard of its successor");
    assert_eq!(sim.stood.len(), 1, "{:?}", sim.stood);
    assert!(sim.leader_of(&[1, 2, 3]).is_some());
}

#[test]
fn lost_messages_cost_rounds_not_terms() {
    let mut elections = 0;
    for seed in 0..20 {
        let (mut sim, leader, others) = led(3);
        sim.loss = 200;
        sim.run(ms(10_000 + seed));
        assert_eq!(sim.stood.len(), 0, "a fifth of the messages is no reason to depose anybody: {:?}", sim.stood);
        sim.kill(leader);
        let took = sim.until_led(&others);
        assert!(took < ms(2_000), "{took:?}");
        elections += sim.stood.len();
    }
    assert!(elections <= 80, "{elections} elections for 20 leaders");
}

#[test]
fn a_flapping_connection_deposes_nobody() {
    let (mut sim, leader, others) = led(3);
    for _ in 0..30 {
        sim.link(leader, others[0], false);
        sim.refuse_one(others[0], leader);
        sim.run(ms(170));
        sim.link(leader, others[0], true);
        sim.run(ms(90));
    }
    assert!(sim.nodes[&leader].leads);
    assert_eq!(sim.stood, []);
}

/// REJECT in a firewall looks like a closed door, for as long as it stands.
#[test]
fn a_firewall_that_refuses_one_link_deposes_nobody() {
    for voters in [3, 5] {
        let (mut sim, leader, others) = led(voters);
        sim.link(leader, others[0], false);
        sim.refuse_one(others[0], leader);
        sim.run(ms(30_000));
        assert!(sim.nodes[&leader].leads, "{voters} voters");
        assert_eq!(sim.stood, [], "{voters} voters");
        // When it is lifted, the follower is back without an election.
        sim.link(leader, others[0], true);
        sim.run(ms(500));
        assert_eq!((sim.leader_of(&[leader, others[0]]), sim.stood.len()), (Some(leader), 0));
        // And it still counts as a voter when the leader dies.
        sim.kill(leader);
        assert!(sim.until_led(&others) <= LEASE + ms(20));
    }
}

#[test]
fn a_leader_without_a_quorum_stops_its_heartbeats_and_resumes_them() {
    let (mut sim, leader, others) = led(3);
    sim.link(leader, others[0], false);
    sim.link(leader, others[1], false);
    sim.run(X + ms(20));
    assert!(sim.nodes[&leader].driver.lacks_quorum());
    sim.run(ms(500));
    assert!(sim.leader_of(&others).is_some(), "the majority has gone on");
    sim.link(leader, others[0], true);
    sim.link(leader, others[1], true);
    sim.run(ms(1_000));
    assert!(sim.leader_of(&[1, 2, 3]).is_some_and(|now| now != leader));
    assert!(!sim.nodes[&leader].driver.lacks_quorum());
    assert_eq!(sim.stood.len(), 1, "{:?}", sim.stood);
}

#[test]
fn without_a_quorum_nobody_stands_and_it_heals_within_a_second() {
    let (mut sim, leader, others) = led(3);
    sim.kill(leader);
    sim.link(others[0], others[1], false);
    sim.run(ms(30_000));
    assert_eq!(sim.stood, [], "a term that cannot be won is not begun");
    sim.link(others[0], others[1], true);
    let took = sim.until_led(&others);
    assert!(took < ms(1_000), "{took:?}");
    assert_eq!(sim.stood.len(), 1);
}

#[test]
fn the_longer_log_stands_and_the_others_defer_to_it_once() {
    let (mut sim, leader, others) = led(5);
    let best = others[0];
    let last = sim.nodes[&best].last.unwrap();
    sim.nodes.get_mut(&best).unwrap().last = Some(LogPosition { index: last.index + 1, ..last });
    sim.kill(leader);
    sim.until_led(&others);
    assert_eq!((sim.leader_of(&others), sim.stood.len()), (Some(best), 1), "{:?}", sim.stood);
    // The best candidate agrees, but nobody but one hears it stand.
    let (mut sim, leader, others) = led(5);
    let best = *others.iter().max().unwrap();
    sim.kill(leader);
    let rest: Vec<u64> = others.iter().copied().filter(|id| *id != best).collect();
    sim.nodes.get_mut(&best).unwrap().driver.step(sim.now, Input::Retire);
    let took = sim.until_led(&rest);
    assert!(took <= LEASE + DEFER * 2 + ms(60), "{took:?}");
    assert!(sim.stood.len() <= 2, "{:?}", sim.stood);
}

#[test]
fn a_shorter_log_that_cannot_win_never_stands() {
    let (mut sim, leader, others) = led(3);
    let (short, long) = (others[0], others[1]);
    let last = sim.nodes[&long].last.unwrap();
    sim.nodes.get_mut(&long).unwrap().last = Some(LogPosition { index: last.index + 5, ..last });
    // The one with the longer log may not campaign: nobody can win.
    sim.nodes.get_mut(&long).unwrap().driver.step(sim.now, Input::Retire);
    sim.kill(leader);
    sim.run(ms(10_000));
    assert!(sim.stood.iter().all(|(_, id)| *id != short), "{:?}", sim.stood);
}

#[test]
fn failing_elections_back_off() {
    let (mut sim, leader, others) = led(3);
    // Pre-votes are answered, votes never are.
    let settings = Settings { me: others[0], silence: X, lease: LEASE, campaigns: true, seed: 3 };
    let mut driver = Driver::new(settings, ms(0));
    let view = View {
        term: 5,
        voted_for: 0,
        leader: None,
        leads: false,
        voters: vec![set(&[1, 2, 3])],
        last: None,
        may_vote: true,
        quorum_silence: None,
    };
    let peer = others[1];
    let mut stood = Vec::new();
    let mut term = 5;
    for now in (0..20_000).step_by(5).map(ms) {
        let view = View { term, voted_for: if term > 5 { others[0] } else { 0 }, ..view.clone() };
        let mut actions = driver.step(now, Input::Look(view));
        let answer = Answer { agrees: true, term, last: None, lease_left_us: 0 };
        let peer_is_lower = peer < others[0];
        if peer_is_lower {
            actions.extend(driver.step(now, Input::Answered { node: peer, asked: now, answer }));
        } else {
            actions.extend(
                driver.step(now, Input::Answered { node: peer, asked: now, answer: Answer { term: 0, ..answer } }),
            );
        }
        if actions.contains(&Action::Elect) {
            stood.push(now);
            term += 1;
        }
    }
    assert!(stood.len() >= 5, "it goes on trying: {stood:?}");
    assert!(stood.len() <= 40, "but not for ever as fast as it can: {}", stood.len());
    let gaps: Vec<Duration> = stood.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.last() > gaps.first(), "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= ms(1_500)), "{gaps:?}");
    // In a whole network: cut off from each other again and again, the two survivors burn few terms.
    sim.kill(leader);
    for _ in 0..20 {
        sim.link(others[0], others[1], false);
        sim.run(ms(60));
        sim.link(others[0], others[1], true);
        sim.run(ms(40));
    }
    sim.until_led(&others);
    assert!(sim.stood.len() <= 12, "{:?}", sim.stood);
}

#[test]
fn both_halves_of_a_joint_membership_must_agree() {
    let (mut sim, leader, _) = led(3);
    let joint = vec![set(&[1, 2, 3]), set(&[3, 4, 5])];
    for id in [4, 5] {
        sim.add(id, joint.clone());
    }
    for node in sim.nodes.values_mut() {
        node.voters.clone_from(&joint);
    }
    sim.run(ms(1_000));
    assert_eq!(sim.leader_of(&[1, 2, 3, 4, 5]), Some(leader), "{:?}", sim.stood);
    // Of the new half two are cut off: the old half alone elects nobody.
    for (new, old) in [(4, 1), (4, 2), (4, 3), (5, 1), (5, 2), (5, 3)] {
        sim.link(new, old, false);
    }
    sim.kill(leader);
    sim.run(ms(5_000));
    assert!(sim.nodes.values().all(|node| !node.leads));
    assert_eq!(sim.stood, []);
    for (new, old) in [(4, 1), (4, 2), (4, 3), (5, 1), (5, 2), (5, 3)] {
        sim.link(new, old, true);
    }
    let alive: Vec<u64> = (1..=5).filter(|id| *id != leader).collect();
    assert!(sim.until_led(&alive) < ms(1_000));
}

#[test]
fn learners_and_removed_nodes_neither_stand_nor_count() {
    let (mut sim, leader, others) = led(3);
    let voters = vec![set(&[1, 2, 3])];
    sim.add(4, voters.clone());
    sim.run(ms(1_000));
    sim.kill(leader);
    sim.link(others[0], others[1], false);
    sim.run(ms(5_000));
    assert_eq!(sim.stood, [], "one voter and a learner are no quorum");
    sim.link(others[0], others[1], true);
    sim.until_led(&others);
    assert!(sim.stood.iter().all(|(_, id)| *id != 4));
}

#[test]
fn a_closed_gate_neither_stands_nor_agrees() {
    let (mut sim, leader, others) = led(3);
    sim.nodes.get_mut(&others[0]).unwrap().may_vote = false;
    sim.run(ms(100));
    sim.kill(leader);
    sim.run(ms(5_000));
    assert_eq!(sim.stood, []);
    sim.nodes.get_mut(&others[0]).unwrap().may_vote = true;
    assert!(sim.until_led(&others) < ms(1_000));
}

#[test]
fn who_is_asked_to_take_over_stands_at_once() {
    let (mut sim, _, others) = led(3);
    let driver = &mut sim.nodes.get_mut(&others[0]).unwrap().driver;
    assert_eq!(driver.step(sim.now, Input::Stand), [Action::Elect]);
    driver.step(sim.now, Input::Retire);
    assert_eq!(driver.step(sim.now, Input::Stand), [], "not if it is leaving itself");
}

#[test]
fn a_late_loop_excuses_silence_a_few_times_only() {
    let settings = Settings { me: 1, silence: X, lease: LEASE, campaigns: true, seed: 3 };
    let mut driver = Driver::new(settings, ms(0));
    let view = View {
        term: 5,
        voted_for: 2,
        leader: Some(2),
        leads: false,
        voters: vec![set(&[1, 2, 3])],
        last: None,
        may_vote: true,
        quorum_silence: None,
    };
    let mut asked = None;
    for now in (0..40).map(|step| ms(step * 400)) {
        if !driver.step(now, Input::Look(view.clone())).is_empty() {
            asked = Some(now);
            break;
        }
    }
    let asked = asked.expect("a slow machine asks in the end");
    assert!(asked > ms(1_200) && asked < ms(4_000), "{asked:?}");
}

/// Something that arrived before a death was noticed, but waited for the disk, is no sign of life.
#[test]
fn an_append_from_before_the_death_proves_nothing() {
    let settings = Settings { me: 1, silence: X, lease: LEASE, campaigns: true, seed: 3 };
    let mut driver = Driver::new(settings, ms(0));
    let view = View {
        term: 5,
        voted_for: 2,
        leader: Some(2),
        leads: false,
        voters: vec![set(&[1, 2, 3])],
        last: None,
        may_vote: true,
        quorum_silence: None,
    };
    driver.step(ms(5), Input::Look(view.clone()));
    driver.step(ms(10), Input::Gone(2));
    driver.step(ms(12), Input::Heard { leader: 2, term: 5, arrived: ms(9), accepted: true });
    assert!(driver.answer(ms(13)).agrees);
    assert!(driver.answer(ms(13)).lease_left_us >= 99_000, "openraft's lease runs from when it took it");
    driver.step(ms(14), Input::Heard { leader: 2, term: 5, arrived: ms(14), accepted: false });
    assert!(!driver.answer(ms(15)).agrees, "it lives");
}
