//! The configuration of one node of a development cluster, written anew at every start.

use super::DevOptions;
use super::layout::{JOIN_TOKEN_FILE, Layout, Plan, node_name};
use crate::certs::{ADMIN_NAME, CLIENT_NAME};
use crate::config::tree::Tree;
use crate::files;
use std::path::Path;

/// What stands above the values.
const HEAD: &str = "# Written by `consigner dev` at every start; change it with --config-overlay instead.\n";

/// Writes `node{i}/config.yaml`.
///
/// # Errors
/// What the system or the YAML writer said.
pub fn write(layout: &Layout, plan: &Plan, options: &DevOptions, overlay: &Tree, id: u64) -> std::io::Result<()> {
    let dir = layout.node(id);
    std::fs::create_dir_all(&dir)?;
    let mut tree = tree(plan, options, id);
    tree.merge(overlay.clone());
    let text = serde_saphyr::to_string(&tree).map_err(std::io::Error::other)?;
    files::replace(&layout.config(id), format!("{HEAD}{text}").as_bytes(), files::PUBLIC)?;
    link(&dir)
}

/// Writes the configuration of another node as node 1 has it, overlays included; it may join with the token in its
/// directory.
///
/// # Errors
/// As [`write`].
pub fn write_like_first(layout: &Layout, plan: &Plan, id: u64) -> std::io::Result<()> {
    let dir = layout.node(id);
    std::fs::create_dir_all(&dir)?;
    let text = std::fs::read_to_string(layout.config(1))?;
    let mut tree = Tree::parse(&text).map_err(|error| std::io::Error::other(error.what))?;
    let name = node_name(id);
    let mut set = |path: &str, text: String| tree.set(path, Tree::text(text));
    set("node.id", id.to_string());
    set("node.name", name.clone());
    set("cluster.join-token-file", JOIN_TOKEN_FILE.to_owned());
    set("api.listen", plan.api_addr(id));
    set("api.advertise-url", format!("https://{}", plan.api_addr(id)));
    set("peer.listen", plan.peer_addr(id));
    set("peer.advertise", plan.peer_addr(id));
    set("metrics.listen", plan.metrics_addr(id));
    for tls in ["api.tls", "peer.tls"] {
        set(&format!("{tls}.cert"), format!("../certs/{name}.pem"));
        set(&format!("{tls}.key"), format!("../certs/{name}-key.pem"));
    }
    let text = serde_saphyr::to_string(&tree).map_err(std::io::Error::other)?;
    files::replace(&layout.config(id), format!("{HEAD}{text}").as_bytes(), files::PUBLIC)?;
    link(&dir)
}

/// Scripts may look for `config` beside `data`, `log` and `pid`.
fn link(dir: &Path) -> std::io::Result<()> {
    match std::os::unix::fs::symlink("config.yaml", dir.join("config")) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Paths are relative to the file, so that the whole directory can be moved.
fn tree(plan: &Plan, options: &DevOptions, id: u64) -> Tree {
    let name = node_name(id);
    let cert = |stem: &str| format!("../certs/{stem}.pem");
    let mut tree = Tree::map();
    let mut set = |path: &str, text: String| tree.set(path, Tree::text(text));
    set("node.id", id.to_string());
    set("node.name", name.clone());
    set("node.data-dir", "data".into());
    set("node.pid-file", "pid".into());
    set("cluster.id", plan.cluster_id.to_string());
    if plan.joined.is_some_and(|joined| id > joined) {
        set("cluster.join-token-file", JOIN_TOKEN_FILE.to_owned());
    }
    set("network", plan.network.clone());
    if let Some(root) = plan.genesis_validators_root {
        set("genesis-validators-root", root.to_string());
    }
    set("api.listen", plan.api_addr(id));
    set("api.advertise-url", format!("https://{}", plan.api_addr(id)));
    set("api.follower-requests", options.follower_requests.clone());
    // No balancer stands before these nodes, and whoever tries something out does not want to wait.
    set("api.drain-delay", "1ms".into());
    set("api.tls.cert", cert(&name));
    set("api.tls.key", cert(&format!("{name}-key")));
    set("api.tls.client-ca", cert("ca"));
    set("peer.listen", plan.peer_addr(id));
    set("peer.advertise", plan.peer_addr(id));
    set("peer.tls.cert", cert(&name));
    set("peer.tls.key", cert(&format!("{name}-key")));
    set("peer.tls.ca", cert("ca"));
    set("metrics.listen", plan.metrics_addr(id));
    // On the API port, to the administrator's certificate.
    set("keymanager.enabled", "true".into());
    // No rates and no pauses: tests and benchmarks ask as fast as they can (DESIGN 11).
    for key in ["keymanager.rate", "limits.keymanager", "limits.admin"] {
        set(&format!("{key}.per-second"), "0".into());
    }
    set("limits.failed-credentials.free", "0".into());
    set("keys.sealer.local.key-file", "../sealing.key".into());
    set("keys.import.interop-count", options.validators.to_string());
    if let Some(file) = &options.raw_keys {
        set("keys.import.raw-keys-file", file.display().to_string());
        // Throw-away keys, in a file of the operator's: it works as it is, with a warning (DESIGN 11).
        set("keys.source.allow-loose-permissions", "true".into());
    }
    tree.set("api.clients", Tree::list([CLIENT_NAME]));
    tree.set("api.admins", Tree::list([ADMIN_NAME]));
    tree
}
