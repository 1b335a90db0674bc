//! The socket file.

use super::harness::{FakeNode, PATIENCE, SIGN, SIGNED, World};
use crate::connect::{ConnectError, Listen, Sidecar};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

async fn ask(path: &Path, request: String) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: anything\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_file_serves_its_owner_and_goes_with_the_sidecar() {
    let world = World::new();
    let node = FakeNode::start(&world, SIGNED).await;
    let path = world.dir.path().join("connect.sock");
    let mut options = world.options(&[&node.url]);
    options.listen = Listen::Unix(path.clone());
    // A dead process left one behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

    let sidecar = Sidecar::start(options.clone()).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let answer = ask(&path, post(SIGN)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with(r#"{"signature":"0x01"}"#), "{answer}");
    assert!(ask(&path, post("/admin/v1/keys")).await.starts_with("HTTP/1.1 404 "));
    assert_eq!(node.count(), 1);

    let second = Sidecar::start(options.clone()).await.err().unwrap();
    assert!(matches!(second, ConnectError::Unix { .. }), "{second}");
    sidecar.stop().await;
    assert!(!path.exists());

    std::fs::write(&path, "somebody's file").unwrap();
    assert!(Sidecar::start(options).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's file");
}
