//! Certificates that must not get in, and connections that must not stay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use consigner_gate::tls::{ALPN_API, ClientAuth, DoorTls, StaleCrl};
use consigner_gate::tls::{ALPN_PEER, OutgoingTls};
use consigner_gate::{ClientTls, HttpsClient, PeerChannel, ReloadableClientTls, ReloadableTls, TlsError};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::version::{TLS12, TLS13};
use support::crl::List;
use support::pki::{Identity, LONG, Pki};
use support::{Open, config, echo, logs, open, open_with, until, visit};
use tokio::sync::Notify;

const REVOKED: u64 = 4711;

fn door_tls(pki: &Pki, crls: Vec<PathBuf>) -> DoorTls {
    DoorTls { crls, ..pki.server_files().into() }
}

fn load(tls: DoorTls) -> Result<Arc<ReloadableTls>, TlsError> {
    ReloadableTls::load_door(tls, ALPN_API)
}

async fn get(client: &HttpsClient, door: &Open) -> Result<StatusCode, consigner_gate::ClientError> {
    client.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await.map(|response| response.status)
}

#[tokio::test]
async fn revoked_expired_early_and_misused_certificates_are_refused_in_the_handshake() {
    let pki = Pki::new();
    let crl = pki.crl("crl.pem", &List::of(&[REVOKED]));
    let door = open(config("unwanted", Some(load(door_tls(&pki, vec![crl])).unwrap()))).await;
    let early = pki.issue_with("early", |params| params.not_before = rcgen::date_time_ymd(2400, 1, 1));
    let misused =
        pki.issue_with("misused", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let unwanted = [
        (pki.issue_numbered("revoked", REVOKED), "Revoked"),
        (pki.expired("expired"), "expired"),
        (early, "not valid yet"),
        (misused, "does not allow extended key usage"),
    ];
    for only in [&TLS12, &TLS13] {
        for (identity, reason) in &unwanted {
            let before = logs::warnings("unwanted").len();
            visit(door.addr, pki.raw_client(Some(identity), &[only])).await.expect_err(reason);
            until("a WARN line", || logs::warnings("unwanted").len() > before).await;
            let line = logs::warnings("unwanted").pop().unwrap();
            assert!(line.contains(reason), "{reason:?} is missing in {line}");
        }
        let good = pki.issue_numbered("good", REVOKED + 1);
        visit(door.addr, pki.raw_client(Some(&good), &[only])).await.expect("not on the list");
    }
    assert_eq!(door.counters.handshakes_failed(), 8);
}

#[tokio::test]
async fn an_optional_certificate_that_is_revoked_is_refused_and_none_is_not() {
    let pki = Pki::new();
    let crl = pki.crl("crl.pem", &List::of(&[REVOKED]));
    let tls = load(DoorTls { client_auth: ClientAuth::Optional, ..door_tls(&pki, vec![crl]) }).unwrap();
    let door = open(config("optional-revoked", Some(tls))).await;
    visit(door.addr, pki.raw_client(None, &[&TLS13])).await.expect("nobody in particular");
    let revoked = pki.issue_numbered("revoked", REVOKED);
    visit(door.addr, pki.raw_client(Some(&revoked), &[&TLS13])).await.expect_err("revoked");
}

#[tokio::test]
async fn lists_of_several_cas_come_in_several_files_or_in_one() {
    let (one, two) = (Pki::named("one"), Pki::named("two"));
    let both = one.dir.path().join("both.pem");
    let bundle = [&one, &two].map(|pki| std::fs::read_to_string(&pki.ca_file).unwrap()).concat();
    std::fs::write(&both, bundle).unwrap();
    let mut tls = door_tls(&one, Vec::new());
    tls.trust = consigner_gate::tls::ClientTrust::Ca(both);
    let lists = [one.crl_pem(&List::of(&[1])), two.crl_pem(&List::of(&[2]))];
    let joined = one.dir.path().join("joined.pem");
    std::fs::write(&joined, lists.concat()).unwrap();
    let split = vec![one.crl("one.pem", &List::of(&[1])), two.crl("two.pem", &List::of(&[2]))];
    let identities = [(one.issue_numbered("a", 1), false), (one.issue_numbered("b", 2), true)]
        .into_iter()
        .chain([(two.issue_numbered("c", 1), true), (two.issue_numbered("d", 2), false)])
        .collect::<Vec<_>>();
    for crls in [vec![joined], split] {
        let door = open(config("lists", Some(load(DoorTls { crls, ..tls.clone() }).unwrap()))).await;
        for (identity, is_good) in &identities {
            let visited = visit(door.addr, one.raw_client(Some(identity), &[&TLS13])).await;
            assert_eq!(visited.is_ok(), *is_good, "{:?}", identity.cert);
        }
    }
}

#[tokio::test]
async fn an_expired_list_still_refuses_whom_it_names_or_everybody_as_chosen() {
    let pki = Pki::new();
    let crl = pki.crl("stale.pem", &List::of(&[REVOKED]).until(2021));
    let tls = door_tls(&pki, vec![crl]);
    let door = open(config("stale", Some(load(tls.clone()).unwrap()))).await;
    let (revoked, good) = (pki.issue_numbered("revoked", REVOKED), pki.issue("good"));
    visit(door.addr, pki.raw_client(Some(&revoked), &[&TLS13])).await.expect_err("revoked");
    visit(door.addr, pki.raw_client(Some(&good), &[&TLS13])).await.expect("tolerated");
    let error = load(DoorTls { stale_crl: StaleCrl::Refuse, ..tls }).unwrap_err();
    assert!(matches!(error, TlsError::CrlExpired { .. }), "{error}");
}

#[test]
fn bad_lists_are_named_with_the_reason() {
    let (pki, namesake) = (Pki::new(), Pki::new());
    let file = |name: &str, text: &str| {
        let path = pki.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = pki.crl_pem(&List::of(&[]));
    let binary = pki.dir.path().join("list.crl");
    std::fs::write(&binary, [0x30, 0x82, 1, 0, 0xff]).unwrap();
    let garbage = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    for (path, words) in [
        (file("empty.pem", ""), "no revocation list in "),
        (pki.ca_file.clone(), "no revocation list in "),
        (pki.dir.path().join("missing.pem"), "cannot read "),
        (file("cut.pem", &good[..good.len() / 2]), "cut.pem is not valid PEM"),
        (binary, "list.crl is DER, not PEM: convert it"),
        (file("garbage.pem", garbage), "garbage.pem cannot be used"),
        (file("forged.pem", &namesake.crl_pem(&List::of(&[]))), "the signature is not that of CN=test ca"),
    ] {
        let error = load(door_tls(&pki, vec![path])).expect_err("should be refused").to_string();
        assert!(error.contains(words), "{words:?} is missing in {error:?}");
    }
}

/// A door where `/slow` waits for a word.
async fn open_slow(name: &str, tls: Arc<ReloadableTls>) -> (Open, Arc<Notify>, Arc<Notify>) {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let words = (entered.clone(), go_on.clone());
    let service = move |request: Request<Incoming>| {
        let (entered, go_on) = words.clone();
        async move {
            if request.uri().path() == "/slow" {
                entered.notify_one();
                go_on.notified().await;
            }
            let answer: Response<Full<Bytes>> = echo(request).await;
            answer
        }
    };
    (open_with(config(name, Some(tls)), service).await, entered, go_on)
}

fn https(pki: &Pki, Identity { cert, key }: Identity) -> HttpsClient {
    let files = consigner_gate::ClientTls { cert, key, ca: pki.ca_file.clone() };
    HttpsClient::new(consigner_gate::tls::client_config(&files, ALPN_API).unwrap(), 4)
}

#[tokio::test]
async fn a_reload_cuts_the_connections_of_the_revoked_and_no_others() {
    let pki = Pki::new();
    let crl = pki.crl("crl.pem", &List::of(&[]));
    let tls = load(door_tls(&pki, vec![crl.clone()])).unwrap();
    let (door, entered, go_on) = open_slow("cut-revoked", tls.clone()).await;
    let revoked = https(&pki, pki.issue_numbered("revoked", REVOKED));
    let good = https(&pki, pki.issue_numbered("good", REVOKED + 1));
    let slow = |client: &HttpsClient| {
        let (client, url) = (client.clone(), door.url("/slow"));
        tokio::spawn(async move { client.request(Method::GET, &url, &[], Bytes::new(), LONG).await })
    };
    get(&revoked, &door).await.unwrap();
    let of_revoked = slow(&revoked);
    entered.notified().await;
    let of_good = slow(&good);
    entered.notified().await;

    tls.reload().unwrap();
    assert_eq!(door.counters.expelled(), 0, "nobody is revoked yet");
    pki.crl("crl.pem", &List::of(&[REVOKED]));
    tls.reload().unwrap();
    of_revoked.await.unwrap().expect_err("cut in the middle of its request");
    assert_eq!(door.counters.expelled(), 1);
    get(&revoked, &door).await.expect_err("cannot come back");
    go_on.notify_waiters();
    assert_eq!(of_good.await.unwrap().unwrap().status, StatusCode::OK, "others notice nothing");
    let accepted = door.counters.accepted();
    get(&good, &door).await.unwrap();
    assert_eq!(door.counters.accepted(), accepted, "on the same connection");
    let line = &logs::warnings("cut-revoked")[0];
    assert!(line.contains("connection cut") && line.contains("Revoked") && line.contains("revoked sha256:"), "{line}");
}

#[tokio::test]
async fn a_reload_cuts_the_connections_of_a_ca_that_left_also_over_http2() {
    let (old, new) = (Pki::named("old"), Pki::named("new"));
    let tls = load(door_tls(&old, Vec::new())).unwrap();
    let door = open(config("ca-left", Some(tls.clone()))).await;
    let channel = old.channel("node2", &door.host_port());
    channel.call("/", &[], Bytes::new(), LONG, 1000).await.unwrap();
    std::fs::copy(&new.ca_file, &old.ca_file).unwrap();
    tls.reload().unwrap();
    until("the connection to be cut", || door.counters.open() == 0).await;
    assert_eq!(door.counters.expelled(), 1);
    channel.call("/", &[], Bytes::new(), LONG, 1000).await.expect_err("the old CA is out");
}

fn outgoing(pki: &Pki, crls: Vec<PathBuf>) -> Arc<ReloadableClientTls> {
    let Identity { cert, key } = pki.issue("client");
    let tls = OutgoingTls { crls, ..ClientTls { cert, key, ca: pki.ca_file.clone() }.into() };
    ReloadableClientTls::load_outgoing(tls, ALPN_PEER).unwrap()
}

#[tokio::test]
async fn a_revoked_server_is_refused_by_those_who_connect_to_it() {
    let pki = Pki::new();
    let door = open(config("revoked-server", pki.server())).await;
    let outgoing = outgoing(&pki, vec![pki.crl("crl.pem", &List::of(&[]))]);
    get(&HttpsClient::new(outgoing.config(), 1), &door).await.unwrap();
    pki.crl("crl.pem", &List::of(&[support::pki::SERVER_SERIAL]));
    outgoing.reload().unwrap();
    let error = get(&HttpsClient::new(outgoing.config(), 1), &door).await.expect_err("revoked");
    assert!(consigner_gate::with_causes(&error).contains("Revoked"), "{error:?}");
}

#[tokio::test]
async fn unfit_server_certificates_are_refused_by_those_who_connect() {
    let pki = Pki::new();
    let outgoing = outgoing(&pki, Vec::new());
    let with = |name: &str, change: &dyn Fn(&mut rcgen::CertificateParams)| pki.issue_with(name, change);
    let in_a_moment = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    for (identity, reason) in [
        (
            with("misused", &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            "extended key usage",
        ),
        (with("nameless", &|params| params.subject_alt_names.clear()), "not valid for"),
        (with("brief", &|params| params.not_after = in_a_moment.into()), "expired"),
    ] {
        let files =
            consigner_gate::ServerTls { cert: identity.cert, key: identity.key, client_ca: pki.ca_file.clone() };
        let door = open(config("unfit-server", Some(load(files.into()).unwrap()))).await;
        until("its end, if it has one", || reason != "expired" || std::time::SystemTime::now() > in_a_moment).await;
        // A second is not over before its end.
        let end = std::time::Instant::now() + support::PATIENCE;
        let error = loop {
            let channel = PeerChannel::new(door.host_port(), "localhost".to_owned(), outgoing.config()).unwrap();
            match channel.call("/", &[], Bytes::new(), LONG, 1000).await {
                Err(error) => break error,
                Ok(_) => assert!(reason == "expired" && std::time::Instant::now() < end, "{reason}"),
            }
        };
        assert!(consigner_gate::with_causes(&error).contains(reason), "{reason:?} is missing in {error:?}");
    }
}

#[tokio::test]
async fn open_connections_to_a_server_that_is_revoked_are_cut_and_others_are_not() {
    let pki = Pki::new();
    let bad = open(config("revoked-later", pki.server())).await;
    let good_files = pki.issue_numbered("good-server", 5);
    let files =
        consigner_gate::ServerTls { cert: good_files.cert, key: good_files.key, client_ca: pki.ca_file.clone() };
    let good = open(config("never-revoked", Some(load(files.into()).unwrap()))).await;
    let outgoing = outgoing(&pki, vec![pki.crl("crl.pem", &List::of(&[]))]);
    let channel = |door: &Open| PeerChannel::new(door.host_port(), "localhost".to_owned(), outgoing.config()).unwrap();
    let (to_bad, to_good, client) = (channel(&bad), channel(&good), HttpsClient::new(outgoing.config(), 1));
    let call = async |channel: &PeerChannel| channel.call("/", &[], Bytes::new(), LONG, 1000).await;
    call(&to_bad).await.unwrap();
    call(&to_good).await.unwrap();
    get(&client, &bad).await.unwrap();
    get(&client, &good).await.unwrap();
    assert_eq!((bad.counters.open(), good.counters.open()), (2, 2));

    // A reload alone cuts nobody.
    outgoing.reload().unwrap();
    call(&to_bad).await.unwrap();
    assert_eq!(bad.counters.accepted(), 2);
    pki.crl("crl.pem", &List::of(&[support::pki::SERVER_SERIAL]));
    outgoing.reload().unwrap();
    until("both connections to be cut", || bad.counters.open() == 0 && !to_bad.is_connected()).await;
    let error = call(&to_bad).await.expect_err("revoked");
    assert!(error.is_unreachable() && consigner_gate::with_causes(&error).contains("Revoked"), "{error:?}");
    get(&client, &bad).await.expect_err("revoked");
    call(&to_good).await.unwrap();
    get(&client, &good).await.unwrap();
    assert_eq!((good.counters.open(), good.counters.accepted()), (2, 2), "the same connections");
}
