#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use super::*;
use consigner_rules::command::{ClusterIdentity, CommandBatch, DataKey, ImportedAttestation, SealedKey, SignIntent};
use consigner_rules::interchange::SignedBlock;
use consigner_rules::primitives::{ClusterId, RequestId};
use consigner_rules::{AgreedDuty, Command, HistoryImport, Outcome, Ruling, State};
use serde_json::Value;
use std::path::PathBuf;

/// Slot, and source and target, of one validator.
type Mark = (PublicKey, Option<u64>, Option<(u64, u64)>);

/// Histories to import, and what to sign after that.
type Play = (Vec<HistoryImport>, Vec<(PublicKey, AgreedDuty, Root)>);

/// A cluster without nodes: what `apply` changed, in order.
struct Applied {
    state: State,
    changes: Vec<Change>,
}

impl Applied {
    fn new(root: Root, keys: &BTreeSet<PublicKey>) -> Self {
        let identity =
            ClusterIdentity { cluster_id: ClusterId([1; 16]), network: "test".into(), genesis_validators_root: root };
        let mut applied = Self { state: State::default(), changes: Vec::new() };
        applied.one(Command::Initialise(identity));
        applied.one(Command::AddDataKey(DataKey { id: [2; 16], sealer: "test".into(), wrapped: vec![0; 60] }));
        for public_key in keys.iter().copied() {
            let (nonce, ciphertext) = ([0; 12], vec![0; 48]);
            let sealed = SealedKey { format: 1, public_key, data_key: [2; 16], nonce, ciphertext };
            applied.one(Command::ImportKey { sealed, history: None, deletions_seen: 0 });
        }
        applied
    }

    fn one(&mut self, command: Command) -> Outcome {
        let batch = CommandBatch { proposed_at_ms: 0, checkpoint: None, commands: vec![command] };
        let mut applied = self.state.apply(&batch);
        self.changes.append(&mut applied.changes);
        applied.outcomes.remove(0)
    }

    fn sign(&mut self, public_key: PublicKey, duty: AgreedDuty, signing_root: Root) -> Ruling {
        let policy_version = self.state.cluster().policy_version;
        let (request_id, peer) = (RequestId([3; 16]), "client".to_owned());
        let intent = SignIntent { request_id, public_key, duty, signing_root, peer, policy_version };
        let Outcome::Judged(verdict) = self.one(Command::Sign(intent)) else { panic!("an intent is judged") };
        verdict.ruling
    }

    fn import(&mut self, histories: Vec<HistoryImport>) {
        for history in histories {
            self.one(Command::ImportHistory(history));
        }
    }

    /// What alone decides about everything but repeats.
    fn marks(&self) -> Vec<Mark> {
        let mark = |history: HistoryImport| {
            // A source above the target, which an import may leave, is written with the target raised to it: no signer
            // takes a file with a source after its target, and nothing but a vote with equal epochs lies in between.
            let target = |maxima: ImportedAttestation| maxima.max_target_epoch.max(maxima.max_source_epoch);
            let votes = history.attestation.map(|maxima| (maxima.max_source_epoch, target(maxima)));
            (history.public_key, history.block.map(|block| block.slot), votes)
        };
        self.state.histories().map(mark).collect()
    }

    fn recorded(&self, root: Root) -> Interchange {
        let mut file = Interchange::new(root);
        for change in &self.changes {
            add_change(&mut file, change);
        }
        file
    }
}

fn vectors() -> Option<Vec<Value>> {
    let root = std::env::var_os("CONSIGNER_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"), PathBuf::from);
    let Ok(folder) = std::fs::read_dir(root.join("eip3076")) else {
        eprintln!("SKIPPED: no vectors in {} (set CONSIGNER_VECTORS)", root.display());
        return None;
    };
    let paths = folder.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    Some(files.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect())
}

