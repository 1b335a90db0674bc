//! How a node proves itself to vaults and key services, and how it reaches them.

use super::super::finding::Verdict;

/// What a Vault section logs in with: its section, its `auth`, whether a token file is named.
#[must_use]
pub fn vault(section: &str, auth: &str, token_file: bool) -> Verdict {
    let fix = format!("{section}.auth: approle, kubernetes or cert: logins that expire and renew themselves");
    match (auth, token_file) {
        ("token", true) => Verdict::warn(format!("{section} has a token in a file"), fix),
        ("token", false) => Verdict::pass(format!("{section} takes its token from the environment")),
        (auth, _) => Verdict::pass(format!("{section} logs in by {auth}")),
    }
}

/// How an AWS section finds its credentials.
#[must_use]
pub fn aws(section: &str, profile: Option<&str>) -> Verdict {
    match profile {
        Some(profile) => Verdict::warn(
            format!("{section} takes the profile {profile} of the AWS files, where long-lived keys often stand"),
            "leave profile out: an instance role, a task role or web identity needs no key on the disk",
        ),
        None => Verdict::pass(format!("{section} takes the standard chain: environment or role")),
    }
}

/// Whether a value holds a user or a password inside of a URL.
#[must_use]
pub fn url(key: &str, text: &str) -> Option<Verdict> {
    let authority = text.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let fix = format!("take it out of {key}: name a file, or leave it to the environment or a role");
    authority.contains('@').then(|| Verdict::fail(format!("{key} has a user or a password inside of a URL"), fix))
}

/// What one document of a key configuration holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literal {
    /// `privateKey`.
    PrivateKey,
    /// `token` of a vault.
    VaultToken,
    /// `secretAccessKey`.
    AwsSecret,
}

/// Literals in key configuration files: how many of each.
#[must_use]
pub fn literals(found: &[Literal]) -> Verdict {
    let count = |literal| found.iter().filter(|other| **other == literal).count();
    let look = |literal, what: &str, fix: &str| {
        let count = count(literal);
        if count == 0 {
            return Verdict::pass("");
        }
        Verdict::fail(format!("{count} key configuration document(s) with {what}"), fix)
    };
    Verdict::worst(
        [
            look(Literal::PrivateKey, "a private key in the clear", "type: file-keystore, or import once and delete"),
            look(Literal::VaultToken, "a Vault token", "authMethod: KUBERNETES, or keys.source.vault-kv"),
            look(Literal::AwsSecret, "an AWS secret key", "authenticationMode: ENVIRONMENT"),
        ],
        "no secret stands in a key configuration file",
    )
}

/// Whether a service is reached over TLS: its key in the configuration, its address.
#[must_use]
pub fn service(key: &str, address: &str) -> Verdict {
    if address.starts_with("https://") {
        Verdict::pass(format!("{key}: {address}"))
    } else {
        // The configuration takes http:// for loopback only.
        let reason = format!("{key}: {address} is plain HTTP; every user of this machine may listen in or pose as it");
        Verdict::warn(reason, "https:// and the CA of the server")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::super::finding::Status::{self, Fail, Pass, Warn};
    use super::*;

    #[test]
    fn logins() {
        for (auth, file, status) in [
            ("token", true, Warn),
            ("token", false, Pass),
            ("approle", false, Pass),
            ("kubernetes", false, Pass),
            ("cert", false, Pass),
        ] {
            assert_eq!(vault("keys.sealer.vault-transit", auth, file).status, status, "{auth}");
        }
        assert_eq!(aws("keys.sealer.aws-kms", Some("prod")).status, Warn);
        assert_eq!(aws("keys.sealer.aws-kms", None).status, Pass);
    }

    #[test]
    fn passwords_in_urls() {
        for (text, bad) in [
            ("https://vault.example:8200", false),
            ("https://user:password@vault.example", true),
            ("https://token@vault.example/v1?x=a@b", true),
            ("https://vault.example/a@b", false),
            ("ops@example.org", false),
        ] {
            let verdict = url("oauth.jwks-url", text);
            assert_eq!(verdict.as_ref().map(|verdict| verdict.status), bad.then_some(Fail), "{text}");
            assert!(verdict.is_none_or(|verdict| !verdict.reason.contains("password@")), "nothing of it is repeated");
        }
    }

    #[test]
    fn literals_are_counted_by_kind() {
        let cases: [(&[Literal], Status, &str); 3] = [
            (&[], Pass, "no secret"),
            (&[Literal::PrivateKey, Literal::PrivateKey], Fail, "2 key configuration document(s) with a private key"),
            (&[Literal::AwsSecret, Literal::VaultToken], Fail, "a Vault token; 1 key"),
        ];
        for (found, status, said) in cases {
            let verdict = literals(found);
            assert_eq!(verdict.status, status);
            assert!(verdict.reason.contains(said), "{}", verdict.reason);
        }
    }

    #[test]
    fn services_speak_tls() {
        assert_eq!(service("keys.sealer.aws-kms.endpoint", "https://kms.example").status, Pass);
        assert_eq!(service("keys.source.vault-kv.address", "http://127.0.0.1:8200").status, Warn);
    }
}
