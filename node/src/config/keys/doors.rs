//! The doors: API, peers, metrics, key manager, administrators, tokens.

use super::{CLIENT_CERTIFICATE, FOLLOWER_REQUESTS, Form, Key, STALE_CRL, TLS_VERSIONS, defaulted, optional, required};

/// What stands for "any" in a list of addresses.
const ANY: &str = "*";

/// Teku pins TLS 1.2 and Nimbus offers nothing newer.
const CLIENT_TLS_MIN: &str = "1.2";

/// Both ends of a connection between nodes are this program.
const PEER_TLS_MIN: &str = "1.3";

pub(super) const API: &[Key] = &[
    defaulted("api.listen", Form::Listen, "127.0.0.1:9000", "Where validator clients and operators connect"),
    optional("api.advertise-url", Form::HttpsUrl, "Where clients that are redirected find this node"),
    defaulted("api.host-allowlist", Form::Hosts, "localhost,127.0.0.1", "Values of the Host header that are served"),
    defaulted("api.ip-allowlist", Form::Addresses, ANY, "Addresses and networks from which connections are accepted"),
    defaulted("api.balancers", Form::Balancers, "", "Layer-4 balancers, which must send a PROXY header (version 2)"),
    defaulted(
        "api.follower-requests",
        Form::Word(FOLLOWER_REQUESTS),
        "auto",
        "What a follower does with a request that the leader must order",
    ),
    optional("api.tls.cert", Form::Path, "Certificate chain of the API, PEM, leaf first"),
    optional("api.tls.key", Form::Path, "Private key of that certificate, PEM"),
    optional("api.tls.pkcs12", Form::Path, "In place of both: a PKCS#12 file with chain and key"),
    optional("api.tls.pkcs12-password-file", Form::Path, "File whose first line is its password"),
    optional("api.tls.client-ca", Form::Path, "CAs that may issue client certificates, PEM"),
    optional("api.tls.admin-ca", Form::Path, "CAs that alone may issue administrators' certificates, PEM"),
    optional(
        "api.tls.known-clients",
        Form::Path,
        "Clients by common name and SHA-256 fingerprint, whoever issued them",
    ),
    defaulted("api.tls.crl", Form::Paths, "", "Certificate revocation lists of those CAs, PEM"),
    defaulted("api.tls.stale-crl", Form::Word(STALE_CRL), "warn", "What a revocation list past its nextUpdate means"),
    defaulted("api.tls.min-version", Form::Word(TLS_VERSIONS), CLIENT_TLS_MIN, "Oldest TLS version that is spoken"),
    defaulted("api.tls.cipher-suites", Form::Texts, "", "IANA names, most wanted first; all safe ones if empty"),
    required("api.clients", Form::Names, "Common names of the clients that may sign"),
    defaulted("api.admins", Form::Names, "", "Common names that may use /admin and sign, until there is a policy"),
    defaulted("api.sign-requests-max", Form::Id, "4096", "Sign requests at one time; more are answered 503 at once"),
    defaulted("api.connections-max", Form::Id, "1024", "Open connections at one time"),
    defaulted("api.idle-timeout", Form::Duration, "100s", "After which an idle connection is closed"),
    defaulted(
        "api.drain-delay",
        Form::Duration,
        "1500ms",
        "How long a node that stops still serves while /ready says 503: for balancers to notice",
    ),
];

pub(super) const PEER: &[Key] = &[
    required("peer.listen", Form::Listen, "Where the other nodes connect"),
    optional("peer.advertise", Form::HostPort, "Where the other nodes find this one; peer.listen if not set"),
    defaulted("peer.ip-allowlist", Form::Addresses, ANY, "Addresses and networks of the other nodes"),
    required("peer.tls.cert", Form::Path, "Certificate chain towards the other nodes, PEM, leaf first"),
    required("peer.tls.key", Form::Path, "Private key of that certificate, PEM"),
    required("peer.tls.ca", Form::Path, "CAs that issue the nodes' certificates, PEM"),
    defaulted("peer.tls.crl", Form::Paths, "", "Certificate revocation lists of those CAs, PEM; both ways"),
    defaulted("peer.tls.stale-crl", Form::Word(STALE_CRL), "warn", "What a revocation list past its nextUpdate means"),
    defaulted("peer.tls.min-version", Form::Word(TLS_VERSIONS), PEER_TLS_MIN, "Oldest TLS version between nodes"),
    defaulted("peer.tls.cipher-suites", Form::Texts, "", "IANA names, most wanted first; all safe ones if empty"),
];