/// Every signature that a file asks for, in its order, with the histories that come before it.
fn plays(file: &Value) -> Vec<Play> {
    let root: Root = file["genesis_validators_root"].as_str().unwrap().parse().unwrap();
    let number = |value: &Value| -> u64 { value.as_str().unwrap().parse().unwrap() };
    let whose = |attempt: &Value| attempt["pubkey"].as_str().unwrap().parse::<PublicKey>().unwrap();
    let signed = |attempt: &Value| attempt["signing_root"].as_str().unwrap().parse::<Root>().unwrap();
    let step = |step: &Value| {
        let file = Interchange::parse(step["interchange"].to_string()).unwrap();
        let histories = if file.check_genesis(&root).is_ok() { file.reduce() } else { Vec::new() };
        let blocks = step["blocks"].as_array().unwrap().iter();
        let blocks =
            blocks.map(|block| (whose(block), AgreedDuty::Block { slot: number(&block["slot"]) }, signed(block)));
        let votes = step["attestations"].as_array().unwrap().iter().map(|vote| {
            let (source_epoch, target_epoch) = (number(&vote["source_epoch"]), number(&vote["target_epoch"]));
            (whose(vote), AgreedDuty::Attestation { source_epoch, target_epoch }, signed(vote))
        });
        (histories, blocks.chain(votes).collect())
    };
    file["steps"].as_array().unwrap().iter().map(step).collect()
}

/// A complete export, imported into an empty cluster, leads to the same verdicts; only a repeat, which wants a root that
/// the cluster judged itself, is refused there.
#[test]
fn what_was_recorded_leads_to_the_same_verdicts_elsewhere() {
    let Some(files) = vectors() else { return };
    let (mut compared, mut records) = (0, 0);
    for file in &files {
        let root: Root = file["genesis_validators_root"].as_str().unwrap().parse().unwrap();
        let plays = plays(file);
        let of_signings = plays.iter().flat_map(|(_, signings)| signings.iter().map(|(key, ..)| *key));
        let of_imports = plays.iter().flat_map(|(histories, _)| histories.iter().map(|history| history.public_key));
        let keys: BTreeSet<PublicKey> = of_signings.chain(of_imports).collect();
        let mut first = Applied::new(root, &keys);
        for (histories, signings) in &plays {
            first.import(histories.clone());
            for (key, duty, signing_root) in signings {
                first.sign(*key, *duty, *signing_root);
            }
        }
        let text = first.recorded(root).to_json();
        let again = Interchange::parse(&text).unwrap();
        again.check_genesis(&root).unwrap();
        let mut second = Applied::new(root, &keys);
        second.import(again.reduce());
        assert_eq!(first.marks(), second.marks(), "{}: {text}", file["name"]);
        records +=
            again.validators().values().map(|known| known.blocks.len() + known.attestations.len()).sum::<usize>();
        for (key, duty, signing_root) in plays.iter().flat_map(|(_, signings)| signings) {
            let there = second.sign(*key, *duty, *signing_root);
            let here = first.sign(*key, *duty, *signing_root);
            if here == Ruling::Repeat {
                assert!(matches!(there, Ruling::Refused(_)), "{}: {there:?}", file["name"]);
            } else {
                let kinds = (std::mem::discriminant(&here), std::mem::discriminant(&there));
                assert_eq!(kinds.0, kinds.1, "{}: {duty:?}", file["name"]);
            }
            compared += 1;
        }
    }
    assert!(files.len() >= 38 && compared > 100 && records > 38, "{} {compared} {records}", files.len());
}

#[test]
fn exits_refusals_and_other_changes_are_no_records() {
    let key = PublicKey([1; 48]);
    let mut file = Interchange::new(Root([9; 32]));
    let exit = AgreedDuty::VoluntaryExit { epoch: 1, validator_index: 2 };
    let signed = |duty| Change::Signed { public_key: key, duty, signing_root: Root([4; 32]), peer: "client".into() };
    for change in [signed(exit), Change::KeyAdded(key), Change::PolicyRenewed(2)] {
        assert_eq!(add_change(&mut file, &change), 0, "{change:?}");
    }
    assert!(file.validators().is_empty());
    assert_eq!(add_change(&mut file, &signed(AgreedDuty::Block { slot: 5 })), 1);
    assert_eq!(file.validators()[&key].blocks, [SignedBlock { slot: 5, signing_root: Some(Root([4; 32])) }]);
}

#[test]
fn a_query_is_understood_or_refused() {
    let asked = Asked::read("after=7&upto=9").unwrap();
    assert_eq!((asked.after, asked.upto, asked.only), (7, Some(9), None));
    for query in ["after=-1", "upto=x", "before=1", "pubkeys="] {
        assert!(Asked::read(query).is_err(), "{query}");
    }
}
