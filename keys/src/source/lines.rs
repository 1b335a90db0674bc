//! The text of a secret in a vault: one raw key in hexadecimal for each line, as Web3Signer reads it.
//!
//! In: the text. Out: candidates. Deliberately absent: where the text is from.

use super::error::SourceError;
use super::{Candidate, Material};
use crate::bls::SecretKey;
use crate::remote::{CallError, ConfigError};

/// Secrets of a bulk source that are read at most, so that a mistyped prefix does not fetch a whole company.
pub(super) const SECRETS_MAX: usize = 100_000;

/// One candidate for each line that is not blank; a line that is no key becomes one that says so.
pub(super) fn keys_in(origin: &str, text: &str) -> Vec<Candidate> {
    let lines: Vec<(usize, &str)> =
        text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()).collect();
    if lines.is_empty() {
        return vec![Candidate::failed(origin, None, SourceError::Unsupported("the secret is empty".to_owned()))];
    }
    let several = lines.len() > 1;
    let candidate = |(index, line): (usize, &str)| {
        let origin = if several { format!("{origin}, line {}", index + 1) } else { origin.to_owned() };
        match line.parse::<SecretKey>() {
            Ok(secret) => Candidate::raw(origin, secret),
            Err(error) => Candidate::failed(origin, None, error.into()),
        }
    };
    lines.into_iter().map(candidate).collect()
}

/// A secret that could not be fetched.
pub(super) fn failed(origin: &str, error: CallError) -> Candidate {
    Candidate::new(origin, None, Material::Failed(error.into()))
}

impl From<CallError> for SourceError {
    fn from(error: CallError) -> Self {
        let may_pass = error.may_pass();
        let call = format!("{} for {}", error.call, error.key);
        let hint = if error.hint.is_empty() {
            error.failure.to_string()
        } else {
            format!("{}; {}", error.failure, error.hint)
        };
        let source = error.cause.unwrap_or_else(|| error.failure.to_string().into());
        Self::Remote { call, hint: Some(hint), may_pass, source }
    }
}

impl From<ConfigError> for SourceError {
    fn from(error: ConfigError) -> Self {
        let (call, may_pass) = ("setting up the client".to_owned(), false);
        Self::Remote { call, hint: None, may_pass, source: Box::new(error) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::development::interop_secret;

    #[test]
    fn every_line_is_a_key_or_says_why_not() {
        let key = |index: u64| hex::encode(interop_secret(index).to_bytes().as_slice());
        let text = format!("0x{}\r\n\n  {}  \nnonsense\n{}\n", key(1), key(2), "0".repeat(64));
        let candidates = keys_in("secret a", &text);
        let origins: Vec<&str> = candidates.iter().map(|candidate| candidate.origin.as_str()).collect();
        assert_eq!(origins, ["secret a, line 1", "secret a, line 3", "secret a, line 4", "secret a, line 5"]);
        let public_keys: Vec<_> = candidates.iter().map(|candidate| candidate.public_key).collect();
        let [one, two] = [1, 2].map(|index| Some(interop_secret(index).public_key()));
        assert_eq!(public_keys, [one, two, None, None]);
        for candidate in &candidates[2..] {
            assert!(matches!(candidate.material, Material::Failed(SourceError::Secret(_))), "{candidate:?}");
        }
        assert_eq!(keys_in("b", &key(3))[0].origin, "b");
        for blank in ["", "\n", "  \r\n\t"] {
            assert!(matches!(keys_in("c", blank)[0].material, Material::Failed(SourceError::Unsupported(_))));
        }
    }
}
