//! The rows of the archive, read by `psql` from the documented views.
//!
//! In: text, columns apart by commas. Out: rows. Deliberately absent: the product's own reader of the archive; what it
//! says is compared with these rows, so it must not be the one that reads them.

use crate::oracle::Content;
use consigner_rules::{PublicKey, Root};

/// What is asked for signatures: all of them, in the order of the log.
pub const SIGNED: &str = "SELECT encode(public_key, 'hex'), duty, coalesce(slot, 0), coalesce(source_epoch, 0),
    coalesce(target_epoch, 0), encode(signing_root, 'hex'), coalesce(node, 0), log_index, ordinal
    FROM consigner_view.signed ORDER BY log_index, ordinal";

/// What is asked for refusals.
pub const REFUSED: &str = "SELECT encode(public_key, 'hex'), duty, coalesce(slot, 0), coalesce(source_epoch, 0),
    coalesce(target_epoch, 0), encode(signing_root, 'hex'), coalesce(node, 0), log_index, ordinal
    FROM consigner_view.refused ORDER BY log_index, ordinal";

/// What a row, a request and a record of an export have in common: two of them that are equal are the same decision.
pub type Claim = (PublicKey, Content, Root);

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What was decided about.
    pub claim: Claim,
    /// The node that was asked; 0: the row does not say.
    pub node: u64,
    /// The entry.
    pub log_index: u64,
    /// Its place in the entry.
    pub ordinal: u64,
}

impl std::fmt::Display for Row {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { claim: (validator, content, root), node, log_index, ordinal } = self;
        write!(formatter, "row {log_index}.{ordinal}: {content} of {validator} root {root} through node {node}")
    }
}

/// Reads what [`SIGNED`] or [`REFUSED`] gave.
///
/// # Errors
/// A line that is no row.
pub fn rows(text: &str) -> Result<Vec<Row>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| row(line).ok_or_else(|| format!("no row of the archive: {line:?}"))).collect()
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.trim().split(',').collect();
    let [key, duty, slot, source, target, root, node, log_index, ordinal] = cells.as_slice() else { return None };
    let content = match *duty {
        "block" => Content::Block { slot: slot.parse().ok()? },
        "attestation" => Content::Attestation { source: source.parse().ok()?, target: target.parse().ok()? },
        _ => return None,
    };
    Some(Row {
        claim: (format!("0x{key}").parse().ok()?, content, format!("0x{root}").parse().ok()?),
        node: node.parse().ok()?,
        log_index: log_index.parse().ok()?,
        ordinal: ordinal.parse().ok()?,
    })
}

/// Every block and vote of a complete interchange.
///
/// # Errors
/// No interchange, or a record without a root.
pub fn records(text: &str) -> Result<Vec<Claim>, String> {
    let file: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for entry in file["data"].as_array().ok_or("no `data` in the interchange")? {
        let key = entry["pubkey"].as_str().and_then(|key| key.parse().ok()).ok_or("an entry without a key")?;
        for (list, is_block) in [("signed_blocks", true), ("signed_attestations", false)] {
            for record in entry[list].as_array().into_iter().flatten() {
                let claim = record_claim(key, record, is_block);
                found.push(claim.ok_or_else(|| format!("not a complete record of {key}: {record}"))?);
            }
        }
    }
    Ok(found)
}

fn record_claim(key: PublicKey, record: &serde_json::Value, is_block: bool) -> Option<Claim> {
    let number = |name: &str| record[name].as_str()?.parse().ok();
    let content = if is_block {
        Content::Block { slot: number("slot")? }
    } else {
        Content::Attestation { source: number("source_epoch")?, target: number("target_epoch")? }
    };
    Some((key, content, record["signing_root"].as_str()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn rows_of_both_duties_are_read_and_nothing_else_is() {
        let (key, root) = ("01".repeat(48), "02".repeat(32));
        let text = format!("{key},block,7,0,0,{root},3,10,0\n{key},attestation,0,3,4,{root},0,10,1\n\n");
        let found = rows(&text).unwrap();
        let claim = |content| (PublicKey([1; 48]), content, Root([2; 32]));
        assert_eq!(found[0].claim, claim(Content::Block { slot: 7 }));
        assert_eq!(found[1].claim, claim(Content::Attestation { source: 3, target: 4 }));
        assert_eq!((found[0].node, found[1].log_index, found[1].ordinal), (3, 10, 1));
        assert!(rows("a,b").is_err());
        assert!(rows(&format!("{key},exit,7,0,0,{root},3,10,0")).is_err());
    }

    #[test]
    fn records_of_an_interchange_are_read_with_their_roots() {
        let (key, root) = (PublicKey([1; 48]), Root([2; 32]));
        let text = format!(
            r#"{{"data":[{{"pubkey":"{key}","signed_blocks":[{{"slot":"7","signing_root":"{root}"}}],
            "signed_attestations":[{{"source_epoch":"3","target_epoch":"4","signing_root":"{root}"}}]}}]}}"#
        );
        let found = records(&text).unwrap();
        let vote = Content::Attestation { source: 3, target: 4 };
        assert_eq!(found, [(key, Content::Block { slot: 7 }, root), (key, vote, root)]);
        assert!(records(&text.replace("signing_root", "other")).is_err());
    }
}
