//! A Postgres server of this test: TLS 1.3, passwords and client certificates, in a temporary directory.
//!
//! Other crates' tests include this file with `#[path]`: it needs `rcgen` and `rustix` (feature `process`) and nothing
//! of the crate that includes it. `pgbouncer.rs` beside it may be included as a child of the same parent.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A cluster of Postgres is made and started in a few seconds; a machine that builds beside it may take many times that.
pub const START: Duration = Duration::from_secs(120);

/// A role that reads, and the common name of its certificate.
pub const ROLE: &str = "signer";
/// The roles of [`Postgres::archive`]; each has a certificate with its name, and [`PASSWORD`].
pub const OWNER: &str = "archive_owner";
pub const WRITER: &str = "archive_writer";
pub const READER: &str = "archive_reader";
pub const PASSWORD: &str = "a password of this test alone";

/// A server; it runs unless it was stopped or killed.
pub struct Postgres {
    child: Mutex<Option<Child>>,
    bin: PathBuf,
    pub dir: PathBuf,
    pub port: u16,
    user: Option<(u32, u32)>,
    issuer: Issuer<'static, KeyPair>,
}

/// What a server's certificate may be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerCertificate {
    /// For `localhost` and `127.0.0.1`.
    Right,
    /// For `elsewhere.example`.
    OtherName,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// Issued by a CA that is not `ca.pem`.
    UnknownCa,
}

