//! One line as it leaves this crate, and where it goes.

use super::{Event, TARGET};
use consigner_rules::PublicKey;
use futures::future::BoxFuture;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// One line of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// When it was told, in milliseconds since 1970.
    pub time_ms: u64,
    /// Through which door the caller came, if any.
    pub door: Option<String>,
    /// Who; see [`super::Actor::identity`].
    pub identity: String,
    /// What that rests on; see [`super::Proof`].
    pub proof: &'static str,
    /// From where.
    pub address: Option<SocketAddr>,
    /// What; see [`super::Operation::name`].
    pub operation: String,
    /// On which validator's key.
    pub key: Option<PublicKey>,
    /// Where the cluster's log has it.
    pub log_index: Option<u64>,
    /// What became of it; see [`super::Outcome`].
    pub outcome: &'static str,
    /// Why, for people. Never a secret.
    pub reason: String,
}

/// Where lines go to stay.
pub trait AuditSink: Send + Sync {
    /// Takes a line, to be on disk soon. Never blocks: on the way of a signature nobody waits for the disk. A sink that
    /// cannot take it leaves it out, counts that, and says so in its next line.
    fn note(&self, line: AuditLine);

    /// Takes a line, and resolves when it is on disk; the error says why it is not (known to be).
    fn keep(&self, line: AuditLine) -> BoxFuture<'_, Result<(), String>>;
}

/// Bytes of a reason that are kept: a path that somebody asked for, or a refusal that quotes it, may have 64 KiB.
const REASON_BYTES_MAX: usize = 2048;

/// Bytes of an identity that are kept: the subject of an access token may be as long as the token.
const IDENTITY_BYTES_MAX: usize = 256;

impl AuditLine {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let Event { actor, operation, key, log_index, outcome, reason } = *event;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            time_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            door: actor.door.map(str::to_owned),
            identity: cut(&actor.identity, IDENTITY_BYTES_MAX).to_owned(),
            proof: actor.proof.name(),
            address: actor.address,
            operation: operation.name().to_owned(),
            key: key.copied(),
            log_index,
            outcome: outcome.name(),
            reason: cut(reason, REASON_BYTES_MAX).to_owned(),
        }
    }
}

/// The beginning of a text, whole characters only.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The same line in the log of the process.
pub(super) fn log(event: &Event<'_>) {
    use super::Outcome;
    let Event { actor, operation, key, log_index, outcome, reason } = event;
    let (identity, reason) = (cut(&actor.identity, IDENTITY_BYTES_MAX), cut(reason, REASON_BYTES_MAX));
    let (proof, door) = (actor.proof.name(), actor.door);
    let address = actor.address.map(tracing::field::display);
    let key = key.map(tracing::field::display);
    let (operation, word) = (operation.name(), outcome.name());
    match outcome {
        Outcome::Begun | Outcome::Done | Outcome::Unchanged => {
            tracing::info!(
                target: TARGET, identity, proof, address, door, operation, key, log_index, outcome = word, reason,
                "audit"
            );
        }
        Outcome::Refused | Outcome::Failed => {
            tracing::warn!(
                target: TARGET, identity, proof, address, door, operation, key, log_index, outcome = word, reason,
                "audit"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Actor, Operation, Outcome};
    use consigner_rules::SigningType;

    #[test]
    fn a_line_says_all_that_the_event_does() {
        let (actor, key) = (Actor::node().at("api"), PublicKey([3; 48]));
        let signed = Operation::Sign(Some(SigningType::VoluntaryExit));
        let event = Event { log_index: Some(9), ..Event::new(&actor, signed, Outcome::Done, "why").about(Some(&key)) };
        let line = AuditLine::of(&event);
        assert!(line.time_ms > 1_600_000_000_000);
        let expected = AuditLine {
            time_ms: line.time_ms,
            door: Some("api".to_owned()),
            identity: "node".to_owned(),
            proof: "node",
            address: None,
            operation: "VOLUNTARY_EXIT".to_owned(),
            key: Some(key),
            log_index: Some(9),
            outcome: "done",
            reason: "why".to_owned(),
        };
        assert_eq!(line, expected);
    }

    #[test]
    fn what_callers_choose_is_cut() {
        let (long, actor) = ("é".repeat(100_000), Actor { identity: "x".repeat(100_000), ..Actor::node() });
        let line = AuditLine::of(&Event::new(&actor, Operation::Access, Outcome::Refused, &long));
        assert_eq!((line.reason.len(), line.identity.len()), (REASON_BYTES_MAX, IDENTITY_BYTES_MAX));
        let odd = format!("x{long}");
        let line = AuditLine::of(&Event::new(&actor, Operation::Access, Outcome::Refused, &odd));
        assert_eq!(line.reason.len(), REASON_BYTES_MAX - 1, "no half character");
    }
}
