//! Configurations that stop the start, each with file, key and reason.

use crate::common::output;
use crate::site::{Site, ran, tool};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

const CONFIG: &str = "\
node: {id: 1, name: node1, data-dir: data}
cluster: {id: 000102030405060708090a0b0c0d0e0f}
api:
  clients: [vc]
  tls: {cert: certs/node1.pem, key: certs/node1-key.pem, client-ca: certs/ca.pem}
peer:
  listen: 127.0.0.1:9001
  tls: {cert: certs/node1.pem, key: certs/node1-key.pem, ca: certs/ca.pem}
keys: {sealer: {local: {key-file: sealing.key}}}
";

/// The API's TLS section in place of the good one, the key that is named, and what is said about it.
const TLS: &[(&str, &str, &str)] = &[
    ("{cert: certs/node1.pem, key: certs/client-key.pem, client-ca: certs/ca.pem}", "api.tls.cert", "does not match"),
    ("{cert: gone.pem, key: certs/node1-key.pem, client-ca: certs/ca.pem}", "api.tls.cert", "gone.pem cannot be read"),
    ("{cert: certs/node1.pem, key: certs/node1-key.pem, client-ca: garbage}", "api.tls.client-ca", "no certificate in"),
    (
        "{cert: certs/node1.pem, key: certs/node1-key.pem, client-ca: certs/client.pem}",
        "api.tls.client-ca",
        "is not a CA",
    ),
    (
        "{cert: certs/node1.pem, key: certs/node1-key.pem, client-ca: certs/ca.pem, admin-ca: certs/client.pem}",
        "api.tls.admin-ca",
        "is not a CA",
    ),
    (
        "{cert: certs/node1.pem, key: certs/node1-key.pem, known-clients: gone}",
        "api.tls.known-clients",
        "gone cannot be read",
    ),
    ("{cert: certs/node1.pem, key: certs/node1-key.pem, known-clients: garbage}", "api.tls.known-clients", "line 1: "),
    (
        "{cert: certs/node1.pem, key: certs/node1-key.pem, client-ca: certs/ca.pem, crl: [garbage]}",
        "api.tls.crl",
        "no revocation list in",
    ),
    (
        "{pkcs12: garbage, pkcs12-password-file: password, client-ca: certs/ca.pem}",
        "api.tls.pkcs12",
        "garbage cannot be used",
    ),
    (
        "{pkcs12: garbage, pkcs12-password-file: open-password, client-ca: certs/ca.pem}",
        "api.tls.pkcs12-password-file",
        "chmod 600",
    ),
];

/// Further sections, likewise.
const SECTIONS: &[(&str, &str, &str)] = &[
    ("token-door: {listen: 127.0.0.1:9000}", "token-door.listen", "is taken by api.listen"),
    ("admin: {listen: 127.0.0.1:9003, tls: {client-ca: garbage}}", "admin.tls.client-ca", "no certificate in"),
    ("oauth: {issuer: \"https://idp\", audience: a, jwks-file: gone}", "oauth.jwks-file", "gone cannot be read"),
    ("oauth: {issuer: \"https://idp\", audience: a, jwks-file: garbage}", "oauth.jwks-file", "garbage: not a JWK set"),
    ("oauth: {issuer: \"https://idp\", jwks-file: garbage}", "oauth.audience", "another service"),
];

struct Place {
    site: Site,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let site = Site::new();
        site.write("sealing.key", "11".repeat(32));
        site.write("garbage", "neither nor\n");
        site.write("password", "secret\n");
        let open = site.write("open-password", "secret\n");
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o644)).unwrap();
        let file = site.path("consigner.yaml");
        Self { site, file }
    }

    /// What `run` and `config check` say to this configuration.
    fn refused(&self, text: &str) -> String {
        std::fs::write(&self.file, text).unwrap();
        let file = self.file.to_str().unwrap();
        let (code, _, said) = output(&["config", "check", "--config", file]);
        assert_eq!(code, 2, "{text}: {said}");
        let (code, _, said_by_run) = output(&["run", "--config", file]);
        assert_eq!((code, &said_by_run), (2, &said), "{text}");
        said
    }

    fn is_said(&self, text: &str, key: &str, what: &str) {
        let said = self.refused(text);
        let file = self.file.display().to_string();
        let is_it = |line: &str| line.contains(&file) && line.contains(&format!("{key}: ")) && line.contains(what);
        assert!(said.lines().any(is_it), "{key}, {what}: {said}");
    }
}

#[test]
fn a_bad_file_stops_the_start_with_its_key_and_the_reason() {
    let place = Place::new();
    std::fs::write(&place.file, CONFIG).unwrap();
    let (code, _, said) = output(&["config", "check", "--config", place.file.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let good = "{cert: certs/node1.pem, key: certs/node1-key.pem, client-ca: certs/ca.pem}";
    for (tls, key, what) in TLS {
        place.is_said(&CONFIG.replace(good, tls), key, what);
    }
    for (section, key, what) in SECTIONS {
        place.is_said(&format!("{CONFIG}{section}\n"), key, what);
    }
    let balancers = CONFIG.replace("  clients: [vc]", "  clients: [vc]\n  balancers: [\"*\"]");
    place.is_said(&balancers, "api.balancers", "listed one by one");
}

#[test]
fn a_wrong_password_stops_the_start_and_is_not_repeated() {
    let Some(openssl) = tool("openssl", "the password of a PKCS#12 file") else { return };
    let place = Place::new();
    let (cert, key) = (place.site.certificates().cert("node1"), place.site.certificates().key("node1"));
    let file = place.site.path("store.p12");
    let [cert, key, store] = [&cert, &key, &file].map(|path| path.to_str().unwrap());
    let arguments = ["pkcs12", "-export", "-in", cert, "-inkey", key, "-out", store, "-passout", "pass:another"];
    assert!(ran(&openssl, &arguments).0);
    let tls = "{pkcs12: store.p12, pkcs12-password-file: password, client-ca: certs/ca.pem}";
    let text = CONFIG.replace("{cert: certs/node1.pem, key: certs/node1-key.pem, client-ca: certs/ca.pem}", tls);
    place.is_said(&text, "api.tls.pkcs12", "store.p12 cannot be used");
    assert!(!place.refused(&text).contains("secret"), "the password is not told");
}
