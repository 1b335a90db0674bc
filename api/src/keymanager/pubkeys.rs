//! The list of public keys in the body of a deletion.

use crate::error::ApiError;
use crate::secrets::understand;
use consigner_rules::PublicKey;
use serde::Deserialize;

/// Characters of a wrong key that the answer repeats: a little more than a right one has.
const QUOTED_MAX: usize = 110;

#[derive(Deserialize)]
struct Named {
    pubkeys: Vec<String>,
}

/// Reads `{"pubkeys": ["0x..", ..]}`.
///
/// # Errors
/// 400 that names the first item that is not `0x` and 96 hexadecimal digits, as the specification's pattern asks.
pub(crate) fn read(body: &[u8]) -> Result<Vec<PublicKey>, ApiError> {
    let Named { pubkeys } = understand(body, "{\"pubkeys\": [\"0x..\", ..]}")?;
    let parsed = pubkeys.iter().enumerate().map(|(index, text)| {
        parse(text).map_err(|why| ApiError::BadRequest(format!("pubkeys[{index}] {}: {why}", quoted(text))))
    });
    parsed.collect()
}

/// A public key exactly as the specification writes it.
pub(crate) fn parse(text: &str) -> Result<PublicKey, String> {
    if !text.starts_with("0x") {
        return Err("must begin with 0x".to_owned());
    }
    text.parse().map_err(|why: consigner_rules::primitives::HexError| why.to_string())
}

fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_MAX).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_are_written_as_the_specification_does() {
        let digits = "aB".repeat(48);
        let keys = read(format!("{{\"pubkeys\":[\"0x{digits}\"], \"more\": 1}}").as_bytes()).unwrap();
        assert_eq!(keys, [PublicKey([0xab; 48])]);
        for (wrong, named) in [
            (digits.clone(), "must begin with 0x"),
            (format!("0X{digits}"), "must begin with 0x"),
            (format!("0x{digits}00"), "expected 48 bytes"),
            ("0x".to_owned() + &"zz".repeat(48), "not hexadecimal"),
            ("é".repeat(5000), "..."),
        ] {
            let error = read(format!("{{\"pubkeys\":[\"0x{digits}\", \"{wrong}\"]}}").as_bytes()).unwrap_err();
            let text = error.sentence();
            assert!(text.starts_with("pubkeys[1] ") && text.contains(named) && text.len() < 600, "{text}");
        }
        for wrong in ["", "[]", "{}", "{\"pubkeys\":null}", "{\"pubkeys\":[1]}", "{\"pubkeys\":[],\"pubkeys\":[]}"] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
