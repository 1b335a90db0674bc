//! The configured nodes: which one to ask first, and which ones seem to be gone.
//!
//! In: what became of tries and pings. Out: an order. Nothing here is a verdict: a node that is marked down is asked
//! last, never left out, so that a wrong mark costs a hop and no duty. Deliberately absent: sockets.

use http::Uri;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// HTTPS where a URL names no port (RFC 9110, 4.2.2).
const HTTPS_PORT: u16 = 443;

/// All nodes, by position.
#[derive(Debug)]
pub(crate) struct Nodes {
    all: Vec<Node>,
    preferred: AtomicUsize,
}

#[derive(Debug)]
struct Node {
    url: String,
    server: Server,
    down: AtomicBool,
}

/// Host in lower case, and port: two spellings of one server compare equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server(String, u16);

impl Server {
    /// The server of an `https://` URL.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https"))?;
        let plain = !authority.host().is_empty() && !authority.as_str().contains('@');
        plain.then(|| Self(authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(HTTPS_PORT)))
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

impl Nodes {
    /// Each URL is `https://HOST[:PORT]`; one server named twice counts once. `Err` holds what is no such URL.
    pub(crate) fn new(urls: &[String]) -> Result<Self, String> {
        let mut all: Vec<Node> = Vec::with_capacity(urls.len());
        for url in urls {
            let uri: Option<Uri> = url.parse().ok().filter(|uri: &Uri| uri.path() == "/" && uri.query().is_none());
            let server = uri.as_ref().and_then(Server::of).ok_or_else(|| url.clone())?;
            if !all.iter().any(|node| node.server == server) {
                let url = url.trim_end_matches('/').to_owned();
                all.push(Node { url, server, down: AtomicBool::new(false) });
            }
        }
        Ok(Self { all, preferred: AtomicUsize::new(0) })
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// `https://HOST[:PORT]` as configured.
    pub(crate) fn url(&self, node: usize) -> &str {
        self.all.get(node).map_or("", |node| &node.url)
    }

    /// `HOST:PORT`, for metrics.
    pub(crate) fn label(&self, node: usize) -> String {
        self.all.get(node).map(|node| node.server.to_string()).unwrap_or_default()
    }

    /// The node at this server.
    pub(crate) fn find(&self, server: &Server) -> Option<usize> {
        self.all.iter().position(|node| node.server == *server)
    }

    /// Whom to ask first.
    pub(crate) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// In which order to ask: the preferred node, then the others from there on, those that are down last.
    pub(crate) fn order(&self) -> Vec<usize> {
        let (count, first) = (self.all.len(), self.preferred());
        let mut order: Vec<usize> = (0..count).map(|step| (first + step) % count).collect();
        order.sort_by_key(|node| self.is_down(*node));
        order
    }

    /// This node answered for the cluster, or said that it leads. Whether that is news.
    pub(crate) fn prefer(&self, node: usize) -> bool {
        node < self.all.len() && self.preferred.swap(node, Ordering::Relaxed) != node
    }

    pub(crate) fn is_down(&self, node: usize) -> bool {
        self.all.get(node).is_some_and(|node| node.down.load(Ordering::Relaxed))
    }

    /// Notes whether a node answers. Whether that is news.
    pub(crate) fn mark(&self, node: usize, down: bool) -> bool {
        self.all.get(node).is_some_and(|node| node.down.swap(down, Ordering::Relaxed) != down)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn nodes(urls: &[&str]) -> Result<Nodes, String> {
        Nodes::new(&urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_preferred_is_first_and_the_absent_last() {
        let nodes = nodes(&["https://a:1", "https://b:1", "https://c:1"]).unwrap();
        assert_eq!(nodes.order(), [0, 1, 2]);
        assert!(nodes.prefer(1) && !nodes.prefer(1));
        assert_eq!(nodes.order(), [1, 2, 0]);
        assert!(nodes.mark(1, true) && !nodes.mark(1, true));
        assert_eq!(nodes.order(), [2, 0, 1]);
        assert!(nodes.mark(2, true) && nodes.mark(0, true));
        assert_eq!(nodes.order(), [1, 2, 0], "with nobody left everybody is asked");
        assert!(nodes.mark(1, false));
        assert!(!nodes.prefer(7), "who is not one of us is not preferred");
        assert_eq!(nodes.order(), [1, 2, 0]);
    }

    #[test]
    fn one_server_in_two_spellings_is_one_node() {
        let nodes = nodes(&["https://Signer.example/", "https://signer.example:443", "https://[::1]:9000"]).unwrap();
        assert_eq!((nodes.len(), nodes.url(0)), (2, "https://Signer.example"));
        let server = Server::of(&"https://SIGNER.example:443/api".parse().unwrap()).unwrap();
        assert_eq!(nodes.find(&server), Some(0));
        assert_eq!(nodes.label(1), "[::1]:9000");
    }

    #[test]
    fn what_is_no_base_url_is_named() {
        for url in ["http://a:1", "https://a:1/base", "https://u:p@a:1", "a:1", "", "https://a:1/?q"] {
            assert_eq!(nodes(&["https://ok:1", url]).unwrap_err(), url);
        }
    }
}
