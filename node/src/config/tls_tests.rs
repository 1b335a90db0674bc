//! Tests of the `tls` sections and of the listeners that have them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::tests::{MINIMAL, loaded};
use super::{Config, ConfigError, TlsConfig};
use consigner_gate::tls::{ClientAuth, ClientTrust, ServerIdentity, StaleCrl, TlsVersion};
use std::net::IpAddr;
use std::path::Path;

/// The minimal configuration with another `api.tls` section and further lines.
fn with_api_tls(tls: &str, more: &str) -> Result<Config, ConfigError> {
    let text = MINIMAL.replace("{cert: a.pem, key: a-key.pem, client-ca: ca.pem}", tls);
    loaded(&format!("{text}{more}\n"), &[], &[])
}

fn names(tls: &TlsConfig) -> Vec<(&'static str, String)> {
    let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
    tls.files().into_iter().map(|(word, file)| (word, name(file))).collect()
}

fn expected(files: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    files.iter().map(|(word, file)| (*word, (*file).to_owned())).collect()
}

#[test]
fn by_default_clients_speak_1_2_and_nodes_1_3_and_nothing_is_narrowed() {
    let config = loaded(MINIMAL, &[], &[]).unwrap();
    let tls = &config.api.tls;
    assert_eq!(
        (tls.versions.min, tls.client_auth, tls.stale_crl),
        (TlsVersion::Tls12, ClientAuth::Required, StaleCrl::Warn)
    );
    assert_eq!((tls.admin_ca.as_ref(), tls.crls.len()), (None, 0));
    assert_eq!(config.peer.tls.versions.min, TlsVersion::Tls13);
    let anybody: IpAddr = "192.0.2.1".parse().unwrap();
    assert!(config.api.ip_allowlist.allows(anybody) && config.peer.ip_allowlist.allows(anybody));
    assert_eq!((config.api.balancers, config.admin, config.token_door, config.oauth), (None, None, None, None));
}

#[test]
fn a_pkcs12_identity_and_known_clients_take_the_place_of_pem_files() {
    let tls =
        "{pkcs12: store.p12, pkcs12-password-file: pw, known-clients: known, admin-ca: admins.pem, crl: [one, two],
      stale-crl: refuse, min-version: \"1.3\", cipher-suites: [TLS_AES_256_GCM_SHA384]}";
    let tls = with_api_tls(tls, "").unwrap().api.tls;
    assert!(matches!(tls.identity, ServerIdentity::Pkcs12 { .. }));
    assert!(matches!(tls.trust, ClientTrust::KnownClients(_)));
    let files = [
        ("pkcs12", "store.p12"),
        ("pkcs12-password-file", "pw"),
        ("known-clients", "known"),
        ("admin-ca", "admins.pem"),
        ("crl", "one"),
        ("crl", "two"),
    ];
    assert_eq!(names(&tls), expected(&files));
    assert_eq!((tls.stale_crl, tls.versions.min), (StaleCrl::Refuse, TlsVersion::Tls13));
    assert_eq!(tls.suites.names(), ["TLS_AES_256_GCM_SHA384"]);
    let door = tls.door();
    assert_eq!((door.crls.len(), door.stale_crl, door.versions.min), (2, StaleCrl::Refuse, TlsVersion::Tls13));
}

