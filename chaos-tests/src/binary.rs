//! The `consigner` binary that is put to the test.
//!
//! In: the environment, the place of the running test. Out: a path. A test of another package gets no
//! `CARGO_BIN_EXE_consigner`, and a stale binary would prove nothing, so a test asks cargo to build it: at once if
//! nothing changed. Deliberately absent: guesses about what a binary found somewhere else is.

use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Names a binary to test instead of the one that belongs to this build.
pub const VARIABLE: &str = "CONSIGNER_BIN";

/// A build from nothing takes up to nine minutes on two cores, more when they are shared.
const BUILD_DEADLINE: Duration = Duration::from_secs(1800);

/// A test of the package that holds the binary; only it has one of this name.
const TEST_BESIDE_THE_BINARY: &str = "dev";

/// Why there is no binary.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// Not where it was said to be.
    #[error("{} is not there; build it with `cargo build -p consigner-node` or set {VARIABLE}", .0.display())]
    Missing(PathBuf),
    /// The place of this program is not below a target directory of cargo.
    #[error("cannot tell the target directory from {}; set {VARIABLE}", .0.display())]
    Place(PathBuf),
    /// Cargo could not be run, or not in time.
    #[error("cargo could not build consigner")]
    Cargo(#[source] std::io::Error),
    /// Cargo failed.
    #[error("cargo could not build consigner:\n{0}")]
    Build(String),
}

/// The binary beside this program, or the one that [`VARIABLE`] names. Builds nothing.
///
/// # Errors
/// It is not there.
pub fn beside() -> Result<PathBuf, BinaryError> {
    match named() {
        Some(path) => existing(path),
        None => existing(profile_dir()?.join("consigner")),
    }
}

/// The binary of the same target directory and profile as this test, brought up to date once per process.
///
/// # Errors
/// See [`BinaryError`].
pub async fn up_to_date() -> Result<PathBuf, BinaryError> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    if let Some(path) = named() {
        return existing(path);
    }
    BUILT.get_or_try_init(build).await.cloned()
}

async fn build() -> Result<PathBuf, BinaryError> {
    let (dir, target) = (profile_dir()?, target_dir()?);
    let place = || BinaryError::Place(dir.clone());
    let profile = match dir.file_name().and_then(|name| name.to_str()).ok_or_else(place)? {
        "debug" => "dev",
        other => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // As `cargo test --workspace` builds it, and thus nothing if that runs now: the binary comes with the tests of its
    // package. Selected by target name, because selecting the package would build every dependency once more with fewer
    // features.
    command.args([
        "test",
        "--workspace",
        "--no-run",
        "--quiet",
        "--test",
        TEST_BESIDE_THE_BINARY,
        "--profile",
        profile,
    ]);
    command.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).kill_on_drop(true);
    let output = tokio::time::timeout(BUILD_DEADLINE, command.output())
        .await
        .map_err(|_| BinaryError::Cargo(std::io::ErrorKind::TimedOut.into()))?
        .map_err(BinaryError::Cargo)?;
    if !output.status.success() {
        return Err(BinaryError::Build(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    existing(dir.join("consigner"))
}

fn named() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

fn existing(path: PathBuf) -> Result<PathBuf, BinaryError> {
    if path.is_file() { Ok(path) } else { Err(BinaryError::Missing(path)) }
}

/// The target directory of cargo that this program lies in.
///
/// # Errors
/// It lies in none.
pub fn target_dir() -> Result<PathBuf, BinaryError> {
    let dir = profile_dir()?;
    dir.parent().map(Path::to_path_buf).ok_or(BinaryError::Place(dir))
}

/// `target/<profile>`, from `target/<profile>/consigner-chaos` or `target/<profile>/deps/<test>`.
fn profile_dir() -> Result<PathBuf, BinaryError> {
    let own = std::env::current_exe().map_err(BinaryError::Cargo)?;
    let dir = own.parent().ok_or_else(|| BinaryError::Place(own.clone()))?;
    let is_deps = dir.file_name().is_some_and(|name| name == "deps");
    let dir = if is_deps { dir.parent().unwrap_or(dir) } else { dir };
    Ok(Path::to_path_buf(dir))
}
