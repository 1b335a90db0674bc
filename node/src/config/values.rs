//! From the text of one value to its type. The error says what was found; the caller adds what is allowed.

use super::keys::Form;
use consigner_gate::HostAllowlist;
use std::net::SocketAddr;
use std::time::Duration;

/// A length of a name that fits every certificate field (X.520: common name, 64 characters).
const NAME_LENGTH_MAX: usize = 64;

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
