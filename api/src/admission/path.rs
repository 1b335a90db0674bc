//! Path normalisation: Prysm and Lodestar write `base + "/api/.."`, so that a base URL with a trailing slash gives `//`.
//!
//! In: the path as sent. Out: the path by which a route is chosen; what was sent stays available as [`Asked`], because
//! a redirect must repeat it. Deliberately absent: percent-decoding and `..`, which no client sends and no route needs.

use http::Uri;
use http::uri::PathAndQuery;

/// Path and query as the client sent them.
#[derive(Debug, Clone)]
pub(crate) struct Asked(pub(crate) PathAndQuery);

impl Asked {
    pub(super) fn of(uri: &Uri) -> Self {
        Self(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
    }
}

/// The URI with repeated slashes collapsed and a trailing slash removed; `None` if it is as it should be.
pub(super) fn normalised(uri: &Uri) -> Option<Uri> {
    let path = collapsed(uri.path())?;
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn collapsed(path: &str) -> Option<String> {
    let trailing = path.len() > 1 && path.ends_with('/');
    if !trailing && !path.contains("//") {
        return None;
    }
    let mut clean = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        clean.push('/');
        clean.push_str(segment);
    }
    if clean.is_empty() {
        clean.push('/');
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn slashes_are_collapsed_and_nothing_else_changes() {
        let cases = [
            ("/upcheck", None),
            ("/", None),
            ("*", None),
            ("/upcheck?a=//b/", None),
            ("//api/v1/eth2/publicKeys", Some("/api/v1/eth2/publicKeys")),
            ("/api//v1///eth2/publicKeys", Some("/api/v1/eth2/publicKeys")),
            ("/upcheck/", Some("/upcheck")),
            ("/upcheck//?x=1//2", Some("/upcheck?x=1//2")),
            ("///", Some("/")),
            ("/a/%2F%2f/b/", Some("/a/%2F%2f/b")),
            ("https://localhost:9000//upcheck/", Some("https://localhost:9000/upcheck")),
        ];
        for (sent, expected) in cases {
            let sent: Uri = if sent.starts_with("//") {
                // The parser of whole URIs would take the first segment for an authority; requests are not parsed so.
                let mut parts = http::uri::Parts::default();
                parts.path_and_query = Some(sent.parse().unwrap());
                Uri::from_parts(parts).unwrap()
            } else {
                sent.parse().unwrap()
            };
            assert_eq!(normalised(&sent).map(|uri| uri.to_string()).as_deref(), expected, "{sent}");
        }
    }

    #[test]
    fn what_was_asked_keeps_its_slashes_and_query() {
        assert_eq!(Asked::of(&"https://localhost/a//b/?q=1".parse().unwrap()).0.as_str(), "/a//b/?q=1");
    }
}
