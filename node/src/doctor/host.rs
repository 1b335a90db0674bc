//! Reads of the machine what [`super::checks`] judge: `/proc`, `/sys`, and what keeps the clock.
//!
//! Every path is below a root, so that tests have machines of their own.

use super::checks::files::Entry;
use super::checks::machine::{Sync, Volume};
use super::checks::process::{self, Process};
use consigner_keys::source::Reader;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Devices below a device: a file system on LVM on RAID on dm-crypt on a partition on a disk.
const DEVICES_MAX: usize = 64;

/// Programs that are asked about the clock answer at once or not at all.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(3);

/// A machine.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        Self::below("/")
    }

    /// The machine whose `/proc` and `/sys` lie below a directory.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.at(path)).ok()
    }

    /// Swap areas.
    #[must_use]
    pub fn swaps(&self) -> Option<String> {
        self.text("proc/swaps")
    }

    /// Where the kernel sends core dumps.
    #[must_use]
    pub fn core_pattern(&self) -> Option<String> {
        self.text("proc/sys/kernel/core_pattern").map(|text| text.trim().to_owned())
    }

    /// A process, if it is there.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<Process> {
        let limits = self.text(&format!("proc/{pid}/limits")).unwrap_or_default();
        let status = self.text(&format!("proc/{pid}/status"))?;
        let mut process = process::parse(&limits, &status);
        // The kernel gives the directory of a process that may not be dumped to root. Of root's own nothing is seen.
        let owner = std::fs::metadata(self.at(&format!("proc/{pid}"))).ok().map(|metadata| metadata.uid());
        process.undumpable = match (owner, process.uid) {
            (Some(0), Some(uid)) if uid != 0 => Some(true),
            (Some(owner), Some(uid)) if uid != 0 => Some(owner != uid),
            (Some(_) | None, _) => None,
        };
        Some(process)
    }

    /// The executable's name of a process, to know whose number it is.
    #[must_use]
    pub fn command(&self, pid: u32) -> Option<String> {
        self.text(&format!("proc/{pid}/comm")).map(|text| text.trim().to_owned())
    }

    /// Limits of the process that looks: what a node started from here would have.
    #[must_use]
    pub fn own_limits(&self) -> Process {
        process::parse(&self.text("proc/self/limits").unwrap_or_default(), "")
    }

    /// What a directory lies on.
    #[must_use]
    pub fn volume(&self, directory: &Path) -> Option<Volume> {
        // What is not there yet will lie where its parent lies.
        let there = directory.ancestors().find_map(|path| std::fs::canonicalize(path).ok())?;
        let mounts = self.text("proc/self/mountinfo")?;
        let mount = mounts.lines().filter_map(Mount::parse).filter(|mount| there.starts_with(&mount.point));
        // The last of the deepest hides the others.
        let mount = mount.max_by_key(|mount| mount.point.components().count())?;
        let device = match mount.source.strip_prefix("/dev/") {
            Some(name) if mount.device.starts_with("0:") => self.device_of(name)?,
            Some(_) | None => mount.device.clone(),
        };
        let dm_uuids = self.uuids(&device);
        Some(Volume { file_system: mount.file_system, source: mount.source, dm_uuids })
    }

    /// Whether a block device, or a file as a swap area, is encrypted.
    #[must_use]
    pub fn is_encrypted(&self, area: &str) -> bool {
        let crypt = |uuids: Vec<String>| uuids.iter().any(|uuid| uuid.starts_with("CRYPT-"));
        match area.strip_prefix("/dev/") {
            Some(name) => self.device_of(name).is_some_and(|device| crypt(self.uuids(&device))),
            None => self.volume(Path::new(area)).is_some_and(|volume| crypt(volume.dm_uuids)),
        }
    }

    /// `MAJOR:MINOR` of a name below `/dev`, links such as `mapper/root` followed.
    fn device_of(&self, name: &str) -> Option<String> {
        let node = std::fs::canonicalize(self.at("dev").join(name)).ok();
        let node_name = node.and_then(|node| node.file_name().map(|name| name.to_string_lossy().into_owned()));
        let name = node_name.unwrap_or_else(|| name.to_owned());
        self.text(&format!("sys/class/block/{name}/dev")).map(|text| text.trim().to_owned())
    }

    /// `dm/uuid` of a device and of everything below it.
    fn uuids(&self, device: &str) -> Vec<String> {
        let (mut uuids, mut seen) = (Vec::new(), BTreeSet::new());
        let mut left = vec![self.at(&format!("sys/dev/block/{device}"))];
        while let Some(path) = left.pop() {
            if seen.len() >= DEVICES_MAX || !seen.insert(std::fs::canonicalize(&path).unwrap_or(path.clone())) {
                continue;
            }
            uuids.extend(std::fs::read_to_string(path.join("dm/uuid")).ok().map(|text| text.trim().to_owned()));
            let slaves = std::fs::read_dir(path.join("slaves")).into_iter().flatten().flatten();
            left.extend(slaves.map(|slave| slave.path()));
        }
        uuids
    }

    /// Asks whoever keeps the clock.
    pub async fn clock(&self) -> Sync {
        if self.at("run/systemd/timesync/synchronized").exists() {
            return Sync::Yes("systemd-timesyncd".to_owned());
        }
        if let Some(text) = run("chronyc", &["-n", "tracking"]).await {
            return chrony(&text);
        }
        let asked = run("timedatectl", &["show", "--property=NTPSynchronized", "--value"]).await;
        match asked.as_deref().map(str::trim) {
            Some("yes") => Sync::Yes("timedatectl".to_owned()),
            Some("no") => Sync::No("timedatectl".to_owned()),
            Some(_) | None => Sync::Unknown,
        }
    }
}

