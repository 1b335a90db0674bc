//! What signing costs on this machine: plain, with the root hashed already, through the keyring, and 10,000 sealed keys.
//!
//! `cargo run --release -p consigner-keys --example bench_sign [KEYS]`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints its results")]

use consigner_keys::bls::hash_to_curve;
use consigner_keys::development::{Yardstick, interop_secret};
use consigner_keys::{Keyring, KeyringOptions, LocalSealer, PlainDataKey, seal};
use consigner_rules::command::SealedKey;
use consigner_rules::permit::UnslashableType;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{PublicKey, Root, SignPermit, Signature, Unslashable};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinHandle;

const ROUNDS: u32 = 500;
const CLUSTER: ClusterId = ClusterId([1; 16]);

fn main() {
    let keys: u64 = std::env::args().nth(1).map_or(10_000, |number| number.parse().unwrap());
    signatures();
    let (data_key, sealed) = sealed_keys(keys);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(keyring(data_key, &sealed));
}

fn signatures() {
    let yardstick = Yardstick::new();
    let root = |number: u32| Root(std::array::from_fn(|index| number.to_le_bytes()[index % 4]));
    let hashed = hash_to_curve(&root(0));
    let plain = per_round(|number| yardstick.sign_plain(&root(number)));
    let cached = per_round(|_| yardstick.sign_hashed(&hashed));
    let derive = per_round(|_| yardstick.public_key());
    println!("CPU us: plain signature {plain:.1}, root hashed already {cached:.1}, public key {derive:.1}");
    println!("hashed root / plain: {:.3}", cached / plain);
}

/// CPU microseconds of one round, over the whole process.
fn per_round<T>(work: impl Fn(u32) -> T) -> f64 {
    let start = cpu_us();
    for number in 0..ROUNDS {
        std::hint::black_box(work(number));
    }
    (cpu_us() - start) / f64::from(ROUNDS)
}

fn sealed_keys(keys: u64) -> (PlainDataKey, Vec<SealedKey>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    LocalSealer::create_key_file(&path).unwrap();
    let (_, data_key) = LocalSealer::from_key_file(&path).unwrap().new_data_key(&CLUSTER).unwrap();
    let sealed = (0..keys).map(|index| seal(&data_key, &CLUSTER, &interop_secret(index)).unwrap()).collect();
    (data_key, sealed)
}

async fn keyring(data_key: PlainDataKey, sealed: &[SealedKey]) {
    let keyring = Arc::new(Keyring::new(&KeyringOptions::default()).unwrap());
    let (before, start) = (resident_bytes(), Instant::now());
    for sealed in sealed {
        keyring.insert(sealed, &data_key, &CLUSTER).unwrap();
    }
    let (took, grown) = (start.elapsed(), resident_bytes() - before);
    assert_eq!(keyring.len(), sealed.len());
    println!(
        "{} keys: opened in {:.1} ms, {} bytes of memory each, locked: {}",
        sealed.len(),
        took.as_secs_f64() * 1e3,
        grown / sealed.len() as u64,
        keyring.is_memory_locked()
    );
    let names: Vec<PublicKey> = sealed.iter().take(1000).map(|sealed| sealed.public_key).collect();
    for (what, root) in [("first use of each key", 1), ("same root, keys checked", 2), ("once more", 3)] {
        let (start, cpu) = (Instant::now(), cpu_us());
        let calls: Vec<_> = names.iter().map(|name| call(&keyring, *name, Root([root; 32]))).collect();
        for call in calls {
            call.await.unwrap();
        }
        let each = (cpu_us() - cpu) / names.len() as f64;
        println!(
            "burst of {} through the keyring, {what}: {each:.1} CPU us each, {:.1?}",
            names.len(),
            start.elapsed()
        );
    }
}

fn call(keyring: &Arc<Keyring>, public_key: PublicKey, signing_root: Root) -> JoinHandle<Signature> {
    let request = Unslashable { public_key, signing_root, kind: UnslashableType::SyncCommitteeMessage };
    let (keyring, permit) = (Arc::clone(keyring), SignPermit::unslashable(request));
    tokio::spawn(async move { keyring.sign(permit).await.unwrap() })
}

/// User and system time of this process so far, in microseconds.
fn cpu_us() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64
}
