//! What imported keys have signed elsewhere, cut into the parts that belong to each batch.

use crate::client::{CallError, ClusterClient, admin};
use crate::report::one_line;
use consigner_rules::interchange::{FILE_BYTES_MAX, Interchange};
use consigner_rules::{HistoryImport, PublicKey, Root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An interchange file (EIP-3076), reduced to what an import takes over.
#[derive(Debug)]
pub(crate) struct History {
    genesis_validators_root: Root,
    by_key: BTreeMap<PublicKey, HistoryImport>,
}

impl History {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence that names file and reason.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let named = |why: String| format!("{}: {why}", file.display());
        let size = std::fs::metadata(file).map_err(|error| named(format!("cannot be read: {error}")))?.len();
        if size > FILE_BYTES_MAX as u64 {
            return Err(named(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read(file).map_err(|error| named(format!("cannot be read: {error}")))?;
        let interchange = Interchange::parse(&text).map_err(|error| named(one_line(&error)))?;
        let by_key = interchange.reduce().into_iter().map(|history| (history.public_key, history)).collect();
        Ok(Self { genesis_validators_root: *interchange.genesis_validators_root(), by_key })
    }

    /// The part about these keys, as text; nothing if the file does not know them.
    pub(super) fn of<'k>(&self, public_keys: impl Iterator<Item = &'k PublicKey>) -> Option<String> {
        let part: Vec<HistoryImport> = public_keys.filter_map(|key| self.by_key.get(key).cloned()).collect();
        (!part.is_empty()).then(|| self.text(part))
    }

    /// Merges what the file says of keys that the cluster holds already: their import is skipped, their history not.
    ///
    /// # Errors
    /// The cluster refuses the file, e.g. for another chain, or does not answer.
    pub(super) async fn merge_for(&self, held: &BTreeSet<PublicKey>, client: &ClusterClient) -> Result<(), CallError> {
        let part = self.by_key.iter().filter(|(key, _)| held.contains(key)).map(|(_, history)| history.clone());
        let report = admin::import(client, self.text(part.collect()).into()).await?;
        let failed = report.data.iter().find(|line| line.status == "error");
        failed.map_or(Ok(()), |line| {
            let reason = format!("the history of {} was not merged: {}", line.pubkey, line.message);
            Err(CallError::Answer { url: client.endpoints().first().cloned().unwrap_or_default(), reason })
        })
    }

    fn text(&self, part: Vec<HistoryImport>) -> String {
        Interchange::minimal(self.genesis_validators_root, part).to_json()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_part_says_of_its_keys_what_the_whole_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history.json");
        let key = |byte| PublicKey([byte; 48]);
        let entry = |byte, slot| {
            format!(r#"{{"pubkey":"{}","signed_blocks":[{{"slot":"{slot}"}}],"signed_attestations":[]}}"#, key(byte))
        };
        let head = r#"{"metadata":{"interchange_format_version":"5","genesis_validators_root":"#;
        let root = Root([7; 32]);
        std::fs::write(&file, format!(r#"{head}"{root}"}},"data":[{},{}]}}"#, entry(1, 10), entry(2, 20))).unwrap();
        let history = History::read(&file).unwrap();
        let part = Interchange::parse(history.of([key(2), key(3)].iter()).unwrap()).unwrap();
        assert_eq!(*part.genesis_validators_root(), root);
        let reduced = part.reduce();
        assert_eq!(reduced.len(), 1);
        assert_eq!((reduced[0].public_key, reduced[0].block.as_ref().unwrap().slot), (key(2), 20));
        assert_eq!(history.of([key(3)].iter()), None);
        assert!(History::read(&dir.path().join("gone")).unwrap_err().contains("gone: cannot be read"));
        std::fs::write(&file, "{").unwrap();
        assert!(History::read(&file).unwrap_err().contains("history.json: "));
    }
}
