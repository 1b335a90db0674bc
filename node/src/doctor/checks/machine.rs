//! The machine: volumes, swap, clock.

use super::super::finding::Verdict;

/// What lies below a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Type of the file system.
    pub file_system: String,
    /// What is mounted.
    pub source: String,
    /// `dm/uuid` of the device and of all devices below it; empty if none is a device mapper's.
    pub dm_uuids: Vec<String>,
}

/// Encryption below the file system.
#[must_use]
pub fn volume(directory: &str, volume: Option<&Volume>) -> Verdict {
    let fix = "dm-crypt (LUKS) below the data directory, or a volume that its provider encrypts";
    let Some(Volume { file_system, source, dm_uuids }) = volume else {
        return Verdict::warn(format!("what lies below {directory} is not to be seen"), fix);
    };
    if dm_uuids.iter().any(|uuid| uuid.starts_with("CRYPT-")) {
        return Verdict::pass(format!("{directory} lies on dm-crypt ({source})"));
    }
    if matches!(file_system.as_str(), "tmpfs" | "ramfs") {
        return Verdict::fail(
            format!("{directory} lies in memory ({file_system}): a restart forgets what was signed"),
            "a directory on a disk",
        );
    }
    let reason = format!(
        "no dm-crypt below {directory} ({file_system} on {source}); encryption by a provider is not seen from here"
    );
    Verdict::warn(reason, fix)
}

/// Swap areas of `/proc/swaps`; `encrypted` says of a device whether it is.
#[must_use]
pub fn swap(swaps: Option<&str>, encrypted: impl Fn(&str) -> bool) -> Verdict {
    let Some(swaps) = swaps else { return Verdict::skip("/proc/swaps is not to be read") };
    let areas = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let open: Vec<&str> = areas.filter(|area| !area.starts_with("/dev/zram") && !encrypted(area)).collect();
    if open.is_empty() {
        return Verdict::pass("no swap on an open disk");
    }
    let reason = format!("swap on {}: what is not locked in memory may be written there", open.join(", "));
    Verdict::warn(reason, "swapoff, zram, or swap on dm-crypt")
}

/// Whether something keeps the clock right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sync {
    /// It says so.
    Yes(String),
    /// It says that it does not.
    No(String),
    /// Nobody can be asked.
    Unknown,
}

/// Clock synchronisation. No slashable signature depends on a clock; certificates, tokens and `future-slots` do.
#[must_use]
pub fn clock(sync: &Sync) -> Verdict {
    let fix = "run chrony or systemd-timesyncd";
    match sync {
        Sync::Yes(who) => Verdict::pass(format!("synchronised, says {who}")),
        Sync::No(who) => Verdict::fail(format!("not synchronised, says {who}"), fix),
        Sync::Unknown => Verdict::warn("neither chrony nor systemd says whether the clock is synchronised", fix),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::super::finding::Status::{Fail, Pass, Skip, Warn};
    use super::*;

    #[test]
    fn volumes() {
        let of = |file_system: &str, uuids: &[&str]| Volume {
            file_system: file_system.into(),
            source: "/dev/x".into(),
            dm_uuids: uuids.iter().map(|uuid| (*uuid).to_owned()).collect(),
        };
        for (below, status) in [
            (None, Warn),
            (Some(of("ext4", &[])), Warn),
            (Some(of("ext4", &["LVM-abc"])), Warn),
            (Some(of("ext4", &["LVM-abc", "CRYPT-LUKS2-abc-root"])), Pass),
            (Some(of("tmpfs", &[])), Fail),
        ] {
            assert_eq!(volume("/d", below.as_ref()).status, status, "{below:?}");
        }
    }

    #[test]
    fn swaps() {
        const HEAD: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        for (areas, status) in [
            (Some(""), Pass),
            (Some("/dev/zram0 partition 1 0 100\n"), Pass),
            (Some("/dev/dm-1 partition 1 0 -2\n"), Pass),
            (Some("/dev/dm-1 partition 1 0 -2\n/swapfile file 1 0 -3\n"), Warn),
            (None, Skip),
        ] {
            let text = areas.map(|areas| format!("{HEAD}{areas}"));
            assert_eq!(swap(text.as_deref(), |area| area == "/dev/dm-1").status, status, "{areas:?}");
        }
    }

    #[test]
    fn clocks() {
        for (sync, status) in
            [(Sync::Yes("chrony".into()), Pass), (Sync::No("systemd".into()), Fail), (Sync::Unknown, Warn)]
        {
            assert_eq!(clock(&sync).status, status, "{sync:?}");
        }
    }
}
