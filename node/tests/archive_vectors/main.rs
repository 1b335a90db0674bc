//! Every file of EIP-3076: imported, signed by a cluster, archived, exported as a whole, imported into an empty cluster:
//! the same messages get the same verdicts there, and no record is lost on the way.
//!
//! Both clusters are real ones of one node, in this process: every message goes through the log, and what is exported is
//! what the node recorded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[cfg(feature = "postgres")]
mod archived;
mod embedded;
#[cfg(feature = "postgres")]
#[path = "../../../storage/tests/support/postgres.rs"]
mod postgres;
#[path = "../../../raft/tests/support/mod.rs"]
mod support;
mod vectors;

use consigner_raft::{AuthorizeError, Cluster};
use consigner_rules::interchange::{Complete, Interchange};
use consigner_rules::message::SignPath;
use consigner_rules::slashing::History;
use consigner_rules::{AgreedDuty, ArchiveRow, Command, Outcome, PublicKey, Root, SigningType, archive_rows};
use consigner_rules::{RULES_VERSION, SignRequest};
use futures::future::join_all;
use std::collections::BTreeSet;
use support::{DEADLINE, GENESIS, Lab, import, request, sign, until};
use vectors::{FILES, Message, Vector};

/// A root that no file names.
const FRESH: Root = Root([0xee; 32]);

/// Rows read at a time: few, so that there is more than one reading.
const ROWS_AT_ONCE: usize = 64;

/// What became of the files: what was allowed, in order, by file.
struct Played {
    lab: Lab,
    allowed: Vec<Vec<Message>>,
}

impl Played {
    fn cluster(&self) -> &Cluster {
        self.lab.cluster(1)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_outbox_holds_leads_to_the_same_verdicts_elsewhere() {
    let Some(vectors) = vectors::load() else { return };
    let played = play(&vectors).await;
    let rows = rows_of(played.cluster());
    assert_nothing_is_lost(&vectors, &played, &rows);
    assert_same_verdicts(&vectors, &played, &rows).await;
}

/// A cluster that has seen all files; with the verdicts that they expect.
async fn play(vectors: &[Vector]) -> Played {
    assert_eq!(vectors.len(), FILES);
    let lab = cluster_of(vectors).await;
    let cluster = lab.cluster(1);
    let allowed = join_all(vectors.iter().map(|vector| play_one(cluster, vector))).await;
    let count: usize = allowed.iter().map(Vec::len).sum();
    assert!(count > 20, "{count} messages were signed");
    Played { lab, allowed }
}

/// A new cluster that holds all keys of the files, and no history.
async fn cluster_of(vectors: &[Vector]) -> Lab {
    let lab = Lab::up(1, 100_000).await;
    let cluster = lab.cluster(1);
    // From then on a record says through which node its request came.
    until("the newest rules", || cluster.read(|state| state.rules_version()) == RULES_VERSION).await;
    for vector in vectors {
        let outcomes = cluster.propose(vector.keys.iter().copied().map(import).collect(), DEADLINE).await.unwrap();
        let held = |outcome: &Outcome| matches!(outcome, Outcome::KeyImported { duplicate: false, .. });
        assert!(outcomes.iter().all(held), "{outcomes:?}");
    }
    lab
}

async fn play_one(cluster: &Cluster, vector: &Vector) -> Vec<Message> {
    let mut allowed = Vec::new();
    for step in &vector.steps {
        for history in &step.histories {
            merge(cluster, Command::ImportHistory(history.clone())).await;
        }
        for message in &step.messages {
            assert_eq!(is_allowed(cluster, message).await, message.allowed, "{}: {message:?}", vector.name);
            // What is asked for again is recorded once.
            if message.allowed && !allowed.contains(message) {
                allowed.push(*message);
            }
        }
    }
    allowed
}

async fn merge(cluster: &Cluster, command: Command) {
    let outcomes = cluster.propose(vec![command], DEADLINE).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::HistoryMerged { .. }]), "{outcomes:?}");
}

async fn is_allowed(cluster: &Cluster, message: &Message) -> bool {
    let signing_type = match message.duty {
        AgreedDuty::Block { .. } => SigningType::BlockV2,
        AgreedDuty::Attestation { .. } => SigningType::Attestation,
        AgreedDuty::VoluntaryExit { .. } => SigningType::VoluntaryExit,
    };
    let of_key = request(SignPath::Agreed(message.duty), signing_type, 0);
    let asked = SignRequest { public_key: message.public_key, signing_root: message.root, ..of_key };
    match sign(cluster, &asked).await {
        Ok(root) => {
            assert_eq!(root, message.root);
            true
        }
        Err(AuthorizeError::Refused { .. }) => false,
        Err(error) => panic!("{message:?}: {error}"),
    }
}

/// Everything that the node recorded, as the archive gets it.
fn rows_of(cluster: &Cluster) -> Vec<ArchiveRow> {
    assert_eq!(cluster.recorded_since().unwrap(), 0, "nothing is missing");
    let (mut rows, mut after) = (Vec::new(), 0);
    loop {
        let read = cluster.recorded_after(after, ROWS_AT_ONCE).unwrap();
        let Some(last) = read.last() else { return rows };
        after = last.index;
        rows.extend(read.into_iter().flat_map(|row| archive_rows(row.index, row.proposed_at_ms, row.changes)));
    }
}

