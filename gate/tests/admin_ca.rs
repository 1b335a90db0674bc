//! A CA of its own for administrators, beside the one for everybody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use consigner_gate::tls::{ALPN_API, ALPN_PEER, ClientAuth, ClientTrust, DoorTls, client_config};
use consigner_gate::{ClientTls, HttpsClient, Peer, PeerChannel, ReloadableTls, TlsError};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest as _, Sha256};
use support::crl::List;
use support::pki::{Identity, LONG, Pki};
use support::{Open, config, logs, open_with, status, until, visit};
use tokio::sync::Notify;

/// The CA of everybody, which also issued the server's certificate, and that of administrators.
struct Cas {
    clients: Pki,
    admins: Pki,
}

impl Cas {
    fn new() -> Self {
        // Equal names, as two CAs of one operator may well have: only keys tell them apart.
        Self { clients: Pki::named("staking ca"), admins: Pki::named("staking ca") }
    }

    fn tls(&self) -> DoorTls {
        DoorTls { admin_ca: Some(self.admins.ca_file.clone()), ..self.clients.server_files().into() }
    }

    /// Of one CA, for a server of the clients' CA.
    fn client(&self, of: &Pki, name: &str) -> HttpsClient {
        let Identity { cert, key } = of.issue(name);
        HttpsClient::new(self.config(cert, key), 1)
    }

    fn config(&self, cert: PathBuf, key: PathBuf) -> Arc<rustls::ClientConfig> {
        client_config(&ClientTls { cert, key, ca: self.clients.ca_file.clone() }, ALPN_API).unwrap()
    }
}

fn load(tls: DoorTls) -> Arc<ReloadableTls> {
    ReloadableTls::load_door(tls, ALPN_API).unwrap()
}

/// Says whether the caller is an administrator.
async fn who(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let peer = request.extensions().get::<Peer>().unwrap();
    let is_admin = peer.certificate.as_ref().is_some_and(|certificate| certificate.from_admin_ca);
    let mut answer = status(http::StatusCode::OK);
    answer.headers_mut().insert("admin", is_admin.to_string().parse().unwrap());
    answer
}

async fn is_admin(client: &HttpsClient, door: &Open) -> Result<bool, consigner_gate::ClientError> {
    let answer = client.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await?;
    Ok(answer.headers["admin"] == "true")
}

#[tokio::test]
async fn a_certificate_of_either_ca_gets_in_and_only_one_makes_an_administrator() {
    let (cas, foreign) = (Cas::new(), Pki::named("staking ca"));
    let door = open_with(config("two-cas", Some(load(cas.tls()))), who).await;
    for only in [&TLS12, &TLS13] {
        let enter = async |pki: &Pki, name: &str| {
            let identity = pki.issue(name);
            visit(door.addr, cas.clients.raw_client(Some(&identity), &[only])).await.map(|(answer, ..)| answer)
        };
        assert!(enter(&cas.clients, "vc").await.unwrap().contains("admin: false"));
        // The same name: only the issuer counts.
        assert!(enter(&cas.clients, "root").await.unwrap().contains("admin: false"));
        assert!(enter(&cas.admins, "root").await.unwrap().contains("admin: true"));
        enter(&foreign, "root").await.expect_err("a third CA of the same name");
    }
}

