//! Certificates that are renewed while connections stand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use consigner_gate::tls::{ALPN_API, ALPN_PEER, DoorTls, TlsHandle, client_config};
use consigner_gate::{ClientTls, HttpsClient, PeerChannel, ReloadableClientTls, ReloadableTls, ServerTls, TlsWatcher};
use http::Method;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use support::crl::List;
use support::pki::{Identity, LONG, Pki};
use support::{Open, config, logs, open, until};
use tokio_util::sync::CancellationToken;

/// The one recorder of this test binary.
fn metrics() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder).unwrap();
        handle
    };
    RECORDER.get_or_init(install).clone()
}

fn has_metric(line: &str) -> bool {
    metrics().render().lines().any(|found| found == line)
}

/// A watcher that runs until the test ends.
struct Watching {
    watcher: Arc<TlsWatcher>,
    _stop: tokio_util::sync::DropGuard,
}

fn watch(handles: Vec<(&str, TlsHandle)>) -> Watching {
    metrics();
    let watcher = TlsWatcher::new(handles.into_iter().map(|(door, handle)| (door.to_owned(), handle)).collect());
    let stop = CancellationToken::new();
    tokio::spawn(watcher.clone().run(stop.clone()));
    Watching { watcher, _stop: stop.drop_guard() }
}

async fn call(client: &HttpsClient, door: &Open) -> Result<String, consigner_gate::ClientError> {
    let response = client.request(Method::GET, &door.url("/"), &[], Bytes::new(), LONG).await?;
    Ok(response.headers["peer"].to_str().unwrap().to_owned())
}

/// Trusts both CAs, shows a certificate of the first.
fn client_of(pki: &Pki, name: &str, trusts: &[&Pki]) -> HttpsClient {
    let Identity { cert, key } = pki.issue(name);
    let ca = pki.dir.path().join(format!("{name}-trusts.pem"));
    std::fs::write(&ca, bundle(trusts)).unwrap();
    HttpsClient::new(client_config(&ClientTls { cert, key, ca }, ALPN_API).unwrap(), 4)
}

fn bundle(pkis: &[&Pki]) -> String {
    pkis.iter().map(|pki| std::fs::read_to_string(&pki.ca_file).unwrap()).collect()
}

/// As a careful renewer does it: written beside, then renamed.
fn replace(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    std::fs::copy(from, &beside).unwrap();
    std::fs::rename(beside, to).unwrap();
}

