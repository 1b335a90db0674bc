//! What is counted, under the names that dashboards know.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::development::interop_secret;
use consigner_rules::{PublicKey, Root};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use support::messages::{EPOCH, attestation, mainnet, randao};
use support::{Node, post, sign_path};

#[tokio::test(flavor = "multi_thread")]
async fn sign_requests_are_counted_by_what_became_of_them() {
    let (network, root) = mainnet();
    let secret = interop_secret(0);
    let key = secret.public_key();
    let node = Node::with_keys(network, root, &[secret]).await;
    // The handlers run on this thread, since this task polls them.
    let recorder = PrometheusBuilder::new().build_recorder();
    let exported = recorder.handle();
    let guard = metrics::set_default_local_recorder(&recorder);
    consigner_api::describe_metrics();
    consigner_api::record_gauges(&node.app);
    let mut foreign = attestation(EPOCH + 9, EPOCH + 10, 9);
    foreign["fork_info"]["genesis_validators_root"] = json!(Root([0xee; 32]));
    for (key, body, status) in [
        (key, attestation(EPOCH, EPOCH + 1, 9), 200),
        (key, attestation(EPOCH, EPOCH + 1, 9), 200),
        (key, attestation(EPOCH, EPOCH + 1, 8), 412),
        (key, foreign, 412),
        (key, randao(EPOCH), 200),
        (key, json!({"type": "NONSENSE"}), 400),
        (PublicKey([0xab; 48]), randao(EPOCH), 404),
    ] {
        let answer = post(&sign_path(&key), body.to_string()).of(&node).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    drop(guard);
    let text = exported.render();
    for line in [
        "signing_signers_loaded_count 1",
        "signing_bls_signing_duration_count 3",
        "signing_bls_missing_identifier_count_total 1",
        "http_bls_malformed_request_count_total 1",
        "eth2_slashingprotection_permitted_signings_total 3",
        "eth2_slashingprotection_prevented_signings_total 2",
        "consigner_refusals_total{reason=\"double_vote\"} 1",
        "consigner_refusals_total{reason=\"other_chain\"} 1",
        "consigner_sign_requests_total{type=\"ATTESTATION\",outcome=\"signed\"} 2",
        "consigner_sign_requests_total{type=\"ATTESTATION\",outcome=\"refused\"} 2",
        "consigner_sign_requests_total{type=\"RANDAO_REVEAL\",outcome=\"signed\"} 1",
        "consigner_sign_requests_total{type=\"RANDAO_REVEAL\",outcome=\"unknown_key\"} 1",
        "consigner_sign_requests_total{type=\"unknown\",outcome=\"malformed\"} 1",
        "consigner_sign_duration_seconds_count{type=\"ATTESTATION\"} 4",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
}
