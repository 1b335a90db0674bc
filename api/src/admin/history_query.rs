//! What the calls about histories have in common: lists of keys in a query or a body, numbers as decimal text.

use consigner_rules::PublicKey;
use serde::Deserialize;
use std::collections::BTreeSet;

/// The pairs of a query, in order.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Adds the keys of one `pubkeys=`.
pub(super) fn add_keys(keys: &mut Option<BTreeSet<PublicKey>>, value: &str) -> Result<(), String> {
    // The only character of a list of keys that clients escape.
    let list = value.replace("%2C", ",").replace("%2c", ",");
    for text in list.split(',').filter(|text| !text.is_empty()) {
        let key = text.parse().map_err(|why| format!("pubkeys: {text:?} is not a BLS public key: {why}"))?;
        keys.get_or_insert_with(BTreeSet::new).insert(key);
    }
    if keys.is_none() {
        return Err("pubkeys: no key given; leave the parameter out for all".to_owned());
    }
    Ok(())
}

/// The keys of `pubkeys=` where there is no other parameter; `None` if it is absent.
pub(super) fn only_keys(query: &str) -> Result<Option<BTreeSet<PublicKey>>, String> {
    let mut keys = None;
    for (name, value) in pairs(query) {
        if name != "pubkeys" {
            return Err(format!("query parameter {name:?} is unknown; there is only \"pubkeys\""));
        }
        add_keys(&mut keys, value)?;
    }
    Ok(keys)
}

/// A number of 64 bits: as decimal text, as everywhere in the Ethereum APIs, or as a JSON number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Number {
    Whole(u64),
    Text(String),
}

impl Number {
    /// The number of this field.
    pub(super) fn read(&self, field: &str) -> Result<u64, String> {
        match self {
            Self::Whole(number) => Ok(*number),
            Self::Text(text) => decimal(field, text),
        }
    }
}

/// A number as decimal text.
pub(super) fn decimal(field: &str, text: &str) -> Result<u64, String> {
    // `u64::from_str` alone would also take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| format!("{field}: {text:?} is no number of 64 bits"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_are_listed_with_commas_escaped_or_not() {
        let (one, two) = (PublicKey([1; 48]), PublicKey([2; 48]));
        assert_eq!(only_keys("").unwrap(), None);
        for query in
            [format!("pubkeys={one},{two}"), format!("pubkeys={one}%2C{two}"), format!("pubkeys={one}&pubkeys={two}")]
        {
            assert_eq!(only_keys(&query).unwrap(), Some(BTreeSet::from([one, two])), "{query}");
        }
    }

    #[test]
    fn what_is_not_understood_never_means_everything() {
        for query in ["pubkey=0x00", "pubkeys=0x00", "pubkeys=", "pubkeys", "pubkeys=,"] {
            assert!(only_keys(query).is_err(), "{query}");
        }
    }

    #[test]
    fn numbers_are_decimal_and_fit_64_bits() {
        assert_eq!(Number::Whole(7).read("slot"), Ok(7));
        assert_eq!(Number::Text("18446744073709551615".into()).read("slot"), Ok(u64::MAX));
        for text in ["+1", "-1", "", "0x1", "1.0", "18446744073709551616"] {
            assert!(Number::Text(text.into()).read("slot").unwrap_err().contains("slot"), "{text}");
        }
    }
}