fn chrony(text: &str) -> Sync {
    let leap = text.lines().find_map(|line| line.strip_prefix("Leap status")).unwrap_or_default();
    match leap.trim_start_matches([' ', ':']).trim() {
        "" => Sync::Unknown,
        "Not synchronised" => Sync::No("chrony".to_owned()),
        _ => Sync::Yes("chrony".to_owned()),
    }
}

/// The output of a program that is there and ended well.
async fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PROGRAM_DEADLINE, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A line of `/proc/PID/mountinfo` (proc(5)).
struct Mount {
    device: String,
    point: PathBuf,
    file_system: String,
    source: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (fields, tail) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(2);
        let (device, _root, point) = (fields.next()?, fields.next()?, fields.next()?);
        let mut tail = tail.split(' ');
        let (file_system, source) = (tail.next()?, tail.next()?);
        // Spaces are written in octal.
        let point = PathBuf::from(point.replace("\\040", " "));
        Some(Self { device: device.into(), point, file_system: file_system.into(), source: source.into() })
    }
}

/// Mode and owner of a file, links followed.
///
/// # Errors
/// What the system said.
pub fn entry(path: &Path) -> io::Result<Entry> {
    let metadata = std::fs::metadata(path)?;
    let mode = metadata.mode() & 0o777;
    Ok(Entry { path: path.to_owned(), mode, uid: metadata.uid(), gid: metadata.gid() })
}

/// The user that a node runs as: that of its data directory, else the one that looks.
#[must_use]
pub fn node_user(data_dir: Option<&Path>) -> Reader {
    let own = Reader::this_process();
    match data_dir.and_then(|dir| entry(dir).ok()) {
        // Of another user only the group of its directory is known.
        Some(entry) if entry.uid != own.uid => Reader { uid: entry.uid, groups: vec![entry.gid] },
        Some(_) | None => own,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A machine whose `/` is ext4 on LVM on dm-crypt on a partition, with a plain second disk on `/plain`.
    fn machine() -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let plain = dir.path().canonicalize().unwrap().join("plain");
        fs::create_dir_all(&plain).unwrap();
        let mounts = format!(
            "22 1 253:1 / / rw - ext4 /dev/mapper/vg-root rw\n23 22 8:16 / {} rw shared:1 - xfs /dev/sdb rw\n",
            plain.display()
        );
        write("proc/self/mountinfo", &mounts);
        write("proc/swaps", "Filename Type Size Used Priority\n/dev/mapper/vg-swap partition 1 0 -2\n");
        for (device, uuid, below) in [
            ("253:1", Some("LVM-root"), Some("253:0")),
            ("253:2", Some("LVM-swap"), Some("253:0")),
            ("253:0", Some("CRYPT-LUKS2-0123-crypt"), Some("8:1")),
            ("8:1", None, None),
            ("8:16", None, None),
        ] {
            let base = format!("sys/dev/block/{device}");
            fs::create_dir_all(dir.path().join(&base).join("slaves")).unwrap();
            if let Some(uuid) = uuid {
                write(&format!("{base}/dm/uuid"), &format!("{uuid}\n"));
            }
            if let Some(below) = below {
                let to = dir.path().join("sys/dev/block").join(below);
                symlink(to, dir.path().join(&base).join("slaves/x")).unwrap();
            }
        }
        write("sys/class/block/dm-2/dev", "253:2\n");
        write("dev/dm-2", "");
        fs::create_dir_all(dir.path().join("dev/mapper")).unwrap();
        symlink("../dm-2", dir.path().join("dev/mapper/vg-swap")).unwrap();
        let host = Host::below(dir.path());
        (dir, host)
    }

    #[test]
    fn encryption_is_found_below_other_layers() {
        let (dir, host) = machine();
        let root = host.volume(Path::new("/no such directory yet")).unwrap();
        assert_eq!(root.dm_uuids, ["LVM-root", "CRYPT-LUKS2-0123-crypt"]);
        assert_eq!((root.file_system.as_str(), root.source.as_str()), ("ext4", "/dev/mapper/vg-root"));
        let plain = host.volume(&dir.path().join("plain/data")).unwrap();
        assert_eq!((plain.source.as_str(), plain.dm_uuids.len()), ("/dev/sdb", 0));
        assert!(host.is_encrypted("/dev/mapper/vg-swap"));
        assert!(!host.is_encrypted("/dev/mapper/other"));
    }

    #[test]
    fn a_process_that_is_not_there_is_none() {
        let (_dir, host) = machine();
        assert_eq!(host.process(1), None);
        let own = Host::this().process(std::process::id()).unwrap();
        assert_eq!(own.uid, Some(Reader::this_process().uid));
        assert!(own.memlock_max.is_some());
    }

    #[test]
    fn the_words_of_chrony() {
        for (text, sync) in [
            ("Stratum : 2\nLeap status     : Normal\n", Sync::Yes("chrony".into())),
            ("Leap status     : Not synchronised\n", Sync::No("chrony".into())),
            ("506 Cannot talk to daemon\n", Sync::Unknown),
        ] {
            assert_eq!(chrony(text), sync, "{text}");
        }
    }
}
