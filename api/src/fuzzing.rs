//! What reads bytes from outside, for the fuzz targets in `api/fuzz` alone.
//!
//! In: bytes. Out: whether they were understood; a panic is a finding, and so is a promise of the readers that does not
//! hold. Deliberately absent: anything that needs a cluster.

use crate::admin::policy::{apply, check, tokens};
use crate::admin::{cluster, keys};
use crate::admission::credentials::{self, HEADER_BYTES_MAX, Shown};
use crate::keymanager::keystores_import::{parsed, understood};
use consigner_rules::Root;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

const ROOT: Root = Root([0x11; 32]);

/// An `Authorization` header; lines of the input are several headers.
///
/// # Panics
/// When something is understood that must not be.
#[must_use]
pub fn authorization(bytes: &[u8]) -> bool {
    let values = bytes.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let headers: HeaderMap = values.map(|value| (AUTHORIZATION, value)).collect();
    match credentials::shown(&headers) {
        Ok(Shown::Nothing) => {
            assert!(headers.is_empty(), "a header was overlooked");
            true
        }
        Ok(Shown::Bearer(text) | Shown::Basic(text)) => {
            assert_eq!(headers.len(), 1, "one of several was chosen");
            assert!(text.len() <= HEADER_BYTES_MAX && text.chars().all(|c| c.is_ascii_graphic()), "a strange text");
            if let Some(claim) = credentials::token_claim(&text) {
                assert!(text.starts_with(&format!("cst_{}_", hex::encode(claim.id))), "a token of two texts");
                assert_eq!(claim.hash, credentials::token_hash(&text));
            }
            true
        }
        Err(_) => false,
    }
}

/// The body of `POST /eth/v1/keystores`, with the keystores in it.
#[must_use]
pub fn keystores_import(body: &[u8]) -> bool {
    let Ok((wanted, _)) = understood(body, &ROOT) else { return false };
    wanted.iter().all(|(text, password)| parsed(text, password).is_ok())
}

/// The body of any endpoint of administration that takes JSON, one after the other.
#[must_use]
pub fn admin_bodies(body: &[u8]) -> bool {
    let read = [
        apply::read(body).is_ok(),
        check::read(body).is_ok(),
        tokens::read_create(body).is_ok(),
        tokens::read_revoke(body).is_ok(),
        cluster::init::understand(body, 1).is_ok(),
        keys::understood(body, &ROOT).is_ok(),
    ];
    read.into_iter().any(|is_understood| is_understood)
}
