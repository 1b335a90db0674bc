//! What the verifier is told, and what of it cannot be.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use super::OAuthError;

/// Clocks that are further apart are broken; five minutes is what Kerberos and most issuers allow.
pub const LEEWAY_MAX: Duration = Duration::from_secs(300);

/// More often would be a load test of the issuer.
pub const REFRESH_MIN: Duration = Duration::from_secs(10);

/// A key that the issuer withdrew is believed for as long as this at most while the issuer can be reached.
pub const REFRESH_MAX: Duration = Duration::from_secs(86_400);

/// Whose tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth {
    /// `iss` of every token, compared byte by byte.
    pub issuer: String,
    /// A token must name one of these in its `aud`. At least one: a token for somebody else must not open this door.
    pub audiences: Vec<String>,
    /// Where the issuer's public keys are.
    pub keys: KeySet,
    /// How far the issuer's clock may be off; at most [`LEEWAY_MAX`].
    pub leeway: Duration,
    /// How often the URL is asked again, between [`REFRESH_MIN`] and [`REFRESH_MAX`]. A file is watched instead.
    pub refresh: Duration,
}

/// Where a JWK set (RFC 7517) comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySet {
    /// A file, read again when it changes.
    File(PathBuf),
    /// A server.
    Url {
        /// `https://`; plain `http://` of a loopback address only. Redirects are not followed.
        url: String,
        /// CA bundle, PEM, that the server's certificate must come from; `None`: the system's roots.
        ca: Option<PathBuf>,
    },
}

impl OAuth {
    /// What can be said before anything is read.
    ///
    /// # Errors
    /// [`OAuthError::Setting`] names the setting.
    pub fn check(&self) -> Result<(), OAuthError> {
        let refuse = |setting, reason: &str| Err(OAuthError::Setting { setting, reason: reason.to_owned() });
        if self.issuer.is_empty() {
            return refuse("issuer", "it is empty");
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return refuse("audience", "one is needed, and none may be empty");
        }
        if self.leeway > LEEWAY_MAX {
            return refuse("leeway", &format!("more than {LEEWAY_MAX:?}"));
        }
        if !(REFRESH_MIN..=REFRESH_MAX).contains(&self.refresh) {
            return refuse("refresh", &format!("not between {REFRESH_MIN:?} and {REFRESH_MAX:?}"));
        }
        match &self.keys {
            KeySet::File(_) => Ok(()),
            KeySet::Url { url, .. } => check_url(url).or_else(|reason| refuse("jwks-url", reason)),
        }
    }
}

/// Whoever can change the answer on its way can make tokens.
fn check_url(url: &str) -> Result<(), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "not a URL")?;
    let authority = uri.authority().ok_or("no host")?;
    if authority.as_str().contains('@') {
        return Err("it must not hold a user or password");
    }
    if uri.scheme() == Some(&Scheme::HTTPS) {
        return Ok(());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|addr| addr.is_loopback());
    if uri.scheme() == Some(&Scheme::HTTP) && is_loopback { Ok(()) } else { Err("it must begin with https://") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_url(url: &str) -> OAuth {
        OAuth {
            issuer: "https://idp".to_owned(),
            audiences: vec!["consigner".to_owned()],
            keys: KeySet::Url { url: url.to_owned(), ca: None },
            leeway: Duration::from_secs(60),
            refresh: Duration::from_secs(600),
        }
    }

    #[test]
    fn urls_are_https_or_on_this_machine() {
        for good in ["https://idp/keys", "https://idp:8443/a?b", "http://127.0.0.1:80/keys", "http://[::1]:80/keys"] {
            assert!(of_url(good).check().is_ok(), "{good}");
        }
        let all_bad = ["http://idp/keys", "http://localhost/keys", "http://10.0.0.1/keys", "http://127.0.0.1.idp/keys"];
        for bad in all_bad.into_iter().chain(["ftp://idp/", "/keys", "", "https://u:p@idp/", "idp/keys"]) {
            assert!(of_url(bad).check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_could_not_be_safe_is_refused_by_name() {
        let with = |change: &dyn Fn(&mut OAuth)| {
            let mut oauth = of_url("https://idp/keys");
            change(&mut oauth);
            oauth.check().err().map(|why| why.to_string()).unwrap_or_default()
        };
        assert_eq!(with(&|_| {}), "");
        for (error, words) in [
            (with(&|o| o.issuer.clear()), "oauth issuer"),
            (with(&|o| o.audiences.clear()), "oauth audience"),
            (with(&|o| o.audiences.push(String::new())), "oauth audience"),
            (with(&|o| o.leeway = LEEWAY_MAX + Duration::from_millis(1)), "oauth leeway"),
            (with(&|o| o.refresh = Duration::ZERO), "oauth refresh"),
            (with(&|o| o.refresh = Duration::from_secs(90_000)), "oauth refresh"),
        ] {
            assert!(error.contains(words), "{words:?} is missing in {error:?}");
        }
    }
}
