//! A balancer of the machine with a configuration of `deploy/`, in which only addresses and paths are replaced.

use crate::world::{POLL, World, until};
use consigner_chaos::oracle::Courier;
use consigner_chaos::perimeter::Subject;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// From where HAProxy connects: the nodes' `api.balancers`.
pub const HAPROXY_SOURCE: &str = "127.0.0.3";

/// From where nginx connects, without a PROXY header.
const NGINX_SOURCE: &str = "127.0.0.4";

/// Where Debian has nginx's module.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A file of `deploy/` and the program that reads it.
#[derive(Clone, Copy)]
pub struct Shipped {
    /// For what is printed.
    pub name: &'static str,
    program: &'static str,
    file: &'static str,
    /// Requests that may fail when a node stops in order: none where the balancer sees `/ready`.
    pub lost_by_a_stop: usize,
}

/// Any node that is ready.
pub const HAPROXY: Shipped =
    Shipped { name: "haproxy", program: "haproxy", file: "haproxy/haproxy.cfg", lost_by_a_stop: 0 };

/// The leader, and any node while there is none.
pub const HAPROXY_LEADER: Shipped =
    Shipped { name: "haproxy, leader only", program: "haproxy", file: "haproxy/leader-only.cfg", lost_by_a_stop: 0 };

/// Any node that takes connections: a handshake under way when the door closes is lost, one for each client at most.
pub const NGINX: Shipped = Shipped { name: "nginx", program: "nginx", file: "nginx/nginx.conf", lost_by_a_stop: 4 };

impl Shipped {
    /// The program, if it is installed; else says what is not tested.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not tested")]
    pub fn find(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps daemons where only root looks.
        let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let found = places.map(|dir| dir.join(self.program)).find(|file| file.is_file());
        let lacks_module = self.program == "nginx" && !Path::new(STREAM_MODULE).is_file();
        if found.is_none() || lacks_module {
            let module = if self.program == "nginx" { " with libnginx-mod-stream" } else { "" };
            eprintln!("SKIPPED: {}: {}{module} is not installed", self.name, self.program);
            return None;
        }
        found
    }
}

/// A running one, ended when dropped.
pub struct Balancer {
    _process: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Balancer {
    /// Starts it before the nodes of a world.
    pub async fn start(world: &World, shipped: Shipped, program: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(shipped.file);
        let mut config = std::fs::read_to_string(example).unwrap();
        let mut put = |old: &str, new: &str| {
            assert!(config.contains(old), "{} has no {old}", shipped.file);
            config = config.replace(old, new);
        };
        for node in crate::world::NODES {
            put(&format!("10.0.0.{node}:9000"), &world.api(node).to_string());
        }
        let file = dir.path().join("config");
        let mut command = Command::new(program);
        if shipped.program == "haproxy" {
            put("bind :9000", &format!("bind {address}"));
            put("source 10.0.0.5", &format!("source {HAPROXY_SOURCE}"));
            put("/etc/haproxy/consigner", dir.path().to_str().unwrap());
            put("signer.example", "localhost");
            for node in crate::world::NODES {
                put(&format!("node{node}.example"), "localhost");
            }
            lay_health_certificate(world, dir.path());
            command.arg("-db").arg("-f").arg(&file);
        } else {
            put("listen 9000", &format!("listen {address}"));
            put("proxy_bind 10.0.0.5", &format!("proxy_bind {NGINX_SOURCE}"));
            put("/run/nginx-consigner.pid", dir.path().join("pid").to_str().unwrap());
            // One process, which ends with this test.
            command.args(["-e", "stderr", "-g", "daemon off; master_process off;", "-c"]).arg(&file);
        }
        std::fs::write(&file, config).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        Self { _process: command.spawn().unwrap(), address, _dir: dir }
    }

    /// Where clients connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a request comes through.
    pub async fn until_it_carries(&self, courier: &Courier, node: u64) {
        let url = courier.nodes().iter().find(|address| address.node == node).unwrap().url.clone();
        until("the balancer carries", async || {
            let answered = courier.look(&url, "/upcheck").await;
            tokio::time::sleep(POLL).await;
            answered.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }
}

/// What its checks show: a certificate that may not sign.
fn lay_health_certificate(world: &World, dir: &Path) {
    let health = world.identity("health", &Subject::client("health"));
    let read = |file: &Path| std::fs::read_to_string(file).unwrap();
    std::fs::write(dir.join("health.pem"), read(&health.files.cert) + &read(&health.files.key)).unwrap();
    std::fs::write(dir.join("ca.pem"), read(&health.files.ca)).unwrap();
}
