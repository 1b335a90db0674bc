//! The names of what the HTTP surface counts, each in one place.
//!
//! Web3Signer's names stand where the meaning is the same, so that its dashboards go on working; the rest is
//! `consigner_*`. In: what happened. Out: calls of the `metrics` facade. Deliberately absent: the exporter (`node`),
//! labels without a bound on their values (keys, peers, paths).

use crate::app::App;
use crate::error::ApiError;
use crate::limits::UsedUp;

use consigner_rules::{SigningType, Violation};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

const SIGNING_DURATION: &str = "signing_bls_signing_duration";
const MISSING_IDENTIFIER: &str = "signing_bls_missing_identifier_count_total";
const SIGNERS_LOADED: &str = "signing_signers_loaded_count";
const MALFORMED: &str = "http_bls_malformed_request_count_total";
const PERMITTED: &str = "eth2_slashingprotection_permitted_signings_total";
const PREVENTED: &str = "eth2_slashingprotection_prevented_signings_total";
const SIGN_REQUESTS: &str = "consigner_sign_requests_total";
const SIGN_DURATION: &str = "consigner_sign_duration_seconds";
const REFUSALS: &str = "consigner_refusals_total";
const SHED: &str = "consigner_requests_shed_total";
const LIMITED: &str = "consigner_requests_limited_total";
const AUDITED: &str = "consigner_audit_events_total";
const AUDIT_NOT_KEPT: &str = "consigner_audit_not_kept_total";

/// Registers the help texts; call once, after the recorder is installed.
pub fn describe() {
    describe_histogram!(SIGNING_DURATION, Unit::Seconds, "Time from permit to signature: queue and BLS");
    describe_counter!(MISSING_IDENTIFIER, "Sign requests for a key that the cluster does not have");
    describe_gauge!(SIGNERS_LOADED, "Keys that this node holds unsealed");
    describe_counter!(MALFORMED, "Sign requests answered 400, 408 or 413");
    describe_counter!(PERMITTED, "Signatures that left this node, of slashable and other types");
    describe_counter!(PREVENTED, "Sign requests refused by slashing protection");
    describe_counter!(SIGN_REQUESTS, "Sign requests by type and outcome");
    describe_histogram!(SIGN_DURATION, Unit::Seconds, "Time from the request head to the answer, by type");
    describe_counter!(REFUSALS, "Sign requests refused for ever, by reason");
    describe_counter!(SHED, "Requests answered 503 at once because a limit was reached, by limit");
    describe_counter!(LIMITED, "Requests answered 429, by what was used up");
    describe_counter!(AUDITED, "Changes, decisions and refused attempts told to the audit, by operation and outcome");
    describe_counter!(AUDIT_NOT_KEPT, "Lines about changes that are not known to be on the audit's disk");
}

/// Sets the gauges that have no event of their own; call before each scrape.
pub fn record_gauges(app: &App) {
    // Precise up to 2^53 keys.
    gauge!(SIGNERS_LOADED).set(app.keyring.len() as f64);
}

/// Something was told to the audit.
pub(crate) fn audited(operation: &'static str, outcome: &'static str) {
    counter!(AUDITED, "operation" => operation, "outcome" => outcome).increment(1);
}

/// A line about a change is not known to be on disk.
pub(crate) fn audit_not_kept() {
    counter!(AUDIT_NOT_KEPT).increment(1);
}

/// Somebody asked too often.
pub(crate) fn limited(used_up: UsedUp) {
    counter!(LIMITED, "used_up" => used_up.name()).increment(1);
}

/// A limit was reached.
pub(crate) fn shed(limit: &'static str) {
    counter!(SHED, "limit" => limit).increment(1);
}

/// A permit became a signature, or not.
pub(crate) fn bls_signing(took: Duration) {
    histogram!(SIGNING_DURATION).record(took.as_secs_f64());
}

/// A sign request was given up before its answer: the client went away, or the deadline passed.
pub(crate) fn sign_abandoned(signing_type: Option<SigningType>) {
    let name = signing_type.map_or("unknown", SigningType::name);
    counter!(SIGN_REQUESTS, "type" => name, "outcome" => "abandoned").increment(1);
}

/// A sign request was answered. `signing_type` is known once its body was understood.
pub(crate) fn sign_answered(signing_type: Option<SigningType>, error: Option<&ApiError>, took: Duration) {
    let name = signing_type.map_or("unknown", SigningType::name);
    let outcome = error.map_or("signed", ApiError::outcome);
    counter!(SIGN_REQUESTS, "type" => name, "outcome" => outcome).increment(1);
    histogram!(SIGN_DURATION, "type" => name).record(took.as_secs_f64());
    match error {
        None => counter!(PERMITTED).increment(1),
        Some(ApiError::Refused { violation, .. }) => {
            counter!(PREVENTED).increment(1);
            counter!(REFUSALS, "reason" => reason(violation)).increment(1);
        }
        Some(ApiError::OtherChain { .. }) => {
            // Web3Signer counts a foreign genesis validators root as prevented too.
            counter!(PREVENTED).increment(1);
            counter!(REFUSALS, "reason" => "other_chain").increment(1);
        }
        Some(ApiError::UnknownKey(_)) => counter!(MISSING_IDENTIFIER).increment(1),
        Some(ApiError::BadRequest(_) | ApiError::Body(_)) => counter!(MALFORMED).increment(1),
        Some(
            ApiError::Host(_)
            | ApiError::Unauthorized(_)
            | ApiError::Forbidden(_)
            | ApiError::TooMany { .. }
            | ApiError::NotOffered(_)
            | ApiError::NoSuchPath
            | ApiError::MethodNotAllowed
            | ApiError::NotAcceptable
            | ApiError::SeeLeader { .. }
            | ApiError::Conflict(_)
            | ApiError::Unavailable(_)
            | ApiError::NotServing(_)
            | ApiError::Internal,
        ) => {}
    }
}

const fn reason(violation: &Violation) -> &'static str {
    match violation {
        Violation::BlockBelow { .. } => "block_below",
        Violation::DoubleBlock { .. } => "double_block",
        Violation::SourceAfterTarget { .. } => "source_after_target",
        Violation::SourceBelow { .. } => "source_below",
        Violation::DoubleVote { .. } => "double_vote",
        Violation::TargetBelow { .. } => "target_below",
        Violation::HighWatermarkSlot { .. } => "high_watermark_slot",
        Violation::HighWatermarkEpoch { .. } => "high_watermark_epoch",
    }
}
