//! Revocation lists that change while a node runs.

use crate::common::eventually;
use crate::site::{Authority, PATIENCE, Site, tool, until, upcheck};
use consigner_gate::ClientTls;
use http::StatusCode;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const OVERLAY: &str = "api: {clients: [dev-client, vc-1], tls: {crl: [../clients.crl]}}\n\
                       peer: {tls: {crl: [../clients.crl]}}\n";

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "the measured time belongs into the record of a run")]
async fn a_client_that_is_revoked_is_out_at_once_and_its_connection_closed() {
    let mut site = Site::new();
    let authority = Authority::of_dev(&site);
    let identity = authority.client("vc-1", "vc-1", 4711);
    site.write("clients.crl", authority.revoked(&[1]));
    site.start(OVERLAY);
    let client = site.api_client(&identity);
    assert_eq!(upcheck(&client).await, Some(StatusCode::OK));
    let mut held = tool("openssl", "an open connection of a revoked client").map(|openssl| {
        let mut held = hold(&openssl, &site.api(), &identity);
        answered(&mut held);
        held
    });

    site.write("clients.crl", "no list at all");
    let bad = ["TLS files not reloaded", "clients.crl"];
    until("a bad list is refused", async || !site.lines_with(&bad).is_empty()).await;
    let gauge = "consigner_tls_reload_failed{door=\"api\"}";
    until("it is counted", async || site.metric(gauge).await.as_deref() == Some("1")).await;
    assert_eq!(upcheck(&site.api_client(&identity)).await, Some(StatusCode::OK), "the old list stays in use");

    site.write("clients.crl", authority.revoked(&[1, 4711]));
    let begun = Instant::now();
    until("the revoked client is out", async || upcheck(&site.api_client(&identity)).await.is_none()).await;
    eprintln!("a revoked client was out after {:?}", begun.elapsed());
    // New ones are refused from the moment of the new list; open ones are looked through right after it.
    until("its kept connection is closed, too", async || upcheck(&client).await.is_none()).await;
    if let Some(held) = &mut held {
        let ended = || held.try_wait().unwrap();
        eventually("the end of the open connection", PATIENCE, ended);
        eprintln!("its open connection was closed after {:?}", begun.elapsed());
    }
    let audited = ["audit", "connection", "refused", "vc-1", "api"];
    until("the refusal is audited", async || !site.lines_with(&audited).is_empty()).await;
    let other = site.identity("client");
    assert_eq!(upcheck(&site.api_client(&other)).await, Some(StatusCode::OK), "others stay");
    until("the good list is counted", async || site.metric(gauge).await.as_deref() == Some("0")).await;
}

/// A TLS connection that stays open, after one request.
fn hold(openssl: &Path, address: &str, identity: &ClientTls) -> Child {
    let mut command = Command::new(openssl);
    command.args(["s_client", "-quiet", "-ign_eof", "-servername", "localhost", "-connect", address]);
    command.arg("-cert").arg(&identity.cert).arg("-key").arg(&identity.key).arg("-CAfile").arg(&identity.ca);
    let mut held = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    held.stdin.as_mut().unwrap().write_all(b"GET /upcheck HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    held
}

fn answered(held: &mut Child) {
    let mut line = String::new();
    BufReader::new(held.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
}
