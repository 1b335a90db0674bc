//! Protocol versions and cipher suites: safe defaults, narrowed by name.

use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

/// A protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    /// The default minimum: Teku pins `TLSv1.2`, Nimbus offers nothing newer.
    #[default]
    Tls12,
    /// The newest.
    Tls13,
}

/// The protocol versions of a connection: `min` and everything newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TlsVersions {
    /// The oldest version that is spoken.
    pub min: TlsVersion,
}

/// The cipher suites of a connection, in our order of preference. `Default` is all that rustls has: only AEAD suites
/// with forward secrecy.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CipherSuites {
    chosen: Option<Vec<SupportedCipherSuite>>,
}

/// Why versions or cipher suites cannot be used.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    /// Not a version that is spoken here.
    #[error("unknown TLS version {0:?}: use 1.2 or 1.3")]
    UnknownVersion(String),
    /// Not a suite that is offered here.
    #[error("unknown or unsafe cipher suite {name:?}: choose among {}", known.join(", "))]
    UnknownSuite {
        /// As given.
        name: String,
        /// The IANA names of all suites.
        known: Vec<String>,
    },
    /// The same suite twice.
    #[error("cipher suite {0:?} is listed twice")]
    Twice(String),
    /// An empty list would allow nothing.
    #[error("the list of cipher suites is empty: leave it out for the defaults")]
    Empty,
    /// A version that is allowed could never be agreed on.
    #[error("TLS {version} is allowed, but no cipher suite for it is listed")]
    NoSuiteFor {
        /// `1.2` or `1.3`.
        version: &'static str,
    },
    /// A suite that no allowed version uses.
    #[error("cipher suite {name} is listed, but its TLS version 1.2 is not allowed")]
    Useless {
        /// IANA name.
        name: String,
    },
}

impl FromStr for TlsVersion {
    type Err = ProtocolError;

    /// Reads `1.2` and `1.3`, and the same behind `TLSv` as Java and OpenSSL write it.
    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        match text.strip_prefix("TLSv").unwrap_or(text) {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err(ProtocolError::UnknownVersion(text.to_owned())),
        }
    }
}

impl CipherSuites {
    /// The suites with these IANA names (`TLS_AES_128_GCM_SHA256`, `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`), most
    /// wanted first.
    ///
    /// # Errors
    /// A name that is unknown or listed twice, or an empty list.
    pub fn named<N: AsRef<str>>(names: &[N]) -> Result<Self, ProtocolError> {
        if names.is_empty() {
            return Err(ProtocolError::Empty);
        }
        let known = aws_lc_rs::ALL_CIPHER_SUITES;
        let mut chosen = Vec::with_capacity(names.len());
        for name in names.iter().map(|name| name.as_ref().trim()) {
            let found = known.iter().find(|suite| iana_name(suite.suite()) == name).ok_or_else(|| {
                let known = known.iter().map(|suite| iana_name(suite.suite())).collect();
                ProtocolError::UnknownSuite { name: name.to_owned(), known }
            })?;
            if chosen.contains(found) {
                return Err(ProtocolError::Twice(name.to_owned()));
            }
            chosen.push(*found);
        }
        Ok(Self { chosen: Some(chosen) })
    }

    /// Whether they were chosen, so that our order counts.
    pub(super) const fn are_chosen(&self) -> bool {
        self.chosen.is_some()
    }

    /// The IANA names, most wanted first.
    pub fn names(&self) -> Vec<String> {
        let all = self.chosen.as_deref().unwrap_or(aws_lc_rs::DEFAULT_CIPHER_SUITES);
        all.iter().map(|suite| iana_name(suite.suite())).collect()
    }
}

/// The cryptography of a connection, with only the suites that were chosen.
pub(super) fn provider(versions: TlsVersions, suites: &CipherSuites) -> Result<Arc<CryptoProvider>, ProtocolError> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(chosen) = &suites.chosen {
        let has = |version| chosen.iter().any(|suite| suite.version().version == version);
        if !has(ProtocolVersion::TLSv1_3) {
            return Err(ProtocolError::NoSuiteFor { version: "1.3" });
        }
        if versions.min == TlsVersion::Tls12 && !has(ProtocolVersion::TLSv1_2) {
            return Err(ProtocolError::NoSuiteFor { version: "1.2" });
        }
        let old = chosen.iter().find(|suite| suite.version().version == ProtocolVersion::TLSv1_2);
        if let (TlsVersion::Tls13, Some(old)) = (versions.min, old) {
            return Err(ProtocolError::Useless { name: iana_name(old.suite()) });
        }
        provider.cipher_suites.clone_from(chosen);
    }
    Ok(Arc::new(provider))
}

impl TlsVersions {
    pub(super) const fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        static NEW: [&SupportedProtocolVersion; 1] = [&TLS13];
        match self.min {
            TlsVersion::Tls12 => &BOTH,
            TlsVersion::Tls13 => &NEW,
        }
    }
}

/// rustls writes `TLS13_` where IANA writes `TLS_`.
fn iana_name(suite: CipherSuite) -> String {
    let name = format!("{suite:?}");
    name.strip_prefix("TLS13_").map_or_else(|| name.clone(), |rest| format!("TLS_{rest}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const NEW: &str = "TLS_AES_256_GCM_SHA384";
    const OLD: &str = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";

    #[test]
    fn names_are_iana_names_and_anything_else_is_refused_with_the_choices() {
        assert_eq!(CipherSuites::named(&[NEW, OLD]).unwrap().names(), [NEW, OLD]);
        assert!(CipherSuites::default().names().contains(&NEW.to_owned()));
        for name in ["TLS13_AES_256_GCM_SHA384", "TLS_RSA_WITH_AES_128_CBC_SHA", "", "ECDHE-RSA-AES128-GCM-SHA256"] {
            let error = CipherSuites::named(&[name]).unwrap_err();
            assert!(matches!(&error, ProtocolError::UnknownSuite { .. }) && error.to_string().contains(OLD), "{error}");
        }
        assert_eq!(CipherSuites::named(&[NEW, NEW]), Err(ProtocolError::Twice(NEW.to_owned())));
        assert_eq!(CipherSuites::named::<&str>(&[]), Err(ProtocolError::Empty));
    }

    #[test]
    fn suites_and_versions_must_fit() {
        let (both, new_only) = (TlsVersions::default(), TlsVersions { min: TlsVersion::Tls13 });
        let suites = |names: &[&str]| CipherSuites::named(names).unwrap();
        assert_eq!(provider(both, &suites(&[NEW, OLD])).unwrap().cipher_suites.len(), 2);
        assert_eq!(provider(new_only, &suites(&[NEW])).unwrap().cipher_suites.len(), 1);
        let refused = |versions, names: &[&str]| provider(versions, &suites(names)).err();
        assert_eq!(refused(both, &[NEW]), Some(ProtocolError::NoSuiteFor { version: "1.2" }));
        assert_eq!(refused(both, &[OLD]), Some(ProtocolError::NoSuiteFor { version: "1.3" }));
        assert_eq!(refused(new_only, &[NEW, OLD]), Some(ProtocolError::Useless { name: OLD.to_owned() }));
    }

    #[test]
    fn versions_are_read_as_others_write_them() {
        for (text, version) in [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13), ("TLSv1.3", TlsVersion::Tls13)]
        {
            assert_eq!(text.parse(), Ok(version));
        }
        for text in ["1.1", "1.0", "TLSv1", "SSLv3", "", "13"] {
            assert!(text.parse::<TlsVersion>().is_err(), "{text}");
        }
    }
}
