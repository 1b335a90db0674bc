//! What the sidecar counts, each name in one place. Labels are bounded: words of this file, and configured nodes.

use super::nodes::Nodes;
use http::StatusCode;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

const REQUESTS: &str = "consigner_connect_requests_total";
const DURATION: &str = "consigner_connect_request_duration_seconds";
const TRIES: &str = "consigner_connect_tries_total";
const HEDGES: &str = "consigner_connect_hedges_total";
const NODE_UP: &str = "consigner_connect_node_up";
const NODE_CURRENT: &str = "consigner_connect_node_current";
const RELOADS: &str = "consigner_connect_reloads_total";

/// Registers the help texts; call once, after the recorder is installed.
pub(super) fn describe() {
    describe_counter!(REQUESTS, "Requests of clients by outcome");
    describe_histogram!(DURATION, "Time from the request head to the answer, of requests that were passed on");
    describe_counter!(TRIES, "Requests to nodes by outcome; more than requests of clients where it was tried again");
    describe_counter!(HEDGES, "Tries that began beside one that was silent, begun and won");
    describe_gauge!(NODE_UP, "1 while the node answers, by node");
    describe_gauge!(NODE_CURRENT, "1 for the node that is asked first, by node");
    describe_counter!(RELOADS, "Reloads of the certificate files by outcome");
}

/// What became of a client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A node's answer with this status.
    Answered(StatusCode),
    /// No node answered in time.
    NoAnswer,
    /// Refused here: not part of the surface, not for us, body too long or broken.
    NotPassed,
    /// Refused here: too many at one time.
    Overloaded,
}

/// A request of a client was answered.
pub(super) fn request(outcome: Outcome) {
    let word = match outcome {
        Outcome::Answered(status) if status.is_success() => "answered",
        Outcome::Answered(StatusCode::PRECONDITION_FAILED) => "refused",
        Outcome::Answered(status) if status.is_client_error() => "client_error",
        Outcome::Answered(_) => "unavailable",
        Outcome::NoAnswer => "no_answer",
        Outcome::NotPassed => "not_passed",
        Outcome::Overloaded => "overloaded",
    };
    counter!(REQUESTS, "outcome" => word).increment(1);
}

/// How long one took that was passed on.
pub(super) fn took(time: Duration) {
    histogram!(DURATION).record(time.as_secs_f64());
}

/// A try ended: `answered`, `redirected`, `unavailable`, `failed`, or `dropped` because another one won.
pub(super) fn try_ended(word: &'static str) {
    counter!(TRIES, "outcome" => word).increment(1);
}

/// A try began beside another one (`begun`), or gave the answer (`won`).
pub(super) fn hedge(word: &'static str) {
    counter!(HEDGES, "outcome" => word).increment(1);
}

/// Certificates were read again.
pub(super) fn reloaded(ok: bool) {
    counter!(RELOADS, "outcome" => if ok { "done" } else { "failed" }).increment(1);
}

/// Sets the gauges; call before each scrape.
pub(super) fn record(nodes: &Nodes) {
    for node in 0..nodes.len() {
        let flag = |on: bool| f64::from(u8::from(on));
        gauge!(NODE_UP, "node" => nodes.label(node)).set(flag(!nodes.is_down(node)));
        gauge!(NODE_CURRENT, "node" => nodes.label(node)).set(flag(nodes.preferred() == node));
    }
}
