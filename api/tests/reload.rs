//! `/reload`, with the answers of Web3Signer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_api::{AlreadyRunning, ReloadState, ReloadStatus, Reloader, router};
use consigner_rules::{Network, Root};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};
use support::{Node, get, post};

/// Does what the test says.
#[derive(Default)]
struct Scripted(Mutex<ReloadStatus>);

impl Reloader for Scripted {
    fn start(&self) -> Result<(), AlreadyRunning> {
        let mut status = self.0.lock().unwrap();
        if status.state == ReloadState::Running {
            return Err(AlreadyRunning);
        }
        let began = UNIX_EPOCH + Duration::from_secs(1_765_362_600);
        *status = ReloadStatus { state: ReloadState::Running, last_operation: Some(began), last_error: None };
        Ok(())
    }

    fn status(&self) -> ReloadStatus {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_started_once_and_tells_how_it_went() {
    let node = Node::with_keys(Network::by_name("mainnet").unwrap(), Root([0x11; 32]), &[]).await;
    let reloader = Arc::new(Scripted::default());
    let given = reloader.clone();
    let router = router(node.app_with(|app| app.reload = Some(given)));
    let status = async || {
        let answer = get("/reload").through(&router).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    assert_eq!(status().await, json!({"status": "idle"}));
    assert_eq!(post("/reload", "").through(&router).await.status, 403, "a client may look, not start");
    assert_eq!(get("/reload").by("stranger").through(&router).await.status, 403);
    let accepted = post("/reload", "").by("admin").through(&router).await;
    assert_eq!((accepted.status, &accepted.json()["status"]), (202, &json!("accepted")));
    assert!(accepted.json()["message"].as_str().unwrap().contains("GET /reload"), "{}", accepted.body);
    let running = json!({"status": "running", "lastOperationTime": "2025-12-10T10:30:00Z"});
    assert_eq!(status().await, running);
    let again = post("/reload", "").by("admin").through(&router).await;
    assert_eq!((again.status, &again.json()["status"]), (409, &json!("error")));
    *reloader.0.lock().unwrap() = ReloadStatus {
        state: ReloadState::CompletedWithErrors,
        last_operation: Some(UNIX_EPOCH),
        last_error: Some("3 keys could not be read".to_owned()),
    };
    let ended = json!({
        "status": "completed_with_errors", "lastOperationTime": "1970-01-01T00:00:00Z",
        "lastError": "3 keys could not be read",
    });
    assert_eq!(status().await, ended);
    assert_eq!(post("/reload", "").by("admin").through(&router).await.status, 202, "one ended, the next may begin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_sources_says_so() {
    let node = Node::with_keys(Network::by_name("mainnet").unwrap(), Root([0x11; 32]), &[]).await;
    assert_eq!(get("/reload").of(&node).await.json(), json!({"status": "idle"}));
    let answer = post("/reload", "").by("admin").of(&node).await;
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert!(answer.error().contains("keys.source"), "{}", answer.body);
}
