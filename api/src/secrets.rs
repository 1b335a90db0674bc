//! Bodies that hold secrets: read into memory that is erased, parsed into texts that are erased, and never quoted.
//!
//! In: request bodies, JSON. Out: erased-on-drop bytes and texts; errors that name a place, never what stands there.
//! Deliberately absent: the copies that TLS and HTTP make on the way here, which are freed but not erased.

use crate::admission::{BodyError, BodyRules};
use crate::error::ApiError;
use axum::extract::Request;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use zeroize::{Zeroize as _, Zeroizing};

/// Room for a body of unknown length to begin with.
const FIRST_ROOM: usize = 64 << 10;

/// Reads the whole body into memory that is erased when dropped.
///
/// # Errors
/// As [`crate::admission::read_body`].
pub(crate) async fn read(request: Request, rules: BodyRules) -> Result<Zeroizing<Vec<u8>>, BodyError> {
    let mut body = request.into_body();
    let BodyRules { bytes_max, time_max } = rules;
    let collect = async {
        let declared = body.size_hint().lower();
        if declared > bytes_max as u64 {
            return Err(BodyError::TooLarge { bytes_max });
        }
        let room = usize::try_from(declared).unwrap_or(bytes_max).max(FIRST_ROOM);
        let mut whole = Zeroizing::new(Vec::with_capacity(room));
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
            if whole.len() + data.len() > bytes_max {
                return Err(BodyError::TooLarge { bytes_max });
            }
            append(&mut whole, &data);
            erase(data);
        }
        Ok(whole)
    };
    tokio::time::timeout(time_max, collect).await.unwrap_or(Err(BodyError::Slow(time_max)))
}

/// A vector that grows by itself leaves its old memory behind as it was.
fn append(whole: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    let needed = whole.len() + data.len();
    if needed > whole.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * whole.capacity())));
        larger.extend_from_slice(whole);
        *whole = larger;
    }
    whole.extend_from_slice(data);
}

/// Where the piece is ours alone; otherwise it is part of a buffer that its connection goes on using.
fn erase(data: Bytes) {
    if let Ok(mut own) = data.try_into_mut() {
        own.zeroize();
    }
}

/// A text that is erased when dropped.
pub(crate) struct SecretText(pub(crate) Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Allocated once, at its final length.
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Parses a body. The error says where and what was expected, and repeats nothing of the body: it may hold passwords.
///
/// # Errors
/// 400.
pub(crate) fn understand<T: DeserializeOwned>(body: &[u8], shape: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        // The names in these two are the program's own.
        let named = ["missing field", "duplicate field"].into_iter().any(|known| text.starts_with(known));
        let why = match error.classify() {
            Category::Data if named => text,
            Category::Data => format!("another type than expected at line {line} column {column}"),
            Category::Syntax => format!("not JSON at line {line} column {column}"),
            Category::Eof | Category::Io => format!("the JSON ends too early, at line {line} column {column}"),
        };
        ApiError::BadRequest(format!("the body is not {shape}: {why}"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use axum::body::Body;
    use futures::stream;
    use std::convert::Infallible;
    use std::time::Duration;

    #[derive(Deserialize)]
    struct Login {
        passwords: Vec<SecretText>,
    }

    #[test]
    fn an_error_repeats_nothing_of_the_body() {
        let secret = "correct horse battery staple";
        for (body, why) in [
            (format!("{{\"passwords\":\"{secret}\"}}"), "another type than expected at line 1 column"),
            (format!("{{\"passwords\":[\"{secret}\", 7]}}"), "another type"),
            (format!("{{\"passwords\":[\"{secret}\"], \"passwords\":[]}}"), "duplicate field `passwords`"),
            (format!("{{\"{secret}\":1}}"), "missing field `passwords`"),
            (format!("{{\"passwords\":[\"{secret}\""), "ends too early"),
            (format!("{{\"passwords\":[{secret}]}}"), "not JSON at line 1"),
            (format!("\"{secret}\""), "another type"),
        ] {
            let Err(error) = understand::<Login>(body.as_bytes(), "{..}") else { panic!("{body} was understood") };
            let text = error.sentence();
            assert!(text.contains(why), "{why}: {text}");
            assert!(!text.contains("horse") && !format!("{error:?}").contains("horse"), "{text}");
        }
        let login = understand::<Login>(b"{\"passwords\":[\"a\\u0062\"]}", "{..}").unwrap();
        assert_eq!(login.passwords[0].0.as_str(), "ab");
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_whole_and_bounded() {
        let pieces = |count: usize| {
            let piece = |number: usize| Ok::<_, Infallible>(Bytes::from(vec![b'a' + (number % 26) as u8; 50_000]));
            Request::new(Body::from_stream(stream::iter((0..count).map(piece).collect::<Vec<_>>())))
        };
        let rules = BodyRules { bytes_max: 500_000, time_max: Duration::from_secs(30) };
        let whole = read(pieces(10), rules).await.unwrap();
        assert_eq!((whole.len(), whole[0], whole[499_999]), (500_000, b'a', b'j'));
        assert!(matches!(read(pieces(11), rules).await, Err(BodyError::TooLarge { .. })));
        let declared = Request::new(Body::from(vec![0; 500_001]));
        assert!(matches!(read(declared, rules).await, Err(BodyError::TooLarge { .. })));
    }
}
