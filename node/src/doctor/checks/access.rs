//! Who may ask what.

use super::super::finding::Verdict;
use std::time::{SystemTime, UNIX_EPOCH};

/// Who may sign and administrate while no policy is applied.
#[must_use]
pub fn clients(key: &str, names: &[String], policy: Option<u64>) -> Verdict {
    let any = names.iter().any(|name| name == "*");
    match (any, policy) {
        (false, _) => Verdict::pass(format!("{key}: {} name(s)", names.len())),
        (true, Some(version)) if version > 0 => {
            Verdict::pass(format!("{key} is \"*\", but the policy (version {version}) alone grants"))
        }
        (true, Some(_)) => Verdict::fail(
            format!("{key} is \"*\" and no policy is applied: every certificate of the CA may do everything there"),
            format!("name them in {key}, or `consigner policy apply`"),
        ),
        (true, None) => Verdict::fail(
            format!("{key} is \"*\": without a policy every certificate of the CA may do everything there"),
            format!("name them in {key}; a live look (--dir, --endpoint) sees whether a policy is applied"),
        ),
    }
}

/// Version of the applied policy.
#[must_use]
pub fn policy(version: u64) -> Verdict {
    if version > 0 {
        return Verdict::pass(format!("version {version} is applied; what it does not grant is denied"));
    }
    Verdict::warn(
        "no policy is applied: every client of api.clients may sign everything for every key",
        "write who may do what and run `consigner policy apply policy.yaml`",
    )
}

/// A token as the cluster lists it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// When it ends, in milliseconds since 1970; `None`: never.
    #[serde(default)]
    pub expires_ms: Option<u64>,
}

/// Tokens that are good for ever, or that ended and were not taken away.
#[must_use]
pub fn tokens(tokens: &[Token], now: SystemTime) -> Verdict {
    let now_ms = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let look = |token: &Token| match token.expires_ms {
        None => Verdict::warn(
            format!("token {} ({}) never ends", token.id, token.name),
            "`consigner policy token create --role .. --expires ..`, then revoke the old one",
        ),
        Some(end) if u128::from(end) <= now_ms => {
            Verdict::warn(format!("token {} ({}) has ended", token.id, token.name), "`consigner policy token revoke`")
        }
        Some(_) => Verdict::pass(""),
    };
    Verdict::worst(tokens.iter().map(look), format!("{} token(s), each with an end", tokens.len()))
}

/// Whether administrators are known by a CA of their own.
#[must_use]
pub fn admin_ca(named: bool, is_client_ca: bool) -> Verdict {
    match (named, is_client_ca) {
        (true, false) => Verdict::pass("a certificate of the clients' CA administrates nothing"),
        (true, true) => Verdict::warn(
            "api.tls.admin-ca and api.tls.client-ca share a CA: it keeps nobody apart",
            "a CA of its own for administrators",
        ),
        (false, _) => Verdict::warn(
            "one CA issues clients and administrators: whoever gets it to sign a name gets its rights",
            "api.tls.admin-ca: a CA of its own for administrators",
        ),
    }
}

/// How the key manager API is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyManager {
    /// It is served at all.
    pub enabled: bool,
    /// On a listener of its own.
    pub own_listener: bool,
    /// From listed addresses, or from this machine, only.
    pub narrow: bool,
    /// A certificate is required.
    pub certificate: bool,
    /// A token is required beside it.
    pub token: bool,
    /// Calls are limited.
    pub limited: bool,
    /// Calls are recorded.
    pub audited: bool,
}

/// Every protection that is missing.
#[must_use]
pub fn key_manager(km: KeyManager) -> Verdict {
    if !km.enabled {
        return Verdict::pass("off");
    }
    let warn = |missing: bool, reason: &str, fix: &str| (missing).then(|| Verdict::warn(reason, fix));
    let look = [
        warn(!km.own_listener, "on, on the API port", "keymanager.listen: a listener of its own, or off"),
        warn(!km.narrow, "from any address", "keymanager.ip-allowlist, or api.ip-allowlist on the API port"),
        warn(!km.token, "without a token beside the certificate", "keymanager.token-file: 32 random bytes"),
        warn(!km.limited, "without a rate limit", "keymanager.rate.per-second"),
        (!km.certificate && !km.token)
            .then(|| Verdict::fail("neither certificate nor token is asked for", "keymanager.tls.client-certificate")),
        (!km.audited).then(|| Verdict::fail("its calls are not recorded", "audit.enabled: true")),
    ];
    Verdict::worst(look.into_iter().flatten(), "on, on a narrow listener of its own, with certificate and token")
}