/// Each message that was allowed is one row, and stands in the export of its file with its root.
fn assert_nothing_is_lost(vectors: &[Vector], played: &Played, rows: &[ArchiveRow]) {
    for (vector, allowed) in vectors.iter().zip(&played.allowed) {
        let signed = rows.iter().filter_map(|row| row.change.signed());
        let signed: Vec<_> = signed.filter(|record| vector.keys.contains(&record.public_key)).collect();
        let recorded: Vec<_> =
            signed.iter().map(|record| (record.public_key, record.duty, record.signing_root)).collect();
        let expected: Vec<_> = allowed.iter().map(|message| (message.public_key, message.duty, message.root)).collect();
        assert_eq!(recorded, expected, "{}", vector.name);
        assert!(signed.iter().all(|record| (record.peer, record.node) == ("client", Some(1))), "{signed:?}");
        let file = export(vector, rows);
        assert!(allowed.iter().all(|message| stands_in(&file, message)), "{}: {}", vector.name, file.to_json());
    }
}

fn stands_in(file: &Interchange, message: &Message) -> bool {
    let Some(records) = file.validators().get(&message.public_key) else { return false };
    let root = Some(message.root);
    match message.duty {
        AgreedDuty::Block { slot } => {
            records.blocks.iter().any(|block| (block.slot, block.signing_root) == (slot, root))
        }
        AgreedDuty::Attestation { source_epoch, target_epoch } => records.attestations.iter().any(|vote| {
            (vote.source_epoch, vote.target_epoch, vote.signing_root) == (source_epoch, target_epoch, root)
        }),
        AgreedDuty::VoluntaryExit { .. } => panic!("no file asks for an exit"),
    }
}

/// The complete export of the file's validators, as another signer reads it.
fn export(vector: &Vector, rows: &[ArchiveRow]) -> Interchange {
    let mut complete = Complete::new(GENESIS);
    for row in rows {
        complete.add(&row.change);
    }
    let text = complete.finish(Some(&vector.keys)).to_json();
    let file = Interchange::parse(&text).unwrap();
    file.check_genesis(&GENESIS).unwrap();
    file
}

/// An empty cluster that imports the exports judges the same messages, and others around the newest, as the first one.
async fn assert_same_verdicts(vectors: &[Vector], played: &Played, rows: &[ArchiveRow]) {
    let lab = cluster_of(vectors).await;
    let (here, there) = (played.cluster(), lab.cluster(1));
    let plays = vectors.iter().zip(&played.allowed).map(async |(vector, allowed)| {
        for history in export(vector, rows).reduce() {
            merge(there, Command::ImportHistory(history)).await;
        }
        let asked = vector.steps.iter().flat_map(|step| step.messages.iter().copied());
        let around = vector.keys.iter().flat_map(|public_key| around_newest(here, *public_key));
        let asked: Vec<Message> = asked.chain(around).collect();
        let raised: BTreeSet<PublicKey> = vector.keys.iter().copied().filter(|key| is_raised(here, *key)).collect();
        for message in &asked {
            let verdicts = (is_allowed(here, message).await, is_allowed(there, message).await);
            compare(verdicts, message, allowed, raised.contains(&message.public_key), &vector.name);
        }
        asked.len()
    });
    let compared: usize = join_all(plays).await.into_iter().sum();
    println!("EIP-3076: {} files, {compared} verdicts compared", vectors.len());
    assert!(compared > 300, "{compared}");
}

/// Whether the maxima of a validator cannot be written as they are. An import may leave a source above the target: then
/// the target is raised to the source, and a vote with equal epochs in between is refused where that is read.
fn is_raised(cluster: &Cluster, public_key: PublicKey) -> bool {
    history(cluster, public_key).attestation.is_some_and(|maxima| maxima.max_source > maxima.max_target)
}

fn compare((here, there): (bool, bool), message: &Message, allowed: &[Message], is_raised: bool, name: &str) {
    let of = |message: &Message| (message.public_key, message.duty, message.root);
    if allowed.iter().any(|signed| of(signed) == of(message)) {
        // A repeat wants a root that the cluster judged itself.
        assert!(!there, "{name}: {message:?} was signed before, elsewhere");
    } else if is_raised {
        assert!(here || !there, "{name}: {message:?} is allowed, which was refused before");
    } else {
        assert_eq!(here, there, "{name}: {message:?}");
    }
}

fn history(cluster: &Cluster, public_key: PublicKey) -> History {
    cluster.read(|state| state.validator(&public_key).map_or_else(History::default, |known| known.history))
}

/// Messages just below, at and above the newest that was signed or imported.
fn around_newest(cluster: &Cluster, public_key: PublicKey) -> Vec<Message> {
    let history = history(cluster, public_key);
    let slot = history.block.map_or(0, |mark| mark.max_slot);
    let (source, target) = history.attestation.map_or((0, 0), |mark| (mark.max_source, mark.max_target));
    let blocks = [slot.saturating_sub(1), slot, slot + 1].map(|slot| AgreedDuty::Block { slot });
    let votes = [
        (source, target),
        (source.saturating_sub(1), target + 1),
        (source, target + 1),
        (source + 1, target + 1),
        (source + 1, target + 2),
    ];
    let votes = votes.into_iter().filter(|(source_epoch, target_epoch)| source_epoch <= target_epoch);
    let votes = votes.map(|(source_epoch, target_epoch)| AgreedDuty::Attestation { source_epoch, target_epoch });
    let message = |duty| Message { public_key, duty, root: FRESH, allowed: false };
    blocks.into_iter().chain(votes).map(message).collect()
}
