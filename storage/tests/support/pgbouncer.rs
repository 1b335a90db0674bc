//! A PgBouncer in front of a test's Postgres: TLS with verified certificates on both sides, transaction pooling, SCRAM.
//!
//! Included with `#[path]` beside `postgres.rs`, as a child of the same parent.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::postgres::{self, PASSWORD, Postgres, START, ServerCertificate};
use rustix::process::Signal;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// A running pooler for the sessions of one role: it shows Postgres that role's certificate.
pub struct PgBouncer {
    child: Child,
    role: String,
    pub port: u16,
}

impl PgBouncer {
    /// Starts one; `None`, after saying so, where there is none. `role` must have a certificate and [`PASSWORD`].
    #[expect(clippy::print_stderr, reason = "what is skipped must be seen")]
    pub fn start(postgres: &Postgres, role: &str) -> Option<Self> {
        let Some(program) = installed() else {
            eprintln!("SKIPPED: tests through PgBouncer: it is not on this machine (apt: pgbouncer)");
            return None;
        };
        let dir = postgres.path(&format!("pgbouncer-{role}"));
        std::fs::create_dir_all(&dir).unwrap();
        postgres::give(&dir, postgres.user());
        let name = format!("pgbouncer-{role}/server");
        postgres.issue_server(&name, ServerCertificate::Right);
        for file in [format!("{role}.pem"), format!("{role}-key.pem")] {
            std::fs::copy(postgres.path(&file), dir.join(&file)).unwrap();
        }
        for entry in std::fs::read_dir(&dir).unwrap() {
            postgres::give(&entry.unwrap().path(), postgres.user());
        }
        for _ in 0..20 {
            let port = postgres::free_port();
            configure(postgres, &dir, role, port);
            let mut pooler = postgres::as_user(&program, postgres.user());
            let log = std::fs::File::create(dir.join("stderr")).unwrap();
            let mut child = pooler.arg(dir.join("pgbouncer.ini")).stdout(Stdio::null()).stderr(log).spawn().unwrap();
            let up = postgres::wait_for("the start of PgBouncer", START, || {
                let over = child.try_wait().unwrap().is_some();
                // It says so only after it listens, and ends if it cannot.
                let up = log_of(&dir).contains("process up") && TcpStream::connect(("127.0.0.1", port)).is_ok();
                (over || up).then_some(!over)
            });
            if up {
                return Some(Self { child, role: role.to_owned(), port });
            }
        }
        panic!("PgBouncer does not start: {}", log_of(&dir));
    }

    /// `postgres://ROLE@localhost:PORT/DATABASE`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{}@localhost:{}/{database}", self.role, self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        postgres::signal(&self.child, Signal::TERM);
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn log_of(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("stderr")).unwrap_or_default()
}

fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    places.map(|dir| dir.join("pgbouncer")).find(|file| file.is_file())
}

fn configure(postgres: &Postgres, dir: &Path, role: &str, port: u16) {
    let (own, ca) = (dir.display(), postgres.path("ca.pem"));
    let settings = format!(
        "[databases]\n* = host=localhost port={server}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = scram-sha-256\nauth_file = {own}/users.txt\n\
         pool_mode = transaction\ndefault_pool_size = 4\nserver_login_retry = 1\nquery_wait_timeout = 5\n\
         client_tls_sslmode = verify-full\nclient_tls_ca_file = {ca}\n\
         client_tls_cert_file = {own}/server.pem\nclient_tls_key_file = {own}/server-key.pem\n\
         server_tls_sslmode = verify-full\nserver_tls_ca_file = {ca}\n\
         server_tls_cert_file = {own}/{role}.pem\nserver_tls_key_file = {own}/{role}-key.pem\n\
         pidfile = {own}/pid-{port}\n",
        server = postgres.port,
        ca = ca.display()
    );
    let users = format!("\"{role}\" \"{PASSWORD}\"\n");
    for (file, text) in [("pgbouncer.ini", settings), ("users.txt", users)] {
        let file = dir.join(file);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        postgres::give(&file, postgres.user());
    }
}
