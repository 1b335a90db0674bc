//! Who proves what how, how much is taken from whom, and what is recorded.

use super::{Form, Key, defaulted, optional};

pub(super) const OAUTH: &[Key] = &[
    optional("oauth.issuer", Form::Text, "Issuer of access tokens (JWT), exactly as their iss says; none without it"),
    defaulted("oauth.audience", Form::Texts, "", "Audiences of which a token must name one"),
    optional("oauth.jwks-file", Form::Path, "File with the issuer's public keys (JWKS)"),
    optional("oauth.jwks-url", Form::Link, "In place of the file: where those keys are fetched"),
    optional("oauth.ca", Form::Path, "CAs of that server, PEM; the system's without it"),
    defaulted("oauth.leeway", Form::Duration, "30s", "By how much the clocks of issuer and node may differ"),
    defaulted("oauth.refresh", Form::Duration, "10min", "How often the keys are fetched again"),
];

pub(super) const LIMITS: &[Key] = &[
    defaulted(
        "limits.identity.per-second",
        Form::Count,
        "0",
        "Requests of one identity per second, where the policy sets no rate; 0: no limit",
    ),
    defaulted("limits.identity.burst", Form::Id, "1000", "Requests of one identity at once after a pause"),
    defaulted("limits.api.per-second", Form::Count, "0", "Requests per second on the API port; 0: no limit"),
    defaulted("limits.api.burst", Form::Id, "10000", "Requests at once after a pause on the API port"),
    defaulted(
        "limits.keymanager.per-second",
        Form::Count,
        "50",
        "Requests per second on the key manager's own listener; 0: no limit",
    ),
    defaulted("limits.keymanager.burst", Form::Id, "500", "Requests at once after a pause there"),
    defaulted(
        "limits.admin.per-second",
        Form::Count,
        "50",
        "Requests per second on the administrators' own listener; 0: no limit",
    ),
    defaulted("limits.admin.burst", Form::Id, "500", "Requests at once after a pause there"),
    defaulted("limits.token-door.per-second", Form::Count, "0", "Requests per second on the token door; 0: no limit"),
    defaulted("limits.token-door.burst", Form::Id, "10000", "Requests at once after a pause there"),
    defaulted(
        "limits.failed-credentials.free",
        Form::Count,
        "5",
        "Wrong tokens from one address before it has to pause; 0: no pauses at all",
    ),
    defaulted("limits.failed-credentials.pause", Form::Duration, "1s", "The first pause; each further one is doubled"),
    defaulted("limits.failed-credentials.pause-max", Form::Duration, "60s", "The longest pause"),
];

pub(super) const AUDIT: &[Key] = &[
    defaulted("audit.enabled", Form::Switch, "true", "Whether decisions are recorded in a signed chain of lines"),
    optional("audit.dir", Form::Path, "Directory of the record; audit below node.data-dir if not set"),
    defaulted("audit.rotate-size", Form::Bytes, "64MiB", "Size after which a new file is begun"),
    defaulted("audit.files-max", Form::Count, "0", "Files that are kept; 0: all, and someone else takes them away"),
    defaulted(
        "audit.attestation-sample",
        Form::Count,
        "0",
        "Of so many signed attestations (and the like) one is recorded; 0: none, 1: all",
    ),
    defaulted("audit.checkpoint-lines", Form::Id, "1000", "Lines after which a signed checkpoint follows"),
    defaulted("audit.checkpoint-interval", Form::Duration, "10s", "Time after which one follows, if there are lines"),
    defaulted(
        "audit.anchor-interval",
        Form::Duration,
        "5min",
        "How often the end of the record is anchored in the replicated state",
    ),
];
