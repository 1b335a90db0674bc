//! What an import costs on this machine: keystores opened on one core and on all, and keys derived from a mnemonic.
//!
//! `cargo run --release -p consigner-keys --example keystore_rate [KEYSTORES]`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints its results")]

use consigner_keys::DecryptPool;
use consigner_keys::development::interop_secret;
use consigner_keys::generate::Mnemonic;
use consigner_keys::keystore::{Kdf, Keystore, Password};
use consigner_keys::source::{Candidate, Material, Outcome, load_all};
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Instant;

const GIBIBYTE: u64 = 1 << 30;
const DERIVED: u32 = 20;

fn main() {
    let keystores: u64 = std::env::args().nth(1).map_or(8, |number| number.parse().unwrap());
    let cores = available_parallelism().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // PBKDF2 takes a fifteenth of scrypt's time.
    for (name, kdf, count) in [("scrypt", Kdf::SCRYPT, keystores), ("pbkdf2", Kdf::PBKDF2, keystores * 15)] {
        for threads in [NonZeroUsize::MIN, cores] {
            runtime.block_on(import(name, kdf, count, threads));
        }
    }
    derive();
}

async fn import(name: &str, kdf: Kdf, count: u64, threads: NonZeroUsize) {
    let password = Password::new("a password of usual length");
    // One key derivation serves all: what differs does not change the cost, and making them costs as much as opening.
    let made = Keystore::encrypt(&interop_secret(0), &password, "m/12381/3600/0/0/0", kdf).unwrap();
    let mut unnamed: serde_json::Value = serde_json::from_str(&made.to_json()).unwrap();
    unnamed.as_object_mut().unwrap().remove("pubkey");
    let keystore = Keystore::parse(unnamed.to_string().as_bytes()).unwrap();
    let candidate = |index: u64| {
        let material = Material::Keystore { keystore: Box::new(keystore.clone()), password: password.clone() };
        Candidate::new(index.to_string(), None, material)
    };
    let pool = DecryptPool::new(threads, GIBIBYTE);
    let (cpu, start) = (cpu_s(), Instant::now());
    let loaded = load_all((0..count).map(candidate).collect(), pool, None, |_| false, |_, _| {}).await;
    let (cpu, wall) = (cpu_s() - cpu, start.elapsed().as_secs_f64());
    let failed = loaded.iter().filter(|loaded| matches!(loaded.outcome, Outcome::Failed(_))).count();
    assert_eq!(failed, 0);
    let (count, memory) = (count as f64, made.memory_bytes() >> 20);
    println!(
        "{name}, {memory} MiB, {threads} threads: {:.2} keystores/s, {:.3} CPU s each, {:.2} keystores per CPU s",
        count / wall,
        cpu / count,
        count / cpu
    );
}

fn derive() {
    let seed = Mnemonic::generate().unwrap().seed("");
    let start = cpu_s();
    for index in 0..DERIVED {
        std::hint::black_box(seed.validator(index).unwrap());
    }
    println!("keys of one validator from a mnemonic: {:.2} CPU ms", (cpu_s() - start) * 1e3 / f64::from(DERIVED));
}

/// User and system time of this process so far, in seconds.
fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
