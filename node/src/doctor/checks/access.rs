//! Who may ask what.

use super::super::finding::Verdict;
use consigner_storage::audit::{VerifyError, VerifyReport};
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
    let good = match tokens.len() {
        0 => "there is no token".to_owned(),
        count => format!("{count} token(s), each with an end"),
    };
    Verdict::worst(tokens.iter().map(look), good)
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

/// Limits of callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one identity per second; 0: as many as it likes.
    pub identity_per_second: u64,
    /// Wrong credentials before a pause; 0: no pause.
    pub failed_free: u64,
    /// A policy is applied, which may set rates of its own.
    pub policy: bool,
    /// Some door asks for no certificate: only there credentials can be guessed.
    pub guessable: bool,
}

/// Rates per identity, and the pauses after wrong credentials.
#[must_use]
pub fn limits(limits: Limits) -> Verdict {
    let Limits { identity_per_second: rate, failed_free: free, policy, guessable } = limits;
    let look = [
        (rate == 0 && !policy).then(|| {
            let reason = "an identity may ask as often as it likes";
            Verdict::warn(reason, "limits.identity.per-second, or `rate` of the client in the policy")
        }),
        (free == 0 && guessable).then(|| {
            let reason = "wrong tokens cost no pause, and a door asks for no certificate";
            Verdict::fail(reason, "limits.failed-credentials.free: 10")
        }),
    ];
    let rates = if rate == 0 { "rates by the policy".to_owned() } else { format!("{rate} requests/s for an identity") };
    let pauses =
        if guessable { format!("a pause after {free} wrong tokens") } else { "no door for guesses".to_owned() };
    let good = format!("{rates}; {pauses}");
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

/// What became of the verification of a record; `was_asked` says whether the cluster's anchors were compared.
#[must_use]
pub fn record(verified: &Result<VerifyReport, VerifyError>, was_asked: bool) -> Verdict {
    match verified {
        Ok(VerifyReport { lines, anchor, .. }) => {
            let compared = match (was_asked, anchor) {
                (true, Some(sequence)) => format!("the cluster remembers line {sequence} of it"),
                (true, None) => "the cluster remembers none of it yet".to_owned(),
                (false, _) => {
                    "not compared with what the cluster remembers (`consigner audit verify --endpoint`)".to_owned()
                }
            };
            Verdict::pass(format!("{lines} lines hold; {compared}"))
        }
        Err(VerifyError::Broken(failure)) => {
            let fix = "keep a copy of the record, find out who could write there, then `consigner audit verify --from`";
            Verdict::fail(failure.to_string(), fix)
        }
        Err(VerifyError::Audit(error)) => Verdict::skip(crate::report::one_line(error)),
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
