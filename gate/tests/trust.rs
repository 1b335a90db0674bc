//! Pinned clients, identities from PKCS#12, versions and cipher suites.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::print_stderr, reason = "what a test skips must be seen")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use consigner_gate::tls::{
    ALPN_API, CipherSuites, ClientTrust, DoorTls, ServerIdentity, TlsVersion, TlsVersions, client_config,
};
use consigner_gate::{ClientTls, HttpsClient, OnRefusal, ReloadableTls, TlsError};
use http::Method;
use rcgen::KeyUsagePurpose;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use support::crl::List;
use support::pki::{Identity, LONG, Pki};
use support::{config, echo, open, open_built, until, visit};

/// The line of a known-clients file for this certificate.
fn line(name: &str, identity: &Identity) -> String {
    let der = CertificateDer::from_pem_file(&identity.cert).unwrap();
    let digits: Vec<String> = Sha256::digest(&der).iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{name} {}\n", digits.join(":"))
}

fn write(pki: &Pki, name: &str, text: &str) -> PathBuf {
    let path = pki.dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn load(pki: &Pki, change: impl FnOnce(&mut DoorTls)) -> Result<Arc<ReloadableTls>, TlsError> {
    let mut tls = DoorTls::from(pki.server_files());
    change(&mut tls);
    ReloadableTls::load_door(tls, ALPN_API)
}

/// As `openssl req -x509` makes them: a CA of its own.
fn self_signed(pki: &Pki, name: &str) -> Identity {
    pki.self_signed(name, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
}

#[tokio::test]
async fn known_clients_need_no_ca_and_nobody_else_gets_in() {
    let (pki, elsewhere) = (Pki::new(), Pki::new());
    let (pinned, namesake) = (self_signed(&pki, "teku 1"), self_signed(&elsewhere, "teku 1"));
    let unusable = |name: &str, change: &dyn Fn(&mut CertificateParams)| pki.self_signed(name, change);
    let expired = unusable("late", &|params| params.not_after = rcgen::date_time_ymd(2021, 1, 1));
    let early = unusable("early", &|params| params.not_before = rcgen::date_time_ymd(2400, 1, 1));
    let misused = unusable("misused", &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let renamed = self_signed(&pki, "renamed");
    let file = ["# our clients\n\n".to_owned(), line("teku 1", &pinned)]
        .into_iter()
        .chain([line("late", &expired), line("early", &early), line("misused", &misused), line("other", &renamed)])
        .collect::<String>();
    let known = write(&pki, "known-clients.txt", &file);
    let tls = load(&pki, |tls| tls.trust = ClientTrust::KnownClients(known)).unwrap();
    // Not by log lines: those are few per second.
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener: OnRefusal = {
        let told = told.clone();
        Arc::new(move |refusal| told.lock().unwrap().push(format!("{} {:?}", refusal.reason, refusal.certificate)))
    };
    let door = open_built(config("known", Some(tls)), |door| door.on_refusal(listener), echo).await;
    for only in [&TLS12, &TLS13] {
        let (answer, ..) = visit(door.addr, pki.raw_client(Some(&pinned), &[only])).await.unwrap();
        assert!(answer.contains("peer: teku 1\r\n"), "{answer}");
        for (identity, reason) in [
            (Some(&expired), "expired"),
            (Some(&early), "not valid yet"),
            (Some(&misused), "InvalidPurpose"),
            (Some(&renamed), "listed under another common name"),
            (Some(&namesake), "CN=teku 1"),
            (Some(&pki.issue("of-the-ca")), "CN=of-the-ca"),
            (None, "no client certificate"),
        ] {
            visit(door.addr, pki.raw_client(identity, &[only])).await.expect_err(reason);
            until("the refusal", || !told.lock().unwrap().is_empty()).await;
            let said = told.lock().unwrap().pop().unwrap();
            assert!(said.contains(reason), "{reason:?} is missing in {said}");
        }
    }
}

#[tokio::test]
async fn both_kinds_of_trust_and_a_revocation_that_outweighs_a_pin() {
    let pki = Pki::new();
    let (pinned, of_ca) = (self_signed(&pki, "pinned"), pki.issue_numbered("of-ca", 1));
    let revoked = pki.issue_numbered("revoked", 2);
    let known = write(&pki, "known.txt", &[line("pinned", &pinned), line("revoked", &revoked)].concat());
    let crl = pki.crl("crl.pem", &List::of(&[2]));
    let tls = load(&pki, |tls| {
        tls.trust = ClientTrust::Both { ca: pki.ca_file.clone(), known_clients: known.clone() };
        tls.crls = vec![crl];
    })
    .unwrap();
    let door = open(config("both", Some(tls.clone()))).await;
    for identity in [&pinned, &of_ca] {
        visit(door.addr, pki.raw_client(Some(identity), &[&TLS13])).await.unwrap();
    }
    visit(door.addr, pki.raw_client(Some(&revoked), &[&TLS13])).await.expect_err("revoked");
    let foreign = Pki::named("foreign");
    let stranger = foreign.issue("stranger");
    visit(door.addr, pki.raw_client(Some(&stranger), &[&TLS13])).await.expect_err("neither");

    let Identity { cert, key } = pinned;
    let files = ClientTls { cert, key, ca: pki.ca_file.clone() };
    let client = HttpsClient::new(client_config(&files, ALPN_API).unwrap(), 1);
    let get = async || client.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await;
    get().await.unwrap();
    std::fs::write(&known, "# nobody\n").unwrap();
    tls.reload().unwrap();
    until("the connection to be cut", || door.counters.expelled() == 1).await;
    get().await.expect_err("no longer known");
}

/// A CA below this one, with its certificate.
fn intermediate(of: &Pki, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (Pki, CertificateDer<'static>) {
    let (mut below, key) = (Pki::named(name), KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    change(&mut params);
    let certificate = params.signed_by(&key, &of.ca).unwrap().der().clone();
    below.ca = Issuer::new(params, key);
    (below, certificate)
}

/// A client that sends these certificates after its own.
fn with_chain(pki: &Pki, Identity { cert, key }: &Identity, more: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&pki.ca_file).unwrap()).unwrap();
    let own = CertificateDer::from_pem_file(cert).unwrap();
    let chain = std::iter::once(own).chain(more.iter().cloned()).collect();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
    let client = client.with_root_certificates(roots);
    Arc::new(client.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap())
}

/// What a client may send in the hope that something else is found before the revocation.
struct Chains {
    sent: Vec<(&'static str, Vec<CertificateDer<'static>>)>,
}

impl Chains {
    /// For a leaf of the CA of this name; `proper` leads to it.
    fn of(name: &str, proper: &[CertificateDer<'static>]) -> Self {
        let (stranger, expired) = (Pki::named(name), |params: &mut CertificateParams| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        });
        let junk = |count: usize| (0..count).map(|_| intermediate(&stranger, name, |_| {}).1).collect();
        let junk_before = |junk: Vec<_>| junk.into_iter().chain(proper.iter().cloned()).collect();
        let late = intermediate(&stranger, name, expired).1;
        let sent = vec![
            ("as it should be", proper.to_vec()),
            ("an expired namesake before it", junk_before(vec![late.clone()])),
            ("an expired namesake alone", vec![late]),
            ("nothing", Vec::new()),
            ("too many namesakes", junk_before(junk(100))),
        ];
        Self { sent }
    }
}

#[tokio::test]
async fn a_revoked_pin_is_refused_whatever_chain_is_sent() {
    let pki = Pki::new();
    let (below, proper) = intermediate(&pki, "issuing ca", |_| {});
    // Whose number would be negative without a zero before it.
    let number = 0xff01;
    let (of_root, of_issuing) = (pki.issue_numbered("of-root", 2), below.issue_numbered("of-issuing", number));
    let good = below.issue_numbered("good", 2);
    let pins = [line("of-root", &of_root), line("of-issuing", &of_issuing), line("good", &good)].concat();
    let crls = vec![pki.crl("root.pem", &List::of(&[2])), pki.crl("issuing.pem", &List::of(&[]))];
    std::fs::write(&crls[1], below.crl_pem(&List::of(&[number]))).unwrap();
    let known = write(&pki, "known.txt", &pins);
    let tls = load(&pki, |tls| {
        tls.trust = ClientTrust::Both { ca: pki.ca_file.clone(), known_clients: known };
        tls.crls = crls;
    })
    .unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener: OnRefusal = {
        let told = told.clone();
        Arc::new(move |refusal| told.lock().unwrap().push(refusal.reason.to_string()))
    };
    let door = open_built(config("revoked-pin", Some(tls)), |door| door.on_refusal(listener), echo).await;
    let cases = [
        (&of_root, Chains::of("test ca", &[])),
        (&of_issuing, Chains::of("issuing ca", std::slice::from_ref(&proper))),
    ];
    for (identity, Chains { sent }) in &cases {
        for (what, chain) in sent {
            visit(door.addr, with_chain(&pki, identity, chain)).await.expect_err(what);
            until("the refusal", || !told.lock().unwrap().is_empty()).await;
            let said = told.lock().unwrap().pop().unwrap();
            assert!(said.contains("Revoked"), "{what}: {said}");
        }
    }
    // The same number of another CA, and the same chains.
    for (what, chain) in &cases[1].1.sent {
        visit(door.addr, with_chain(&pki, &good, chain)).await.expect(what);
    }
}

#[tokio::test]
async fn a_reload_cuts_a_pin_that_was_revoked_whatever_chain_it_came_with() {
    let pki = Pki::new();
    let pinned = pki.issue_numbered("pinned", 2);
    let known = write(&pki, "known.txt", &line("pinned", &pinned));
    let crl = pki.crl("crl.pem", &List::of(&[]));
    let tls = load(&pki, |tls| {
        tls.trust = ClientTrust::Both { ca: pki.ca_file.clone(), known_clients: known };
        tls.crls = vec![crl];
    })
    .unwrap();
    let door = open(config("revoked-pin-later", Some(tls.clone()))).await;
    let chains = Chains::of("test ca", &[]).sent;
    let clients: Vec<_> =
        chains.iter().map(|(_, chain)| HttpsClient::new(with_chain(&pki, &pinned, chain), 1)).collect();
    for client in &clients {
        client.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await.unwrap();
    }
    assert_eq!(door.counters.open(), clients.len() as u64);
    pki.crl("crl.pem", &List::of(&[2]));
    tls.reload().unwrap();
    until("all connections to be cut", || door.counters.expelled() == clients.len() as u64).await;
    for (client, (what, _)) in clients.iter().zip(&chains) {
        client.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await.expect_err(what);
    }
}

#[test]
fn a_bad_line_is_named_with_its_number() {
    let pki = Pki::new();
    let digits = "AA:".repeat(31) + "AA";
    for (text, words) in [
        ("# fine\nalone\n".to_owned(), "line 2: a common name and a fingerprint are needed"),
        ("a xyz\n".to_owned(), "line 1: the fingerprint is not hexadecimal"),
        (format!("a {digits}\nb {}\n", &digits[..59]), "line 2: the fingerprint is not SHA-256 (32 bytes)"),
        ("a \u{fffd}".replace('\u{fffd}', "\u{e4}"), "line 1: the fingerprint is not hexadecimal"),
    ] {
        let path = write(&pki, "bad.txt", &text);
        let error = load(&pki, |tls| tls.trust = ClientTrust::KnownClients(path)).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is missing in {error:?}");
    }
    let path = write(&pki, "good.txt", &format!("a {digits}\n"));
    let crl = pki.crl("crl.pem", &List::of(&[]));
    let error = load(&pki, |tls| (tls.trust, tls.crls) = (ClientTrust::KnownClients(path), vec![crl])).unwrap_err();
    assert!(matches!(error, TlsError::CrlWithoutCa), "{error}");
}

#[tokio::test]
async fn versions_and_suites_are_what_was_chosen() {
    const NEW: &str = "TLS_CHACHA20_POLY1305_SHA256";
    const OLD: &str = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let pki = Pki::new();
    let alice = pki.issue("alice");
    let tls = load(&pki, |tls| tls.versions = TlsVersions { min: TlsVersion::Tls13 }).unwrap();
    let newest = open(config("newest", Some(tls))).await;
    let (_, version, _) = visit(newest.addr, pki.raw_client(Some(&alice), &[&TLS13])).await.unwrap();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
    visit(newest.addr, pki.raw_client(Some(&alice), &[&TLS12])).await.expect_err("too old");

    let tls = load(&pki, |tls| tls.suites = CipherSuites::named(&[NEW, OLD]).unwrap()).unwrap();
    let suites: Vec<String> =
        tls.current().crypto_provider().cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
    assert_eq!(suites, ["TLS13_CHACHA20_POLY1305_SHA256", OLD]);
    let chosen = open(config("chosen", Some(tls))).await;
    for only in [&TLS12, &TLS13] {
        visit(chosen.addr, pki.raw_client(Some(&alice), &[only])).await.unwrap();
    }
    let error = load(&pki, |tls| tls.suites = CipherSuites::named(&[NEW]).unwrap()).unwrap_err();
    assert!(matches!(error, TlsError::Protocol(_)), "{error}");
}

fn pkcs12(file: &Path, password_file: &Path) -> impl FnOnce(&mut DoorTls) {
    let (file, password_file) = (file.to_owned(), password_file.to_owned());
    move |tls| tls.identity = ServerIdentity::Pkcs12 { file, password_file }
}

/// Runs a tool of the machine; `None` (said aloud) if it has none or if it cannot do this.
fn tool(program: &str, arguments: &[&str]) -> Option<()> {
    let ran = Command::new(program).args(arguments).output();
    match ran {
        Ok(output) if output.status.success() => Some(()),
        Ok(output) => {
            eprintln!("SKIPPED: {program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            eprintln!("SKIPPED: {program}: {error}");
            None
        }
    }
}

#[tokio::test]
async fn identities_that_openssl_and_java_packed_are_served() {
    let pki = Pki::new();
    let password = write(&pki, "password.txt", "changeit\n");
    let Identity { cert, key } = pki.issue("server");
    let path = |name: &str| pki.dir.path().join(name).to_str().unwrap().to_owned();
    let (cert, key, ca) = (cert.to_str().unwrap(), key.to_str().unwrap(), pki.ca_file.to_str().unwrap());
    let (modern, legacy, java) = (path("modern.p12"), path("legacy.p12"), path("java.p12"));
    let export = ["pkcs12", "-export", "-passout", "pass:changeit", "-in", cert, "-inkey", key, "-certfile", ca];
    let openssl = |more: &[&str]| tool("openssl", &[&export, more].concat());
    let old = ["-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1", "-out", &legacy];
    let import = ["-importkeystore", "-noprompt", "-srcstoretype", "PKCS12", "-srcstorepass", "changeit"];
    let to_java = ["-srckeystore", &modern, "-destkeystore", &java, "-deststoretype", "PKCS12"];
    let made = [
        (openssl(&["-name", "server", "-out", &modern]), &modern),
        (openssl(&old), &legacy),
        (tool("keytool", &[&import[..], &to_java, &["-deststorepass", "changeit"]].concat()), &java),
    ];
    for (made, file) in made {
        if made.is_none() {
            continue;
        }
        let tls = load(&pki, pkcs12(file.as_ref(), &password)).unwrap();
        let door = open(config("pkcs12", Some(tls))).await;
        visit(door.addr, pki.raw_client(Some(&pki.issue("alice")), &[&TLS13])).await.unwrap();
        let wrong = write(&pki, "wrong.txt", "guess\n");
        let error = load(&pki, pkcs12(file.as_ref(), &wrong)).unwrap_err().to_string();
        assert!(error.contains("wrong password") && !error.contains("guess"), "{error}");
    }
}

#[test]
fn bad_pkcs12_files_are_named_with_the_reason() {
    let pki = Pki::new();
    let password = write(&pki, "password.txt", "changeit\n");
    let missing = pki.dir.path().join("missing");
    for (file, password, words) in [
        (pki.ca_file.clone(), password.clone(), "ca.pem cannot be used"),
        (write(&pki, "empty.p12", ""), password.clone(), "empty.p12 cannot be used"),
        (missing.clone(), password, "cannot read "),
        (write(&pki, "any.p12", ""), missing, "cannot read "),
    ] {
        let error = load(&pki, pkcs12(&file, &password)).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is missing in {error:?}");
    }
}
