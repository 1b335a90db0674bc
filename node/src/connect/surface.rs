//! What passes from the plain side to the cluster: Web3Signer's signing surface, and nothing that administers.
//!
//! In: a request head. Out: a [`Passage`], or the [`Refusal`] that is answered here. Pure. Whoever reaches the plain
//! socket speaks with the sidecar's certificate, so this list is a permission, not a convenience: neither `/admin`, nor
//! the key manager API, nor a way to spell them differently. Deliberately absent: what the cluster allows this
//! certificate (its policy).

use consigner_gate::HostAllowlist;
use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Uri};

/// Below this every path passes; the nodes know which ones there are.
const SIGNER: &str = "/api/v1/eth2/";

/// Set by every browser of the last years and by no validator client.
const FETCHED_BY_A_PAGE: &str = "sec-fetch-site";

/// How long to go on asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Every node once: "no" is an answer, and monitors ask each second.
    OneRound,
    /// As long as the deadline allows: an election is over soon.
    UntilDeadline,
}

/// A request that passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passage {
    /// Towards the node.
    pub(crate) method: Method,
    /// Normalised, with its query.
    pub(crate) path: String,
    /// How long to go on.
    pub(crate) patience: Patience,
}

/// Why a request does not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not part of the surface.
    #[error(
        "consigner connect passes /api/v1/eth2/*, /upcheck, /healthcheck and /reload only; ask a node for the rest"
    )]
    NoSuchPath,
    /// Part of it, but not with this method.
    #[error("method not allowed; allowed: {0}")]
    Method(&'static str),
    /// The request names no host, or several.
    #[error("the request needs one Host header")]
    NoHost,
    /// The request names a host that is not us.
    #[error("host not on the allowlist; add it with --host-allowlist if clients must use it")]
    Host,
    /// A web page sent it through somebody's browser.
    #[error("requests of web pages are not passed")]
    WebPage,
}

impl Refusal {
    /// How it is answered.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Host | Self::WebPage => StatusCode::FORBIDDEN,
        }
    }
}

/// Judges a request head. `hosts` is `None` on a Unix socket, which no name leads to.
pub(crate) fn judge(parts: &Parts, hosts: Option<&HostAllowlist>) -> Result<Passage, Refusal> {
    if parts.headers.contains_key(ORIGIN) || parts.headers.contains_key(FETCHED_BY_A_PAGE) {
        return Err(Refusal::WebPage);
    }
    if let Some(hosts) = hosts {
        check_host(&parts.headers, &parts.uri, hosts)?;
    }
    let path = normalised(parts.uri.path()).ok_or(Refusal::NoSuchPath)?;
    let (methods, patience) = route(&path).ok_or(Refusal::NoSuchPath)?;
    let method = match parts.method {
        // The answer's body is left away on its way back.
        Method::GET | Method::HEAD => Method::GET,
        Method::POST if methods == GET_AND_POST => Method::POST,
        _ => return Err(Refusal::Method(methods)),
    };
    let path = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    Ok(Passage { method, path, patience })
}

const GET_ONLY: &str = "GET, HEAD";
const GET_AND_POST: &str = "GET, HEAD, POST";

fn route(path: &str) -> Option<(&'static str, Patience)> {
    match path {
        "/upcheck" | "/healthcheck" => Some((GET_ONLY, Patience::OneRound)),
        // `GET` tells of the last reload; `POST` would start one.
        "/reload" => Some((GET_ONLY, Patience::OneRound)),
        _ if path.starts_with(SIGNER) => Some((GET_AND_POST, Patience::UntilDeadline)),
        _ => None,
    }
}

/// The path without empty segments: a base URL that ends in `/` gives `//` (Prysm, Lodestar). `None` for what a proxy
/// before the nodes might read as another path.
fn normalised(path: &str) -> Option<String> {
    let mut clean = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        if matches!(segment, "." | "..") || !segment.bytes().all(plain) {
            return None;
        }
        clean.push('/');
        clean.push_str(segment);
    }
    Some(clean)
}