/// Rates per identity, and the pauses after wrong credentials.
#[must_use]
pub fn limits(identity_per_second: Option<u64>, failed_free: Option<u64>, policy_may_limit: bool) -> Verdict {
    let (Some(rate), Some(free)) = (identity_per_second, failed_free) else {
        return Verdict::skip("this build has no limits.* keys");
    };
    let look = [
        (rate == 0 && !policy_may_limit).then(|| {
            let reason = "an identity may ask as often as it likes";
            Verdict::warn(reason, "limits.identity.per-second, or `rate` of the client in the policy")
        }),
        (free == 0).then(|| {
            let reason = "wrong credentials cost no pause";
            Verdict::fail(reason, "limits.failed-credentials.free: 10")
        }),
    ];
    let good = format!("{rate} requests per second for an identity; a pause after {free} wrong credentials");
    Verdict::worst(look.into_iter().flatten(), good)
}

/// Whether decisions are recorded.
#[must_use]
pub fn audit(enabled: Option<bool>) -> Verdict {
    match enabled {
        Some(true) => Verdict::pass("decisions go into a chain of lines with signed checkpoints"),
        Some(false) => Verdict::fail("decisions are not recorded", "audit.enabled: true"),
        None => Verdict::skip("this build has no audit.* keys"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::super::finding::Status::{self, Fail, Pass, Skip, Warn};
    use super::*;
    use std::time::Duration;

    #[test]
    fn names() {
        for (names, policy, status) in [
            (&["vc-1"] as &[&str], None, Pass),
            (&[], None, Pass),
            (&["*"], None, Fail),
            (&["*"], Some(0), Fail),
            (&["*"], Some(3), Pass),
        ] {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(clients("api.clients", &names, policy).status, status, "{names:?} {policy:?}");
        }
        assert_eq!((policy(0).status, policy(1).status), (Warn, Pass));
        for (named, same, status) in [(true, false, Pass), (true, true, Warn), (false, false, Warn)] {
            assert_eq!(admin_ca(named, same).status, status);
        }
    }

    #[test]
    fn ends_of_tokens() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let token = |expires_ms| Token { id: "ab".into(), name: "t".into(), expires_ms };
        let cases: [(&[Token], Status); 4] = [
            (&[], Pass),
            (&[token(Some(1_000_001))], Pass),
            (&[token(Some(1_000_001)), token(None)], Warn),
            (&[token(Some(999_999))], Warn),
        ];
        for (list, status) in cases {
            assert_eq!(tokens(list, now).status, status, "{list:?}");
        }
    }

    #[test]
    fn key_managers() {
        let good = KeyManager {
            enabled: true,
            own_listener: true,
            narrow: true,
            certificate: true,
            token: true,
            limited: true,
            audited: true,
        };
        for (km, status, said) in [
            (good, Pass, "narrow listener"),
            (KeyManager { enabled: false, token: false, ..good }, Pass, "off"),
            (KeyManager { own_listener: false, ..good }, Warn, "API port"),
            (KeyManager { narrow: false, limited: false, ..good }, Warn, "from any address; without a rate limit"),
            (KeyManager { token: false, ..good }, Warn, "without a token"),
            (KeyManager { certificate: false, ..good }, Pass, "narrow"),
            (KeyManager { certificate: false, token: false, ..good }, Fail, "neither"),
            (KeyManager { audited: false, ..good }, Fail, "not recorded"),
        ] {
            let verdict = key_manager(km);
            assert_eq!(verdict.status, status, "{km:?}");
            assert!(verdict.reason.contains(said), "{}", verdict.reason);
        }
    }

    #[test]
    fn rates_and_records() {
        for (rate, free, policy, status) in [
            (Some(500), Some(10), false, Pass),
            (Some(0), Some(10), false, Warn),
            (Some(0), Some(10), true, Pass),
            (Some(500), Some(0), false, Fail),
            (None, None, false, Skip),
        ] {
            assert_eq!(limits(rate, free, policy).status, status, "{rate:?} {free:?}");
        }
        for (enabled, status) in [(Some(true), Pass), (Some(false), Fail), (None, Skip)] {
            assert_eq!(audit(enabled).status, status);
        }
    }
}
