//! What a listener shows, whom it knows, and which versions it speaks.

use crate::site::{Authority, CALL, Site, ran, tool, until, upcheck};
use consigner_gate::ClientTls;
use http::{Method, StatusCode};
use std::path::Path;

const PASSWORD: &str = "a password of a test";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `COMMON-NAME AA:BB:..`, as Web3Signer's file has it.
fn known(openssl: &Path, name: &str, cert: &Path) -> String {
    let (done, fingerprint, said) = ran(openssl, &["x509", "-in", text(cert), "-noout", "-fingerprint", "-sha256"]);
    assert!(done, "{said}");
    format!("{name} {}\n", fingerprint.trim().split_once('=').unwrap().1)
}

fn key_store(openssl: &Path, site: &Site) {
    let (cert, key) = (site.certificates().cert("node1"), site.certificates().key("node1"));
    let (file, password) = (site.path("node1.p12"), format!("pass:{PASSWORD}"));
    let mut arguments = vec!["pkcs12", "-export", "-in", text(&cert), "-inkey", text(&key), "-out", text(&file)];
    arguments.extend(["-passout", &password]);
    let (done, _, said) = ran(openssl, &arguments);
    assert!(done, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_store_and_known_clients_as_web3signer_has_them() {
    let Some(openssl) = tool("openssl", "PKCS#12 and known clients") else { return };
    let mut site = Site::new();
    key_store(&openssl, &site);
    site.write("password", format!("{PASSWORD}\n"));
    let strangers = Authority::new(&site, "strangers");
    let (named, unnamed) = (strangers.client("named", "vc-1", 1), strangers.client("unnamed", "vc-1", 2));
    let certificates = site.certificates();
    let own = known(&openssl, "dev-client", &certificates.cert("client"))
        + &known(&openssl, "dev-admin", &certificates.cert("admin"));
    let all = format!("{own}{}", known(&openssl, "vc-1", &named.cert));
    site.write("known-clients", &all);
    site.start(
        "api: {clients: [dev-client, vc-1], tls: {cert: null, key: null, client-ca: null, pkcs12: ../node1.p12, \
         pkcs12-password-file: ../password, known-clients: ../known-clients}}\n",
    );
    assert_eq!(upcheck(&site.api_client(&named)).await, Some(StatusCode::OK), "whoever issued it");
    assert_eq!(upcheck(&site.api_client(&unnamed)).await, None, "the same name is not the same certificate");

    // Each kind of file: a bad one changes nothing and is told.
    for (name, good) in
        [("known-clients", all.clone().into_bytes()), ("node1.p12", std::fs::read(site.path("node1.p12")).unwrap())]
    {
        site.write(name, "neither nor");
        until("the bad file is refused", async || !site.lines_with(&["TLS files not reloaded", name]).is_empty()).await;
        assert_eq!(upcheck(&site.api_client(&named)).await, Some(StatusCode::OK), "{name}: the old one stays in use");
        site.write(name, good);
        let gauge = "consigner_tls_reload_failed{door=\"api\"}";
        until("it is mended", async || site.metric(gauge).await.as_deref() == Some("0")).await;
    }
    let kept = site.api_client(&named);
    assert_eq!(upcheck(&kept).await, Some(StatusCode::OK));
    site.write("known-clients", own);
    until("who is known no more is out", async || upcheck(&site.api_client(&named)).await.is_none()).await;
    // New ones are refused from the moment of the new list; open ones are looked through right after it.
    until("the connection that it had is closed", async || upcheck(&kept).await.is_none()).await;
    assert_eq!(upcheck(&site.api_client(&site.identity("client"))).await, Some(StatusCode::OK));
}

async fn status_of_cluster(site: &Site, identity: &ClientTls) -> Option<StatusCode> {
    let client = site.api_client(identity);
    let answer = client.call(Method::GET, "/admin/v1/cluster/status", &[], bytes::Bytes::new(), CALL).await;
    answer.ok().map(|answer| answer.response.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_have_a_ca_of_their_own_and_clients_speak_tls_1_3_only() {
    let mut site = Site::new();
    let operators = Authority::new(&site, "operators");
    let (admin, guest) = (operators.client("op", "dev-admin", 1), operators.client("guest", "somebody", 2));
    site.start("{}\n");
    assert_eq!(status_of_cluster(&site, &site.identity("admin")).await, Some(StatusCode::OK));
    site.stop();
    site.start("api: {tls: {admin-ca: ../certs/operators.pem, min-version: \"1.3\"}}\n");
    let forbidden = Some(StatusCode::FORBIDDEN);
    assert_eq!(status_of_cluster(&site, &site.identity("admin")).await, forbidden, "its name is not enough");
    assert_eq!(status_of_cluster(&site, &admin).await, Some(StatusCode::OK));
    assert_eq!(status_of_cluster(&site, &guest).await, forbidden, "the CA is not enough");
    assert_eq!(upcheck(&site.api_client(&site.identity("client"))).await, Some(StatusCode::OK));

    let Some(openssl) = tool("openssl", "versions of TLS") else { return };
    let identity = site.identity("client");
    let speaks = |version: &str| {
        let (address, cert, key) = (site.api(), text(&identity.cert), text(&identity.key));
        let arguments = ["s_client", "-connect", &address, version, "-cert", cert, "-key", key];
        let (_, said, _) = ran(&openssl, &arguments);
        said.contains("Cipher is TLS_") || said.contains("Cipher is ECDHE")
    };
    assert!(speaks("-tls1_3") && !speaks("-tls1_2"));
}
