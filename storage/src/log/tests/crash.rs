//! Random histories with random crashes: what was acknowledged is there, and nothing that was never asked for.
//!
//! A failing run prints its seed; `CONSIGNER_STORAGE_SEED=N` runs that one alone. Calls, faults and cuts are then the
//! same; how the writer thread groups the calls into frames is not, so a rare failure may need a few tries.

use super::*;
use crate::disk::Fault;

/// Runs of several crashes each.
const RUNS: u64 = 400;
/// Crashes in a run: some thousand schedules in all.
const LIVES: u64 = 10;

/// What a log should say: rebuilt by applying calls in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Model {
    vote: Option<Bytes>,
    purged: Option<LogPosition>,
    entries: Vec<(LogPosition, Bytes)>,
}

impl Model {
    fn of(wal: &Wal) -> Model {
        Model { vote: wal.vote(), purged: wal.purged(), entries: all(wal) }
    }

    fn next(&self) -> u64 {
        let last = self.entries.last().map(|entry| entry.0).or(self.purged);
        last.map_or(0, |last| last.index + 1)
    }

    fn apply(&mut self, call: &Call) {
        match call {
            Call::Append(entries) => self.entries.extend(entries.iter().cloned()),
            Call::Vote(vote) => self.vote = Some(vote.clone()),
            Call::Truncate(from) => self.entries.retain(|entry| entry.0.index < *from),
            Call::Purge(upto) => {
                self.entries.retain(|entry| entry.0.index > upto.index);
                self.purged = Some(*upto);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Call {
    Append(Vec<(LogPosition, Bytes)>),
    Vote(Bytes),
    Truncate(u64),
    Purge(LogPosition),
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Payloads of all sizes, some of them full of zeros.
    fn payload(&mut self) -> Bytes {
        let len = match self.below(4) {
            0 => self.below(20),
            1 => self.below(300),
            2 => self.below(1200),
            _ => self.below(4000),
        };
        let (pattern, salt) = (self.below(4), self.below(255) as u8);
        let byte = |place: u64| match pattern {
            0 => 0,
            1 if place % 1024 < 600 => 0,
            _ => salt.wrapping_add(place as u8),
        };
        (0..len).map(byte).collect::<Vec<_>>().into()
    }

    fn call(&mut self, model: &Model, term: u64) -> Call {
        let next = model.next();
        match self.below(12) {
            0 | 1 => Call::Vote(self.payload()),
            2 if !model.entries.is_empty() => {
                let kept = self.below(model.entries.len() as u64);
                Call::Truncate(next - model.entries.len() as u64 + kept)
            }
            3 if !model.entries.is_empty() => {
                let upto = self.below(model.entries.len() as u64) as usize;
                Call::Purge(model.entries[upto].0)
            }
            4 if self.below(6) == 0 => Call::Purge(at(term, next + self.below(5))),
            _ => {
                let count = 1 + self.below(4);
                Call::Append((next..next + count).map(|index| (at(term, index), self.payload())).collect())
            }
        }
    }
}

fn make(wal: &Wal, call: Call, done: Done) {
    match call {
        Call::Append(entries) => wal.append(entries, done),
        Call::Vote(vote) => wal.save_vote(vote, done),
        Call::Truncate(from) => wal.truncate_from(from, done),
        Call::Purge(upto) => wal.purge(upto, done),
    }
}

/// How a life of the log ends.
fn arm(disk: &SimDisk, random: &mut Random) {
    let after = random.below(60);
    match random.below(10) {
        0 => disk.inject(Fault::Sync, after / 2),
        1 => disk.inject(Fault::Write, after / 2),
        2 => disk.inject(Fault::ShortWrite, after / 2),
        3 => disk.inject(Fault::SyncDir, after / 10),
        4 => disk.set_capacity(Some(disk.used() + random.below(40_000) as usize)),
        _ => disk.die_after(after),
    }
}

/// One life: calls until the log stops or enough were made. Returns the states after each call and how many calls
/// were acknowledged.
fn live(wal: &Wal, start: Model, random: &mut Random, term: u64) -> (Vec<Model>, usize) {
    let mut states = vec![start];
    let answers = Arc::new(Mutex::new(Vec::new()));
    for number in 0..2 + random.below(60) {
        let mut model = states.last().unwrap().clone();
        let call = random.call(&model, term);
        model.apply(&call);
        states.push(model);
        if random.below(3) == 0 {
            wal.save_committed(states.last().unwrap().purged);
        }
        let noted = Arc::clone(&answers);
        let note = move |result: &Result<(), WalError>| noted.lock().unwrap().push((number, result.is_ok()));
        if random.below(2) == 0 {
            let both = |done: Done| -> Done {
                Box::new(move |result| {
                    note(&result);
                    done(result);
                })
            };
            if wait(|done| make(wal, call, both(done))).is_err() {
                break;
            }
        } else {
            make(wal, call, Box::new(move |result| note(&result)));
        }
    }
    // Everything is answered once an empty call behind it is; a poisoned log answers it at once, the rest by and by.
    let _ = append(wal, Vec::new());
    (states, check_answers(&answers.lock().unwrap()))
}

/// The acknowledged calls are the first ones, in order; returns how many they are.
fn check_answers(answers: &[(u64, bool)]) -> usize {
    let acknowledged: Vec<_> = answers.iter().filter(|(_, ok)| *ok).map(|(number, _)| *number).collect();
    let first: Vec<_> = (0..acknowledged.len() as u64).collect();
    assert_eq!(acknowledged, first, "an answer out of order, or after a failure");
    acknowledged.len()
}

fn run(seed: u64) {
    let disk = disk(seed);
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut model = Model::default();
    for life in 0..LIVES {
        let wal = open(&disk).unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
        assert_eq!(Model::of(&wal), model, "seed {seed}, life {life}: the log opened twice says two things");
        arm(&disk, &mut random);
        let (states, acknowledged) = live(&wal, model, &mut random, life + 1);
        drop(wal);
        disk.set_capacity(None);
        if random.below(3) == 0 {
            disk.process_restart()
        } else {
            disk.power_cut()
        }
        if random.below(3) == 0 {
            // A crash during recovery, too.
            disk.die_after(random.below(12));
            drop(open(&disk));
            if random.below(2) == 0 { disk.process_restart() } else { disk.power_cut() }
        }
        let wal = open(&disk).unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
        let found = Model::of(&wal);
        let place = states.iter().rposition(|state| *state == found);
        let place = place.unwrap_or_else(|| panic!("seed {seed}, life {life}: a state that never was: {found:?}"));
        assert!(place >= acknowledged, "seed {seed}, life {life}: {acknowledged} acknowledged, {place} found");
        model = found;
        drop(wal);
        disk.power_cut(); // what was served stays
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_wrong_appears() {
    if let Some(seed) = std::env::var("CONSIGNER_STORAGE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed);
    }
    (0..RUNS).for_each(run);
}
