//! A cluster for a test that is no storm: its processes, the way to them, its commands.
#![allow(dead_code, reason = "each test uses a part")]

use bytes::Bytes;
use consigner_chaos::binary;
use consigner_chaos::cli::{Cli, Ended};
use consigner_chaos::cluster::ports::Turn;
use consigner_chaos::cluster::{Cluster, Setup};
use consigner_chaos::faults::until_restarted;
use consigner_chaos::oracle::history::Clock;
use consigner_chaos::oracle::{Courier, History};
use consigner_chaos::storm::Chain;
use http::Method;
use rustix::process::Signal;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A call of an operator; one that changes keys waits for every member.
const CALL_DEADLINE: Duration = Duration::from_secs(120);

/// A running cluster and everything that a test needs of it.
pub struct Bench {
    /// The processes.
    pub cluster: Cluster,
    /// The way to them.
    pub courier: Arc<Courier>,
    /// Their commands.
    pub cli: Cli,
    /// What they sign for.
    pub chain: Chain,
    _turn: Turn,
}

impl Bench {
    /// Starts it; operators' calls bring the token, if there is one.
    pub async fn start(turn: Turn, setup: &Setup, token: Option<&str>) -> Self {
        let binary = binary::up_to_date().await.unwrap();
        let cluster = Cluster::start_with(&binary, setup).await.unwrap();
        let courier = Courier::new(cluster.manifest(), Arc::new(History::new(Clock::start()))).unwrap();
        let courier = Arc::new(match token {
            Some(token) => courier.with_bearer(token),
            None => courier,
        });
        let cli = Cli::new(&binary, cluster.dir());
        Self { cluster, courier, cli, chain: Chain::mainnet().unwrap(), _turn: turn }
    }

    /// Kills nodes at once and waits until all are ready again.
    pub async fn restart(&self, nodes: &[u64]) {
        let victims = self.kill(nodes);
        until_restarted(&self.cluster, &self.courier, &victims).await.unwrap();
    }

    /// Kills nodes at once; the supervisor starts them again.
    pub fn kill(&self, nodes: &[u64]) -> Vec<(u64, u32)> {
        let victims: Vec<(u64, u32)> = nodes.iter().map(|node| (*node, self.cluster.pid(*node).unwrap())).collect();
        for (_, pid) in &victims {
            self.cluster.signal(*pid, Signal::KILL).unwrap();
        }
        victims
    }

    /// An operator's call; status and body.
    pub async fn operate(&self, node: u64, method: Method, path: &str, body: String) -> (u16, Vec<u8>) {
        let answer = self.courier.operate(node, method, path, body.into(), CALL_DEADLINE).await.unwrap();
        (answer.status.as_u16(), answer.body.to_vec())
    }

    /// An operator's call with another token than usual; status and body.
    pub async fn operate_with(&self, token: &str, node: u64, method: Method, path: &str) -> (u16, Vec<u8>) {
        let courier = Courier::new(self.cluster.manifest(), Arc::new(History::new(Clock::start()))).unwrap();
        let answer = courier.with_bearer(token).operate(node, method, path, Bytes::new(), CALL_DEADLINE).await.unwrap();
        (answer.status.as_u16(), answer.body.to_vec())
    }

    /// An operator's call that must succeed.
    pub async fn must(&self, node: u64, method: Method, path: &str, body: String) -> Value {
        let (status, body) = self.operate(node, method, path, body).await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// A command that must succeed.
    pub async fn command(&self, arguments: &[&str], more: &[&str]) -> Ended {
        let ended = self.cli.run(arguments, more).await.unwrap();
        assert_eq!(ended.code, Some(0), "{arguments:?} {more:?}: {}{}", ended.stdout, ended.stderr);
        ended
    }
}
