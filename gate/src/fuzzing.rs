//! What `gate/fuzz` calls: every reader of bytes from outside, without the file or socket around it.
//!
//! Each function must return for any input, and soon. Deliberately absent from programs: the feature `fuzzing` is off.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls_pki_types::UnixTime;

use crate::oauth::{Expected, Keys};
use crate::peer::{PeerCertificate, describe};
use crate::tls::StaleCrl;
use crate::tls::known_clients::KnownClients;
use crate::tls::{crl, pem, pkcs12};

/// 2030-01-01, when the certificates of the corpus are valid.
const NOW: u64 = 1_893_456_000;

/// Certificates, a CA bundle and revocation lists, all in one PEM text; the lists are judged by the bundle.
pub fn pem_and_crl(text: &[u8]) {
    let (path, provider) = (Path::new("fuzz.pem"), Arc::new(aws_lc_rs::default_provider()));
    let certificates = pem::certificates_in(path, text).unwrap_or_default();
    for certificate in &certificates {
        let _names = PeerCertificate::parse(certificate);
        assert!(!describe(certificate).contains(char::is_control), "a certificate could forge log lines");
    }
    let _expiries = pem::chain_expiries(path, &certificates);
    let (Ok(authorities), Ok(lists)) = (pem::authorities_in(path, certificates), crl::lists_in(path, text)) else {
        return;
    };
    for list in &lists {
        for stale in [StaleCrl::Warn, StaleCrl::Refuse] {
            let _verdict = crl::check(path, list, stale, &authorities, &provider);
        }
    }
}

/// A known-clients file, and, behind a NUL byte, a certificate that is looked up in it.
pub fn known_clients(bytes: &[u8]) {
    let (text, leaf) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let Ok(known) = KnownClients::parse(Path::new("fuzz.txt"), text) else { return };
    let leaf = leaf.strip_prefix(&[0]).unwrap_or(leaf).into();
    let _verdict = known.check(&leaf, UnixTime::since_unix_epoch(Duration::from_secs(NOW)));
}

/// A PKCS#12 file.
pub fn pkcs12(bytes: &[u8]) {
    let _key = pkcs12::certified_key_in(Path::new("fuzz.p12"), bytes, "changeit", &aws_lc_rs::default_provider());
}

/// A PROXY header; true if it would be believed.
pub fn proxy(bytes: &[u8]) -> bool {
    crate::door::proxy::is_believed(bytes)
}

/// A fixed key set and what is expected of tokens.
pub struct Jwt {
    keys: Keys,
    expected: Expected,
}

impl Jwt {
    /// The issuer `https://idp`, the audience `consigner`. `None`: not a key set.
    pub fn new(key_set: &[u8]) -> Option<Self> {
        let expected =
            Expected { issuer: "https://idp".to_owned(), audiences: vec!["consigner".to_owned()], leeway: 60 };
        Some(Self { keys: Keys::parse(key_set).ok()?, expected })
    }

    /// The same bytes as a token, as the claims of a verified one, and as a key set. True if the token is believed.
    pub fn read(&self, bytes: &[u8]) -> bool {
        let now = i64::try_from(NOW).unwrap_or_default();
        if let Ok(claims) = crate::oauth::claims(bytes, &self.expected, now) {
            assert!(claims.issuer == self.expected.issuer && claims.expires_unix > now - 60, "not what was expected");
            assert!(!claims.subject.contains(char::is_control), "a subject could forge log lines");
        }
        let _other_keys = Keys::parse(bytes);
        std::str::from_utf8(bytes)
            .is_ok_and(|token| crate::oauth::verify(token, &self.keys, &self.expected, now).is_ok())
    }
}