pub(super) const METRICS: &[Key] = &[
    defaulted("metrics.enabled", Form::Switch, "true", "Whether Prometheus metrics are served"),
    defaulted("metrics.listen", Form::Listen, "127.0.0.1:9002", "Where metrics are served, plain HTTP"),
    defaulted("metrics.host-allowlist", Form::Hosts, "localhost,127.0.0.1", "Values of the Host header for metrics"),
    defaulted("metrics.ip-allowlist", Form::Addresses, ANY, "Addresses and networks that may read metrics"),
];

/// The keys that every listener of its own has: where, for whom, and its TLS, which is the API's where nothing is said.
macro_rules! own_listener {
    ($section:literal, [$($before:expr,)*], [$($after:expr,)*]) => {
        &[
            $($before,)*
            defaulted(
                concat!($section, ".host-allowlist"),
                Form::Hosts,
                "localhost,127.0.0.1",
                "Values of the Host header, own listener",
            ),
            defaulted(
                concat!($section, ".ip-allowlist"),
                Form::Addresses,
                ANY,
                "Addresses and networks from which connections are accepted, own listener",
            ),
            defaulted(
                concat!($section, ".balancers"),
                Form::Balancers,
                "",
                "Layer-4 balancers, which must send a PROXY header (version 2), own listener",
            ),
            $($after,)*
            optional(
                concat!($section, ".tls.cert"),
                Form::Path,
                "Certificate chain of the own listener, PEM; the API's without it",
            ),
            optional(concat!($section, ".tls.key"), Form::Path, "Private key of that certificate, PEM"),
            optional(
                concat!($section, ".tls.pkcs12"),
                Form::Path,
                "In place of both: a PKCS#12 file with chain and key",
            ),
            optional(
                concat!($section, ".tls.pkcs12-password-file"),
                Form::Path,
                "File whose first line is its password",
            ),
            optional(
                concat!($section, ".tls.client-ca"),
                Form::Path,
                "CAs of its client certificates, PEM; the API's (and its known clients) without it",
            ),
            optional(
                concat!($section, ".tls.admin-ca"),
                Form::Path,
                "CAs of administrators' certificates, PEM; api.tls.admin-ca without it",
            ),
            optional(
                concat!($section, ".tls.known-clients"),
                Form::Path,
                "Clients by common name and SHA-256 fingerprint; the API's (and its CAs) without it",
            ),
            optional(
                concat!($section, ".tls.crl"),
                Form::Paths,
                "Certificate revocation lists of those CAs, PEM; api.tls.crl without it",
            ),
            optional(
                concat!($section, ".tls.stale-crl"),
                Form::Word(STALE_CRL),
                "What a revocation list past its nextUpdate means; api.tls.stale-crl without it",
            ),
            optional(
                concat!($section, ".tls.min-version"),
                Form::Word(TLS_VERSIONS),
                "Oldest TLS version that is spoken; api.tls.min-version without it",
            ),
            optional(
                concat!($section, ".tls.cipher-suites"),
                Form::Texts,
                "IANA names, most wanted first; api.tls.cipher-suites without it",
            ),
        ]
    };
}

pub(super) const KEYMANAGER: &[Key] = own_listener!(
    "keymanager",
    [
        defaulted("keymanager.enabled", Form::Switch, "false", "Whether the key manager API is served"),
        optional(
            "keymanager.listen",
            Form::Listen,
            "A listener of its own; without it the API port serves it to admins",
        ),
    ],
    [
        optional("keymanager.token-file", Form::Path, "File with the bearer token that calls must bring as well"),
        defaulted("keymanager.rate.per-second", Form::Count, "10", "Calls of one caller per second; 0: no limit"),
        defaulted("keymanager.rate.burst", Form::Id, "100", "Calls of one caller at once after a pause"),
        defaulted(
            "keymanager.tls.client-certificate",
            Form::Word(CLIENT_CERTIFICATE),
            "required",
            "Whether the own listener asks callers for a certificate, or a token is enough",
        ),
    ]
);

pub(super) const ADMIN: &[Key] = own_listener!(
    "admin",
    [optional("admin.listen", Form::Listen, "A listener of its own for /admin; without it the API port serves it"),],
    [defaulted(
        "admin.tls.client-certificate",
        Form::Word(CLIENT_CERTIFICATE),
        "required",
        "Whether the own listener asks callers for a certificate, or a token is enough",
    ),]
);

pub(super) const TOKEN_DOOR: &[Key] = own_listener!(
    "token-door",
    [optional(
        "token-door.listen",
        Form::Listen,
        "A listener where clients without a certificate sign with a token; none without it",
    ),],
    []
);