#[tokio::test]
async fn certificate_and_ca_roll_over_by_themselves_and_no_connection_is_dropped() {
    let (old, new) = (Pki::named("old"), Pki::named("new"));
    let files = old.server_files();
    let tls = ReloadableTls::load(files.clone(), ALPN_API).unwrap();
    let door = open(config("rollover", Some(tls.clone()))).await;
    let _watching = watch(vec![("rollover", tls.into())]);
    let (early, late) = (client_of(&old, "early", &[&old, &new]), client_of(&new, "late", &[&new]));
    assert_eq!(call(&early, &door).await.unwrap(), "early");
    call(&late, &door).await.expect_err("not trusted yet, and it does not trust");

    std::fs::write(&files.client_ca, bundle(&[&old, &new])).unwrap();
    let ServerTls { cert, key, .. } = new.server_files();
    replace(&key, &files.key);
    replace(&cert, &files.cert);
    let end = std::time::Instant::now() + support::PATIENCE;
    while call(&late, &door).await.is_err() {
        assert!(std::time::Instant::now() < end, "never reloaded");
    }
    let accepted = door.counters.accepted();
    assert_eq!(call(&early, &door).await.unwrap(), "early");
    assert_eq!((door.counters.accepted(), door.counters.expelled()), (accepted, 0), "on its first connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_certificates_roll_over_again_and_again() {
    const ROUNDS: usize = 20;
    let pki = Pki::new();
    let files = pki.server_files();
    let tls = ReloadableTls::load(files.clone(), ALPN_API).unwrap();
    let door = Arc::new(open(config("under-load", Some(tls.clone()))).await);
    let watching = watch(vec![("under-load", tls.into())]);
    let stop = CancellationToken::new();
    let mut callers = tokio::task::JoinSet::new();
    // One caller keeps its connection, the others come anew each time.
    for idle in [1, 0, 0] {
        let (door, stop, tls) = (door.clone(), stop.clone(), pki.client_tls(&format!("caller-{idle}")));
        callers.spawn(async move {
            let (client, mut served) = (HttpsClient::new(tls, idle), 0_usize);
            while !stop.is_cancelled() {
                call(&client, &door).await.unwrap();
                served += 1;
            }
            served
        });
    }
    for round in 0..ROUNDS {
        let renewed = pki.issue(&format!("server-{round}"));
        replace(&renewed.key, &files.key);
        // Between the two files a reload finds a key that does not match, and keeps what it has.
        assert!(watching.watcher.reload_now().await[0].result.is_err());
        replace(&renewed.cert, &files.cert);
        assert!(watching.watcher.reload_now().await[0].result.is_ok());
    }
    stop.cancel();
    let served = callers.join_all().await;
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
    assert_eq!((door.counters.expelled(), door.counters.handshakes_failed()), (0, 0));
}

#[tokio::test]
async fn a_bad_file_changes_nothing_is_logged_once_and_raises_a_metric() {
    let pki = Pki::new();
    let files = pki.server_files();
    let tls = ReloadableTls::load(files.clone(), ALPN_API).unwrap();
    let door = open(config("bad-file", Some(tls.clone()))).await;
    let watching = watch(vec![("bad-file", tls.into())]);
    let good = std::fs::read(&files.key).unwrap();
    let failed = |value: u8| format!("consigner_tls_reload_failed{{door=\"bad-file\"}} {value}");
    let reloads = |outcome: &str, count: u8| {
        has_metric(&format!("consigner_tls_reloads_total{{door=\"bad-file\",outcome=\"{outcome}\"}} {count}"))
    };

    replace(&pki.issue("other").key, &files.key);
    until("the alarm", || has_metric(&failed(1))).await;
    assert_eq!(call(&pki.https("client"), &door).await.unwrap(), "client", "the old key is in use");
    until("the line", || !logs::errors("bad-file").is_empty()).await;
    let lines = logs::errors("bad-file");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("does not match the certificate") && lines[0].contains("server-key.pem"), "{}", lines[0]);

    let answers = watching.watcher.reload_now().await;
    assert!(answers[0].result.as_ref().unwrap_err().contains("does not match"), "{answers:?}");
    assert_eq!((answers[0].door.as_str(), logs::errors("bad-file").len()), ("bad-file", 2), "who asks gets a line");
    assert!(reloads("failed", 2));

    std::fs::write(&files.key, "nonsense").unwrap();
    until("another reason", || logs::errors("bad-file").len() == 3).await;
    std::fs::remove_file(&files.key).unwrap();
    until("yet another reason", || logs::errors("bad-file").len() == 4).await;
    std::fs::write(&files.key, good).unwrap();
    until("the end of the alarm", || has_metric(&failed(0))).await;
    assert!(reloads("reloaded", 1));
    assert!(watching.watcher.reload_now().await[0].result.is_ok());
}

#[tokio::test]
async fn a_revoked_client_is_out_by_itself() {
    let pki = Pki::new();
    let crl = pki.crl("crl.pem", &List::of(&[]));
    let settings = DoorTls { crls: vec![crl], ..pki.server_files().into() };
    let tls = ReloadableTls::load_door(settings, ALPN_PEER).unwrap();
    let door = open(config("self-revoking", Some(tls.clone()))).await;
    let _watching = watch(vec![("self-revoking", tls.into())]);
    let Identity { cert, key } = pki.issue_numbered("mallory", 7);
    let files = ClientTls { cert, key, ca: pki.ca_file.clone() };
    let tls = client_config(&files, ALPN_PEER).unwrap();
    let channel = PeerChannel::new(door.host_port(), "localhost".to_owned(), tls).unwrap();
    channel.call("/", &[], Bytes::new(), LONG, 1000).await.unwrap();
    pki.crl("crl.pem", &List::of(&[7]));
    until("the connection to be cut", || door.counters.open() == 0).await;
    assert_eq!(door.counters.expelled(), 1);
    assert!(has_metric("consigner_door_expelled_total{door=\"self-revoking\"} 1"));
}