impl Postgres {
    /// Starts one in this directory; `None`, after saying so, where there is no Postgres.
    #[expect(clippy::print_stderr, reason = "what is skipped must be seen")]
    pub fn start(dir: &Path) -> Option<Self> {
        let Some(bin) = installed() else {
            eprintln!("SKIPPED: tests against Postgres: no initdb on this machine (apt: postgresql)");
            return None;
        };
        // The server's user must be able to reach what is its own.
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (user, data) = (user(), dir.join("data"));
        let issuer = authority("CA of the database", &dir.join("ca.pem"));
        std::fs::create_dir(&data).unwrap();
        give(&data, user);
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut initdb = as_user(&bin.join("initdb"), user);
        // Not by the locale of whoever runs the tests: it may not exist here, and messages would be in its language.
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]).arg(&data);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut postgres = Self { child: Mutex::new(None), bin, dir: dir.to_owned(), port: 0, user, issuer };
        postgres.certificates();
        // Somebody may take the port between the look and the start.
        for _ in 0..20 {
            postgres.port = free_port();
            configure(dir, postgres.port, user);
            if postgres.try_go() {
                return Some(postgres);
            }
            postgres.kill();
        }
        panic!("no free port: {}", postgres.log());
    }

    /// Starts it again on the same port, after [`Postgres::stop`] or [`Postgres::kill`].
    pub fn go(&self) {
        let until = Instant::now() + START;
        // What a killed server left (shared memory, processes that see its end) takes a moment to go.
        while !self.try_go() {
            assert!(Instant::now() < until, "{}", self.log());
            self.kill();
        }
    }

    fn try_go(&self) -> bool {
        let log = std::fs::File::create(self.dir.join("postgres.log")).unwrap();
        let mut server = as_user(&self.bin.join("postgres"), self.user);
        let child = server.arg("-D").arg(self.dir.join("data")).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        *self.child.lock().unwrap() = Some(child);
        wait_for("the start of Postgres", START, || {
            let over = self.child.lock().unwrap().as_mut().unwrap().try_wait().unwrap().is_some();
            // The socket lies in its own directory, so an answer is its own.
            (over || self.try_sql("postgres", "SELECT 1").is_ok()).then_some(!over)
        }) && !self.log().contains("could not bind")
    }

    /// A fast stop: sessions are ended, everything is written.
    pub fn stop(&self) {
        let Some(mut child) = self.child.lock().unwrap().take() else { return };
        signal(&child, rustix::process::Signal::INT);
        let until = Instant::now() + START;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                let _ended = child.kill();
            }
            pause();
        }
    }

    /// `kill -9`, of all its processes: one that serves a session could otherwise still answer once.
    pub fn kill(&self) {
        let Some(mut child) = self.child.lock().unwrap().take() else { return };
        // It starts no others meanwhile.
        signal(&child, rustix::process::Signal::STOP);
        let others = children(child.id());
        let _ended = child.kill();
        let _reaped = child.wait();
        for pid in &others {
            let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
            let _over_already = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        wait_for("the end of all processes", START, || others.iter().all(|&pid| parent(pid).is_none()).then_some(()));
    }

    /// A fast stop, and a start.
    pub fn restart(&self) {
        self.stop();
        self.go();
    }

    /// From now on nothing can be written to this database (or, again, it can); sessions end so that all notice.
    pub fn read_only(&self, database: &str, on: bool) {
        // The superuser's own session is spared, else it could not be turned off again.
        let set =
            format!("ALTER DATABASE {database} SET default_transaction_read_only = {}", if on { "on" } else { "off" });
        self.sql("postgres", &set);
        self.end_sessions();
    }

    /// Ends all sessions of roles that are not superuser.
    pub fn end_sessions(&self) {
        self.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        );
    }

    /// Shows this certificate to all who connect from now on.
    pub fn show(&self, certificate: ServerCertificate) {
        self.issue_server("server", certificate);
        give(&self.path("server-key.pem"), self.user);
        let reloads = || self.log().matches("received SIGHUP, reloading configuration files").count();
        let before = reloads();
        self.sql("postgres", "SELECT pg_reload_conf()");
        wait_for("the reload", START, || (reloads() > before).then_some(()));
        // A process that is forked after the line in the log has the new certificate.
    }

    /// Roles and a database as `archive migrate` expects them: an owner, a writer, a reader. Answers its name.
    pub fn archive(&self, database: &'static str) -> &'static str {
        for role in [OWNER, WRITER, READER] {
            let known = self.sql("postgres", &format!("SELECT 1 FROM pg_roles WHERE rolname = '{role}'"));
            if known.trim().is_empty() {
                self.sql("postgres", &format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"));
                self.issue(role, role);
            }
        }
        self.sql("postgres", &format!("CREATE DATABASE {database} OWNER {OWNER}"));
        database
    }

    /// `postgres://ROLE@localhost:PORT/DATABASE`.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@localhost:{}/{database}", self.port)
    }

    /// A file of its directory: `ca.pem`, `password`, `wrong-password`, `NAME.pem` and `NAME-key.pem`.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// What the server wrote to its log since its last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("postgres.log")).unwrap_or_default()
    }

    /// Runs SQL as the superuser over the local socket; the rows, columns apart by commas.
    pub fn sql(&self, database: &str, text: &str) -> String {
        self.try_sql(database, text).unwrap_or_else(|why| panic!("{why}"))
    }

    /// As [`Postgres::sql`]; what psql complained about.
    pub fn try_sql(&self, database: &str, text: &str) -> Result<String, String> {
        let mut psql = Command::new(self.bin.join("psql"));
        // Not bound by what `read_only` set.
        psql.env("PGOPTIONS", "-c default_transaction_read_only=off");
        psql.args(["-X", "-q", "-A", "-t", "-F", ",", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        psql.arg("-h").arg(self.dir.join("data")).args(["-p", &self.port.to_string(), "-d", database, "-c", text]);
        let output = psql.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Writes `FILE.pem` and `FILE-key.pem`: a client certificate of this common name, of the right CA.
    pub fn issue(&self, file: &str, common_name: &str) {
        let leaf = leaf(common_name, &[], ExtendedKeyUsagePurpose::ClientAuth);
        write_pair(&self.dir, file, &leaf, &self.issuer);
    }

    /// A client certificate of a CA that the server does not know.
    pub fn issue_foreign(&self, file: &str, common_name: &str) {
        let other = authority("another CA", &self.path("other-ca.pem"));
        write_pair(&self.dir, file, &leaf(common_name, &[], ExtendedKeyUsagePurpose::ClientAuth), &other);
    }

    /// A client certificate whose time is over.
    pub fn issue_expired(&self, file: &str, common_name: &str) {
        let mut leaf = leaf(common_name, &[], ExtendedKeyUsagePurpose::ClientAuth);
        leaf.not_after = rcgen::date_time_ymd(2020, 1, 1);
        write_pair(&self.dir, file, &leaf, &self.issuer);
    }

    /// Writes `FILE.pem` and `FILE-key.pem` for a server (of this machine, unless it is to be wrong).
    pub fn issue_server(&self, file: &str, certificate: ServerCertificate) {
        let names: &[&str] = match certificate {
            ServerCertificate::OtherName => &["elsewhere.example"],
            ServerCertificate::Right
            | ServerCertificate::Expired
            | ServerCertificate::NotYet
            | ServerCertificate::UnknownCa => &["localhost", "127.0.0.1"],
        };
        let mut leaf = leaf(names[0], names, ExtendedKeyUsagePurpose::ServerAuth);
        match certificate {
            ServerCertificate::Expired => leaf.not_after = rcgen::date_time_ymd(2020, 1, 1),
            ServerCertificate::NotYet => leaf.not_before = rcgen::date_time_ymd(4000, 1, 1),
            ServerCertificate::UnknownCa => {
                let other = authority("another CA", &self.path("other-ca.pem"));
                return write_pair(&self.dir, file, &leaf, &other);
            }
            ServerCertificate::Right | ServerCertificate::OtherName => {}
        }
        write_pair(&self.dir, file, &leaf, &self.issuer);
    }

    fn certificates(&self) {
        self.issue_server("server", ServerCertificate::Right);
        give(&self.path("server-key.pem"), self.user);
        self.issue(ROLE, ROLE);
        self.issue("other", "mallory");
        secret(&self.path("password"), PASSWORD);
        secret(&self.path("wrong-password"), "another one");
    }

    /// For what runs beside it as the same user: a pooler.
    pub(super) const fn user(&self) -> Option<(u32, u32)> {
        self.user
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
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

/// Makes it that user's own.
pub(super) fn give(path: &Path, user: Option<(u32, u32)>) {
    if let Some((uid, gid)) = user {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

pub(super) fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
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
    // Read after postgresql.conf is; so the defaults of initdb stay.
    let file = data.join("conf.d");
    std::fs::create_dir_all(&file).unwrap();
    give(&file, user);
    let file = file.join("test.conf");
    std::fs::write(&file, settings).unwrap();
    give(&file, user);
    let main = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&main).unwrap();
    if !text.contains("\ninclude_dir = 'conf.d'") {
        std::fs::write(&main, text + "\ninclude_dir = 'conf.d'\n").unwrap();
    }
    // No connection without TLS, the password and a certificate of that name.
    let doors = "local all postgres trust\nhostssl all all 127.0.0.0/8 scram-sha-256 clientcert=verify-full\n";
    let file = data.join("pg_hba.conf");
    std::fs::write(&file, doors).unwrap();
    give(&file, user);
}

fn authority(name: &str, file: &Path) -> Issuer<'static, KeyPair> {
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate().unwrap();
    std::fs::write(file, authority.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(authority, key)
}

fn leaf(common_name: &str, subjects: &[&str], usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let subjects: Vec<String> = subjects.iter().map(|&name| name.to_owned()).collect();
    let mut leaf = CertificateParams::new(subjects).unwrap();
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.distinguished_name.push(DnType::CommonName, common_name);
    leaf.extended_key_usages = vec![usage];
    leaf
}

fn write_pair(dir: &Path, file: &str, leaf: &CertificateParams, issuer: &Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&key, issuer).unwrap();
    std::fs::write(dir.join(format!("{file}.pem")), certificate.pem()).unwrap();
    secret(&dir.join(format!("{file}-key.pem")), &key.serialize_pem());
}

fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A port that is free now, below the range from which the system gives ports to outgoing connections.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = u16::try_from(std::process::id() % 1_000).unwrap() * 7;
        let port = 22_000 + start.wrapping_add(step) % 9_000;
        if ["127.0.0.1", "127.0.0.2"].iter().all(|&address| TcpListener::bind((address, port)).is_ok()) {
            return port;
        }
    }
}

/// The processes that this one started.
fn children(of: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| parent(pid) == Some(of)).collect()
}

/// Who started a process; `None` if it is over (a zombie is).
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    if fields.next()? == "Z" { None } else { fields.next()?.parse().ok() }
}

pub(super) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    let _over_already = rustix::process::kill_process(pid, signal);
}

/// Looks until there is something to see.
pub(super) fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + deadline;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "{what} did not happen within {deadline:?}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition, in a plain thread")]
pub(super) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
