//! Which clients follow a redirect with the body intact, and so what a follower does with their requests.
//!
//! In: the configured mode and the `User-Agent` header. Out: a [`Routing`]. Deliberately absent: who leads and whether
//! it advertises a URL, which `raft` knows (without a URL it forwards whatever is said here).
//!
//! A client that does not follow loses the duty, a client that follows and is forwarded loses nothing but a hop:
//! hence whoever is not in [`FOLLOWING`] is forwarded.

use crate::app::FollowerRequests;
use consigner_raft::Routing;
use http::HeaderMap;
use http::header::USER_AGENT;

/// Products that re-send a POST with its body on 307, as they name themselves (the part before the `/`).
///
/// | product | library, clients | tested with |
/// |---|---|---|
/// | `Go-http-client` | net/http: Prysm, SSV, Dirk | Go 1.19 |
/// | `node`, `undici` | global `fetch` of Node: Lodestar | Node 20.20 |
/// | `node-fetch` | Lodestar before 1.6 | - (same fetch standard) |
/// | `aiohttp` | Vero | aiohttp 3.14.5 |
/// | `Lighthouse` | reqwest, where it names itself | reqwest 0.11.27 |
/// | `Grandine` | reqwest, where it names itself | reqwest 0.12.24 |
///
/// Not here: Teku (`Java-http-client`), which follows no redirect; Nimbus, whose next `Host` lacks the port and which
/// gives up after 3 s in all; curl, which follows only with `-L`.
const FOLLOWING: &[&str] = &["go-http-client", "node", "undici", "node-fetch", "aiohttp", "lighthouse", "grandine"];

/// What is to be done with a request of this client if this node follows.
pub(crate) fn routing(mode: FollowerRequests, headers: &HeaderMap) -> Routing {
    match mode {
        FollowerRequests::Redirect => Routing::Redirect,
        FollowerRequests::Forward => Routing::Forward,
        FollowerRequests::Auto => {
            let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if is_known_to_follow(agent) { Routing::Redirect } else { Routing::Forward }
        }
    }
}

/// `User-Agent` is a list of products, `name/version`, with comments in parentheses (RFC 9110, 10.1.5).
fn is_known_to_follow(agent: &str) -> bool {
    let mut depth = 0_u32;
    let outside_comments: String = agent
        .chars()
        .filter(|character| {
            match character {
                '(' => depth += 1,
                ')' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect();
    outside_comments
        .split_whitespace()
        .filter_map(|product| product.split('/').next())
        .any(|name| FOLLOWING.iter().any(|known| known.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn agent(value: Option<&str>) -> HeaderMap {
        value.map(|value| (USER_AGENT, value.parse().unwrap())).into_iter().collect()
    }

    #[test]
    fn auto_redirects_only_clients_that_are_known_to_follow() {
        let cases = [
            (Some("Go-http-client/1.1"), Routing::Redirect),
            (Some("Go-http-client/2.0"), Routing::Redirect),
            (Some("node"), Routing::Redirect),
            (Some("undici"), Routing::Redirect),
            (Some("node-fetch/1.0 (+https://github.com/bitinn/node-fetch)"), Routing::Redirect),
            (Some("node-fetch"), Routing::Redirect),
            (Some("Python/3.12 aiohttp/3.9.1"), Routing::Redirect),
            (Some("Lighthouse/v7.1.0-cfb1f73"), Routing::Redirect),
            (Some("Grandine/1.1.0"), Routing::Redirect),
            (Some("Java-http-client/17.0.9"), Routing::Forward),
            (Some("teku/v25.1.0"), Routing::Forward),
            (Some("nim-presto/0.0.3 (amd64/linux)"), Routing::Forward),
            (Some("curl/8.5.0"), Routing::Forward),
            (Some("Mozilla/5.0 (compatible; node; aiohttp/3)"), Routing::Forward),
            (Some("nodeish/1.0"), Routing::Forward),
            (Some(""), Routing::Forward),
            (None, Routing::Forward),
        ];
        for (value, expected) in cases {
            assert_eq!(routing(FollowerRequests::Auto, &agent(value)), expected, "{value:?}");
        }
    }

    #[test]
    fn a_fixed_mode_does_not_look_at_the_client() {
        for value in [Some("Go-http-client/1.1"), Some("Java-http-client/17.0.9"), None] {
            assert_eq!(routing(FollowerRequests::Redirect, &agent(value)), Routing::Redirect);
            assert_eq!(routing(FollowerRequests::Forward, &agent(value)), Routing::Forward);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_unknown_client() {
        let headers: HeaderMap =
            [(USER_AGENT, http::HeaderValue::from_bytes(b"node\xff").unwrap())].into_iter().collect();
        assert_eq!(routing(FollowerRequests::Auto, &headers), Routing::Forward);
    }
}
