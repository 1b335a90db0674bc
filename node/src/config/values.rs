//! From the text of one value to its type. The error says what was found; the caller adds what is allowed.

use super::keys::Form;
use consigner_gate::HostAllowlist;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A length of a name that fits every certificate field (X.520: common name, 64 characters).
const NAME_LENGTH_MAX: usize = 64;

/// Longer than any ARN, namespace or tag (AWS: 2,048 bytes at most for any identifier).
const TEXT_LENGTH_MAX: usize = 2048;

/// A whole number of at least `least`.
pub fn number(text: &str, least: u64) -> Option<u64> {
    text.parse().ok().filter(|number| *number >= least)
}

/// A common name.
pub fn name(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = !text.is_empty() && text.len() <= NAME_LENGTH_MAX && text.chars().all(plain);
    fits.then(|| text.to_owned())
}

/// `IP:PORT`; `localhost` is understood, because people write it.
pub fn listen(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().ok()
}

/// `HOST:PORT` with a port that is not 0.
pub fn host_port(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let valid = port != 0 && HostAllowlist::parse(&[host]).is_ok() && !matches!(host, "*" | "all" | "none" | "");
    valid.then(|| text.to_owned())
}

/// `https://HOST[:PORT]`, one trailing slash is forgiven.
pub fn https_url(text: &str) -> Option<String> {
    let url = text.strip_suffix('/').unwrap_or(text);
    let authority = url.strip_prefix("https://")?;
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.chars().all(|c| c.is_ascii_digit()));
    let with_port = if has_port { authority.to_owned() } else { format!("{authority}:443") };
    host_port(&with_port).map(|_| url.to_owned())
}

/// `https://HOST[:PORT]`; without TLS only on this machine, because secrets travel there. Trailing slashes are forgiven.
pub fn service_url(text: &str) -> Option<String> {
    let url = text.trim_end_matches('/');
    let Some(authority) = url.strip_prefix("http://") else { return https_url(url) };
    let as_https = https_url(&format!("https://{authority}"))?;
    let host = as_https.strip_prefix("https://").map(|rest| rest.rsplit_once(':').map_or(rest, |(host, _)| host))?;
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = inner == "localhost" || inner.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback.then(|| url.to_owned())
}

/// `https://HOST[:PORT]/PATH`; without TLS only on this machine, because whoever changes the answer makes the rules.
pub fn link(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '#' | '\\');
    let fits = path.len() <= TEXT_LENGTH_MAX && path.chars().all(plain);
    service_url(&format!("{scheme}://{authority}")).filter(|_| fits).map(|_| text.to_owned())
}

/// One line of text without control characters.
pub fn text(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= TEXT_LENGTH_MAX && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// The name of a variable of the environment.
pub fn variable(text: &str) -> Option<String> {
    let fits = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.len() <= NAME_LENGTH_MAX
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    fits.then(|| text.to_owned())
}

/// Texts, none of them empty.
pub fn texts(items: &[String]) -> Option<Vec<String>> {
    items.iter().map(|item| text(item)).collect()
}

/// `name=value`; the value may hold further `=`.
pub fn pairs(items: &[String]) -> Option<Vec<(String, String)>> {
    let pair = |item: &String| {
        let (name, value) = item.split_once('=')?;
        Some((text(name.trim())?, text(value.trim())?))
    };
    items.iter().map(pair).collect()
}

/// An amount of memory with a binary unit; never zero.
pub fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let count: u64 = digits.parse().ok()?;
    let shift = match unit.trim() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    count.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

/// `true` or `false`.
pub fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A time with a unit; never zero.
pub fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let count: u64 = digits.parse().ok()?;
    let duration = match unit.trim() {
        "ms" => Duration::from_millis(count),
        "s" => Duration::from_secs(count),
        "min" => Duration::from_secs(count.checked_mul(60)?),
        _ => return None,
    };
    (duration > Duration::ZERO && duration <= DURATION_MAX).then_some(duration)
}

/// No timer of a node is longer than a day; more is a slip of the finger, and sums of timers must not overflow.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// One of the words of a form, in any case, and the spellings of Web3Signer that mean the same.
pub fn word(text: &str, words: &'static [&'static str]) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let lower = match lower.as_str() {
        // `--logging` and `--logging-format` of Web3Signer.
        "fatal" => "error",
        "all" => "trace",
        "plain" => "text",
        "ecs" | "gcp" | "logstash" | "gelf" => "json",
        other => other,
    };
    words.iter().copied().find(|word| *word == lower)
}

/// Common names; `*` stands alone.
pub fn names(texts: &[String]) -> Option<Vec<String>> {
    if texts == ["*"] { Some(texts.to_vec()) } else { texts.iter().map(|text| name(text)).collect() }
}

/// The sentence about a value that does not fit.
pub fn mismatch(texts: &[String], form: Form) -> String {
    // Only what the operator wrote as configuration is echoed; no key of the table holds a secret.
    format!("\"{}\" does not fit; allowed is {}", texts.join(","), form.allowed())
}
