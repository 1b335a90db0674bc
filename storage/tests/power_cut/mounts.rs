//! The stage: an XFS in a loop image, an ext4 image on it, both mounted; taken down again exactly as it was set up,
//! also when the test fails.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Sparse; holds the ext4 image and one copy of it.
const XFS_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Sparse; holds what one writer writes.
const EXT4_BYTES: u64 = 512 * 1024 * 1024;

/// A mounted file system, unmounted when dropped. Its loop device goes with the mount.
pub struct Mount(PathBuf);

impl Mount {
    pub fn image(image: &Path, dir: &Path) -> Mount {
        Mount::try_image(image, dir).unwrap()
    }

    fn try_image(image: &Path, dir: &Path) -> Result<Mount, String> {
        fs::create_dir_all(dir).map_err(|error| error.to_string())?;
        run("mount", [OsStr::new("-o"), OsStr::new("loop"), image.as_os_str(), dir.as_os_str()])?;
        Ok(Mount(dir.to_path_buf()))
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = run("umount", [&self.0]) {
            println!("power_cut: {} is still mounted: {error}", self.0.display());
        }
    }
}

/// Fields are dropped in order: the inner mount, the outer one, the directory.
pub struct Stage {
    ext4: Mount,
    xfs: Mount,
    _dir: TempDir,
}

impl Stage {
    /// Sets the stage, or says what it lacks.
    pub fn build() -> Result<Stage, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("simulated power cuts need root (loop mounts)".into());
        }
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
        let image = sparse(&dir.path().join("xfs.img"), XFS_BYTES)?;
        run("mkfs.xfs", [OsStr::new("-q"), OsStr::new("-m"), OsStr::new("reflink=1"), image.as_os_str()])?;
        let xfs = Mount::try_image(&image, &dir.path().join("xfs"))?;
        let image = sparse(&xfs.dir().join("img"), EXT4_BYTES)?;
        run("mkfs.ext4", [OsStr::new("-q"), OsStr::new("-F"), image.as_os_str()])?;
        let ext4 = Mount::try_image(&image, &xfs.dir().join("live"))?;
        Ok(Stage { ext4, xfs, _dir: dir })
    }

    /// Directory the writer works in.
    pub fn data(&self) -> PathBuf {
        self.ext4.dir().join("s")
    }

    /// The file of acknowledgements.
    pub fn acks(&self) -> PathBuf {
        self.xfs.dir().join("acks")
    }

    /// Where a copied image is mounted.
    pub fn copy_dir(&self) -> PathBuf {
        self.xfs.dir().join("cut")
    }

    /// Empties the writer's directory and makes that durable.
    pub fn fresh(&self) {
        let data = self.data();
        if data.exists() {
            fs::remove_dir_all(&data).unwrap();
        }
        fs::create_dir(&data).unwrap();
        run("sync", [OsStr::new("-f"), self.ext4.dir().as_os_str()]).unwrap();
        fs::write(self.acks(), "").unwrap();
    }

    /// Keeps the acknowledgements of this moment.
    pub fn keep(&self, acks: &Path) -> PathBuf {
        let kept = self.xfs.dir().join("acks.kept");
        fs::copy(acks, &kept).unwrap();
        kept
    }

    /// The cut: one atomic instant of the image.
    pub fn copy_image(&self) -> PathBuf {
        let copy = self.xfs.dir().join("cut.img");
        let image = self.xfs.dir().join("img");
        run("cp", [OsStr::new("--reflink=always"), image.as_os_str(), copy.as_os_str()]).unwrap();
        copy
    }
}

fn sparse(path: &Path, bytes: u64) -> Result<PathBuf, String> {
    fs::File::create(path).and_then(|file| file.set_len(bytes)).map_err(|error| error.to_string())?;
    Ok(path.to_path_buf())
}

fn run<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Result<(), String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