#[test]
fn a_listener_says_what_it_has_of_its_own_and_the_api_says_the_rest() {
    let api =
        "{cert: a.pem, key: a-key.pem, client-ca: ca.pem, admin-ca: admins.pem, crl: [crl.pem], min-version: \"1.3\"}";
    let more = "admin: {listen: 127.0.0.1:9003}\n\
                token-door: {listen: 127.0.0.1:9004, balancers: [10.0.0.5], ip-allowlist: [10.0.0.0/8], tls: {cert: t.pem, \
                key: t-key.pem, client-ca: other.pem, crl: [], min-version: \"1.2\"}}";
    let config = with_api_tls(api, more).unwrap();
    let (admin, token) = (config.admin.unwrap(), config.token_door.unwrap());
    assert_eq!(names(&admin.tls), names(&config.api.tls));
    assert_eq!((admin.tls.client_auth, admin.tls.versions.min), (ClientAuth::Required, TlsVersion::Tls13));
    let files = [("cert", "t.pem"), ("key", "t-key.pem"), ("client-ca", "other.pem"), ("admin-ca", "admins.pem")];
    assert_eq!(names(&token.tls), expected(&files), "an empty list of lists is the listener's own");
    assert_eq!((token.tls.client_auth, token.tls.versions.min), (ClientAuth::Optional, TlsVersion::Tls12));
    assert!(token.balancers.unwrap().contains("10.0.0.5".parse().unwrap()));
    assert!(!token.ip_allowlist.allows("192.0.2.1".parse().unwrap()));
}

/// What stands in place of the API's `tls`, further lines, the key that is complained about, and what is said.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("{client-ca: ca.pem}", "", "api.tls.cert", "or api.tls.pkcs12"),
    ("{cert: a, key: k}", "", "api.tls.client-ca", "missing; a path, or api.tls.known-clients"),
    ("{cert: a, client-ca: c}", "", "api.tls.key", "set together, or neither"),
    (
        "{cert: a, key: k, client-ca: c, pkcs12: p, pkcs12-password-file: w}",
        "",
        "api.tls.pkcs12",
        "a door shows one certificate",
    ),
    ("{pkcs12: p, client-ca: c}", "", "api.tls.pkcs12-password-file", "needs a file with its password here"),
    ("{pkcs12-password-file: p, client-ca: c}", "", "api.tls.pkcs12", "missing"),
    ("{cert: a, key: k, known-clients: n, crl: [r]}", "", "api.tls.crl", "need a CA"),
    ("{cert: a, key: k, client-ca: c, stale-crl: ignore}", "", "api.tls.stale-crl", "one of warn, refuse"),
    ("{cert: a, key: k, client-ca: c, min-version: \"1.1\"}", "", "api.tls.min-version", "one of 1.2, 1.3"),
    (
        "{cert: a, key: k, client-ca: c, cipher-suites: [TLS_RSA_WITH_AES_128_CBC_SHA]}",
        "",
        "api.tls.cipher-suites",
        "unknown or unsafe cipher suite",
    ),
    (
        "{cert: a, key: k, client-ca: c, cipher-suites: [TLS_AES_256_GCM_SHA384]}",
        "",
        "api.tls.cipher-suites",
        "TLS 1.2 is allowed by min-version, but no suite of it is listed",
    ),
    (
        "{cert: a, key: k, client-ca: c, min-version: \"1.3\", cipher-suites: \
         [TLS_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]}",
        "",
        "api.tls.cipher-suites",
        "which min-version does not allow",
    ),
];

/// The same with a good `api.tls`.
const MISTAKES_BESIDE: &[(&str, &str, &str)] = &[
    ("admin: {listen: 127.0.0.1:9000}", "admin.listen", "127.0.0.1:9000 is taken by api.listen"),
    ("token-door: {listen: 0.0.0.0:9000}", "token-door.listen", "is taken by api.listen"),
    ("token-door: {listen: 127.0.0.1:9002}", "token-door.listen", "is taken by metrics.listen"),
    ("token-door: {listen: 127.0.0.1:9004, balancers: [\"*\"]}", "token-door.balancers", "must be listed one by one"),
    ("token-door: {listen: 127.0.0.1:9004, balancers: [0.0.0.0/0]}", "token-door.balancers", "must be listed"),
    ("admin: {listen: 127.0.0.1:9004, ip-allowlist: []}", "admin.ip-allowlist", "lets nobody in"),
    ("admin: {ip-allowlist: [10.0.0.1/8]}", "admin.ip-allowlist", "write 10.0.0.0/8 or the address alone"),
    ("metrics: {ip-allowlist: [localhost]}", "metrics.ip-allowlist", "neither an IP address nor a network"),
    ("admin: {tls: {client-certificate: optional}}", "admin.tls.client-certificate", "never on the API port"),
    ("admin: {listen: 127.0.0.1:9004, tls: {cert: c}}", "admin.tls.key", "set together, or neither"),
    ("token-door: {listen: 127.0.0.1:9004, tls: {pkcs12: p}}", "token-door.tls.pkcs12-password-file", "missing"),
    ("token-door: {tls: {client-certificate: required}}", "token-door.tls.client-certificate", "unknown key"),
    ("genesis-time: now", "genesis-time", "a whole number from 1 up"),
];

