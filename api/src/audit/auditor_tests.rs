#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::audit::{Actor, Operation};
use consigner_rules::PublicKey;
use std::future::pending;
use std::sync::Mutex;

/// Remembers what it is told; `disk` is what becomes of lines that are to stay.
#[derive(Default)]
struct Sink {
    lines: Mutex<Vec<AuditLine>>,
    disk: Disk,
}

#[derive(Default, Clone, Copy)]
enum Disk {
    #[default]
    Sound,
    Full,
    Hanging,
}

impl AuditSink for Sink {
    fn note(&self, line: AuditLine) {
        self.lines.lock().unwrap().push(line);
    }

    fn keep(&self, line: AuditLine) -> BoxFuture<'_, Result<(), String>> {
        match self.disk {
            Disk::Sound => {
                self.note(line);
                Box::pin(ready(Ok(())))
            }
            Disk::Full => Box::pin(ready(Err("the disk is full".to_owned()))),
            Disk::Hanging => Box::pin(pending()),
        }
    }
}

fn told(sink: &Sink) -> Vec<(String, &'static str)> {
    sink.lines.lock().unwrap().iter().map(|line| (line.operation.clone(), line.outcome)).collect()
}

fn auditor(disk: Disk, one_in: u64) -> (Arc<Sink>, Auditor) {
    let sink = Arc::new(Sink { disk, ..Sink::default() });
    (sink.clone(), Auditor::with_duties(sink, one_in))
}

#[tokio::test]
async fn a_change_has_a_beginning_and_an_outcome() {
    let (sink, auditor) = auditor(Disk::Sound, 0);
    let actor = Actor::node();
    let change = Event::new(&actor, Operation::Rewrap, Outcome::Unchanged, "");
    auditor.begin(&change).await.unwrap();
    auditor.conclude(&change).await.unwrap();
    let words = ["begun", "unchanged"].map(|outcome| ("rewrap".to_owned(), outcome));
    assert_eq!(told(&sink), words);
}

#[tokio::test]
async fn every_key_of_a_change_has_its_line_in_order() {
    let (sink, auditor) = auditor(Disk::Sound, 0);
    let actor = Actor::node();
    let keys: Vec<PublicKey> = (0..TOGETHER_MAX + 1).map(|number| PublicKey([(number % 251) as u8; 48])).collect();
    let event = |key| Event::new(&actor, Operation::KeyDelete, Outcome::Done, "").about(Some(key));
    auditor.begin_all(keys.iter().map(event)).await.unwrap();
    let lines = sink.lines.lock().unwrap();
    assert!(lines.iter().all(|line| line.outcome == "begun"));
    assert_eq!(lines.iter().map(|line| line.key.unwrap()).collect::<Vec<_>>(), keys);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_recorded_is_not_begun() {
    for (disk, why) in [(Disk::Full, "the disk is full"), (Disk::Hanging, "no disk within 10 s")] {
        let (_, auditor) = auditor(disk, 0);
        let actor = Actor::node();
        let change = Event::new(&actor, Operation::Rewrap, Outcome::Done, "");
        assert_eq!(auditor.begin(&change).await, Err(AuditError::NotBegun(why.to_owned())));
        assert_eq!(auditor.begin_all([change]).await, Err(AuditError::NotBegun(why.to_owned())));
        assert_eq!(auditor.conclude(&change).await, Err(AuditError::NotConcluded(why.to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_told_in_part_and_then_by_its_number() {
    let (sink, auditor) = auditor(Disk::Sound, 0);
    let actor = Actor::stranger(None);
    for _ in 0..1000 {
        auditor.record_within(Flood::Hosts, &Event::new(&actor, Operation::Host, Outcome::Refused, ""));
    }
    auditor.record_within(Flood::Denied, &Event::new(&actor, Operation::Access, Outcome::Refused, ""));
    let count = |word: &str| told(&sink).iter().filter(|(operation, _)| operation == word).count();
    let (hosts, denied) = (count("host"), count("access"));
    assert!((100..1000).contains(&hosts), "{hosts}");
    assert_eq!(denied, 1, "another kind has its own budget");
    while count("left_out") == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let lines = sink.lines.lock().unwrap();
    let last = lines.last().unwrap();
    assert_eq!(last.reason, format!("{} further lines: requests to a foreign host", 1000 - hosts));
}

#[test]
fn duties_are_told_one_in_so_many() {
    for (one_in, expected) in [(0, 0), (1, 100), (10, 10), (1000, 1)] {
        let (_, auditor) = auditor(Disk::Sound, one_in);
        assert_eq!((0..100).filter(|_| auditor.is_sampled()).count(), expected, "{one_in}");
    }
}
