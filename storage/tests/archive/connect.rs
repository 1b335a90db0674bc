//! Who does not prove who it is gets the precise reason; what is renewed on the disk is used by the next connection.

use consigner_storage::archive::ArchiveError;
use consigner_storage::archive::{ArchiveDb, ChannelBinding, PasswordSource, SchemaFault, ServerProof};
use std::time::Duration;

use crate::common::{Door, Servers, told};
use crate::support::postgres::{READER, ServerCertificate, WRITER};

fn tls(servers: &Servers, ca: &str, certificate: Option<&str>) -> ServerProof {
    let file = |name: String| servers.postgres.path(&name);
    let identity = certificate.map(|name| (file(format!("{name}.pem")), file(format!("{name}-key.pem"))));
    ServerProof::Tls { ca: file(ca.to_owned()), identity }
}

/// What is asked, the class of the answer, and a part of its text.
async fn refused(what: &str, db: ArchiveDb, class: &str, named: &str) {
    // Some refusals of this side's certificate come only with the first answer.
    let answer = match db.connect().await {
        Ok(mut archive) => archive.check_schema().await,
        Err(error) => Err(error),
    };
    let told = told(answer);
    assert!(told.0 == class && told.1.contains(named), "{what}: {told:?}");
    assert!(!told.1.contains("a password of this test"), "{what}: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_right_gets_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    let postgres = &servers.postgres;
    postgres.issue_foreign("foreign", WRITER);
    postgres.issue_expired("expired", WRITER);
    // Written by `issue_foreign`: a CA that issued nothing here.
    for door in servers.doors() {
        let right = || servers.writer(door, "roles");
        let with =
            |ca: &str, certificate: Option<&str>| ArchiveDb { server: tls(&servers, ca, certificate), ..right() };
        let fresh = right().connect().await.unwrap().check_schema().await.unwrap_err();
        assert!(matches!(fresh, ArchiveError::Schema(SchemaFault::Missing)), "{fresh}");
        refused("unknown CA", with("other-ca.pem", Some(WRITER)), "tls", "no CA that is given").await;
        refused("no certificate", with("ca.pem", None), "tls", "got none").await;
        refused("no such file", with("ca.pem", Some("absent")), "tls", "absent-key.pem").await;
        let other = ArchiveDb { password: PasswordSource::File(postgres.path("wrong-password")), ..right() };
        refused("wrong password", other, "auth", "does not let this role in").await;
        let other = ArchiveDb { password: PasswordSource::File(postgres.path("absent")), ..right() };
        refused("no password file", other, "auth", "absent").await;
        refused("a certificate of another CA", with("ca.pem", Some("foreign")), "tls", "does not know").await;
        refused("an expired certificate", with("ca.pem", Some("expired")), "tls", "expired").await;
        let clear = ArchiveDb { server: ServerProof::None, ..right() };
        let class = told(clear.connect().await).0;
        assert!(["auth", "address", "tls"].contains(&class), "the server refuses it in the clear: {class}");
    }
    direct(&servers).await;
}

async fn direct(servers: &Servers) {
    let postgres = &servers.postgres;
    let right = || servers.writer(Door::Direct, "roles");
    let mallory = ArchiveDb { server: tls(servers, "ca.pem", Some("other")), ..right() };
    refused("a certificate of another name", mallory, "auth", "client certificate").await;
    let url = right().url.replace("localhost", "127.0.0.2");
    refused("another host", ArchiveDb { url, ..right() }, "tls", "another name").await;
    let url = right().url.replace("/roles", "/absent");
    refused("no such database", ArchiveDb { url, ..right() }, "address", "absent").await;
    let url = "mysql://x@y/z".to_owned();
    refused("no Postgres URL", ArchiveDb { url, ..right() }, "address", "postgres://").await;
    refused("no password", ArchiveDb { password: PasswordSource::None, ..right() }, "auth", "password").await;
    let unset = PasswordSource::Env("CONSIGNER_TEST_UNSET".to_owned());
    refused("no variable", ArchiveDb { password: unset, ..right() }, "auth", "CONSIGNER_TEST_UNSET").await;
    for (certificate, named) in [
        (ServerCertificate::OtherName, "another name"),
        (ServerCertificate::Expired, "has expired"),
        (ServerCertificate::NotYet, "not valid yet"),
        (ServerCertificate::UnknownCa, "no CA that is given"),
    ] {
        postgres.show(certificate);
        refused("the server's certificate", right(), "tls", named).await;
    }
    // Rotated back, and on this side, under a running process.
    postgres.show(ServerCertificate::Right);
    postgres.issue(WRITER, WRITER);
    right().connect().await.unwrap();
    std::fs::write(postgres.path("password"), "renewed\r\n").unwrap();
    refused("a password that is not valid yet", right(), "auth", "password").await;
    postgres.sql("postgres", &format!("ALTER ROLE {WRITER} PASSWORD 'renewed'"));
    right().connect().await.unwrap();
    loose(servers).await;
    // A direct connection binds the channel; without TLS there is none to bind.
    let shown =
        "SELECT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'archive_writer'";
    let _open = right().connect().await.unwrap();
    assert!(postgres.sql("postgres", shown).starts_with("t,TLSv1.3"));
    postgres.stop();
    refused("no server", right(), "address", "cannot be reached").await;
}

/// What everybody on the machine could read is no secret.
async fn loose(servers: &Servers) {
    use std::os::unix::fs::PermissionsExt as _;
    let right = || servers.writer(Door::Direct, "roles");
    for (file, class) in [("password", "auth"), ("archive_writer-key.pem", "tls")] {
        let file = servers.postgres.path(file);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        refused("a file for everybody", right(), class, "mode 644").await;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        right().connect().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_bound_where_it_can_be_and_a_silent_server_costs_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let Some(servers) = Servers::start(dir.path()) else { return };
    servers.db(READER, "roles").connect().await.unwrap();
    if servers.pooler.is_some() {
        let strict = servers.writer(Door::Pooler, "roles");
        let strict = ArchiveDb { channel_binding: ChannelBinding::Require, ..strict };
        refused("the pooler has no channel binding", strict, "auth", "PgBouncer").await;
    }
    // Accepts, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://{WRITER}@localhost:{}/roles", silent.local_addr().unwrap().port());
    let deadline = Duration::from_millis(200);
    let db = ArchiveDb { url, deadline, ..servers.writer(Door::Direct, "roles") };
    refused("a silent server", db, "deadline", "200 ms").await;
}
