//! Simulated power cuts on a real kernel and a real file system (DESIGN 8, SAFETY 3.4).
//!
//! An ext4 image lies on an XFS with reflinks, both loop-mounted. While a writer acknowledges what it has made durable
//! in log, state store and snapshots, the image is copied by one atomic reflink: every block written so far and nothing
//! else. The copy is mounted (ext4 replays its journal) and opened: nothing acknowledged may be missing.
//! The same test with the log's fsyncs taken away (a wrapper in this file's binary) must be seen to lose something.
//!
//! Needs root, loop devices and mkfs.xfs with reflink; elsewhere it says SKIPPED and why. The binary runs itself:
//! `power_cut writer DIR ACKS [no-barrier]` and `power_cut verify DIR ACKS`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test without a runtime: what it prints is its report, its sleeps choose the moment of the cut and poll \
              conditions that have a deadline"
)]

mod acks;
mod barrier;
mod mounts;
mod verify;
mod writer;

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use acks::Acks;
use mounts::{Mount, Stage};

/// Cuts that must all be clean.
const RUNS: u32 = 25;
/// Cuts without barrier; one loss among them is enough to show that a loss is seen.
const PLANTED_RUNS: u32 = 4;
/// How long a writer may take to its first acknowledgement, and a verification to its end.
const DEADLINE: Duration = Duration::from_secs(180);

/// What a cut did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    Clean,
    Lost,
    Refused,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["writer", dir, acks] => writer::run(Path::new(dir), Path::new(acks), true),
        ["writer", dir, acks, "no-barrier"] => writer::run(Path::new(dir), Path::new(acks), false),
        ["verify", dir, acks] => verify::run(Path::new(dir), Path::new(acks)),
        _ => test(),
    }
}

fn test() -> ExitCode {
    let stage = match Stage::build() {
        Ok(stage) => stage,
        Err(reason) => {
            println!("test power_cut ... SKIPPED: {reason}");
            return ExitCode::SUCCESS;
        }
    };
    let begun = Instant::now();
    let cuts: Vec<Cut> = (0..RUNS).map(|run| cut(&stage, run, true)).collect();
    let count = |cuts: &[Cut], kind| cuts.iter().filter(|cut| **cut == kind).count();
    let report = |what: &str, cuts: &[Cut]| {
        let (clean, lost, refused) = (count(cuts, Cut::Clean), count(cuts, Cut::Lost), count(cuts, Cut::Refused));
        println!("power_cut, {what}: clean={clean} lost_acknowledged={lost} refused={refused} of {}", cuts.len());
    };
    report("as shipped", &cuts);
    let planted: Vec<Cut> = (0..PLANTED_RUNS).map(|run| cut(&stage, run, false)).collect();
    report("barrier removed", &planted);
    println!("power_cut: {:.1} s", begun.elapsed().as_secs_f32());
    let good = cuts.iter().all(|cut| *cut == Cut::Clean);
    let caught = planted.iter().any(|cut| *cut != Cut::Clean);
    if good && caught {
        println!("test power_cut ... ok");
        return ExitCode::SUCCESS;
    }
    if !good {
        println!("test power_cut ... FAILED: something acknowledged was lost");
    }
    if !caught {
        println!("test power_cut ... FAILED: the missing barrier was not noticed, so the clean runs prove nothing");
    }
    ExitCode::FAILURE
}

/// One run: write, cut, mount the copy, verify.
fn cut(stage: &Stage, run: u32, barrier: bool) -> Cut {
    let acks = stage.acks();
    stage.fresh();
    let mut writer = Running::start(&stage.data(), &acks, barrier);
    let begun = Instant::now();
    while Acks::read(&acks).log.is_none() {
        assert!(begun.elapsed() < DEADLINE, "the writer acknowledged nothing");
        assert!(writer.0.try_wait().unwrap().is_none(), "the writer ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The moment of the cut: somewhere between an early and a late one, never the same.
    std::thread::sleep(Duration::from_millis(150 + u64::from(run) * 211 % 700));
    // Acknowledgements first: what they promise must be in the image.
    let promised = stage.keep(&acks);
    let copy = stage.copy_image();
    assert!(writer.0.try_wait().unwrap().is_none(), "the writer ended by itself");
    drop(writer);
    let mount = Mount::image(&copy, &stage.copy_dir());
    let cut = verify(&mount.dir().join("s"), &promised);
    let acks = Acks::read(&promised);
    println!("power_cut run {run}{}: {cut:?}, acknowledged {acks:?}", if barrier { "" } else { " without barrier" });
    drop(mount);
    std::fs::remove_file(&copy).unwrap();
    cut
}

fn verify(dir: &Path, acks: &Path) -> Cut {
    let mut child = this_binary().arg("verify").arg(dir).arg(acks).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    loop {
        match child.try_wait().unwrap().map(|status| status.code()) {
            Some(Some(0)) => return Cut::Clean,
            Some(Some(1)) => return Cut::Lost,
            Some(_) => return Cut::Refused,
            None if begun.elapsed() > DEADLINE => {
                child.kill().unwrap();
                child.wait().unwrap();
                println!("the verification did not end");
                return Cut::Refused;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn this_binary() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

/// A writer, killed when dropped.
struct Running(Child);

impl Running {
    fn start(dir: &Path, acks: &Path, barrier: bool) -> Running {
        let mut command = this_binary();
        command.arg("writer").arg(dir).arg(acks);
        if !barrier {
            command.arg("no-barrier");
        }
        Running(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
