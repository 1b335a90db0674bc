#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;

const GRACE: Duration = Duration::from_millis(500);

fn source(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

/// Takes a place that must be free or freed at once.
fn enter(lobby: &Arc<Lobby>, number: u8) -> Place {
    lobby.try_enter(source(number), Instant::now()).unwrap_or_else(|_| panic!("no place for {number}"))
}

fn is_out(place: &Place) -> bool {
    place.evicted.is_cancelled()
}

#[test]
fn a_source_beyond_its_part_displaces_its_own_oldest() {
    let lobby = Lobby::new(8, Duration::ZERO);
    let other = enter(&lobby, 1);
    let own: Vec<Place> = (0..5).map(|_| enter(&lobby, 2)).collect();
    assert_eq!(own.iter().map(is_out).collect::<Vec<_>>(), [true, true, true, false, false]);
    assert!(!is_out(&other), "older, but of another source");
    assert_eq!(lobby.len(), 3);
}

#[test]
fn a_full_lobby_makes_room_at_the_cost_of_the_greediest() {
    let lobby = Lobby::new(8, Duration::ZERO);
    let honest = enter(&lobby, 1);
    let greedy: Vec<Place> = [2, 3, 4, 2, 3, 4].into_iter().map(|number| enter(&lobby, number)).collect();
    let last = enter(&lobby, 5);
    let newcomer = enter(&lobby, 6);
    assert!(!is_out(&honest) && !is_out(&last) && !is_out(&newcomer));
    assert_eq!(greedy.iter().map(is_out).collect::<Vec<_>>(), [true, false, false, false, false, false]);
    assert_eq!(lobby.len(), 8);
}

#[test]
fn the_silent_go_before_those_who_have_spoken() {
    let lobby = Lobby::new(8, Duration::ZERO);
    let (speaker, silent) = (enter(&lobby, 1), enter(&lobby, 1));
    speaker.has_spoken();
    let newcomer = enter(&lobby, 1);
    assert!(!is_out(&speaker) && is_out(&silent) && !is_out(&newcomer));
}

#[test]
fn a_place_is_given_back_once() {
    let lobby = Lobby::new(4, Duration::ZERO);
    let first = enter(&lobby, 1);
    let second = enter(&lobby, 1);
    drop(first);
    assert_eq!(lobby.len(), 1, "the evicted one had nothing to give back");
    drop(second);
    assert_eq!(lobby.len(), 0);
}

#[test]
fn a_lobby_of_silly_size_has_room_for_one() {
    for places_max in [0, 1, usize::MAX] {
        let lobby = Lobby::new(places_max, Duration::ZERO);
        let place = enter(&lobby, 1);
        assert!(!is_out(&place), "{places_max}");
    }
}

#[test]
fn within_grace_nobody_is_displaced() {
    let (lobby, start) = (Lobby::new(4, GRACE), Instant::now());
    let first = lobby.try_enter(source(1), start).unwrap_or_else(|_| panic!("free"));
    let refused = lobby.try_enter(source(1), start + GRACE / 2).map(|_| ()).unwrap_err();
    assert_eq!(refused, start + GRACE);
    assert!(!is_out(&first));
    assert!(lobby.try_enter(source(1), start + GRACE).is_ok() && is_out(&first));
}

#[tokio::test]
async fn a_newcomer_waits_for_a_departure() {
    let lobby = Lobby::new(4, GRACE);
    let first = lobby.enter(source(1)).await;
    let next = tokio::spawn({
        let lobby = lobby.clone();
        async move { lobby.enter(source(1)).await }
    });
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    drop(first);
    let second = next.await.unwrap();
    assert!(!is_out(&second) && lobby.len() == 1);
}

#[test]
fn one_ipv6_network_is_one_source() {
    let same = ["2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"].map(|addr| source_of(addr.parse().unwrap()));
    assert_eq!(same[0], same[1]);
    assert_ne!(same[0], source_of("2001:db8:0:1::1".parse().unwrap()));
    assert_eq!(source_of("::ffff:10.0.0.1".parse().unwrap()), source(1));
}
