//! Content negotiation: which of our two content types the client accepts.
//!
//! In: the `Accept` headers. Out: a choice. Web3Signer's rule (COMPATIBILITY A2) is that `application/json` or `*/*`
//! anywhere in the list means JSON and everything else, no header included, means bare text; clients depend on it
//! (Teku, Prysm and Vero parse the text, Grandine sends `*/*` and parses JSON). Weights do not matter, except that
//! `q=0` means "not acceptable" (RFC 9110, 12.4.2). Deliberately absent: charsets and compression.

use http::HeaderMap;
use http::header::ACCEPT;

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `{"signature":"0x.."}`
    Json,
    /// `0x..`, without a newline.
    Text,
}

/// The format in which a signature is answered.
pub(crate) fn signature_format(headers: &HeaderMap) -> Format {
    if json_preference(headers) == Some(true) { Format::Json } else { Format::Text }
}

/// Whether the client takes JSON from an endpoint that has nothing else; no header at all means that it does.
pub(crate) fn takes_json(headers: &HeaderMap) -> bool {
    !headers.contains_key(ACCEPT) || json_preference(headers) == Some(true)
}

/// What the most specific range that covers `application/json` says; `None` if no range does.
fn json_preference(headers: &HeaderMap) -> Option<bool> {
    let ranges =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    ranges.filter_map(covers_json).max_by_key(|(specificity, _)| *specificity).map(|(_, wanted)| wanted)
}

/// How specifically a media range covers `application/json` (a greater number is more specific), and whether it is
/// wanted.
fn covers_json(range: &str) -> Option<(u8, bool)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let specificity = match () {
        () if media.eq_ignore_ascii_case("application/json") => 2,
        () if media.eq_ignore_ascii_case("application/*") => 1,
        () if media == "*/*" => 0,
        () => return None,
    };
    let refused = parts.filter_map(|part| part.split_once('=')).any(|(name, value)| {
        name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)
    });
    Some((specificity, !refused))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn accept(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (ACCEPT, value.parse().unwrap())).collect()
    }

    #[test]
    fn signatures_are_json_only_where_the_client_says_so() {
        let cases: &[(&[&str], Format)] = &[
            (&[], Format::Text),
            (&[""], Format::Text),
            (&["application/json"], Format::Json),
            (&["Application/JSON"], Format::Json),
            (&["application/json; charset=utf-8"], Format::Json),
            (&["*/*"], Format::Json),
            (&["application/*"], Format::Json),
            (&["text/plain"], Format::Text),
            (&["text/plain, application/json;q=0.1"], Format::Json),
            (&["text/html", "application/json"], Format::Json),
            (&["text/plain;q=1,*/*;q=0.5"], Format::Json),
            (&["application/json;q=0"], Format::Text),
            (&["application/json; q=0.000, */*"], Format::Text),
            (&["*/*;q=0, application/json"], Format::Json),
            (&["*/*; Q=0"], Format::Text),
            (&["text/*"], Format::Text),
            (&["application/json5"], Format::Text),
            (&["application/octet-stream"], Format::Text),
        ];
        for (values, expected) in cases {
            assert_eq!(signature_format(&accept(values)), *expected, "{values:?}");
        }
    }

    #[test]
    fn json_only_endpoints_serve_clients_without_an_accept_header() {
        assert!(takes_json(&accept(&[])));
        assert!(takes_json(&accept(&["*/*"])));
        assert!(takes_json(&accept(&["text/plain, application/json"])));
        assert!(!takes_json(&accept(&["text/plain"])));
        assert!(!takes_json(&accept(&["application/json;q=0"])));
    }
}
