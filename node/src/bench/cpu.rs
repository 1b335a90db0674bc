//! CPU time of processes, from `/proc`, in nanoseconds.

use std::collections::BTreeMap;
use std::io;

/// What every thread of some processes has used, by (process, thread).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage(BTreeMap<(u32, u32), u64>);

impl Usage {
    /// Reads the processes' threads; a thread that ends meanwhile is left out.
    ///
    /// # Errors
    /// A process is gone.
    pub fn read(pids: &[u32]) -> io::Result<Self> {
        let mut usage = BTreeMap::new();
        for pid in pids {
            for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
                let name = thread?.file_name();
                let Some(tid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
                let text = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"));
                if let Some(nanoseconds) = text.ok().and_then(|text| first_number(&text)) {
                    usage.insert((*pid, tid), nanoseconds);
                }
            }
        }
        Ok(Self(usage))
    }

    /// What was used since `earlier`, per process. Threads that ended in between are not seen; the nodes' signing and
    /// worker threads live as long as the process.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> BTreeMap<u32, u64> {
        let mut used = BTreeMap::new();
        for ((pid, tid), now) in &self.0 {
            let before = earlier.0.get(&(*pid, *tid)).copied().unwrap_or(0);
            *used.entry(*pid).or_insert(0) += now.saturating_sub(before);
        }
        used
    }
}

/// The first field of `schedstat`: time on a CPU, user and system, in nanoseconds.
fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}
