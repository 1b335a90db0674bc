//! Memory for secrets: page-aligned, locked into RAM where the system allows, zero when free.
//!
//! In: 32 bytes. Out: a [`Slot`] that can be read and that erases itself. Safe code only: the words are atomics, so
//! reading needs no lock and erasing cannot be optimised away. Deliberately absent: giving memory back (a node holds
//! about as many keys tomorrow as today) and secrets of other lengths (AES-256 keys and BLS scalars both have 32).

use region::LockGuard;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence};
use std::sync::{Arc, Mutex, Once, PoisonError};
use zeroize::Zeroizing;

/// Slots of one chunk: 64 KiB, the largest page size in use, so that a chunk never shares a page with anything else
/// (locks count per page and do not nest), and what an old default limit of 64 KiB can still lock.
const SLOTS_PER_CHUNK: usize = 2048;
const WORDS_PER_SLOT: usize = 4;

type Words = [AtomicU64; WORDS_PER_SLOT];
type Locker = fn(*const Chunk64K, usize) -> region::Result<LockGuard>;

/// Hands out locked slots and takes them back.
pub(crate) struct Arena {
    chunks: Mutex<Vec<Arc<Chunk>>>,
    unlocked: AtomicBool,
    locker: Locker,
}

/// One secret of 32 bytes, erased when dropped.
pub(crate) struct Slot {
    chunk: Arc<Chunk>,
    index: u16,
}

struct Chunk {
    /// Declared before `memory`: dropped first, that is, unlocked before the memory is given back.
    _lock: Option<LockGuard>,
    memory: Box<Chunk64K>,
    free: Mutex<Vec<u16>>,
}

#[repr(C, align(65536))]
struct Chunk64K([Words; SLOTS_PER_CHUNK]);

impl Arena {
    pub(crate) fn new() -> Self {
        Self::with_locker(region::lock)
    }

    fn with_locker(locker: Locker) -> Self {
        Self { chunks: Mutex::new(Vec::new()), unlocked: AtomicBool::new(false), locker }
    }

    /// Whether all memory so far could be locked.
    pub(crate) fn is_locked(&self) -> bool {
        !self.unlocked.load(Ordering::Relaxed)
    }

    /// Copies a secret into a slot. The caller erases its own copy.
    pub(crate) fn store(&self, secret: &[u8; 32]) -> Slot {
        let slot = self.free_slot();
        for (word, bytes) in slot.words().iter().zip(secret.as_chunks::<8>().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        slot
    }

    fn free_slot(&self) -> Slot {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        // The newest chunk is the likeliest to have room, and there are few: 49 for 100,000 keys.
        if let Some(slot) = chunks.iter().rev().find_map(Chunk::take) {
            return slot;
        }
        let chunk = Arc::new(self.new_chunk());
        chunks.push(Arc::clone(&chunk));
        // A fresh chunk has room for all indices but the one taken here.
        Slot { chunk, index: 0 }
    }

    fn new_chunk(&self) -> Chunk {
        let memory = Box::new(Chunk64K([const { [const { AtomicU64::new(0) }; WORDS_PER_SLOT] }; SLOTS_PER_CHUNK]));
        let lock = (self.locker)(&raw const *memory, size_of::<Chunk64K>());
        let lock = lock
            .inspect_err(|error| {
                self.unlocked.store(true, Ordering::Relaxed);
                warn_once(error);
            })
            .ok();
        #[expect(clippy::cast_possible_truncation, reason = "2048 slots have indices of 16 bits")]
        let free = (1..SLOTS_PER_CHUNK as u16).rev().collect();
        Chunk { _lock: lock, memory, free: Mutex::new(free) }
    }
}

impl Chunk {
    fn take(self: &Arc<Self>) -> Option<Slot> {
        let index = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Slot { chunk: Arc::clone(self), index })
    }
}

impl Slot {
    /// A copy of the secret on the stack, erased when dropped.
    pub(crate) fn read(&self) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0_u8; 32]);
        for (word, bytes) in self.words().iter().zip(secret.as_chunks_mut::<8>().0) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        secret
    }

    fn words(&self) -> &Words {
        &self.chunk.memory.0[usize::from(self.index)]
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        for word in self.words() {
            word.store(0, Ordering::Relaxed);
        }
        compiler_fence(Ordering::SeqCst);
        self.chunk.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Slot(hidden)")
    }
}

/// One warning per process: the cause is a limit of the process, and an operator needs the cure, not a count.
fn warn_once(error: &region::Error) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            %error,
            "secret keys cannot be locked into memory and might be written to swap; signing goes on. Raise the limit \
             (systemd: LimitMEMLOCK=infinity; container: --ulimit memlock=-1; shell: ulimit -l unlimited), grant \
             CAP_IPC_LOCK, or turn swap off"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn slots_keep_their_secrets_apart_over_several_chunks() {
        let arena = Arena::new();
        let secret =
            |number: usize| -> [u8; 32] { std::array::from_fn(|index| (number >> (8 * (index % 4))).to_le_bytes()[0]) };
        let slots: Vec<Slot> = (0..2 * SLOTS_PER_CHUNK + 1).map(|number| arena.store(&secret(number))).collect();
        for (number, slot) in slots.iter().enumerate() {
            assert_eq!(*slot.read(), secret(number), "slot {number}");
        }
        let places: HashSet<*const Words> = slots.iter().map(|slot| std::ptr::from_ref(slot.words())).collect();
        assert_eq!(places.len(), slots.len());
        assert_eq!(arena.chunks.lock().unwrap_or_else(PoisonError::into_inner).len(), 3);
    }

    #[test]
    fn a_dropped_slot_is_zero_and_is_used_again() {
        let arena = Arena::new();
        let slot = arena.store(&[0xA5; 32]);
        let (chunk, index) = (Arc::clone(&slot.chunk), slot.index);
        let words = || chunk.memory.0[usize::from(index)].each_ref().map(|word| word.load(Ordering::Relaxed));
        assert_eq!(words(), [0xA5A5_A5A5_A5A5_A5A5; WORDS_PER_SLOT]);
        drop(slot);
        assert_eq!(words(), [0; WORDS_PER_SLOT]);
        assert_eq!(arena.store(&[1; 32]).index, index);
    }

    #[test]
    #[cfg(target_os = "linux")]
    #[allow(clippy::unwrap_used, reason = "tests")]
    fn memory_that_says_it_is_locked_is_locked() {
        let arena = Arena::new();
        let slot = arena.store(&[7; 32]);
        if !arena.is_locked() {
            return assert_eq!(*slot.read(), [7; 32], "the limit of this machine forbids locking");
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        let locked_kib: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        assert!(locked_kib >= size_of::<Chunk64K>() / 1024, "{line}");
    }

    #[test]
    fn memory_that_cannot_be_locked_still_serves_and_says_so() {
        let arena = Arena::with_locker(|_, _| Err(region::Error::SystemCall(12)));
        assert!(arena.is_locked(), "nothing was refused yet");
        let slot = arena.store(&[7; 32]);
        assert_eq!(*slot.read(), [7; 32]);
        assert!(!arena.is_locked());
    }
}
