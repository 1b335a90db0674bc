//! Which host a request names, and whether it may.
//!
//! In: request head and allowlist. Out: nothing, or the problem. HTTP/2 names its host in `:authority`, HTTP/1.1 in
//! `Host` or in an absolute request target; whoever sends several must have each of them allowed, so that no part of
//! the program and no proxy can believe another one.

use consigner_gate::HostAllowlist;
use http::header::HOST;
use http::request::Parts;

/// Why a request is turned away for its host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostProblem {
    /// Neither `Host` nor `:authority`.
    #[error("the request names no host: send a Host header")]
    Missing,
    /// Two `Host` headers (RFC 9112, 3.2: to be answered with 400).
    #[error("the request has more than one Host header")]
    Several,
    /// Not on the list.
    #[error("host {0:?} is not on the allowlist")]
    NotAllowed(String),
}

/// Characters of a foreign host that a log line repeats: DNS names end at 253.
const HOST_LOGGED_MAX: usize = 260;

pub(crate) fn check(parts: &Parts, allowlist: &HostAllowlist) -> Result<(), HostProblem> {
    let mut headers = parts.headers.get_all(HOST).iter();
    let header = headers.next();
    if headers.next().is_some() {
        return Err(HostProblem::Several);
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut named = authority.into_iter().chain(header.map(http::HeaderValue::as_bytes)).peekable();
    if named.peek().is_none() {
        return Err(HostProblem::Missing);
    }
    for host in named {
        if !std::str::from_utf8(host).is_ok_and(|host| allowlist.allows(host)) {
            let text: String = String::from_utf8_lossy(host).chars().take(HOST_LOGGED_MAX).collect();
            return Err(HostProblem::NotAllowed(text));
        }
    }
    Ok(())
}

/// The hosts that a request names, for whoever asks later.
pub(crate) fn named(parts: &Parts) -> Vec<String> {
    let authority = parts.uri.authority().map(|authority| authority.as_str().to_owned());
    let headers = parts.headers.get_all(HOST).iter();
    authority.into_iter().chain(headers.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use http::Request;

    fn judged(target: &str, hosts: &[&str]) -> Result<(), HostProblem> {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let allowlist = HostAllowlist::parse(&["localhost", "127.0.0.1"]).unwrap();
        check(&request.body(()).unwrap().into_parts().0, &allowlist)
    }

    #[test]
    fn every_host_that_is_named_must_be_allowed() {
        let refused = |host: &str| Err(HostProblem::NotAllowed(host.to_owned()));
        let cases: &[(&str, &[&str], Result<(), HostProblem>)] = &[
            ("/upcheck", &["localhost"], Ok(())),
            ("/upcheck", &["LOCALHOST:9000"], Ok(())),
            ("/upcheck", &["127.0.0.1:1"], Ok(())),
            ("/upcheck", &[], Err(HostProblem::Missing)),
            ("/upcheck", &[""], refused("")),
            ("/upcheck", &["evil.example"], refused("evil.example")),
            ("/upcheck", &["localhost", "localhost"], Err(HostProblem::Several)),
            ("https://localhost:9000/upcheck", &[], Ok(())),
            ("https://evil.example/upcheck", &[], refused("evil.example")),
            ("https://localhost/upcheck", &["evil.example"], refused("evil.example")),
            ("https://evil.example/upcheck", &["localhost"], refused("evil.example")),
            ("https://user@localhost/upcheck", &[], refused("user@localhost")),
        ];
        for (target, hosts, expected) in cases {
            assert_eq!(judged(target, hosts), *expected, "{target} {hosts:?}");
        }
    }

    #[test]
    fn what_a_log_line_repeats_is_short() {
        let Err(HostProblem::NotAllowed(host)) = judged("/", &["x".repeat(5000).as_str()]) else {
            unreachable!("a foreign host passed")
        };
        assert_eq!(host.len(), HOST_LOGGED_MAX);
    }
}
