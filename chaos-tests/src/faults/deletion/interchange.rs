//! An EIP-3076 text of one validator, as another signer would hand it out.

use consigner_rules::{Epoch, PublicKey, Root, Slot};
use serde_json::json;

/// One block at `slot` and one vote from `epoch` to the next, without roots.
pub(super) fn text(genesis_validators_root: Root, key: &PublicKey, slot: Slot, epoch: Epoch) -> String {
    json!({
        "metadata": {
            "interchange_format_version": "5",
            "genesis_validators_root": genesis_validators_root.to_string(),
        },
        "data": [{
            "pubkey": key.to_string(),
            "signed_blocks": [{"slot": slot.to_string()}],
            "signed_attestations": [{"source_epoch": epoch.to_string(), "target_epoch": (epoch + 1).to_string()}],
        }],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::oracle::{Marks, observation};

    #[test]
    fn the_text_says_what_was_meant() {
        let key = PublicKey([1; 48]);
        let marks = observation::marks(text(Root([2; 32]), &key, 7, 3).as_bytes()).unwrap();
        let expected = Marks { block: Some((7, None)), source: Some(3), target: Some((4, None)) };
        assert_eq!(marks.get(&key), Some(&expected));
    }
}