/// A name that leads to loopback in somebody's browser (DNS rebinding) is not one of ours.
fn check_host(headers: &HeaderMap, uri: &Uri, hosts: &HostAllowlist) -> Result<(), Refusal> {
    let mut named = headers.get_all(HOST).iter();
    let header = named.next().map(http::HeaderValue::as_bytes);
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    if named.next().is_some() || (header.is_none() && authority.is_none()) {
        return Err(Refusal::NoHost);
    }
    let allowed = |host: &[u8]| std::str::from_utf8(host).is_ok_and(|host| hosts.allows(host));
    if header.into_iter().chain(authority).all(allowed) { Ok(()) } else { Err(Refusal::Host) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use http::Request;

    fn parts(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn hosts() -> HostAllowlist {
        HostAllowlist::parse(&["localhost", "127.0.0.1"]).unwrap()
    }

    #[test]
    fn the_signing_surface_passes_and_nothing_else() {
        let sign = "/api/v1/eth2/sign/0xab";
        let cases = [
            ("POST", sign, Ok(("POST", sign, Patience::UntilDeadline))),
            ("POST", "//api//v1/eth2/sign/0xab", Ok(("POST", sign, Patience::UntilDeadline))),
            ("POST", "/api/v1/eth2/sign/0xab/", Ok(("POST", sign, Patience::UntilDeadline))),
            ("GET", "/api/v1/eth2/publicKeys?a=b", Ok(("GET", "/api/v1/eth2/publicKeys?a=b", Patience::UntilDeadline))),
            ("GET", "/upcheck", Ok(("GET", "/upcheck", Patience::OneRound))),
            ("HEAD", "/upcheck", Ok(("GET", "/upcheck", Patience::OneRound))),
            ("GET", "/healthcheck", Ok(("GET", "/healthcheck", Patience::OneRound))),
            ("GET", "/reload", Ok(("GET", "/reload", Patience::OneRound))),
            ("POST", "/reload", Err(Refusal::Method(GET_ONLY))),
            ("POST", "/upcheck", Err(Refusal::Method(GET_ONLY))),
            ("DELETE", sign, Err(Refusal::Method(GET_AND_POST))),
            ("PUT", "/api/v1/eth2/publicKeys", Err(Refusal::Method(GET_AND_POST))),
            ("GET", "/", Err(Refusal::NoSuchPath)),
            ("GET", "/api/v1/eth2", Err(Refusal::NoSuchPath)),
            ("GET", "/admin/v1/keys", Err(Refusal::NoSuchPath)),
            ("GET", "/eth/v1/keystores", Err(Refusal::NoSuchPath)),
            ("POST", "/eth/v1/remotekeys", Err(Refusal::NoSuchPath)),
            ("GET", "/leader", Err(Refusal::NoSuchPath)),
            ("GET", "/metrics", Err(Refusal::NoSuchPath)),
            ("GET", "/api/v1/eth2/../../admin/v1/keys", Err(Refusal::NoSuchPath)),
            ("GET", "/api/v1/eth2/./publicKeys", Err(Refusal::NoSuchPath)),
            ("GET", "/api/v1/eth2/%2e%2e/admin", Err(Refusal::NoSuchPath)),
            ("GET", "/api/v1/eth2/a%2Fb", Err(Refusal::NoSuchPath)),
            ("GET", "/api/v1/eth2/a\\b", Err(Refusal::NoSuchPath)),
            ("GET", "/api/v1/eth2/a;b", Err(Refusal::NoSuchPath)),
            ("GET", "/API/v1/eth2/publicKeys", Err(Refusal::NoSuchPath)),
        ];
        for (method, path, expected) in cases {
            let judged = judge(&parts(method, path, &[("host", "localhost:9900")]), Some(&hosts()));
            let expected = expected
                .map(|(method, path, patience): (&str, &str, _)| (method.to_owned(), path.to_owned(), patience));
            let judged = judged.map(|passage| (passage.method.to_string(), passage.path, passage.patience));
            assert_eq!(judged, expected, "{method} {path}");
        }
    }

    #[test]
    fn foreign_hosts_and_web_pages_do_not_pass() {
        type Case<'c> = (&'c [(&'c str, &'c str)], Result<(), Refusal>);
        let cases: &[Case<'_>] = &[
            (&[("host", "127.0.0.1:9900")], Ok(())),
            (&[("host", "LOCALHOST")], Ok(())),
            // What Node's fetch sends (Lodestar).
            (&[("host", "localhost"), ("sec-fetch-mode", "cors")], Ok(())),
            (&[], Err(Refusal::NoHost)),
            (&[("host", "localhost"), ("host", "localhost")], Err(Refusal::NoHost)),
            (&[("host", "evil.example")], Err(Refusal::Host)),
            (&[("host", "localhost"), ("origin", "https://evil.example")], Err(Refusal::WebPage)),
            (&[("host", "localhost"), ("origin", "null")], Err(Refusal::WebPage)),
            (&[("host", "localhost"), ("sec-fetch-site", "cross-site")], Err(Refusal::WebPage)),
        ];
        for (headers, expected) in cases {
            let judged = judge(&parts("GET", "/upcheck", headers), Some(&hosts()));
            assert_eq!(judged.map(|_| ()), *expected, "{headers:?}");
        }
    }

    #[test]
    fn a_unix_socket_has_no_host_but_pages_stay_out() {
        assert!(judge(&parts("GET", "/upcheck", &[]), None).is_ok());
        let page = parts("GET", "/upcheck", &[("origin", "https://evil.example")]);
        assert_eq!(judge(&page, None), Err(Refusal::WebPage));
    }
}