#[tokio::test]
async fn administrators_are_checked_like_everybody() {
    let cas = Cas::new();
    let crls = vec![cas.clients.crl("clients.pem", &List::of(&[1])), cas.admins.crl("admins.pem", &List::of(&[2]))];
    let door = open_with(config("checked-admins", Some(load(DoorTls { crls, ..cas.tls() }))), who).await;
    let enter = async |identity: Identity| {
        let visited = visit(door.addr, cas.clients.raw_client(Some(&identity), &[&TLS13])).await;
        visited.map(|(answer, ..)| answer.contains("admin: true"))
    };
    // The lists of two CAs of one name are not mixed up.
    for (pki, serial, expected) in
        [(&cas.clients, 1, None), (&cas.clients, 2, Some(false)), (&cas.admins, 1, Some(true)), (&cas.admins, 2, None)]
    {
        assert_eq!(enter(pki.issue_numbered("numbered", serial)).await.ok(), expected, "serial {serial}");
    }
    enter(cas.admins.expired("late")).await.expect_err("expired");
    let early = cas.admins.issue_with("early", |params| params.not_before = rcgen::date_time_ymd(2400, 1, 1));
    enter(early).await.expect_err("not yet valid");
    let misused = cas
        .admins
        .issue_with("misused", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    enter(misused).await.expect_err("a server's");
    until("the refusals", || door.counters.handshakes_failed() == 5).await;
    for reason in ["Revoked", "expired", "not valid yet", "client authentication"] {
        until(reason, || logs::warnings("checked-admins").iter().any(|line| line.contains(reason))).await;
    }
}

#[tokio::test]
async fn known_clients_and_an_admin_ca_go_together() {
    let cas = Cas::new();
    let line = |name: &str, identity: &Identity| {
        let der =
            <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_file(&identity.cert);
        format!("{name} {}\n", hex::encode(Sha256::digest(der.unwrap())))
    };
    let (pinned, revoked) = (cas.clients.self_signed("vc", |_| {}), cas.admins.issue_numbered("revoked", 7));
    let known_clients = cas.clients.dir.path().join("known.txt");
    std::fs::write(&known_clients, line("vc", &pinned) + &line("revoked", &revoked)).unwrap();
    let crls = vec![cas.admins.crl("crl.pem", &List::of(&[7]))];
    let tls = DoorTls { trust: ClientTrust::KnownClients(known_clients), crls, ..cas.tls() };
    assert!(matches!(
        ReloadableTls::load_door(DoorTls { admin_ca: None, ..tls.clone() }, ALPN_API),
        Err(TlsError::CrlWithoutCa)
    ));
    let door = open_with(config("pins-and-admins", Some(load(tls))), who).await;
    let enter = async |identity: &Identity| {
        let visited = visit(door.addr, cas.clients.raw_client(Some(identity), &[&TLS13])).await;
        visited.map(|(answer, ..)| answer.contains("admin: true"))
    };
    assert!(!enter(&pinned).await.unwrap());
    assert!(enter(&cas.admins.issue("admin")).await.unwrap());
    enter(&revoked).await.expect_err("pinned, but revoked");
    enter(&cas.clients.issue("of-the-other-ca")).await.expect_err("not pinned");
}

#[tokio::test]
async fn where_a_certificate_is_optional_nobody_is_no_administrator() {
    let cas = Cas::new();
    let tls = load(DoorTls { client_auth: ClientAuth::Optional, ..cas.tls() });
    let door = open_with(config("optional-admins", Some(tls)), who).await;
    let admin = cas.admins.issue("admin");
    for (identity, expected) in [(None, "admin: false"), (Some(&admin), "admin: true")] {
        let (answer, ..) = visit(door.addr, cas.clients.raw_client(identity, &[&TLS13])).await.unwrap();
        assert!(answer.contains(expected), "{answer}");
    }
}

#[tokio::test]
async fn a_reload_judges_the_mark_of_open_connections_anew() {
    let cas = Cas::new();
    let tls = load(cas.tls());
    let door = open_with(config("mark", Some(tls.clone())), who).await;
    let (vc, admin) = (cas.client(&cas.clients, "vc"), cas.client(&cas.admins, "admin"));
    assert!(!is_admin(&vc, &door).await.unwrap());
    assert!(is_admin(&admin, &door).await.unwrap());
    tls.reload().unwrap();
    assert!(is_admin(&admin, &door).await.unwrap());
    let accepted = door.counters.accepted();

    // Now everybody's CA is the administrators', too.
    let bundle = |of: &[&Pki]| of.iter().map(|pki| std::fs::read_to_string(&pki.ca_file).unwrap()).collect::<String>();
    let both = bundle(&[&cas.clients, &cas.admins]);
    let only_admins = bundle(&[&cas.admins]);
    std::fs::write(&cas.admins.ca_file, &both).unwrap();
    tls.reload().unwrap();
    let end = std::time::Instant::now() + support::PATIENCE;
    while !is_admin(&vc, &door).await.unwrap() {
        assert!(std::time::Instant::now() < end, "the mark is never raised");
    }
    assert_eq!(door.counters.accepted(), accepted, "on the connections that stood");

    std::fs::write(&cas.admins.ca_file, only_admins).unwrap();
    tls.reload().unwrap();
    until("the one that lost it to be cut", || door.counters.expelled() == 1).await;
    assert!(!is_admin(&vc, &door).await.unwrap(), "comes back as nobody special");
    assert!(is_admin(&admin, &door).await.unwrap());
    let line = &logs::warnings("mark")[0];
    assert!(line.contains("no longer of an administrators' CA") && line.contains("vc sha256:"), "{line}");
}

#[tokio::test]
async fn an_administrator_that_is_revoked_is_cut_in_the_middle_of_a_request() {
    let cas = Cas::new();
    let crls = vec![cas.clients.crl("clients.pem", &List::of(&[])), cas.admins.crl("admins.pem", &List::of(&[]))];
    let tls = load(DoorTls { crls, ..cas.tls() });
    let entered = Arc::new(Notify::new());
    let told = entered.clone();
    let door = open_with(config("cut-admin", Some(tls.clone())), move |_request| {
        let told = told.clone();
        async move {
            told.notify_one();
            std::future::pending::<Response<Full<Bytes>>>().await
        }
    })
    .await;
    let Identity { cert, key } = cas.admins.issue_numbered("admin", 7);
    let files = ClientTls { cert, key, ca: cas.clients.ca_file.clone() };
    let config = client_config(&files, ALPN_PEER).unwrap();
    let channel = PeerChannel::new(door.host_port(), "localhost".to_owned(), config).unwrap();
    let call = tokio::spawn(async move { channel.call("/", &[], Bytes::new(), LONG, 1000).await });
    entered.notified().await;
    cas.admins.crl("admins.pem", &List::of(&[7]));
    tls.reload().unwrap();
    call.await.unwrap().expect_err("cut");
    assert_eq!(door.counters.expelled(), 1);
}

#[test]
fn the_bundle_is_checked_watched_and_its_ends_are_known() {
    let cas = Cas::new();
    let tls = cas.tls();
    assert!(tls.files().contains(&cas.admins.ca_file), "a change of it is noticed");
    let loaded = load(tls.clone());
    let ends = loaded.expiries().iter().filter(|end| end.what == consigner_gate::tls::What::Ca).count();
    assert_eq!(ends, 2);
    std::fs::write(&cas.admins.ca_file, "").unwrap();
    let error = loaded.reload().unwrap_err();
    assert!(matches!(&error, TlsError::NoCertificate { path } if *path == cas.admins.ca_file), "{error}");
    let leaf = cas.clients.issue("leaf").cert;
    let error = ReloadableTls::load_door(DoorTls { admin_ca: Some(leaf), ..tls }, ALPN_API).unwrap_err();
    assert!(matches!(error, TlsError::NotACa { .. }), "{error}");
}
