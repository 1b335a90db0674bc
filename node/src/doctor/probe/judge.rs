//! What is to be said about a door that was looked at from outside.

use super::super::finding::Verdict;
use super::{Answer, Seen};

/// Whether a caller without a certificate gets on.
#[must_use]
pub fn mutual_tls(door: &str, seen: &Seen) -> Verdict {
    match seen.certificate_required {
        Some(true) => Verdict::pass(format!("{door}: a handshake without a certificate is refused")),
        Some(false) => Verdict::fail(
            format!("{door}: a handshake without a certificate goes on"),
            "this is not the door it should be: ask every caller for a certificate",
        ),
        None if matches!(seen.tls13, Answer::Hello { .. }) => {
            Verdict::skip(format!("{door} speaks TLS 1.3 only, where the question is encrypted"))
        }
        None => Verdict::fail(format!("{door} speaks no TLS"), "TLS on every door but metrics"),
    }
}

/// Which versions and suites are accepted.
#[must_use]
pub fn versions(door: &str, seen: &Seen) -> Verdict {
    let offers = [("TLS 1.0", &seen.tls10), ("TLS 1.1", &seen.tls11), ("a weak cipher suite", &seen.weak)];
    let accepted: Vec<&str> =
        offers.iter().filter(|(_, answer)| matches!(answer, Answer::Hello { .. })).map(|(what, _)| *what).collect();
    if !accepted.is_empty() {
        let reason = format!("{door} accepts {}", accepted.join(", "));
        return Verdict::fail(reason, "something else than this program answers there, or stands in front of it");
    }
    let speaks = |answer: &Answer, wanted: u16| matches!(answer, Answer::Hello { version, .. } if *version == wanted);
    match (speaks(&seen.tls12, 0x0303), speaks(&seen.tls13, 0x0304)) {
        (true, true) => Verdict::pass(format!("{door}: TLS 1.2 and 1.3; 1.0, 1.1 and weak suites are refused")),
        (false, true) => Verdict::pass(format!("{door}: TLS 1.3 only")),
        (true, false) => Verdict::warn(format!("{door} does not speak TLS 1.3"), "what stands in front of it should"),
        (false, false) => Verdict::fail(format!("{door} speaks no TLS"), "TLS on every door but metrics"),
    }
}

/// Whether plain HTTP is answered.
#[must_use]
pub fn plain_http(door: &str, seen: &Seen) -> Verdict {
    match &seen.plain_http {
        None => Verdict::pass(format!("{door} does not answer plain HTTP")),
        // What some proxies say before they close.
        Some(line) if line.contains(" 400") => Verdict::pass(format!("{door} answers plain HTTP with {line} only")),
        Some(line) => Verdict::fail(
            format!("{door} answers plain HTTP: {line}"),
            "something else than this program answers there, or stands in front of it",
        ),
    }
}