#[test]
fn every_mistake_names_its_key_and_the_cure() {
    for (tls, more, key, said) in MISTAKES {
        said_about(with_api_tls(tls, more), tls, key, said);
    }
    for (more, key, said) in MISTAKES_BESIDE {
        said_about(loaded(&format!("{MINIMAL}{more}\n"), &[], &[]), more, key, said);
    }
}

/// Everything that is said about the minimal configuration with these lines: the keys.
fn complaints(more: &str) -> Vec<String> {
    let error = loaded(&format!("{MINIMAL}{more}\n"), &[], &[]).expect_err(more);
    error.0.into_iter().map(|problem| problem.key).collect()
}

#[test]
fn what_speaks_of_a_listener_that_does_not_listen_is_complained_about() {
    const OF_ALL: &[(&str, &str)] = &[
        ("host-allowlist: [signer.example]", "host-allowlist"),
        ("ip-allowlist: [10.0.0.0/8]", "ip-allowlist"),
        ("balancers: [10.0.0.5]", "balancers"),
        ("tls: {client-ca: c}", "tls.client-ca"),
        ("tls: {admin-ca: c}", "tls.admin-ca"),
        ("tls: {known-clients: c}", "tls.known-clients"),
        ("tls: {crl: [c]}", "tls.crl"),
        ("tls: {stale-crl: warn}", "tls.stale-crl"),
        ("tls: {min-version: \"1.2\"}", "tls.min-version"),
        ("tls: {cipher-suites: [TLS_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]}", "tls.cipher-suites"),
    ];
    for section in ["keymanager", "admin", "token-door"] {
        for (line, word) in OF_ALL {
            assert_eq!(complaints(&format!("{section}: {{{line}}}")), [format!("{section}.{word}")], "{line}");
        }
        let pair = complaints(&format!("{section}: {{tls: {{cert: c, key: k}}}}"));
        assert_eq!(pair, [format!("{section}.tls.cert"), format!("{section}.tls.key")], "one complaint each");
        let defaults = "host-allowlist: [localhost, 127.0.0.1], ip-allowlist: \"*\", balancers: []";
        loaded(&format!("{MINIMAL}{section}: {{{defaults}}}\n"), &[], &[]).expect("nothing that is not so anyway");
    }
    let by_variable = [("CONSIGNER_ADMIN_IP_ALLOWLIST", "10.0.0.1")];
    let error = loaded(MINIMAL, &by_variable, &[]).unwrap_err().to_string();
    assert!(error.contains("CONSIGNER_ADMIN_IP_ALLOWLIST") && error.contains("without admin.listen"), "{error}");
    let on_the_api_port = "keymanager: {enabled: true, token-file: t, rate: {per-second: 3}}";
    loaded(&format!("{MINIMAL}{on_the_api_port}\n"), &[], &[]).expect("these count on the API port, too");
}

fn said_about(result: Result<Config, ConfigError>, input: &str, key: &str, said: &str) {
    let error = result.expect_err(input);
    let problem = &error.0[0];
    assert_eq!(problem.key, key, "{input}: {error}");
    assert!(problem.what.contains(said), "{input}: {error}");
}
