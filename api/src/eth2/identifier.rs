//! The `{identifier}` of a path: a public key in hexadecimal, in either case, with or without `0x`.
//!
//! In: path text. Out: a key, or 400 naming the text. Deliberately absent: whether the key exists (404) or lies on the
//! curve (a key that does not is simply unknown).

use crate::error::ApiError;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use consigner_rules::PublicKey;

/// Characters of a wrong identifier that the answer repeats: a little more than a right one has.
const QUOTED_MAX: usize = 100;

pub(super) fn public_key(identifier: Result<Path<String>, PathRejection>) -> Result<PublicKey, ApiError> {
    let Path(text) = identifier.map_err(|why| ApiError::BadRequest(format!("identifier: {}", why.body_text())))?;
    parse(&text).map_err(ApiError::BadRequest)
}

fn parse(text: &str) -> Result<PublicKey, String> {
    text.parse().map_err(|why| {
        let mut quoted: String = text.chars().take(QUOTED_MAX).collect();
        if quoted.len() < text.len() {
            quoted.push_str("...");
        }
        format!("identifier {quoted:?} is not a BLS public key: {why}")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn case_and_prefix_do_not_matter() {
        let expected = PublicKey([0xab; 48]);
        for text in
            ["ab".repeat(48), "AB".repeat(48), format!("0x{}", "aB".repeat(48)), format!("0X{}", "Ab".repeat(48))]
        {
            assert_eq!(parse(&text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn wrong_identifiers_are_named() {
        let cases = [
            ("", "identifier \"\" is not a BLS public key: expected 48 bytes of hexadecimal, got 0 characters"),
            (
                "0x1234",
                "identifier \"0x1234\" is not a BLS public key: expected 48 bytes of hexadecimal, got 4 characters",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
        let not_hex = "zz".repeat(48);
        assert_eq!(
            parse(&not_hex).unwrap_err(),
            format!("identifier \"{not_hex}\" is not a BLS public key: not hexadecimal")
        );
        let long = parse(&"é".repeat(5000)).unwrap_err();
        assert!(long.contains("...") && long.len() < 400, "{long}");
    }
}
