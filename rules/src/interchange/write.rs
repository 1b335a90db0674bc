//! From watermarks to the text of a file that any signer can import.

use super::{FORMAT_VERSION, Interchange, Records, SignedAttestation, SignedBlock};
use crate::command::{HistoryImport, ImportedAttestation, ImportedBlock};
use crate::primitives::{PublicKey, Root};
use serde::Serialize;

impl Interchange {
    /// The minimal interchange: at most one block and one attestation per validator, which cover everything signed.
    ///
    /// A validator that signed nothing is omitted, as Web3Signer does: every signer treats it as unknown either way.
    #[must_use]
    pub fn minimal(genesis_validators_root: Root, histories: impl IntoIterator<Item = HistoryImport>) -> Self {
        let mut interchange = Self::new(genesis_validators_root);
        for history in histories {
            if history.block.is_none() && history.attestation.is_none() {
                continue;
            }
            let records = interchange.records_mut(history.public_key);
            records.blocks.extend(history.block.as_ref().map(newest_block));
            records.attestations.extend(history.attestation.as_ref().map(covering_attestation));
        }
        interchange
    }

    /// The text of the file: indented JSON, validators by public key, records in the order held, numbers as decimal
    /// text, absent roots left out. Equal interchanges give equal bytes.
    ///
    /// # Panics
    /// Never: the values are texts and lists, and writing to memory does not fail.
    #[must_use]
    #[expect(clippy::expect_used, reason = "writing texts and lists to memory cannot fail")]
    pub fn to_json(&self) -> String {
        let file = File {
            metadata: Metadata {
                interchange_format_version: FORMAT_VERSION,
                genesis_validators_root: self.genesis_validators_root,
            },
            data: self.validators.iter().map(|(public_key, records)| Validator::new(public_key, records)).collect(),
        };
        let mut text = serde_json::to_string_pretty(&file).expect("texts and lists are JSON");
        text.push('\n');
        text
    }
}

const fn newest_block(block: &ImportedBlock) -> SignedBlock {
    SignedBlock { slot: block.slot, signing_root: block.signing_root }
}

/// One attestation that covers both maxima, which may come from different ones.
///
/// It names a root only if it is itself the newest signed: an importer might grant a repeat of it. Where an import left
/// the greatest source above the greatest target, the target is raised to it: nothing could be signed in between but a
/// vote with equal epochs, and some signers refuse a file with a source after its target.
fn covering_attestation(maxima: &ImportedAttestation) -> SignedAttestation {
    let source_epoch = maxima.max_source_epoch;
    let target_epoch = maxima.max_target_epoch.max(source_epoch);
    let signing_root = maxima
        .at_max_target
        .filter(|(source, _)| *source == source_epoch && target_epoch == maxima.max_target_epoch)
        .map(|(_, root)| root);
    SignedAttestation { source_epoch, target_epoch, signing_root }
}

#[derive(Serialize)]
struct File {
    metadata: Metadata,
    data: Vec<Validator>,
}

#[derive(Serialize)]
struct Metadata {
    interchange_format_version: &'static str,
    genesis_validators_root: Root,
}

#[derive(Serialize)]
struct Validator {
    pubkey: PublicKey,
    signed_blocks: Vec<Block>,
    signed_attestations: Vec<Attestation>,
}

#[derive(Serialize)]
struct Block {
    slot: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_root: Option<Root>,
}

#[derive(Serialize)]
struct Attestation {
    source_epoch: String,
    target_epoch: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_root: Option<Root>,
}

impl Validator {
    fn new(public_key: &PublicKey, records: &Records) -> Self {
        let blocks = records.blocks.iter();
        let attestations = records.attestations.iter();
        Self {
            pubkey: *public_key,
            signed_blocks: blocks
                .map(|block| Block { slot: block.slot.to_string(), signing_root: block.signing_root })
                .collect(),
            signed_attestations: attestations
                .map(|vote| Attestation {
                    source_epoch: vote.source_epoch.to_string(),
                    target_epoch: vote.target_epoch.to_string(),
                    signing_root: vote.signing_root,
                })
                .collect(),
        }
    }
}
