//! What the tests of sealers and remote sources share: servers that live as long as a test, and child processes with an
//! environment of their own.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests; not every test uses all of it"
)]

#[cfg(feature = "vault")]
pub mod bao;
pub mod fake;
#[path = "../../../raft/tests/support/ports.rs"]
mod ports;

use consigner_rules::primitives::ClusterId;
pub use ports::free_port;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const CLUSTER: ClusterId = ClusterId([0xC1; 16]);
pub const OTHER_CLUSTER: ClusterId = ClusterId([0xC2; 16]);

/// How long a machine under load may take for anything at all.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Set in a child process of a test, see [`in_child`].
const CHILD: &str = "CONSIGNER_TEST_CHILD";

/// A server process that ends with the test.
pub struct Component {
    child: Child,
    pub port: u16,
    /// Its home, with its log.
    pub folder: tempfile::TempDir,
}

impl Drop for Component {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Component {
    /// Starts a server; it must listen on the port that `arguments` names.
    pub fn start(program: &Path, port: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).env("HOME", folder.path()).env_remove("VAULT_TOKEN").stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let component = Self { child, port, folder };
        component.wait_until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        component
    }

    /// Waits for a condition; shows the server's log when it never comes.
    pub fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            if began.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("waited {PATIENCE:?} until {what}; the server says:\n{log}");
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// An executable: the variable, `target/components`, `PATH`; says plainly when it is nowhere.
pub fn component(variable: &str, name: &str) -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components/bin").join(name);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::var_os(variable)
        .map(PathBuf::from)
        .into_iter()
        .chain([installed])
        .chain(std::env::split_paths(&paths).map(|folder| folder.join(name)))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no {name} (run .ci/components, or set {variable})");
    }
    found
}

/// Whether this is the child process of the test `name`. If not, runs the test again in a child with the given
/// environment and nothing else of AWS or Vault in it, and requires that it passes: the environment of this process is
/// not ours to change.
pub fn in_child<K: AsRef<OsStr>, V: AsRef<OsStr>>(name: &str, environment: &[(K, V)]) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]);
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        if text.starts_with("AWS_") || text.starts_with("VAULT_") || text.to_lowercase().ends_with("_proxy") {
            command.env_remove(&variable);
        }
    }
    command.env(CHILD, "1").envs(environment.iter().map(|(key, value)| (key, value)));
    let status = command.status().unwrap();
    assert!(status.success(), "the child process of {name} failed");
    false
}

/// Repeats an attempt until its result satisfies; shows the last result when it never does.
pub async fn until<T: std::fmt::Debug>(
    what: &str,
    mut attempt: impl AsyncFnMut() -> T,
    good: impl Fn(&T) -> bool,
) -> T {
    let began = Instant::now();
    loop {
        let result = attempt().await;
        if good(&result) {
            return result;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} until {what}; last: {result:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
