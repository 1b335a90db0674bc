//! One token: from its text to its claims. Pure; the clock is a parameter.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::JwtError;
use super::json::{self, Json, Object};
use super::jwk::{Algorithm, Keys};

/// The longest token that is read. Tokens with hundreds of groups take 8 KiB; a door's whole head may have 64 KiB.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Dates end with the year 9999; whatever is later is an overflow somewhere.
const NUMERIC_DATE_MAX: i64 = 253_402_300_799;

/// `sub` and its stand-ins end up in records and log lines.
const SUBJECT_BYTES_MAX: usize = 512;

/// What a token proves about its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `iss`.
    pub issuer: String,
    /// `sub`; for an issuer that leaves it out, `client_id` or `azp`. Without control characters.
    pub subject: String,
    /// `exp`, in seconds since 1970. The leeway is not in it.
    pub expires_unix: i64,
    /// Every claim that is a text, a number, a truth value, or a list of such (as text each), by name; `scope` is split
    /// at its spaces. Whatever is nested deeper is left out.
    pub values: BTreeMap<String, Vec<String>>,
}

/// What must be in a token.
pub(crate) struct Expected {
    pub(crate) issuer: String,
    pub(crate) audiences: Vec<String>,
    /// In seconds.
    pub(crate) leeway: i64,
}

/// The parts of a token that lead to its key.
struct Header {
    algorithm: Algorithm,
    key_id: Option<String>,
}

/// Verifies a token at this time, in seconds since 1970.
pub(crate) fn verify(token: &str, keys: &Keys, expected: &Expected, now: i64) -> Result<Claims, JwtError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(JwtError::TooLong);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(JwtError::Malformed("it does not have three parts"));
    };
    let Header { algorithm, key_id } = Header::parse(&decode(header)?)?;
    let signature = decode(signature)?;
    let message = &token.as_bytes()[..header.len() + 1 + payload.len()];
    keys.verify(algorithm, key_id.as_deref(), message, &signature)?;
    // Only what the issuer wrote is looked at any further.
    claims(&decode(payload)?, expected, now)
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, JwtError> {
        let header = json::object(bytes).map_err(JwtError::Malformed)?;
        let algorithm = header.get("alg").and_then(Json::text).ok_or(JwtError::Malformed("no algorithm"))?;
        let algorithm = Algorithm::named(algorithm).ok_or(JwtError::Algorithm)?;
        // RFC 7515, 4.1.11: "If any of the listed extension Header Parameters are not understood and supported by the
        // recipient, then the JWS is invalid." None is.
        for unsupported in ["crit", "zip", "enc"] {
            if header.contains_key(unsupported) {
                return Err(JwtError::Header(unsupported));
            }
        }
        if !header.get("typ").is_none_or(is_access_token) {
            return Err(JwtError::Header("another type"));
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Json::Text(id)) => Some(id.clone()),
            Some(_) => return Err(JwtError::Header("a malformed key id")),
        };
        Ok(Self { algorithm, key_id })
    }
}

/// RFC 9068, 2.1 and 4, and plain `JWT`, which most issuers still write. A logout token or a DPoP proof is neither.
fn is_access_token(kind: &Json) -> bool {
    kind.text().is_some_and(|kind| {
        ["JWT", "at+jwt", "application/at+jwt"].into_iter().any(|good| good.eq_ignore_ascii_case(kind))
    })
}

/// Reads the claims of a token whose signature was verified.
pub(crate) fn claims(payload: &[u8], expected: &Expected, now: i64) -> Result<Claims, JwtError> {
    check(&json::object(payload).map_err(JwtError::Malformed)?, expected, now)
}

fn check(claims: &Object, expected: &Expected, now: i64) -> Result<Claims, JwtError> {
    let issuer = claims.get("iss").ok_or(JwtError::Missing("issuer"))?.text().ok_or(JwtError::BadClaim("issuer"))?;
    if issuer != expected.issuer {
        return Err(JwtError::Issuer);
    }
    check_audience(claims.get("aud").ok_or(JwtError::Missing("audience"))?, &expected.audiences)?;
    let expires_unix = date(claims, "exp", f64::floor, "expiry")?.ok_or(JwtError::Missing("expiry"))?;
    // RFC 7519, 4.1.4: "on or after which the JWT MUST NOT be accepted".
    if now >= expires_unix + expected.leeway {
        return Err(JwtError::Expired { seconds: now - expires_unix });
    }
    if let Some(begin) = date(claims, "nbf", f64::ceil, "begin")?
        && now < begin - expected.leeway
    {
        return Err(JwtError::NotYetValid { seconds: begin - now });
    }
    date(claims, "iat", f64::floor, "date of issue")?;
    let values = claims.iter().filter_map(|(name, value)| Some((name.clone(), values(name, value)?))).collect();
    Ok(Claims { issuer: issuer.to_owned(), subject: subject(claims)?, expires_unix, values })
}

fn check_audience(audience: &Json, expected: &[String]) -> Result<(), JwtError> {
    let is_ours = |named: &str| expected.iter().any(|ours| ours == named);
    let found = match audience {
        Json::Text(one) => is_ours(one),
        Json::List(all) => {
            let all: Option<Vec<&str>> = all.iter().map(Json::text).collect();
            all.ok_or(JwtError::BadClaim("audience"))?.into_iter().any(is_ours)
        }
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Number(_) | Json::Object(_) => {
            return Err(JwtError::BadClaim("audience"));
        }
    };
    if found { Ok(()) } else { Err(JwtError::Audience) }
}

/// RFC 7519, 2: a number of seconds, fractions allowed; `round` is the one that lets less in.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "checked to be in range before")]
fn date(claims: &Object, name: &str, round: fn(f64) -> f64, what: &'static str) -> Result<Option<i64>, JwtError> {
    let seconds = match claims.get(name) {
        None => return Ok(None),
        Some(Json::Integer(seconds)) => *seconds,
        Some(Json::Number(seconds)) if (0.0..=NUMERIC_DATE_MAX as f64).contains(seconds) => round(*seconds) as i64,
        Some(_) => return Err(JwtError::BadClaim(what)),
    };
    if (0..=NUMERIC_DATE_MAX).contains(&seconds) { Ok(Some(seconds)) } else { Err(JwtError::BadClaim(what)) }
}

fn subject(claims: &Object) -> Result<String, JwtError> {
    let named = ["sub", "client_id", "azp"].into_iter().find_map(|name| claims.get(name));
    let subject = named.ok_or(JwtError::Missing("subject"))?.text().ok_or(JwtError::BadClaim("subject"))?;
    if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || subject.contains(char::is_control) {
        return Err(JwtError::BadClaim("subject"));
    }
    Ok(subject.to_owned())
}

fn values(name: &str, value: &Json) -> Option<Vec<String>> {
    match value {
        // RFC 8693, 4.2: "a space-separated list of scopes".
        Json::Text(scopes) if name == "scope" => Some(scopes.split_ascii_whitespace().map(str::to_owned).collect()),
        Json::List(items) => items.iter().map(scalar).collect(),
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Number(_) | Json::Text(_) | Json::Object(_) => {
            scalar(value).map(|one| vec![one])
        }
    }
}

fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text.clone()),
        Json::Bool(value) => Some(value.to_string()),
        Json::Integer(value) => Some(value.to_string()),
        Json::Number(value) => Some(value.to_string()),
        Json::Null | Json::List(_) | Json::Object(_) => None,
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed("a part is not base64url"))
}
