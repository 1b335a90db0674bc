#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use consigner_rules::primitives::RequestId;
use consigner_rules::{PublicKey, Root, SignIntent};

fn job(duty: AgreedDuty, waiting: &Arc<Semaphore>) -> (Job, oneshot::Receiver<Result<Logged<Outcome>, Failure>>) {
    let (reply, replied) = oneshot::channel();
    let command = Command::Sign(intent(duty, 20));
    let bytes = encoded_bytes(&command);
    let permit = Arc::clone(waiting).try_acquire_owned().unwrap();
    (Job { command, bytes, reply, _waiting: permit }, replied)
}

fn intent(duty: AgreedDuty, name: usize) -> SignIntent {
    SignIntent {
        request_id: RequestId([255; 16]),
        public_key: PublicKey([255; 48]),
        duty,
        signing_root: Root([255; 32]),
        peer: "x".repeat(name),
        policy_version: u64::MAX,
    }
}

const BLOCK: AgreedDuty = AgreedDuty::Block { slot: u64::MAX };
const VOTE: AgreedDuty = AgreedDuty::Attestation { source_epoch: u64::MAX, target_epoch: u64::MAX };
const EXIT: AgreedDuty = AgreedDuty::VoluntaryExit { epoch: u64::MAX, validator_index: u64::MAX };

#[test]
fn the_estimate_of_an_intent_is_never_too_small() {
    for duty in [BLOCK, VOTE, EXIT] {
        for name in [0, 20, 128, 512] {
            let command = Command::Sign(intent(duty, name));
            assert!(codec::encode(&command).len() <= encoded_bytes(&command) + 64, "{duty:?} {name}");
            assert!(codec::encode(&command).len() <= encoded_bytes(&command), "{duty:?} {name}");
        }
    }
}

#[test]
fn a_full_batch_fits_the_limit_of_an_entry() {
    let waiting = Arc::new(Semaphore::new(WAITING_MAX));
    let mut lanes = Lanes::default();
    let mut replies = Vec::new();
    for _ in 0..3_000 {
        let (job, reply) = job(VOTE, &waiting);
        lanes.push(job);
        replies.push(reply);
    }
    let taken = lanes.take();
    assert_eq!(taken.len(), BATCH_COMMANDS_MAX);
    let commands = taken.into_iter().map(|job| job.command).collect();
    let batch = CommandBatch { proposed_at_ms: u64::MAX, checkpoint: None, commands };
    assert!(codec::encode(&batch).len() <= COMMAND_BYTES_MAX);
}

#[test]
fn blocks_go_before_attestations_before_the_rest_and_the_abandoned_not_at_all() {
    let waiting = Arc::new(Semaphore::new(WAITING_MAX));
    let mut lanes = Lanes::default();
    let mut replies = Vec::new();
    for duty in [EXIT, VOTE, BLOCK, VOTE] {
        let (job, reply) = job(duty, &waiting);
        lanes.push(job);
        replies.push(reply);
    }
    replies.remove(1);
    let duties: Vec<_> = lanes
        .take()
        .into_iter()
        .filter_map(|job| if let Command::Sign(intent) = job.command { Some(intent.duty) } else { None })
        .collect();
    assert_eq!(duties, [BLOCK, VOTE, EXIT]);
    assert!(lanes.is_empty());
    assert_eq!(waiting.available_permits(), WAITING_MAX, "every place in line is given back");
}