#[tokio::test]
async fn a_mounted_secret_that_swaps_a_link_is_noticed() {
    let pki = Pki::new();
    let (root, ServerTls { cert, key, client_ca }) = (pki.dir.path(), pki.server_files());
    for version in ["v1", "v2"] {
        std::fs::create_dir(root.join(version)).unwrap();
    }
    let second = pki.issue_with("second", |params| params.not_after = rcgen::date_time_ymd(2300, 1, 1));
    for (version, cert, key) in [("v1", &cert, &key), ("v2", &second.cert, &second.key)] {
        std::fs::copy(cert, root.join(version).join("tls.crt")).unwrap();
        std::fs::copy(key, root.join(version).join("tls.key")).unwrap();
    }
    std::os::unix::fs::symlink("v1", root.join("data")).unwrap();
    let data = root.join("data");
    let files = ServerTls { cert: data.join("tls.crt"), key: data.join("tls.key"), client_ca };
    let tls = ReloadableTls::load(files, ALPN_API).unwrap();
    let before = tls.not_after_unix();
    let _watching = watch(vec![("mounted", tls.clone().into())]);
    std::os::unix::fs::symlink("v2", root.join("data.new")).unwrap();
    std::fs::rename(root.join("data.new"), root.join("data")).unwrap();
    until("the second version", || tls.not_after_unix() < before).await;
    let expiry = "consigner_tls_certificate_expiry_seconds{door=\"mounted\",what=\"certificate\"} 10413792000";
    until("the new end in the metric", || has_metric(expiry)).await;
}

#[tokio::test]
async fn channels_use_the_newest_identity_for_new_connections() {
    let pki = Pki::new();
    let peers = open(config("identity", pki.server())).await;
    let Identity { cert, key } = pki.issue("old-name");
    let outgoing = ReloadableClientTls::load(
        ClientTls { cert: cert.clone(), key: key.clone(), ca: pki.ca_file.clone() },
        ALPN_PEER,
    )
    .unwrap();
    let _watching = watch(vec![("peer-client", outgoing.clone().into())]);
    let client = HttpsClient::new(outgoing.config(), 4);
    assert_eq!(call(&client, &peers).await.unwrap(), "old-name");
    let renewed = pki.issue("new-name");
    replace(&renewed.key, &key);
    replace(&renewed.cert, &cert);
    let fresh = || HttpsClient::new(outgoing.config(), 0);
    let end = std::time::Instant::now() + support::PATIENCE;
    while call(&fresh(), &peers).await.unwrap() != "new-name" {
        assert!(std::time::Instant::now() < end, "never reloaded");
    }
    assert_eq!(call(&client, &peers).await.unwrap(), "old-name", "a connection that stands keeps its identity");
    let channel = PeerChannel::new(peers.host_port(), "localhost".to_owned(), outgoing.config()).unwrap();
    channel.call("/", &[], Bytes::new(), LONG, 1000).await.unwrap();
}

#[tokio::test]
async fn the_ends_of_everything_are_metrics_and_log_lines() {
    let pki = Pki::new();
    let day = time_in_days(3);
    let identity = pki.issue_with("short", |params| params.not_after = day);
    let crl = pki.crl("crl.pem", &List::of(&[]).until(2021));
    let files = ServerTls { cert: identity.cert, key: identity.key, client_ca: pki.ca_file.clone() };
    let tls = ReloadableTls::load_door(DoorTls { crls: vec![crl], ..files.into() }, ALPN_API).unwrap();
    logs::capture();
    let _watching = watch(vec![("ends", tls.into())]);
    let value = |what: &str, unix: i64| {
        format!("consigner_tls_certificate_expiry_seconds{{door=\"ends\",what=\"{what}\"}} {unix}")
    };
    until("the list's end", || has_metric(&value("crl", 1_609_459_200))).await;
    assert!(has_metric(&value("certificate", day.unix_timestamp())));
    assert!(metrics().render().contains("door=\"ends\",what=\"ca\""));
    until("a line on the certificate", || !logs::warnings("ends").is_empty()).await;
    assert!(logs::warnings("ends")[0].contains("CN=short"), "{:?}", logs::warnings("ends"));
    until("a line on the list", || !logs::errors("ends").is_empty()).await;
    let errors = logs::errors("ends");
    assert!(errors[0].contains("has expired") && errors[0].contains("crl"), "{errors:?}");
}

fn time_in_days(days: i64) -> time::OffsetDateTime {
    (time::OffsetDateTime::now_utc() + time::Duration::days(days)).replace_nanosecond(0).unwrap()
}
