//! A Postgres server of this test: TLS 1.3, passwords and client certificates, in a temporary directory.

use crate::common::eventually;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A cluster of Postgres is made and started in a few seconds; a machine that builds beside it may take many times that.
const START: Duration = Duration::from_secs(120);

/// The role that reads, and the common name of its certificate.
pub const ROLE: &str = "signer";
pub const PASSWORD: &str = "a password of this test alone";

/// A running server.
pub struct Postgres {
    child: Child,
    bin: PathBuf,
    dir: PathBuf,
    pub port: u16,
}

impl Postgres {
    /// Starts one in this directory; `None`, after saying so, where there is no Postgres.
    #[expect(clippy::print_stderr, reason = "what is skipped must be seen")]
    pub fn start(dir: &Path) -> Option<Self> {
        let Some(bin) = installed() else {
            eprintln!("SKIPPED: the import from Web3Signer's database: no initdb on this machine (apt: postgresql)");
            return None;
        };
        // The server's user must be able to reach what is its own.
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (user, port) = (user(), TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        certificates(dir);
        let (data, key) = (dir.join("data"), dir.join("server-key.pem"));
        std::fs::create_dir(&data).unwrap();
        if let Some((uid, gid)) = user {
            chown(&data, Some(uid), Some(gid)).unwrap();
            chown(&key, Some(uid), Some(gid)).unwrap();
        }
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut initdb = as_user(&bin.join("initdb"), user);
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "-D"]).arg(&data);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        configure(dir, port, user);
        let log = std::fs::File::create(dir.join("postgres.log")).unwrap();
        let mut server = as_user(&bin.join("postgres"), user);
        let child = server.arg("-D").arg(&data).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut postgres = Self { child, bin, dir: dir.to_owned(), port };
        eventually("the start of Postgres", START, || {
            let over = postgres.child.try_wait().unwrap().is_some();
            assert!(!over, "{}", std::fs::read_to_string(dir.join("postgres.log")).unwrap());
            postgres.run("postgres", "SELECT 1").ok()
        });
        Some(postgres)
    }

    /// Runs SQL as the superuser over the local socket; the rows, columns apart by commas.
    pub fn sql(&self, database: &str, text: &str) -> String {
        self.run(database, text).unwrap_or_else(|why| panic!("{why}"))
    }

    fn run(&self, database: &str, text: &str) -> Result<String, String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-F", ",", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        psql.arg("-h").arg(self.dir.join("data")).args(["-p", &self.port.to_string(), "-d", database, "-c", text]);
        let output = psql.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A fast stop: the server ends its own processes.
        consigner_node::dev::signal_pid(self.child.id(), rustix::process::Signal::INT);
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("the end of Postgres", START, || self.child.try_wait().unwrap());
        }));
        if stopped.is_err() {
            let _ended = self.child.kill();
        }
        let _reaped = self.child.wait();
    }
}

/// The newest version that is installed.
fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = found.into_iter().rev().chain(std::env::split_paths(&path));
    let mut places = places.filter(|bin| ["initdb", "postgres", "psql"].iter().all(|tool| bin.join(tool).is_file()));
    places.next()
}

/// Postgres refuses to run as root: then as `postgres`, else as `nobody`.
fn user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(|number| number.parse().unwrap());
        Some((numbers.next()?, numbers.next()?))
    };
    Some(of("postgres").or_else(|| of("nobody")).expect("a user without rights"))
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).current_dir("/");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn configure(dir: &Path, port: u16, user: Option<(u32, u32)>) {
    let data = dir.join("data");
    let settings = format!(
        "listen_addresses = '127.0.0.1,127.0.0.2'\nport = {port}\nunix_socket_directories = '{data}'\nfsync = off\n\
         ssl = on\nssl_min_protocol_version = 'TLSv1.3'\nssl_ca_file = '{dir}/ca.pem'\n\
         ssl_cert_file = '{dir}/server.pem'\nssl_key_file = '{dir}/server-key.pem'\n",
        data = data.display(),
        dir = dir.display()
    );
    let file = data.join("postgresql.conf");
    let defaults = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, defaults + &settings).unwrap();
    // No connection without TLS, the password and a certificate of that name.
    let doors = "local all postgres trust\nhostssl all all 127.0.0.0/8 scram-sha-256 clientcert=verify-full\n";
    let file = data.join("pg_hba.conf");
    std::fs::write(&file, doors).unwrap();
    if let Some((uid, gid)) = user {
        chown(&file, Some(uid), Some(gid)).unwrap();
    }
}

/// `ca.pem`, and with its key each: `server` (localhost, 127.0.0.1), the role, and a certificate of another name.
fn certificates(dir: &Path) {
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "CA of the database");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority_key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    for (file, name, usage) in [
        ("server", "localhost", ExtendedKeyUsagePurpose::ServerAuth),
        (ROLE, ROLE, ExtendedKeyUsagePurpose::ClientAuth),
        ("other", "mallory", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let subjects = if file == "server" { vec!["localhost".to_owned(), "127.0.0.1".to_owned()] } else { Vec::new() };
        let mut leaf = CertificateParams::new(subjects).unwrap();
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        leaf.distinguished_name.push(DnType::CommonName, name);
        leaf.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.join(format!("{file}.pem")), certificate.pem()).unwrap();
        secret(&dir.join(format!("{file}-key.pem")), &key.serialize_pem());
    }
    secret(&dir.join("password"), PASSWORD);
    secret(&dir.join("wrong-password"), "another one");
}

fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
